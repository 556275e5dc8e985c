//! Which task a call means, by its keys: asked and answered inside the unit that creates it.
//!
//! A key of Redis names the task. The commit looks whether it still says what the decision was made
//! from, so of any number of calls at once one makes the task and the others find it. A key whose task
//! is gone means nothing; it expires with its window, or goes when its task ends.

use std::time::Duration;

use outlast_core::archive::{KeyOf, NamedKey};
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
        let Some((id, until, digest)) = meaning(value) else {
            return Ok(None);
        };
        Ok(self.find(id)?.map(|task| Named {
            task,
            until,
            digest,
        }))
    }

    /// Notes that the keys of `call` mean this task from now on; an idempotency key that still means
    /// another one is left alone.
    pub(crate) fn remember(&mut self, call: &NewTask, task: &Task) -> Result<(), Failure> {
        let id = task.id();
        if let Some(key) = &call.idempotency {
            let until = self.now + key.window;
            self.name_call(&call_name(call, &key.key), id, &key.digest, until)?;
        }
        if let Some(key) = task.takes_key(call) {
            self.call(&["SET", &same_name(call, key), &id.to_string()]);
        }
        Ok(())
    }

    /// Lets a key that was given elsewhere mean its task, as [`outlast_core::archive::Archive::name`] says.
    pub(crate) fn name_task(&mut self, named: &NamedKey) -> Result<(), Failure> {
        let Some(task) = self.find(named.task)? else {
            return Ok(());
        };
        let id = task.id();
        match named.of {
            KeyOf::Call => {
                let name = call_name(&task.spec, &named.key);
                self.name_call(&name, id, &named.digest, named.until)?;
            }
            KeyOf::Work if task.is_finished() => {}
            KeyOf::Work => {
                let name = same_name(&task.spec, &named.key);
                let there = self.find_same(&name)?;
                if there.is_none_or(|there| there.task.is_finished()) {
                    self.call(&["SET", &name, &id.to_string()]);
                }
            }
        }
        Ok(())
    }

    fn name_call(
        &mut self,
        name: &str,
        task: TaskId,
        digest: &str,
        until: Timestamp,
    ) -> Result<(), Failure> {
        let there = self.find_same(name)?;
        if there.is_none_or(|there| there.until <= self.now) && until > self.now {
            let kept = (until.since(self.now) + MARGIN).as_millis();
            let kept = kept.min(1 << 45).to_string();
            let until = row::millis(until);
            let value = format!("{task} {until} {digest}");
            self.call(&["SET", name, &value, "PX", &kept]);
        }
        Ok(())
    }
}

/// What the value of a key says: the task, the end of the window, and the digest of the call.
pub(crate) fn meaning(value: &str) -> Option<(TaskId, Timestamp, String)> {
    let mut parts = value.splitn(3, ' ');
    let id = parts.next()?.parse().ok()?;
    let until = parts.next().and_then(|until| until.parse().ok());
    let until = Timestamp::from_millis(until.unwrap_or(0));
    Some((id, until, parts.next().unwrap_or_default().to_owned()))
}

/// The key of calls in the name of a key of Redis, without its first word: behind owner and tool.
pub(crate) fn key_in(name: &str) -> Option<&str> {
    let behind = |text| {
        let (length, rest) = str::split_once(text, ':')?;
        let (_, rest) = rest.split_at_checked(length.parse().ok()?)?;
        Some(rest)
    };
    behind(behind(name)?)
}

#[cfg(test)]
mod tests {
    use outlast_core::{Owner, RawJson};

    use super::{TaskSpec, call_name, key_in};

    #[test]
    fn a_key_is_found_behind_owner_and_tool() {
        let call = TaskSpec {
            owner: Owner::new("a:b 1:c"),
            ..TaskSpec::new("2:tool", RawJson::empty_object())
        };
        for key in ["", "key", "3:abc:d"] {
            let name = call_name(&call, key);
            assert_eq!(key_in(name.strip_prefix("call:").unwrap()), Some(key));
        }
        for none in ["", "no number", "9:short", "1:a9:short"] {
            assert_eq!(key_in(none), None);
        }
    }
}
