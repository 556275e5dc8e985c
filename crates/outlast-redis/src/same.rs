//! Which task a call means, by its keys: asked and answered inside the unit that creates it.
//!
//! A key of Redis names the task. The commit looks whether it still says what the decision was made
//! from, so of any number of calls at once one makes the task and the others find it. A key whose task
//! is gone means nothing; it expires with its window, or goes when its task ends.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::machine::CancelMode;
use outlast_core::same::Then;
use outlast_core::store::{REPLACE_PATIENCE, replaced_by};
use outlast_core::task::{NewTask, TaskSpec};
use outlast_core::{Error, Task, TaskId};

use crate::failure::Failure;
use crate::row;
use crate::unit::Unit;

/// How much longer than its window a key is kept, so that clocks need not agree.
const MARGIN: Duration = Duration::from_secs(60 * 60);

/// What a call means.
pub(crate) enum Meant {
    /// Something new.
    New,
    /// This task.
    Task(Arc<Task>),
    /// Something new in the place of this task.
    Replace(Arc<Task>),
}

/// Where a tool's key for its work stands.
pub(crate) fn same_name(call: &TaskSpec, key: &str) -> String {
    name("same", call, key)
}

/// Where a caller's key for a call stands.
fn call_name(call: &TaskSpec, key: &str) -> String {
    name("call", call, key)
}

fn name(kind: &str, call: &TaskSpec, key: &str) -> String {
    let (owner, tool) = (call.owner.as_str(), &call.tool);
    format!("{kind}:{}:{owner}{}:{tool}{key}", owner.len(), tool.len())
}

/// What stands under a key: task, end of the window, digest of the arguments.
struct Found {
    task: Arc<Task>,
    until: i64,
    digest: String,
}

impl Unit<'_> {
    /// What the call means. A task that takes over the call has done so then.
    pub(crate) fn meant(&mut self, call: &NewTask) -> Result<Meant, Failure> {
        if let Some(key) = &call.idempotency
            && let Some(found) = self.find_same(&call_name(call, &key.key))?
            && found.until > self.now.as_millis()
        {
            if found.digest != key.digest {
                let (key, task) = (key.key.clone(), found.task.id());
                return Err(Error::KeyReused { key, task }.into());
            }
            return Ok(Meant::Task(found.task));
        }
        let Some(same) = &call.same else {
            return Ok(Meant::New);
        };
        let Some(Found { task, .. }) = self.find_same(&same_name(call, &same.key))? else {
            return Ok(Meant::New);
        };
        Ok(match same.then {
            _ if task.is_finished() => Meant::New,
            Then::Join => {
                self.remember(call, task.id())?;
                Meant::Task(task)
            }
            Then::Replace => Meant::Replace(task),
            Then::Debounce { .. } if task.can_be_postponed() => {
                let now = self.now;
                let ((), task) = self.change_found(&task, |task| {
                    Ok(((), task.postpone(call, now).into_iter().collect()))
                })?;
                self.remember(call, task.id())?;
                Meant::Task(task)
            }
            Then::Debounce { .. } => Meant::New,
        })
    }

    /// Cancels a task because `newer` takes its place.
    pub(crate) fn replace(&mut self, old: TaskId, newer: TaskId) -> Result<(), Failure> {
        self.cancel(old, replaced_by(newer), CancelMode::Ask(REPLACE_PATIENCE))?;
        Ok(())
    }

    fn find_same(&mut self, name: &str) -> Result<Option<Found>, Failure> {
        let Some(value) = self.name(name)? else {
            return Ok(None);
        };
        let mut parts = value.splitn(3, ' ');
        let id = parts.next().and_then(|id| id.parse::<TaskId>().ok());
        let until = parts.next().and_then(|until| until.parse().ok());
        let digest = parts.next().unwrap_or_default().to_owned();
        let Some(id) = id else { return Ok(None) };
        Ok(self.find(id)?.map(|task| Found {
            task,
            until: until.unwrap_or(0),
            digest,
        }))
    }

    /// Notes that the keys of `call` mean this task from now on; an idempotency key that still means
    /// another one is left alone.
    pub(crate) fn remember(&mut self, call: &NewTask, task: TaskId) -> Result<(), Failure> {
        if let Some(key) = &call.idempotency {
            let name = call_name(call, &key.key);
            let there = self.find_same(&name)?;
            if there.is_none_or(|there| there.until <= self.now.as_millis()) {
                let until = row::millis(self.now + key.window);
                let value = format!("{task} {until} {}", key.digest);
                let kept = (key.window + MARGIN).as_millis().min(1 << 45).to_string();
                self.call(&["SET", &name, &value, "PX", &kept]);
            }
        }
        if let Some(same) = &call.same {
            self.call(&["SET", &same_name(call, &same.key), &task.to_string()]);
        }
        Ok(())
    }
}
