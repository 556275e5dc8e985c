//! What a change of one task does to others, in the same transaction.
//!
//! The rules are the state machine's ([`Consequence`]); here are the indexes that find the tasks
//! concerned.

use std::sync::Arc;

use outlast_core::machine::{Blocker, Consequence};
use outlast_core::{Task, TaskId};
use rusqlite::params;

use crate::failure::Failure;
use crate::row::int;
use crate::unit::Unit;

/// The tasks that wait for the end of another.
pub(crate) const DEPENDANTS: &str = "SELECT task.id FROM dependency
    JOIN task ON task.sequence = dependency.task
    WHERE dependency.dependency = ?1 ORDER BY dependency.task";

impl Unit<'_> {
    /// Notes what a change means for others, and applies it unless somebody further up does.
    pub(crate) fn owe(&mut self, before: Option<&Task>, after: &Task) -> Result<(), Failure> {
        self.owed.extend(Consequence::between(before, after));
        if std::mem::replace(&mut self.settling, true) {
            return Ok(());
        }
        let now = self.now;
        while let Some(consequence) = self.owed.pop_front() {
            let concerned = self.concerned(&consequence)?;
            for id in &concerned {
                self.change(*id, |task| Ok(((), task.follow(&consequence, now))))?;
            }
            if !concerned.is_empty() {
                self.applied(&consequence)?;
            }
        }
        self.settling = false;
        Ok(())
    }

    /// The tasks to which a consequence is to be applied, in the order of creation.
    fn concerned(&mut self, consequence: &Consequence) -> Result<Vec<TaskId>, Failure> {
        let Consequence::DependencyEnded { dependency: id, .. } = consequence;
        let sql = DEPENDANTS;
        let mut statement = self.conn.prepare_cached(sql)?;
        let ids = statement.query_map([id.as_bytes()], |row| row.get(0))?;
        Ok(ids
            .map(|id| id.map(TaskId::from_bytes))
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets what no later consequence will need.
    fn applied(&mut self, consequence: &Consequence) -> Result<(), Failure> {
        let Consequence::DependencyEnded { dependency, .. } = consequence;
        self.statement("DELETE FROM dependency WHERE dependency = ?1")?
            .execute([dependency.as_bytes()])?;
        Ok(())
    }

    /// Writes whose end a new task waits for.
    pub(crate) fn insert_relations(&mut self, task: &Arc<Task>) -> Result<(), Failure> {
        for blocker in &task.state.blocked {
            let Blocker::Task(edge) = blocker else {
                continue;
            };
            self.statement("INSERT INTO dependency (dependency, task) VALUES (?1, ?2)")?
                .execute(params![edge.task.as_bytes(), int(task.state.sequence)])?;
        }
        Ok(())
    }

    /// Deletes what is left of [`Unit::insert_relations`].
    pub(crate) fn remove_relations(&mut self, task: &Task) -> Result<(), Failure> {
        for edge in &task.spec.after {
            self.statement("DELETE FROM dependency WHERE dependency = ?1 AND task = ?2")?
                .execute(params![edge.task.as_bytes(), int(task.state.sequence)])?;
        }
        Ok(())
    }
}
