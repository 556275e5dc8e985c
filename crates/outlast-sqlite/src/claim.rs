//! How tasks come to a worker: create, claim, recover.
//!
//! The order is (priority, sequence), and a task that is created may be claimed in the same unit
//! only if it would be the next one anyway; so fusing changes what is written, never who runs when.

use std::sync::Arc;

use outlast_core::id::WorkerId;
use outlast_core::machine::{Meant, Rescue};
use outlast_core::status::Phase;
use outlast_core::store::{
    ClaimBy, ClaimNow, Claimed, Created, Notice, Recovered, ToolVersion, cause_at_start,
};
use outlast_core::task::NewTask;
use outlast_core::{Error, Task, TaskId};

use crate::failure::Failure;
use crate::ready::{Looking, Place, place};
use crate::row;
use crate::schema::put_meta;
use crate::unit::Unit;

/// Every task that somebody runs, or ran.
pub(crate) const RUNNING: &str = "SELECT id FROM task INDEXED BY task_unfinished
    WHERE phase = 'running' AND phase <> 'finished' ORDER BY sequence";

impl Unit<'_> {
    pub(crate) fn create(
        &mut self,
        spec: NewTask,
        claim: Option<&ClaimNow>,
    ) -> Result<Created, Failure> {
        let id = spec.id;
        let named = spec.idempotency.is_some() || spec.same.is_some();
        if (named || !spec.after.is_empty()) && self.find(id)?.is_some() {
            // What it comes after, and what it means, was looked up the first time, and may be gone.
            return self.created_before(id, claim);
        }
        let meant = if named {
            self.meant(&spec)?
        } else {
            Meant::New
        };
        let replaced = match meant {
            Meant::Task(task) => return Ok(Created::joined(task)),
            Meant::Replace(old) => Some(old),
            Meant::New => None,
        };
        let now = self.now;
        let replaces = replaced.as_ref().map(|old| old.id());
        let ended = spec.ended_dependencies(replaces, now, |id| self.find(id))?;
        let sequence = self.known.sequence + 1;
        let (mut task, created) = Task::create(Arc::new(spec), sequence, self.now);
        let mut events = vec![created];
        for (dependency, status) in ended {
            events.extend(task.dependency_ended(dependency, status, now));
        }
        let fuse = match claim {
            None => None,
            Some(ClaimNow::Running(by)) => {
                let ready = task.state.phase == Phase::Queued;
                (ready && self.known.ledger.has_room(&task, self.now)).then_some(by)
            }
            Some(ClaimNow::IfNext(by)) => self.is_next(&task, by)?.then_some(by),
        };
        // A task that takes another's place in the queue needs no further one.
        let placed = replaced
            .as_ref()
            .is_some_and(|old| old.quota_keys() == task.quota_keys());
        if fuse.is_none()
            && !placed
            && let Err(full) = self.known.ledger.check_quotas(&task, self.now)
        {
            // One that is there already does not need room.
            return match self.find(id)? {
                Some(_) => self.created_before(id, claim),
                None => Err(full.into()),
            };
        }
        if let Some(old) = replaced {
            self.replace(&old, id)?;
        }
        let mut lease = None;
        if let Some(by) = fuse {
            let nonce = self.nonce()?;
            let claimed = task.claim(by.worker, nonce, by.lease, self.now);
            let (given, started) = claimed.expect("only ready tasks are fused");
            lease = Some(given);
            events.push(started);
        }
        let task = Arc::new(task);
        if !self.insert(&task, &events)? {
            return self.created_before(id, claim);
        }
        self.remember(&task.spec, &task)?;
        if lease.is_some() {
            self.start(&task)?;
        }
        self.notices.push(Notice::Changed {
            task: id,
            version: task.state.version,
        });
        self.notices.push(Notice::Due(task.due_at()));
        if task.state.phase == Phase::Queued {
            self.notices.push(Notice::Ready);
        }
        Ok(Created {
            task,
            lease,
            joined: false,
        })
    }

    /// A creation that is repeated finds the task as it is, and its lease only if it is the caller's.
    fn created_before(&mut self, id: TaskId, claim: Option<&ClaimNow>) -> Result<Created, Failure> {
        let task = self.find(id)?.ok_or(Error::NotFound(id))?;
        Ok(Created::again(task, claim))
    }

    /// Whether a task that is about to be written would be the first that this worker could take.
    fn is_next(&mut self, task: &Task, by: &ClaimBy) -> Result<bool, Failure> {
        let key = ToolVersion {
            tool: task.spec.tool.clone(),
            version: task.spec.tool_version.clone(),
        };
        if task.state.phase != Phase::Queued || !by.tools.contains(&key) {
            return Ok(false);
        }
        if !self.known.ledger.lets_in(task, self.now) {
            return Ok(false);
        }
        let first = self.first(by, by.suspects)?;
        Ok(first.is_none_or(|(before, _)| place(task) < before))
    }

    pub(crate) fn claim(&mut self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>, Failure> {
        let mut claimed = Vec::new();
        // Of several suspects only the first may run.
        let mut suspects = by.suspects;
        while claimed.len() < limit {
            let Some((_, id)) = self.first(by, suspects)? else {
                break;
            };
            let Some(one) = self.claim_one(id, by)? else {
                continue;
            };
            suspects &= !one.task.state.suspect;
            claimed.push(one);
        }
        if claimed.len() == limit && self.first(by, suspects)?.is_some() {
            self.notices.push(Notice::Ready);
        }
        Ok(claimed)
    }

    /// The first ready task that this worker may take now.
    fn first(&mut self, by: &ClaimBy, suspects: bool) -> Result<Option<(Place, TaskId)>, Failure> {
        self.open_rates();
        let looking = Looking {
            conn: self.conn,
            by,
            suspects,
            now: self.now,
        };
        self.known.ready.first(&looking, &self.known.ledger)
    }

    /// `None` if it could not be read, and so has failed or waits for its undos.
    fn claim_one(&mut self, id: TaskId, by: &ClaimBy) -> Result<Option<Claimed>, Failure> {
        let (nonce, now) = (self.nonce()?, self.now);
        let before = match self.find(id) {
            Err(Failure::Unreadable(error)) => {
                self.set_aside(id, &error)?;
                return Ok(None);
            }
            before => before?.ok_or(Error::NotFound(id))?,
        };
        // Nobody can have written a journal before the first lease.
        let journal = match before.state.epoch {
            0 => Vec::new(),
            _ => match crate::query::journal_of(self.conn, row::int(before.state.sequence)) {
                Err(Failure::Told(error)) => {
                    self.set_aside(id, &error)?;
                    return Ok(None);
                }
                journal => journal?,
            },
        };
        let (lease, task) = self.change_found(&before, |task| {
            let (lease, event) = task
                .claim(by.worker, nonce, by.lease, now)
                .expect("only queued tasks are ready");
            Ok((lease, vec![event]))
        })?;
        self.start(&before)?;
        Ok(Some(Claimed {
            task,
            lease,
            journal,
        }))
    }

    /// Takes back what a dead process ran. `boot` is the machine's present boot, `last_boot` the one
    /// in which the store was last used.
    pub(crate) fn recover(
        &mut self,
        worker: WorkerId,
        boot: Option<&str>,
        last_boot: Option<&str>,
    ) -> Result<Recovered, Failure> {
        let same_boot = match (boot, last_boot) {
            (Some(now), Some(then)) => now == then,
            _ => true,
        };
        let reason = cause_at_start(same_boot);
        let mut running = Vec::new();
        for id in self.running()? {
            let task = self.readable(id)?.ok_or(Error::NotFound(id))?;
            let held = task.state.held.as_ref();
            if held.is_some_and(|held| held.worker != worker) {
                running.push(task);
            }
        }
        let taken = Rescue::after_death(reason, running.iter().map(|task| &**task));
        let mut recovered = Recovered::default();
        let now = self.now;
        for task in &running {
            let rescue = taken(task);
            // Read again: the rescue of an earlier one may have changed it.
            let (_, task) =
                self.change(task.id(), |task| Ok(((), vec![task.rescue(rescue, now)])))?;
            if task.state.phase == Phase::Finished {
                recovered.failed += 1;
            } else {
                recovered.rescued += 1;
            }
        }
        if let Some(boot) = boot
            && last_boot != Some(boot)
        {
            self.written = true;
            put_meta(self.conn, "boot", boot)?;
        }
        Ok(recovered)
    }

    fn running(&mut self) -> Result<Vec<TaskId>, Failure> {
        let mut statement = self.conn.prepare_cached(RUNNING)?;
        let ids = statement.query_map([], |row| row.get(0))?;
        Ok(ids
            .map(|id| id.map(TaskId::from_bytes))
            .collect::<rusqlite::Result<_>>()?)
    }
}
