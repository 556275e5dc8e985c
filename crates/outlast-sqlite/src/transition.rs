//! Everything that happens to a task between its creation and its end, one method an operation.
//!
//! Each finds the record, applies the verb of the state machine and writes what came of it. Whatever
//! can be refused is refused before the first statement that writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::input::{Answer, InputRequest};
use outlast_core::machine::{Answered, AttemptEnd, CancelMode, Cancelled, Due, Suspended};
use outlast_core::store::{
    BeatReply, CancelReply, ClaimBy, FinishReply, Notice, SuspendReply, Ticked,
};
use outlast_core::task::{Awaiting, Lease};
use outlast_core::{Error, JournalEntry, JournalKind, Progress, Recorded, Task, TaskId, Timestamp};
use rusqlite::params;

use crate::failure::Failure;
use crate::row::{self, int};
use crate::unit::Unit;

/// Tasks whose moment has come.
pub(crate) const DUE: &str =
    "SELECT id FROM task WHERE due_at <= ?1 ORDER BY due_at, sequence LIMIT ?2";

/// The next such moment.
pub(crate) const NEXT_DUE: &str = "SELECT min(due_at) FROM task";

impl Unit<'_> {
    pub(crate) fn heartbeat(
        &mut self,
        leases: &[Lease],
        length: Duration,
    ) -> Result<Vec<BeatReply>, Failure> {
        let now = self.now;
        let mut replies = Vec::with_capacity(leases.len());
        for lease in leases {
            let renewed = self.under_lease(lease, |task| {
                Ok((task.renew(lease, length, now)?, Vec::new()))
            });
            replies.push(match renewed {
                Ok((true, _)) => BeatReply::Cancelled,
                Ok((false, _)) => BeatReply::Held,
                Err(Failure::Told(Error::LeaseLost(_))) => BeatReply::Lost,
                Err(other) => return Err(other),
            });
        }
        Ok(replies)
    }

    pub(crate) fn report(&mut self, lease: &Lease, progress: Progress) -> Result<(), Failure> {
        let now = self.now;
        self.under_lease(lease, |task| {
            Ok(((), task.report(lease, progress, now)?.into_iter().collect()))
        })?;
        Ok(())
    }

    pub(crate) fn journal_put(
        &mut self,
        lease: &Lease,
        kind: JournalKind,
        name: String,
        input_hash: Option<u64>,
        recorded: Recorded,
    ) -> Result<JournalEntry, Failure> {
        let task = self.fenced(lease)?;
        let sequence = int(task.state.sequence);
        let text = row::encode("journal entry", &recorded)?;
        row::check_length("name of a journal entry", name.len())?;
        let rows = self
            .statement(
                "INSERT INTO journal (task, kind, name, input_hash, at, recorded)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (task, kind, name) DO NOTHING",
            )?
            .execute(params![
                sequence,
                kind.as_str(),
                name,
                input_hash.map(u64::cast_signed),
                self.now.as_millis(),
                text
            ])?;
        if rows == 0 {
            let there = self.journaled(sequence, kind, &name)?;
            if there.input_hash != input_hash {
                let task = lease.task;
                return Err(Error::JournalMismatch { task, kind, name }.into());
            }
            return Ok(there);
        }
        self.under_lease(lease, |task| Ok((task.journaled(lease)?, Vec::new())))?;
        Ok(JournalEntry {
            kind,
            name,
            input_hash,
            recorded,
            at: self.now,
        })
    }

    fn journaled(
        &mut self,
        sequence: i64,
        kind: JournalKind,
        name: &str,
    ) -> Result<JournalEntry, Failure> {
        // The conflict left everything as it was.
        self.written = false;
        let mut statement = self.conn.prepare_cached(
            "SELECT kind, name, input_hash, at, recorded FROM journal
             WHERE task = ?1 AND kind = ?2 AND name = ?3",
        )?;
        let mut rows = statement.query(params![sequence, kind.as_str(), name])?;
        let found = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        row::journal_entry(found)
    }

    pub(crate) fn ask(
        &mut self,
        lease: &Lease,
        questions: Vec<InputRequest>,
    ) -> Result<Arc<Task>, Failure> {
        let now = self.now;
        let ((), task) = self.under_lease(lease, |task| {
            Ok(((), task.ask(lease, questions, now)?.into_iter().collect()))
        })?;
        Ok(task)
    }

    pub(crate) fn suspend(
        &mut self,
        lease: &Lease,
        awaiting: Awaiting,
    ) -> Result<SuspendReply, Failure> {
        let now = self.now;
        let (waits, task) =
            self.under_lease(lease, |task| match task.suspend(lease, awaiting, now)? {
                Suspended::Resolved => Ok((false, Vec::new())),
                Suspended::Waiting(event) => Ok((true, vec![event])),
            })?;
        Ok(if waits {
            SuspendReply::Suspended
        } else {
            SuspendReply::Resolved(task)
        })
    }

    pub(crate) fn finish(
        &mut self,
        lease: &Lease,
        end: AttemptEnd,
        next: Option<&ClaimBy>,
    ) -> Result<FinishReply, Failure> {
        let now = self.now;
        let ((), task) = self.under_lease(lease, |task| {
            Ok(((), task.finish(lease, end, now)?.into_iter().collect()))
        })?;
        let next = match next {
            Some(by) => self.claim(by, 1)?.pop(),
            None => None,
        };
        Ok(FinishReply { task, next })
    }

    pub(crate) fn answer(
        &mut self,
        id: TaskId,
        answers: BTreeMap<String, Answer>,
    ) -> Result<Answered, Failure> {
        let now = self.now;
        let (answered, _) = self.change(id, |task| {
            let answered = task.answer(answers, now);
            let events = answered.events.clone();
            Ok((answered, events))
        })?;
        Ok(answered)
    }

    pub(crate) fn cancel(
        &mut self,
        id: TaskId,
        reason: Option<String>,
        mode: CancelMode,
    ) -> Result<CancelReply, Failure> {
        let now = self.now;
        let (cancelled, task) = self.change(id, |task| {
            let cancelled = task.cancel(reason, mode, now);
            let events = match &cancelled {
                Cancelled::AlreadyFinished | Cancelled::Requested(None) => Vec::new(),
                Cancelled::Now(event) | Cancelled::Requested(Some(event)) => vec![event.clone()],
            };
            Ok((cancelled, events))
        })?;
        Ok(match cancelled {
            Cancelled::AlreadyFinished => CancelReply::AlreadyFinished(task),
            Cancelled::Now(_) => CancelReply::Cancelled(task),
            Cancelled::Requested(_) => CancelReply::Requested(task),
        })
    }

    pub(crate) fn delete(&mut self, id: TaskId) -> Result<bool, Failure> {
        let task = self.find(id)?.ok_or(Error::NotFound(id))?;
        if !task.is_finished() {
            return Ok(false);
        }
        self.remove(&task)?;
        Ok(true)
    }

    pub(crate) fn tick(
        &mut self,
        me: WorkerId,
        lease: Duration,
        budget: usize,
    ) -> Result<Ticked, Failure> {
        let mut ticked = Ticked::default();
        for id in self.due(budget)? {
            let now = self.now;
            let (done, task) = self.change(id, |task| {
                let held = task.state.held.as_ref();
                if held.is_some_and(|held| held.worker == me) {
                    let own = task.lease().expect("it is held");
                    task.renew(&own, lease, now).expect("its own lease");
                }
                let due = task.due(now);
                let events = match &due {
                    Due::Changed(events) => events.clone(),
                    Due::Nothing | Due::Delete => Vec::new(),
                };
                Ok((due, events))
            })?;
            match done {
                Due::Nothing => {}
                Due::Changed(_) => ticked.changed += 1,
                Due::Delete => {
                    self.remove(&task)?;
                    ticked.deleted += 1;
                }
            }
        }
        self.forget_records(budget)?;
        self.forget_rates()?;
        if self.open_rates() {
            self.notices.push(Notice::Ready);
        }
        let opening = self.known.ledger.next_opening(self.now);
        ticked.next = self.next_due()?.into_iter().chain(opening).min();
        Ok(ticked)
    }

    fn due(&mut self, budget: usize) -> Result<Vec<TaskId>, Failure> {
        let mut statement = self.conn.prepare_cached(DUE)?;
        let ids = statement
            .query_map(params![self.now.as_millis(), row::limit(budget)], |row| {
                row.get(0)
            })?;
        Ok(ids
            .map(|id| id.map(TaskId::from_bytes))
            .collect::<rusqlite::Result<_>>()?)
    }

    fn next_due(&mut self) -> Result<Option<Timestamp>, Failure> {
        let next: Option<i64> = self
            .conn
            .prepare_cached(NEXT_DUE)?
            .query_row([], |row| row.get(0))?;
        Ok(next.map(Timestamp::from_millis))
    }
}
