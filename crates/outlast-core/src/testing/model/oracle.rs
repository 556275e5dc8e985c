//! What must hold whatever the state machine does: two stores under one machine would break it alike, so
//! comparing them shows nothing of it.
//!
//! Each rule is told here a second time, from what callers and workers were promised and not from what
//! the machine keeps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::command::Command;
use crate::clock::Timestamp;
use crate::id::TaskId;
use crate::limit::{Controls, Key, Rule};
use crate::machine::Dependency;
use crate::same::Then;
use crate::store::Created;
use crate::task::{Held, Lease, Task, TaskSpec};
use crate::testing::conformance::check_record;

/// All records of the model, also those that nobody may read any more.
type Records = HashMap<TaskId, Arc<Task>>;

/// Whoever calls, and the key under which: owner, tool and key.
type Place = (String, String, String);

/// What the commands so far mean for those to come.
#[derive(Default)]
pub(super) struct Oracle {
    /// Workers that may be at work.
    at_work: Vec<AtWork>,
    /// What idempotency keys were promised to mean, and until when.
    promised: BTreeMap<Place, (TaskId, Timestamp)>,
}

/// A worker that was given a task and has not been heard to let go of it.
struct AtWork {
    lease: Lease,
    keys: Vec<Key>,
    /// When it stops by itself if it hears nothing.
    until: Timestamp,
}

impl Oracle {
    /// Looks at the records before and after a command.
    ///
    /// # Panics
    /// If a record breaks an invariant that every record of every store keeps.
    pub(super) fn look(
        &mut self,
        command: &Command,
        before: &Records,
        after: &Records,
        controls: &Controls,
        now: Timestamp,
    ) -> Result<(), String> {
        for task in after.values() {
            check_record(task);
            check_retention(task, after)?;
        }
        if let Command::Delete { .. } = command {
            let gone = |task: &TaskId| before.contains_key(task) && !after.contains_key(task);
            self.promised.retain(|_, (task, _)| !gone(task));
        }
        let recovered = matches!(command, Command::Recover { .. });
        let spoke = matches!(command, Command::Finish { .. } | Command::Suspend { .. });
        self.at_work.retain_mut(|one| {
            let id = one.lease.task;
            if let Some(held) = held_under(after.get(&id), &one.lease) {
                one.until = held.until;
                return true;
            }
            // Its process is dead; or it let go of the task, or was cut off from it. Only of an end over
            // its head it may not know.
            let let_go = spoke && held_under(before.get(&id), &one.lease).is_some();
            let goes_on = after.get(&id).is_some_and(|task| !task.is_finished());
            !recovered && !let_go && !goes_on && one.until > now
        });
        let mut given: Vec<_> = after
            .values()
            .filter(|task| task.lease().is_some())
            .collect();
        given.sort_unstable_by_key(|task| task.state.sequence);
        for task in given {
            let lease = task.lease().expect("only those that run");
            if self
                .at_work
                .iter()
                .any(|one| one.lease.nonce == lease.nonce)
            {
                continue;
            }
            let limits = task.spec.keys.limits.iter();
            self.at_work.push(AtWork {
                lease,
                keys: limits.map(|limit| limit.key.clone()).collect(),
                until: task.state.held.as_ref().expect("it runs").until,
            });
            self.check_limits(task, before.get(&task.id()), controls)?;
        }
        Ok(())
    }

    /// Whether the task that was just given to a worker may run beside all others that may be at work.
    fn check_limits(
        &self,
        task: &Task,
        before: Option<&Arc<Task>>,
        controls: &Controls,
    ) -> Result<(), String> {
        for limit in &task.spec.keys.limits {
            let Some(Rule::Running(max)) = controls.rules.get(&limit.key.rule) else {
                continue;
            };
            // It held the key already, perhaps longer than there is a rule.
            if before.is_some_and(|before| before.held_keys().any(|key| *key == limit.key)) {
                continue;
            }
            let beside = self
                .at_work
                .iter()
                .filter(|one| one.keys.contains(&limit.key));
            let beside: Vec<_> = beside.map(|one| one.lease.task).collect();
            if beside.len() > usize::try_from(*max).expect("small") {
                return Err(format!(
                    "{beside:?} may be at work at the same time under {}, which allows {max} (I3)",
                    limit.key
                ));
            }
        }
        Ok(())
    }

    /// Judges which task a call got.
    pub(super) fn created(
        &mut self,
        call: &TaskSpec,
        created: &Created,
        before: &Records,
        now: Timestamp,
    ) -> Result<(), String> {
        if before.contains_key(&call.id) {
            return Ok(());
        }
        let (id, owner, tool) = (created.task.id(), &call.owner, &call.tool);
        if let Some(key) = &call.idempotency {
            let place = (owner.as_str().to_owned(), tool.clone(), key.key.clone());
            let promised = self.promised.get(&place).filter(|(_, until)| *until > now);
            match promised {
                Some((promised, _)) if *promised == id => return Ok(()),
                Some((promised, until)) => {
                    return Err(format!(
                        "the key {place:?} means {promised} until {until}, and the call got {id}"
                    ));
                }
                None => drop(self.promised.insert(place, (id, now + key.window))),
            }
        }
        let Some(same) = &call.same else {
            return Ok(());
        };
        if !created.joined {
            let unstarted = before.values().find(|task| {
                let key = task.spec.same.as_ref().map(|same| &same.key);
                let equal = task.spec.owner == *owner && task.spec.tool == *tool;
                equal && key == Some(&same.key) && task.state.epoch == 0 && !task.is_finished()
            });
            return match unstarted.filter(|_| same.then != Then::Replace) {
                None => Ok(()),
                Some(task) => Err(format!(
                    "{} is the same work and has not started",
                    task.id()
                )),
            };
        }
        let Some(joined) = before.get(&id) else {
            return Err(format!("{id} was joined and is not there"));
        };
        if joined.is_finished() || joined.state.cancel.is_some() {
            return Err(format!("{id} was joined and can bring nothing any more"));
        }
        let waited_for = |edge: &&Dependency| edge.task == id || joined.spec.after.contains(edge);
        if let Some(edge) = call.after.iter().find(|edge| !waited_for(edge)) {
            return Err(format!(
                "{id} took in a call that comes after {}, and may run before",
                edge.task
            ));
        }
        if let Then::Debounce { .. } = same.then
            && created.task.spec.keys != call.keys
        {
            return Err(format!("{id} took over a call without its keys"));
        }
        Ok(())
    }
}

/// How the task is held, if it is under this lease or one that its worker got for the undos.
fn held_under<'a>(task: Option<&'a Arc<Task>>, lease: &Lease) -> Option<&'a Held> {
    let held = task.and_then(|task| task.state.held.as_ref());
    held.filter(|held| held.nonce == lease.nonce)
}

/// A child that has ended is kept for nobody longer than for itself once its parent has ended too.
fn check_retention(task: &Task, records: &Records) -> Result<(), String> {
    let parent = task.spec.attached_to();
    let parent = parent.and_then(|parent| records.get(&parent));
    let ends = parent.map(|parent| (parent.state.finished_at, task.state.finished_at));
    let Some((Some(parent), Some(own))) = ends else {
        return Ok(());
    };
    let (kept, allowed) = (task.state.expire_at, task.kept_from(own.max(parent)));
    if kept.is_some_and(|kept| kept > allowed) {
        return Err(format!(
            "{} is kept until {kept:?}, and {allowed:?} would do",
            task.id()
        ));
    }
    Ok(())
}
