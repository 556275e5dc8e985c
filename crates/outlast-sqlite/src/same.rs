//! Which task a call means, by its keys: asked and answered inside the unit that creates it.

use std::sync::Arc;

use outlast_core::machine::CancelMode;
use outlast_core::same::Then;
use outlast_core::store::{REPLACE_PATIENCE, replaced_by};
use outlast_core::task::NewTask;
use outlast_core::{Error, Task, TaskId};
use rusqlite::{OptionalExtension, params};

use crate::failure::Failure;
use crate::row;
use crate::unit::Unit;

/// What a call means.
pub(crate) enum Meant {
    /// Something new.
    New,
    /// This task.
    Task(Arc<Task>),
    /// Something new in the place of this task.
    Replace(Arc<Task>),
}

/// The two kinds of keys in the table.
const NAMED: &str = "key";
const SAME: &str = "same";

/// The task that a key means.
pub(crate) const FIND: &str = "SELECT task, digest, until FROM same
    WHERE owner = ?1 AND tool = ?2 AND kind = ?3 AND key = ?4";

/// The keys that mean a task.
pub(crate) const FORGET: &str = "DELETE FROM same WHERE task = ?1";

struct Found {
    task: Arc<Task>,
    digest: String,
    until: i64,
}

impl Unit<'_> {
    /// What the call means. A task that takes over the call has done so then.
    pub(crate) fn meant(&mut self, call: &NewTask) -> Result<Meant, Failure> {
        if let Some(key) = &call.idempotency
            && let Some(found) = self.find_same(call, NAMED, &key.key)?
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
        let Some(Found { task, .. }) = self.find_same(call, SAME, &same.key)? else {
            return Ok(Meant::New);
        };
        Ok(match same.then {
            _ if task.is_finished() => Meant::New,
            Then::Join => Meant::Task(self.joined(call, task)?),
            Then::Replace => Meant::Replace(task),
            Then::Debounce { .. } if task.can_be_postponed() => {
                let now = self.now;
                let ((), task) = self.change_found(&task, |task| {
                    Ok(((), task.postpone(call, now).into_iter().collect()))
                })?;
                Meant::Task(self.joined(call, task)?)
            }
            Then::Debounce { .. } => Meant::New,
        })
    }

    fn joined(&mut self, call: &NewTask, task: Arc<Task>) -> Result<Arc<Task>, Failure> {
        self.remember(call, &task)?;
        Ok(task)
    }

    /// Cancels a task because `newer` takes its place.
    pub(crate) fn replace(&mut self, old: &Task, newer: TaskId) -> Result<(), Failure> {
        let patience = CancelMode::Ask(REPLACE_PATIENCE);
        self.cancel(old.id(), replaced_by(newer), patience)?;
        Ok(())
    }

    fn find_same(
        &mut self,
        call: &NewTask,
        kind: &str,
        key: &str,
    ) -> Result<Option<Found>, Failure> {
        let found: Option<(i64, String, i64)> = self
            .conn
            .prepare_cached(FIND)?
            .query_row(params![call.owner.as_str(), call.tool, kind, key], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((sequence, digest, until)) = found else {
            return Ok(None);
        };
        let id: [u8; 16] = self
            .conn
            .prepare_cached("SELECT id FROM task WHERE sequence = ?1")?
            .query_row([sequence], |row| row.get(0))?;
        let task = self.find(TaskId::from_bytes(id))?;
        Ok(task.map(|task| Found {
            task,
            digest,
            until,
        }))
    }

    /// Notes that the keys of `call` mean this task from now on; an idempotency key that still means
    /// another one is left alone.
    pub(crate) fn remember(&mut self, call: &NewTask, task: &Task) -> Result<(), Failure> {
        let sequence = row::int(task.state.sequence);
        let (owner, tool) = (call.owner.as_str(), &call.tool);
        if let Some(key) = &call.idempotency {
            let until = self.now + key.window;
            self.statement(
                "INSERT INTO same (owner, tool, kind, key, task, digest, until)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (owner, tool, kind, key) DO UPDATE
                 SET task = excluded.task, digest = excluded.digest, until = excluded.until
                 WHERE until <= ?8",
            )?
            .execute(params![
                owner,
                tool,
                NAMED,
                key.key,
                sequence,
                key.digest,
                until.as_millis(),
                self.now.as_millis()
            ])?;
        }
        if let Some(same) = &call.same {
            self.statement(
                "INSERT INTO same (owner, tool, kind, key, task, digest, until)
                 VALUES (?1, ?2, ?3, ?4, ?5, '', 0)
                 ON CONFLICT (owner, tool, kind, key) DO UPDATE SET task = excluded.task",
            )?
            .execute(params![owner, tool, SAME, same.key, sequence])?;
        }
        Ok(())
    }
}
