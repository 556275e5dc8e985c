//! What is due: timers, deadlines, expired leases, the end of retention.
//!
//! Every process looks, and what two of them find is done once, for each change is guarded. A lease
//! that has run out is taken back, unless nobody could renew one for a while ([`crate::pulse`]): then it
//! is renewed once for its holder, whoever that is, who gets the time that the outage took from him.
//! Where the holder's whole process has fallen silent, its death is what is dealt with
//! ([`crate::recover`]).
//!
//! A Redis without room takes nothing but what gives memory back: so whatever is behind what it refuses is
//! looked at as well, for that may be tasks to be deleted.
//!
//! A record that cannot be read fails ([`crate::aside`]), and so does a task that was claimed here and whose
//! journal cannot be read. A schedule that cannot be read stays as it is and does not fire: a release that
//! can read it may come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outlast_core::machine::Due;
use outlast_core::store::{DueDelivery, Notice, Ticked};
use outlast_core::task::Lease;
use outlast_core::{Error, Result, TaskId, Timestamp};
use redis::Value;

use crate::executor::{Executor, done, is_contended};
use crate::failure::is_full;
use crate::row::{self, Known};
use crate::schedule;
use crate::script::Script;
use crate::seen::Seen;

/// How many due tasks are read at a time.
const PAGE: usize = 256;

/// On what terms a tick takes leases back.
struct Terms<'a> {
    alive: &'a [Lease],
    length: Duration,
    /// Nobody could renew a lease for a while.
    forgiving: bool,
}

impl Executor {
    /// Does what is due for at most `budget` tasks.
    pub(crate) async fn tick(
        &self,
        alive: &[Lease],
        length: Duration,
        budget: usize,
    ) -> Result<Ticked> {
        let terms = Terms {
            alive,
            length,
            forgiving: self.was_out(length).await?,
        };
        let now = self.clock.now();
        let mut ticked = Ticked {
            now,
            ..Ticked::default()
        };
        for id in self.take_torn() {
            self.set_aside(id, &Seen::default()).await?;
            ticked.changed += 1;
        }
        let look = |limit: usize| {
            let arguments = [row::millis(now), limit.to_string()];
            self.link.script(Script::Due, arguments)
        };
        let mut parts = row::array(look(budget).await?);
        let list = |parts: &[Value], index: usize| parts.get(index).cloned().unwrap_or(Value::Nil);
        let schedules = row::array(list(&parts, 4));
        let schedules = schedules.chunks_exact(2);
        ticked.schedules = schedule::readable(schedules.map(|one| (row::text(&one[0]), &one[1])));
        let due = row::array(list(&parts, 0));
        if !due.is_empty() {
            let mut full = None;
            for page in due.chunks(PAGE) {
                self.tick_page(page, &terms, &mut ticked, &mut full).await?;
            }
            if let Some(full) = full {
                return Err(full);
            }
            parts = row::array(look(0).await?);
        }
        let part = |index: usize| parts.get(index).map(row::text).unwrap_or_default();
        if parts.get(2).is_some_and(|opened| row::int(opened) > 0) {
            let arguments = [row::millis(now), self.origin.clone()];
            let opened = self.link.script(Script::Open, arguments).await?;
            if row::int(&opened) > 0 {
                self.sink.tell([Notice::Ready]);
            }
        }
        let moments = [part(1), part(3), part(5)];
        let moments = moments.iter().filter_map(|text| text.parse::<f64>().ok());
        // Moments are whole milliseconds, and those that no double holds lie beyond every life.
        let moments = moments.map(|moment| Timestamp::from_millis(moment as i64));
        ticked.next = moments.min();
        Ok(ticked)
    }

    /// Does what is due for some members of the index `due`. What there is no room for is left, and `full` says
    /// so.
    async fn tick_page(
        &self,
        page: &[Value],
        terms: &Terms<'_>,
        ticked: &mut Ticked,
        full: &mut Option<Error>,
    ) -> Result<()> {
        let mut ids = Vec::new();
        for member in page {
            let member = row::text(member);
            match member.get(12..).and_then(|id| id.parse::<TaskId>().ok()) {
                Some(id) => ids.push(id),
                None => self.forget_member("due", &member).await?,
            }
        }
        let loaded = self.load(&ids).await?;
        let (mut known, mut order) = (BTreeMap::new(), Vec::new());
        for (id, loaded) in ids.into_iter().zip(loaded) {
            match loaded {
                Ok(Some(one)) => {
                    known.insert(id, one);
                    order.push(id);
                }
                // Its records have expired, or were deleted by hand.
                Ok(None) => self.forget_task(id).await?,
                Err(error) => {
                    tracing::error!(%error, task = %id, "a record cannot be read");
                    self.set_aside(id, &Seen::default()).await?;
                    ticked.changed += 1;
                }
            }
        }
        if !terms.forgiving {
            ticked.changed += self
                .bury_silent(&expired(&known, terms, ticked.now))
                .await?;
        }
        // What was due first is done first: it may decide what becomes of the others.
        for id in order {
            self.tick_one(id, terms, ticked, full).await?;
        }
        Ok(())
    }

    async fn tick_one(
        &self,
        id: TaskId,
        terms: &Terms<'_>,
        ticked: &mut Ticked,
        full: &mut Option<Error>,
    ) -> Result<()> {
        let Terms {
            alive,
            length,
            forgiving,
        } = *terms;
        let outcome = self.run(|unit| unit.due(id, alive, length, forgiving), |_| None);
        match outcome.await {
            Ok(outcome) => {
                let (due, task) = done(outcome).0;
                match (due, task) {
                    (Due::Deliver(taken), Some(task)) => {
                        ticked.deliveries.extend(DueDelivery::all(&task, &taken));
                    }
                    (Due::Nothing | Due::Deliver(_), _) => {}
                    (Due::Changed(_), _) => ticked.changed += 1,
                    (Due::Delete, _) => ticked.deleted += 1,
                }
            }
            // What is behind it may give memory back.
            Err(error) if is_full(&error) => drop(full.insert(error)),
            Err(error) if error.is_retryable() && !is_contended(&error) => return Err(error),
            Err(error) => {
                // One record must not hold up the others. It stays due.
                tracing::error!(%error, task = %id, "what is due for a task cannot be done");
            }
        }
        Ok(())
    }

    async fn forget_member(&self, set: &str, member: &str) -> Result<()> {
        let key = self.link.key(set);
        let remove = redis::cmd("ZREM").arg(key).arg(member).take();
        self.link.command(&remove).await.map(|_| ())
    }
}

/// The workers of which a lease has run out, but for those that the caller really runs.
fn expired(
    known: &BTreeMap<TaskId, Known>,
    terms: &Terms<'_>,
    now: Timestamp,
) -> BTreeSet<outlast_core::WorkerId> {
    let held = known.values().filter_map(|known| {
        let held = known.task.state.held.as_ref()?;
        let own = known.task.lease().filter(|own| terms.alive.contains(own));
        (held.until <= now && own.is_none()).then_some(held.worker)
    });
    held.collect()
}
