//! The transitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Inner, MemoryStore};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::event::RescueReason;
use crate::id::{TaskId, WorkerId};
use crate::input::{Answer, InputRequest};
use crate::journal::{JournalEntry, JournalKind, Recorded};
use crate::limit::{Control, Controls};
use crate::machine::{Answered, AttemptEnd, CancelMode, Cancelled, Due, Rescue, Suspended};
use crate::no_worker::Missing;
use crate::schedule::Schedule;
use crate::signal::{NewSignal, Signal};
use crate::status::Phase;
use crate::store::{
    BeatReply, CancelReply, ClaimBy, ClaimNow, Claimed, Created, DueDelivery, FinishReply, Notice,
    NoticeSink, Recovered, Report, SchedulePut, Signalled, Store, StoreInfo, SuspendReply, Ticked,
};
use crate::task::{Awaiting, Lease, NewTask, Task};
use crate::webhook::{DeliveryEnd, Taken};

impl Inner {
    /// The entry that is there already under this key.
    pub(super) fn journaled(
        &self,
        lease: &Lease,
        kind: JournalKind,
        name: &str,
        input_hash: Option<u64>,
    ) -> Result<Option<JournalEntry>> {
        let lost = Error::LeaseLost(lease.task);
        let kept = self
            .tasks
            .get(&lease.task)
            .filter(|kept| kept.task.holds(lease));
        let mut journal = kept.ok_or(lost)?.journal.iter();
        let there = journal.find(|entry| entry.kind == kind && entry.name == name);
        if there.is_some_and(|entry| entry.input_hash != input_hash) {
            let (task, name) = (lease.task, name.to_owned());
            return Err(Error::JournalMismatch { task, kind, name });
        }
        Ok(there.cloned())
    }

    /// Deletes a record. Its names go with it: a task that gets the same id later is another one.
    pub(super) fn remove(&mut self, id: TaskId) {
        if let Some(kept) = self.tasks.remove(&id) {
            self.count(Some(&kept.task), None);
        }
        self.named.retain(|_, named| named.task != id);
        self.same.retain(|_, task| *task != id);
    }

