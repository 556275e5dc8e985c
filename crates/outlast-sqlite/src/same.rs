//! Which task a call means, by its keys: asked and answered inside the unit that creates it.

use outlast_core::archive::{KeyOf, NamedKey};
use outlast_core::machine::{CancelMode, Meant, Named};
use outlast_core::store::{REPLACE_PATIENCE, replaced_by};
use outlast_core::task::NewTask;
use outlast_core::{Task, TaskId, Timestamp};
use rusqlite::{OptionalExtension, params};

use crate::failure::Failure;
use crate::row;
use crate::unit::Unit;

/// The two kinds of keys in the table.
const NAMED: &str = "key";
pub(crate) const SAME: &str = "same";

/// The task that a key means.
pub(crate) const FIND: &str = "SELECT task, digest, until FROM same
    WHERE owner = ?1 AND tool = ?2 AND kind = ?3 AND key = ?4";

/// The keys that mean a task.
pub(crate) const FORGET: &str = "DELETE FROM same WHERE task = ?1";

impl Unit<'_> {
    /// What the call means. A task that takes over the call has done so then.
    pub(crate) fn meant(&mut self, call: &NewTask) -> Result<Meant, Failure> {
        if let Some(key) = &call.idempotency
            && let Some(named) = self.find_same(call, NAMED, &key.key)?
            && let Some(task) = named.meant_by(call, self.now)?
        {
            return Ok(Meant::Task(task));
        }
        let Some(same) = &call.same else {
            return Ok(Meant::New);
        };
        let Some(Named { task, .. }) = self.find_same(call, SAME, &same.key)? else {
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
    ) -> Result<Option<Named>, Failure> {
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
        Ok(task.map(|task| Named {
            task,
            until: Timestamp::from_millis(until),
            digest,
        }))
    }

    /// Notes that the keys of `call` mean this task from now on; an idempotency key that still means
    /// another one is left alone.
    pub(crate) fn remember(&mut self, call: &NewTask, task: &Task) -> Result<(), Failure> {
        if let Some(key) = &call.idempotency {
            let until = self.now + key.window;
            self.name_call(task, &key.key, &key.digest, until)?;
        }
        if let Some(key) = task.takes_key(call) {
            self.name_work(task, key)?;
        }
        Ok(())
    }

    /// Lets a key that was given elsewhere mean its task, as [`outlast_core::archive::Archive::name`] says.
    pub(crate) fn name(&mut self, named: &NamedKey) -> Result<(), Failure> {
        let Some(task) = self.find(named.task)? else {
            return Ok(());
        };
        match named.of {
            KeyOf::Call if named.until > self.now => {
                self.name_call(&task, &named.key, &named.digest, named.until)
            }
            KeyOf::Work if !task.is_finished() => {
                let there = self.find_same(&task.spec, SAME, &named.key)?;
                match there.is_none_or(|there| there.task.is_finished()) {
                    true => self.name_work(&task, &named.key),
                    false => Ok(()),
                }
            }
            KeyOf::Call | KeyOf::Work => Ok(()),
        }
    }

    fn name_call(
        &mut self,
        task: &Task,
        key: &str,
        digest: &str,
        until: Timestamp,
    ) -> Result<(), Failure> {
        let now = self.now.as_millis();
        self.statement(
            "INSERT INTO same (owner, tool, kind, key, task, digest, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (owner, tool, kind, key) DO UPDATE
             SET task = excluded.task, digest = excluded.digest, until = excluded.until
             WHERE until <= ?8",
        )?
        .execute(params![
            task.spec.owner.as_str(),
            task.spec.tool,
            NAMED,
            key,
            row::int(task.state.sequence),
            digest,
            until.as_millis(),
            now
        ])?;
        Ok(())
    }

    fn name_work(&mut self, task: &Task, key: &str) -> Result<(), Failure> {
        self.statement(
            "INSERT INTO same (owner, tool, kind, key, task, digest, until)
             VALUES (?1, ?2, ?3, ?4, ?5, '', 0)
             ON CONFLICT (owner, tool, kind, key) DO UPDATE SET task = excluded.task",
        )?
        .execute(params![
            task.spec.owner.as_str(),
            task.spec.tool,
            SAME,
            key,
            row::int(task.state.sequence)
        ])?;
        Ok(())
    }
}
