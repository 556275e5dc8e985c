//! Creating a task, or finding the one that a call means.

use std::sync::Arc;

use super::{Inner, Kept, Name};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::Owner;
use crate::machine::{CancelMode, Consequence, Meant, Named};
use crate::status::Phase;
use crate::store::{ClaimNow, Created, Notice, REPLACE_PATIENCE, replaced_by};
use crate::task::{NewTask, Task};

impl Inner {
    pub(super) fn create(
        &mut self,
        task: NewTask,
        claim: Option<ClaimNow>,
        now: Timestamp,
    ) -> Result<Created> {
        if let Some(kept) = self.tasks.get(&task.id) {
            return Ok(Created::again(Arc::clone(&kept.task), claim.as_ref()));
        }
        let meant = self.meant(&task, now)?;
        if let Meant::Task(joined) = meant {
            return Ok(Created::joined(joined));
        }
        let replaced = match meant {
            Meant::Replace(old) => Some(old),
            _ => None,
        };
        let replaces = replaced.as_ref().map(|old| old.id());
        let ended = task.ended_dependencies(replaces, now, |id| {
            Ok::<_, Error>(self.tasks.get(&id).map(|kept| Arc::clone(&kept.task)))
        })?;
        let (mut task, event) = Task::create(Arc::new(task), self.sequence + 1, now);
        let mut events = vec![event];
        for (dependency, status) in ended {
            events.extend(task.dependency_ended(dependency, status, now));
        }
        let by = self.fuses(&task, claim.as_ref(), now);
        // A task that takes another's place in the queue needs no further one.
        let placed = replaced
            .as_ref()
            .is_some_and(|old| old.quota_keys() == task.quota_keys());
        if by.is_none() && !placed {
            self.ledger.check_quotas(&task, now)?;
        }
        if let Some(old) = replaced {
            self.cancel(
                old.id(),
                replaced_by(task.id()),
                CancelMode::Ask(REPLACE_PATIENCE),
                now,
            )?;
        }
        self.sequence += 1;
        let id = task.id();
        self.notices.push(Notice::Changed {
            task: id,
            version: task.state.version,
        });
        self.notices.push(Notice::Due(task.due_at()));
        let task = Arc::new(task);
        self.count(None, Some(&task));
        let kept = Kept {
            task: Arc::clone(&task),
            events,
            journal: Vec::new(),
            signals: Vec::new(),
            log: Vec::new(),
            log_end: 0,
            mark: None,
        };
        self.tasks.insert(id, kept);
        self.remember(&task.spec, &task, now);
        self.owed.extend(Consequence::between(None, &task));
        self.settle();
        match by {
            Some(by) => {
                let claimed = self.claim_one(id, by, now)?;
                Ok(Created {
                    task: claimed.task,
                    lease: Some(claimed.lease),
                    joined: false,
                })
            }
            None => {
                if task.state.phase == Phase::Queued {
                    self.notices.push(Notice::Ready);
                }
                Ok(Created {
                    task,
                    lease: None,
                    joined: false,
                })
            }
        }
    }

    /// What the call means, by its keys. A task that takes over the call has done so then.
    fn meant(&mut self, call: &NewTask, now: Timestamp) -> Result<Meant> {
        if let Some(key) = &call.idempotency
            && let Some(name) = self.named.get(&place_of(call, &key.key))
            && let Some(kept) = self.tasks.get(&name.task)
        {
            let named = Named {
                task: Arc::clone(&kept.task),
                until: name.until,
                digest: name.digest.clone(),
            };
            if let Some(task) = named.meant_by(call, now)? {
                return Ok(Meant::Task(task));
            }
        }
        let Some(same) = &call.same else {
            return Ok(Meant::New);
        };
        let there = self.same.get(&place_of(call, &same.key));
        let Some(there) = there.and_then(|id| self.tasks.get(id)) else {
            return Ok(Meant::New);
        };
        let meant = call.meant(Arc::clone(&there.task))?;
        let Meant::Task(there) = meant else {
            return Ok(meant);
        };
        let ((), joined) = self.change(there.id(), |task| {
            Ok(((), task.join(call, now).into_iter().collect()))
        })?;
        self.remember(call, &joined, now);
        Ok(Meant::Task(joined))
    }

    /// Notes that the keys of `call` mean this task from now on.
    pub(super) fn remember(&mut self, call: &NewTask, task: &Task, now: Timestamp) {
        if let Some(key) = &call.idempotency {
            let place = place_of(call, &key.key);
            let fresh = self
                .named
                .get(&place)
                .is_none_or(|named| named.until <= now || !self.tasks.contains_key(&named.task));
            if fresh {
                let named = Name {
                    task: task.id(),
                    digest: key.digest.clone(),
                    until: now + key.window,
                };
                self.named.insert(place, named);
            }
        }
        if let Some(key) = task.takes_key(call) {
            self.same.insert(place_of(call, key), task.id());
        }
    }
}

/// Where a call's keys are kept apart from those of others.
fn place_of(call: &NewTask, key: &str) -> (Owner, String, String) {
    (call.owner.clone(), call.tool.clone(), key.to_owned())
}