    pub(super) fn cancel(
        &mut self,
        id: TaskId,
        reason: Option<String>,
        mode: CancelMode,
        now: Timestamp,
    ) -> Result<(Cancelled, Arc<Task>)> {
        self.change(id, |task| {
            let cancelled = task.cancel(reason, mode, now);
            let events = match &cancelled {
                Cancelled::AlreadyFinished | Cancelled::Requested(None) => Vec::new(),
                Cancelled::Now(event) | Cancelled::Requested(Some(event)) => vec![event.clone()],
            };
            Ok((cancelled, events))
        })
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "memory",
            location: "memory".into(),
            durable: false,
            shards: 1,
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn subscribe(&self, sink: Arc<dyn NoticeSink>) {
        assert!(self.sink.set(sink).is_ok(), "a store has one sink");
    }

    async fn recover(&self, worker: WorkerId) -> Result<Recovered> {
        self.unit(|inner, now| {
            let mut running: Vec<_> = inner
                .tasks
                .values()
                .filter(|kept| {
                    kept.task
                        .state
                        .held
                        .as_ref()
                        .is_some_and(|held| held.worker != worker)
                })
                .map(|kept| Arc::clone(&kept.task))
                .collect();
            running.sort_unstable_by_key(|task| task.state.sequence);
            let ran = running.iter().map(|task| &**task);
            let taken = Rescue::after_death(RescueReason::Crash, ran);
            let mut recovered = Recovered::default();
            for task in &running {
                let rescue = taken(task);
                let (_, task) =
                    inner.change(task.id(), |task| Ok(((), vec![task.rescue(rescue, now)])))?;
                if task.state.phase == Phase::Finished {
                    recovered.failed += 1;
                } else {
                    recovered.rescued += 1;
                }
            }
            Ok(recovered)
        })
    }

    async fn create(&self, task: NewTask, claim: Option<ClaimNow>) -> Result<Created> {
        self.unit(|inner, now| inner.create(task, claim, now))
    }

    async fn claim(&self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>> {
        self.unit(|inner, now| inner.claim(by, limit, now))
    }

    async fn heartbeat(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<BeatReply>> {
        self.unit(|inner, now| {
            Ok(leases
                .iter()
                .map(|lease| {
                    let renewed = inner.under_lease(lease, |task| {
                        Ok((task.renew(lease, length, now)?, Vec::new()))
                    });
                    match renewed {
                        Ok((true, _)) => BeatReply::Cancelled,
                        Ok((false, _)) => BeatReply::Held,
                        Err(_) => BeatReply::Lost,
                    }
                })
                .collect())
        })
    }

    async fn report(&self, lease: &Lease, report: Report) -> Result<()> {
        let Report {
            progress,
            lines,
            usage,
        } = report;
        self.unit(|inner, now| {
            inner.under_lease(lease, |task| {
                if let Some(usage) = usage {
                    task.used(lease, usage)?;
                }
                let event = progress.map(|progress| task.report(lease, progress, now));
                Ok(((), event.transpose()?.flatten().into_iter().collect()))
            })?;
            if !lines.is_empty() {
                inner.log_append(lease, lines, now)?;
            }
            Ok(())
        })
    }

    async fn journal_put(
        &self,
        lease: &Lease,
        kind: JournalKind,
        name: &str,
        input_hash: Option<u64>,
        recorded: Recorded,
        took: Option<Duration>,
    ) -> Result<JournalEntry> {
        self.unit(|inner, now| {
            if let Some(entry) = inner.journaled(lease, kind, name, input_hash)? {
                return Ok(entry);
            }
            let entry = JournalEntry {
                kind,
                name: name.to_owned(),
                input_hash,
                recorded,
                at: now,
                took,
            };
            inner.change(lease.task, |task| {
                let event = task
                    .journaled(lease, &entry, now)
                    .map_err(|refused| refused.into_error(lease.task))?;
                Ok(((), event.into_iter().collect()))
            })?;
            let kept = inner.tasks.get_mut(&lease.task).expect("found above");
            kept.journal.push(entry.clone());
            Ok(entry)
        })
    }

    async fn spawn(
        &self,
        lease: &Lease,
        name: &str,
        input_hash: Option<u64>,
        mut child: NewTask,
        detached: bool,
    ) -> Result<JournalEntry> {
        self.unit(|inner, now| {
            if let Some(entry) = inner.journaled(lease, JournalKind::Child, name, input_hash)? {
                return Ok(entry);
            }
            let parent = Arc::clone(&inner.tasks[&lease.task].task);
            parent.adopt(lease, &mut child, detached)?;
            if inner.tasks.contains_key(&child.id) {
                return Err(child.id_is_taken());
            }
            let entry = JournalEntry::child(name, input_hash, child.id, now);
            // Whatever can be refused is refused before anything is written.
            Task::clone(&parent).spawn(lease, &child, &entry, now)?;
            let child = inner.create(child, None, now)?.task;
            inner.change(lease.task, |task| {
                Ok(((), task.spawn(lease, &child.spec, &entry, now)?))
            })?;
            let kept = inner.tasks.get_mut(&lease.task).expect("found above");
            kept.journal.push(entry.clone());
            Ok(entry)
        })
    }

    async fn ask(&self, lease: &Lease, questions: Vec<InputRequest>) -> Result<Arc<Task>> {
        self.unit(|inner, now| {
            let ((), task) = inner.under_lease(lease, |task| {
                Ok(((), task.ask(lease, questions, now)?.into_iter().collect()))
            })?;
            Ok(task)
        })
    }

    async fn suspend(&self, lease: &Lease, awaiting: Awaiting) -> Result<SuspendReply> {
        self.ask_and_suspend(lease, Vec::new(), awaiting).await
    }

    async fn ask_and_suspend(
        &self,
        lease: &Lease,
        questions: Vec<InputRequest>,
        awaiting: Awaiting,
    ) -> Result<SuspendReply> {
        self.unit(|inner, now| {
            let has_ended = |id: &TaskId| {
                let child = inner.tasks.get(id);
                child.is_none_or(|kept| kept.task.is_finished())
            };
            let child_ended = awaiting.children.iter().any(has_ended);
            let (suspended, task) = inner.under_lease(lease, |task| {
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
            Ok(if suspended {
                SuspendReply::Suspended
            } else {
                SuspendReply::Resolved(task)
            })
        })
    }

    async fn finish(
        &self,
        lease: &Lease,
        end: AttemptEnd,
        next: Option<&ClaimBy>,
    ) -> Result<FinishReply> {
        self.unit(|inner, now| {
            let ((), task) = inner.under_lease(lease, |task| {
                Ok(((), task.finish(lease, end, now)?.into_iter().collect()))
            })?;
            let next = match next {
                Some(by) if task.state.held.is_none() => inner.claim(by, 1, now)?.pop(),
                _ => None,
            };
            Ok(FinishReply { task, next })
        })
    }

    async fn answer(&self, task: TaskId, answers: BTreeMap<String, Answer>) -> Result<Answered> {
        self.unit(|inner, now| {
            let (answered, _) = inner.change(task, |task| {
                let answered = task.answer(answers, now);
                let events = answered.events.clone();
                Ok((answered, events))
            })?;
            Ok(answered)
        })
    }

    async fn signal(&self, task: TaskId, signal: NewSignal) -> Result<Signalled> {
        self.unit(|inner, now| {
            signal.check()?;
            let kept = inner.tasks.get(&task).ok_or(Error::NotFound(task))?;
            let same = |old: &&Signal| signal.id.is_some() && old.id == signal.id;
            if let Some(old) = kept.signals.iter().find(same) {
                return Ok(Signalled {
                    number: old.number,
                    repeated: true,
                });
            }
            let (number, _) = inner.change(task, |task| task.signal(&signal.name, now))?;
            let NewSignal { name, id, payload } = signal;
            let kept = inner.tasks.get_mut(&task).expect("found above");
            kept.signals.push(Signal {
                name,
                number,
                id,
                payload,
                at: now,
            });
            Ok(Signalled {
                number,
                repeated: false,
            })
        })
    }

    async fn cancel(
        &self,
        task: TaskId,
        reason: Option<String>,
        mode: CancelMode,
    ) -> Result<CancelReply> {
        self.unit(|inner, now| {
            let (cancelled, task) = inner.cancel(task, reason, mode, now)?;
            Ok(match cancelled {
                Cancelled::AlreadyFinished => CancelReply::AlreadyFinished(task),
                Cancelled::Now(_) => CancelReply::Cancelled(task),
                Cancelled::Requested(_) => CancelReply::Requested(task),
            })
        })
    }

    async fn delete(&self, task: TaskId) -> Result<bool> {
        self.unit(|inner, now| {
            let kept = inner.tasks.get(&task).ok_or(Error::NotFound(task))?;
            let finished = kept.task.state.phase == Phase::Finished;
            if finished {
                let parent = kept.task.spec.attached_to();
                let parent = parent.and_then(|parent| inner.tasks.get(&parent));
                let parent = parent.map(|parent| &*parent.task);
                kept.task.check_deletable(parent, now)?;
                let version = kept.task.state.version;
                inner.remove(task);
                inner.notices.push(Notice::Changed { task, version });
            }
            Ok(finished)
        })
    }

    async fn tick(&self, alive: &[Lease], length: Duration, budget: usize) -> Result<Ticked> {
        self.unit(|inner, now| {
            let mut ticked = Ticked {
                now,
                ..Ticked::default()
            };
            let mut due: Vec<_> = inner
                .tasks
                .values()
                .map(|kept| &kept.task)
                .map(|task| (task.due_at(), task.state.sequence, task.id()))
                .filter(|(due_at, ..)| *due_at <= now)
                .collect();
            due.sort_unstable();
            for (.., id) in due.into_iter().take(budget) {
                let (done, task) = inner.change(id, |task| {
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
                    Due::Deliver(taken) => {
                        ticked.deliveries.extend(DueDelivery::all(&task, &taken));
                    }
                    Due::Delete => {
                        let version = task.state.version;
                        inner.remove(id);
                        inner.notices.push(Notice::Changed { task: id, version });
                        ticked.deleted += 1;
                    }
                }
            }
            if !inner.ledger.opened(now).is_empty() {
                inner.notices.push(Notice::Ready);
            }
            inner.ledger.forget_past(now);
            let due = inner.tasks.values().map(|kept| kept.task.due_at()).min();
            let mut next = due.into_iter().chain(inner.ledger.next_opening(now)).min();
            let mut schedules: Vec<_> = inner
                .schedules
                .values()
                .filter_map(|schedule| Some((schedule.due_at()?, schedule)))
                .collect();
            schedules.sort_unstable_by_key(|(due_at, schedule)| (*due_at, &schedule.spec.name));
            for (due_at, schedule) in schedules {
                if due_at > now {
                    next = Some(next.map_or(due_at, |next| next.min(due_at)));
                } else {
                    ticked.schedules.push(schedule.clone());
                }
            }
            ticked.next = next;
            Ok(ticked)
        })
    }

    async fn note_no_worker(&self, tasks: Vec<TaskId>, missing: Option<Missing>) -> Result<usize> {
        self.unit(|inner, now| {
            let mut changed = 0;
            for id in tasks {
                let noted = inner.change(id, |task| {
                    let event = task.note_no_worker(missing.as_ref(), now);
                    Ok((event.is_some(), event.into_iter().collect()))
                });
                match noted {
                    Ok((noted, _)) => changed += usize::from(noted),
                    Err(Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(changed)
        })
    }

    async fn delivery_put(&self, task: TaskId, taken: Taken, end: DeliveryEnd) -> Result<bool> {
        self.unit(|inner, now| {
            if !inner.tasks.contains_key(&task) {
                return Ok(false);
            }
            let (put, _) = inner.change(task, |task| {
                Ok((task.delivery_ended(taken, end, now), Vec::new()))
            })?;
            Ok(put)
        })
    }

    async fn schedule_put(
        &self,
        expected: Option<u64>,
        mut schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut> {
        self.unit(|inner, now| {
            let there = inner.schedules.get(&schedule.spec.name);
            if there.map(|there| there.state.version) != expected {
                return Ok(SchedulePut::Stale(there.cloned()));
            }
            if there.is_none() {
                Schedule::check_number(inner.schedules.len())?;
            }
            let wanted = task.as_ref().map(|task| task.id);
            let created = task.map(|task| inner.create(task, None, now)).transpose()?;
            if let (Some(wanted), Some(created)) = (wanted, &created) {
                schedule.joined(wanted, created.task.id());
            }
            inner.notices.extend(schedule.due_at().map(Notice::Due));
            let name = schedule.spec.name.clone();
            inner.schedules.insert(name, schedule.clone());
            Ok(SchedulePut::Done { schedule, created })
        })
    }

    async fn schedule_delete(&self, name: &str) -> Result<bool> {
        self.unit(|inner, _| Ok(inner.schedules.remove(name).is_some()))
    }

    async fn control(&self, changes: Vec<Control>) -> Result<Controls> {
        self.unit(|inner, now| {
            let mut controls = inner.ledger.controls().clone();
            for change in changes {
                controls.apply(change);
            }
            inner.ledger.set_controls(controls.clone(), now);
            inner.notices.extend([Notice::Ready, Notice::Due(now)]);
            Ok(controls)
        })
    }

    async fn close(&self) -> Result<()> {
        self.lock().closed = true;
        Ok(())
    }
}
