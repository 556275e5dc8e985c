//! Which task a call means, by its keys: asked and answered inside the unit that creates it.
//!
//! A key of Redis names the task. The commit looks whether it still says what the decision was made
//! from, so of any number of calls at once one makes the task and the others find it. A key whose task
//! is gone means nothing; it expires with its window, or goes when its task ends.

use std::time::Duration;

use outlast_core::machine::{CancelMode, Meant, Named};
use outlast_core::store::{REPLACE_PATIENCE, replaced_by};
use outlast_core::task::{NewTask, TaskSpec};
use outlast_core::{Task, TaskId, Timestamp};

use crate::failure::Failure;
use crate::row;
use crate::unit::Unit;

/// How much longer than its window a key is kept, so that clocks need not agree.
const MARGIN: Duration = Duration::from_secs(60 * 60);

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

impl Unit<'_> {
    /// What the call means. A task that takes over the call has done so then.
    pub(crate) fn meant(&mut self, call: &NewTask) -> Result<Meant, Failure> {
        if let Some(key) = &call.idempotency
            && let Some(named) = self.find_same(&call_name(call, &key.key))?
            && let Some(task) = named.meant_by(call, self.now)?
        {
            return Ok(Meant::Task(task));
        }
        let Some(same) = &call.same else {
            return Ok(Meant::New);
        };
        let Some(Named { task, .. }) = self.find_same(&same_name(call, &same.key))? else {
            return Ok(Meant::New);
        };
        let meant = call.meant(task)?;
        let Meant::Task(task) = meant else {
            return Ok(meant);
        };
        let now = self.now;
        let ((), joined) = self.change_found(&task, |task| {
            Ok(((), task.join(call, now).into_iter().collect()))
        })?;
        self.remember(call, &joined)?;
        Ok(Meant::Task(joined))
    }

    /// Cancels a task because `newer` takes its place.
    pub(crate) fn replace(&mut self, old: TaskId, newer: TaskId) -> Result<(), Failure> {
        self.cancel(old, replaced_by(newer), CancelMode::Ask(REPLACE_PATIENCE))?;
        Ok(())
    }

    fn find_same(&mut self, name: &str) -> Result<Option<Named>, Failure> {
        let Some(value) = self.name(name)? else {
            return Ok(None);
        };
        let mut parts = value.splitn(3, ' ');
        let id = parts.next().and_then(|id| id.parse::<TaskId>().ok());
        let until = parts.next().and_then(|until| until.parse().ok());
        let until = Timestamp::from_millis(until.unwrap_or(0));
        let digest = parts.next().unwrap_or_default().to_owned();
        let Some(id) = id else { return Ok(None) };
        Ok(self.find(id)?.map(|task| Named {
            task,
            until,
            digest,
        }))
    }

    /// Notes that the keys of `call` mean this task from now on; an idempotency key that still means
    /// another one is left alone.
    pub(crate) fn remember(&mut self, call: &NewTask, task: &Task) -> Result<(), Failure> {
        self.remember_from(call, task, self.now)
    }

    /// The same for a task that was created elsewhere.
    pub(crate) fn remember_since(&mut self, call: &NewTask, task: &Task) -> Result<(), Failure> {
        self.remember_from(call, task, task.state.created_at)
    }

    fn remember_from(
        &mut self,
        call: &NewTask,
        task: &Task,
        created: Timestamp,
    ) -> Result<(), Failure> {
        let id = task.id();
        if let Some(key) = &call.idempotency {
            let name = call_name(call, &key.key);
            let there = self.find_same(&name)?;
            let until = created + key.window;
            if there.is_none_or(|there| there.until <= self.now) && until > self.now {
                let kept = (until.since(self.now) + MARGIN).as_millis();
                let kept = kept.min(1 << 45).to_string();
                let until = row::millis(until);
                let value = format!("{id} {until} {}", key.digest);
                self.call(&["SET", &name, &value, "PX", &kept]);
            }
        }
        // One that has ended, perhaps with its creation, is joined by nobody, and would never be forgotten.
        if let Some(same) = call.same.as_ref().filter(|_| !task.is_finished()) {
            self.call(&["SET", &same_name(call, &same.key), &id.to_string()]);
        }
        Ok(())
    }
}
