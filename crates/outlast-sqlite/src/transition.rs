//! Everything that happens to a task between its creation and its end, one method an operation.
//!
//! Each finds the record, applies the verb of the state machine and writes what came of it. Whatever
//! can be refused is refused before the first statement that writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::input::{Answer, InputRequest};
use outlast_core::machine::{Answered, AttemptEnd, CancelMode, Cancelled, Due, Suspended};
use outlast_core::no_worker::Missing;
use outlast_core::status::Phase;
use outlast_core::store::{
    BeatReply, CancelReply, ClaimBy, DueDelivery, FinishReply, Notice, Report, SuspendReply, Ticked,
};
use outlast_core::task::{Awaiting, Lease};
use outlast_core::webhook::{DeliveryEnd, Taken};
use outlast_core::{Error, JournalEntry, JournalKind, Recorded, Task, TaskId, Timestamp};
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

    pub(crate) fn report(&mut self, lease: &Lease, report: Report) -> Result<(), Failure> {
        let Report {
            progress,
            lines,
            usage,
        } = report;
        // Refused, if at all, before anything is written.
        crate::log::check_lines(&lines)?;
        let now = self.now;
        self.under_lease(lease, |task| {
            if let Some(usage) = usage {
                task.used(lease, usage)?;
            }
            let event = progress.map(|progress| task.report(lease, progress, now));
            Ok(((), event.transpose()?.flatten().into_iter().collect()))
        })?;
        if !lines.is_empty() {
            self.log_append(lease, &lines)?;
        }
        Ok(())
    }

    pub(crate) fn journal_put(
        &mut self,
        lease: &Lease,
        kind: JournalKind,
        name: String,
        input_hash: Option<u64>,
        recorded: Recorded,
        took: Option<Duration>,
    ) -> Result<JournalEntry, Failure> {
        let (before, now) = (self.fenced(lease)?, self.now);
        let sequence = int(before.state.sequence);
        let text = row::encode("journal entry", &recorded)?;
        row::check_length("name of a journal entry", name.len())?;
        let entry = JournalEntry {
            kind,
            name,
            input_hash,
            recorded,
            at: now,
            took,
        };
        let mut after = Task::clone(&before);
        let event = match after.journaled(lease, &entry, now) {
            Ok(event) => event,
            // What is there already needs no room.
            Err(refused) => match self.journaled(sequence, kind, &entry.name)? {
                Some(there) => return self.found(lease, there, &entry),
                None => return Err(refused.into_error(lease.task).into()),
            },
        };
        if !self.insert_journal(sequence, &entry, &text)? {
            // The conflict left everything as it was.
            self.written = false;
            let there = self.journaled(sequence, kind, &entry.name)?;
            let there = there.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            return self.found(lease, there, &entry);
        }
        self.change_found(&before, |task| {
            *task = after;
            Ok(((), event.into_iter().collect()))
        })?;
        Ok(entry)
    }

    /// Writes an entry; `false` if one with its key is there.
    pub(crate) fn insert_journal(
        &mut self,
        sequence: i64,
        entry: &JournalEntry,
        recorded: &str,
    ) -> Result<bool, Failure> {
        let rows = self
            .statement(
                "INSERT INTO journal (task, kind, name, input_hash, at, recorded, took)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (task, kind, name) DO NOTHING",
            )?
            .execute(params![
                sequence,
                entry.kind.as_str(),
                entry.name,
                entry.input_hash.map(u64::cast_signed),
                entry.at.as_millis(),
                recorded,
                entry.took.map(|took| row::int(row::millis(took)))
            ])?;
        Ok(rows == 1)
    }

    /// The entry that was there first, if it is of the same input.
    pub(crate) fn found(
        &self,
        lease: &Lease,
        there: JournalEntry,
        wanted: &JournalEntry,
    ) -> Result<JournalEntry, Failure> {
        if there.input_hash == wanted.input_hash {
            return Ok(there);
        }
        let (task, kind, name) = (lease.task, there.kind, there.name);
        Err(Error::JournalMismatch { task, kind, name }.into())
    }

    pub(crate) fn journaled(
        &mut self,
        sequence: i64,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>, Failure> {
        let mut statement = self.conn.prepare_cached(
            "SELECT kind, name, input_hash, at, recorded, took FROM journal
             WHERE task = ?1 AND kind = ?2 AND name = ?3",
        )?;
        let mut rows = statement.query(params![sequence, kind.as_str(), name])?;
        rows.next()?.map(row::journal_entry).transpose()
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
        questions: Vec<InputRequest>,
        awaiting: Awaiting,
    ) -> Result<SuspendReply, Failure> {
        let now = self.now;
        let mut child_ended = false;
        for child in &awaiting.children {
            child_ended |= self.find(*child)?.is_none_or(|child| child.is_finished());
        }
        let (waits, task) = self.under_lease(lease, |task| {
            let mut events: Vec<_> = task.ask(lease, questions, now)?.into_iter().collect();
            let suspended = task.suspend(lease, awaiting, child_ended, now)?;
            let waits = match suspended {
                Suspended::Resolved => false,
                Suspended::Waiting(event) => {
                    events.push(event);
                    true
                }
            };
            Ok((waits, events))
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
            Some(by) if task.state.held.is_none() => self.claim(by, 1)?.pop(),
            _ => None,
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
        let task = self.readable(id)?.ok_or(Error::NotFound(id))?;
        if task.state.phase != Phase::Finished {
            return Ok(false);
        }
        let parent = match task.spec.attached_to() {
            Some(parent) => self.readable(parent)?,
            None => None,
        };
        task.check_deletable(parent.as_deref(), self.now)?;
        self.remove(&task)?;
        Ok(true)
    }

    pub(crate) fn tick(
        &mut self,
        alive: &[Lease],
        length: Duration,
        budget: usize,
    ) -> Result<Ticked, Failure> {
        let mut ticked = Ticked {
            now: self.now,
            ..Ticked::default()
        };
        for id in self.due(budget)? {
            self.readable(id)?;
            let now = self.now;
            let (done, task) = self.change(id, |task| {
                if let Some(own) = task.lease().filter(|own| alive.contains(own)) {
                    task.renew(&own, length, now).expect("its own lease");
                }
                let due = task.due(now);
                let events = match &due {
                    Due::Changed(events) => events.clone(),
                    Due::Nothing | Due::Delete | Due::Deliver(_) => Vec::new(),
                };
                Ok((due, events))
            })?;
            match done {
                Due::Nothing => {}
                Due::Changed(_) => ticked.changed += 1,
                Due::Deliver(taken) => ticked.deliveries.extend(DueDelivery::all(&task, &taken)),
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
        let (schedules, fires) = self.due_schedules()?;
        ticked.schedules = schedules;
        ticked.next = self
            .next_due()?
            .into_iter()
            .chain(opening)
            .chain(fires)
            .min();
        Ok(ticked)
    }

    pub(crate) fn note_no_worker(
        &mut self,
        tasks: &[TaskId],
        missing: Option<&Missing>,
    ) -> Result<usize, Failure> {
        let (mut changed, now) = (0, self.now);
        for id in tasks {
            let Some(task) = self.readable(*id)? else {
                continue;
            };
            let (noted, _) = self.change_found(&task, |task| {
                let event = task.note_no_worker(missing, now);
                Ok((event.is_some(), event.into_iter().collect()))
            })?;
            changed += usize::from(noted);
        }
        Ok(changed)
    }

    pub(crate) fn delivery_put(
        &mut self,
        id: TaskId,
        taken: Taken,
        end: DeliveryEnd,
    ) -> Result<bool, Failure> {
        let (now, Some(task)) = (self.now, self.find(id)?) else {
            return Ok(false);
        };
        let (put, _) = self.change_found(&task, |task| {
            Ok((task.delivery_ended(taken, end, now), Vec::new()))
        })?;
        Ok(put)
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
