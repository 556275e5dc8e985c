//! Everything that happens to a task between its creation and its end, one method an operation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::input::{Answer, InputRequest};
use outlast_core::machine::{Answered, AttemptEnd, CancelMode, Cancelled, Due, Suspended};
use outlast_core::no_worker::Missing;
use outlast_core::status::Phase;
use outlast_core::store::{CancelReply, Report, SuspendReply};
use outlast_core::task::{Awaiting, Lease, NewTask};
use outlast_core::webhook::{DeliveryEnd, Taken};
use outlast_core::{Error, JournalEntry, JournalKind, Task, TaskId, blob::RecordedArtifact};

use crate::failure::Failure;
use crate::row;
use crate::unit::Unit;

impl Unit<'_> {
    pub(crate) fn report(&mut self, lease: &Lease, report: &Report) -> Result<(), Failure> {
        let now = self.now;
        if report.progress.is_some() || report.usage.is_some() {
            self.under_lease(lease, |task| {
                if let Some(usage) = report.usage {
                    task.used(lease, usage)?;
                }
                let progress = report.progress.clone();
                let event = progress.map(|progress| task.report(lease, progress, now));
                Ok(((), event.transpose()?.flatten().into_iter().collect()))
            })?;
        } else {
            self.guard_lease(lease);
        }
        if !report.lines.is_empty() {
            self.log_append(lease, &report.lines)?;
        }
        Ok(())
    }

    /// Lets the commit look whether the lease holds, for what needs no more of the record.
    pub(crate) fn guard_lease(&mut self, lease: &Lease) {
        let [task, epoch, nonce] = [
            lease.task.to_string(),
            lease.epoch.to_string(),
            lease.nonce.to_string(),
        ];
        self.guard("lease", [task, epoch, nonce]);
    }

    pub(crate) fn journal_put(
        &mut self,
        lease: &Lease,
        entry: &JournalEntry,
    ) -> Result<JournalEntry, Failure> {
        let before = self.fenced(lease)?;
        row::check_length("name of a journal entry", entry.name.len())?;
        let text = row::encode("journal entry", entry)?;
        let mut after = Task::clone(&before);
        let event = match after.journaled(lease, entry, self.now) {
            Ok(event) => event,
            Err(refused) => {
                // What is there already needs no room.
                let name = row::entry_name(entry.kind, &entry.name);
                return match self.entry(lease.task, &name)? {
                    Some(there) => Ok(found(lease, there, entry)?),
                    None => Err(refused.into_error(lease.task).into()),
                };
            }
        };
        self.change_found(&before, |task| {
            *task = after;
            Ok(((), event.into_iter().collect()))
        })?;
        self.record(lease, entry, text);
        Ok(entry.clone())
    }

    /// Writes an entry, unless one with its key is there: then the commit refuses.
    fn record(&mut self, lease: &Lease, entry: &JournalEntry, text: String) {
        let id = lease.task.to_string();
        let name = row::entry_name(entry.kind, &entry.name);
        self.guard("unrecorded", [id.clone(), name.clone()]);
        self.operate("record", [id.clone(), name, text]);
        if entry.kind == JournalKind::Artifact
            && let Ok(artifact) = entry.recorded.json().to::<RecordedArtifact>()
        {
            self.operate("keep", [id, artifact.blob]);
        }
    }

    pub(crate) fn spawn(
        &mut self,
        lease: &Lease,
        name: &str,
        input_hash: Option<u64>,
        mut child: NewTask,
        detached: bool,
    ) -> Result<JournalEntry, Failure> {
        let (parent, now) = (self.fenced(lease)?, self.now);
        row::check_length("name of a journal entry", name.len())?;
        let entry = JournalEntry::child(name, input_hash, child.id, now);
        // Whatever can be refused is refused before anything is written.
        let refused = match parent.adopt(lease, &mut child, detached) {
            Err(refused) => Err(refused),
            Ok(()) if self.find_new(child.id)?.is_some() => Err(child.id_is_taken()),
            Ok(()) => match Task::clone(&parent).spawn(lease, &child, &entry, now) {
                Ok(_) => Ok(()),
                // The id was only taken to be free, and that it is not is said first.
                Err(_) if self.find(child.id)?.is_some() => Err(child.id_is_taken()),
                Err(refused) => Err(refused),
            },
        };
        if let Err(refused) = refused {
            // What is there already needs no room.
            let name = row::entry_name(JournalKind::Child, name);
            return match self.entry(lease.task, &name)? {
                Some(there) => Ok(found(lease, there, &entry)?),
                None => Err(refused.into()),
            };
        }
        let child = self.create(child, None)?.task;
        // Read again: a child that could not begin has ended already, and its parent was told.
        self.change(lease.task, |task| {
            Ok(((), task.spawn(lease, &child.spec, &entry, now)?))
        })?;
        let text = row::encode("journal entry", &entry)?;
        self.record(lease, &entry, text);
        Ok(entry)
    }

    pub(crate) fn ask(
        &mut self,
        lease: &Lease,
        questions: &[InputRequest],
    ) -> Result<Arc<Task>, Failure> {
        let now = self.now;
        let ((), task) = self.under_lease(lease, |task| {
            let event = task.ask(lease, questions.to_vec(), now)?;
            Ok(((), event.into_iter().collect()))
        })?;
        Ok(task)
    }

    pub(crate) fn suspend(
        &mut self,
        lease: &Lease,
        questions: &[InputRequest],
        awaiting: &Awaiting,
    ) -> Result<SuspendReply, Failure> {
        let now = self.now;
        self.need_all(awaiting.children.iter().copied())?;
        let mut child_ended = false;
        for child in &awaiting.children {
            child_ended |= self.find(*child)?.is_none_or(|child| child.is_finished());
        }
        let (waits, task) = self.under_lease(lease, |task| {
            let asked = task.ask(lease, questions.to_vec(), now)?;
            let mut events: Vec<_> = asked.into_iter().collect();
            let suspended = task.suspend(lease, awaiting.clone(), child_ended, now)?;
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

    pub(crate) fn finish(&mut self, lease: &Lease, end: &AttemptEnd) -> Result<Arc<Task>, Failure> {
        let now = self.now;
        let ((), task) = self.under_lease(lease, |task| {
            let event = task.finish(lease, end.clone(), now)?;
            Ok(((), event.into_iter().collect()))
        })?;
        Ok(task)
    }

    pub(crate) fn answer(
        &mut self,
        id: TaskId,
        answers: &BTreeMap<String, Answer>,
    ) -> Result<Answered, Failure> {
        let now = self.now;
        let (answered, _) = self.change(id, |task| {
            let answered = task.answer(answers.clone(), now);
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
        if task.state.phase != Phase::Finished {
            return Ok(false);
        }
        let parent = match task.spec.attached_to() {
            Some(parent) => self.find(parent)?,
            None => None,
        };
        task.check_deletable(parent.as_deref(), self.now)?;
        self.remove(&task);
        Ok(true)
    }

    /// Ends a task whose record could not be read.
    pub(crate) fn give_up(&mut self, id: TaskId) -> Result<(), Failure> {
        let now = self.now;
        self.change(id, |task| Ok(((), vec![task.give_up(now)])))?;
        Ok(())
    }

    /// Does what is due for one task. If `forgiving`, a lease that has run out is renewed once, whoever
    /// holds it.
    pub(crate) fn due(
        &mut self,
        id: TaskId,
        alive: &[Lease],
        length: Duration,
        forgiving: bool,
    ) -> Result<(Due, Option<Arc<Task>>), Failure> {
        let now = self.now;
        if self.find(id)?.is_none() {
            // Another process has deleted it.
            return Ok((Due::Nothing, None));
        }
        let (due, task) = self.change(id, |task| {
            if let Some(own) = task.lease().filter(|own| forgiving || alive.contains(own)) {
                task.renew(&own, length, now).expect("its own lease");
            }
            let due = task.due(now);
            let events = match &due {
                Due::Changed(events) => events.clone(),
                Due::Nothing | Due::Delete | Due::Deliver(_) => Vec::new(),
            };
            Ok((due, events))
        })?;
        if due == Due::Delete {
            self.remove(&task);
        }
        Ok((due, Some(task)))
    }

    /// Whether it changed. A task that is gone does not.
    pub(crate) fn note_no_worker(
        &mut self,
        id: TaskId,
        missing: Option<&Missing>,
    ) -> Result<bool, Failure> {
        let (now, Some(task)) = (self.now, self.find(id)?) else {
            return Ok(false);
        };
        let (noted, _) = self.change_found(&task, |task| {
            let event = task.note_no_worker(missing, now);
            Ok((event.is_some(), event.into_iter().collect()))
        })?;
        Ok(noted)
    }

    pub(crate) fn delivery_put(
        &mut self,
        id: TaskId,
        taken: Taken,
        end: &DeliveryEnd,
    ) -> Result<bool, Failure> {
        let (now, Some(task)) = (self.now, self.find(id)?) else {
            return Ok(false);
        };
        let (put, _) = self.change_found(&task, |task| {
            Ok((task.delivery_ended(taken, end.clone(), now), Vec::new()))
        })?;
        Ok(put)
    }
}

/// The entry that was there first, if it is of the same input.
pub(crate) fn found(
    lease: &Lease,
    there: JournalEntry,
    wanted: &JournalEntry,
) -> Result<JournalEntry, Error> {
    if there.input_hash == wanted.input_hash {
        return Ok(there);
    }
    let (task, kind, name) = (lease.task, there.kind, there.name);
    Err(Error::JournalMismatch { task, kind, name })
}
