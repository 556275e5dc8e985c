//! What a change of one task does to others, in the same transaction; and how a task gets children.
//!
//! The rules are the state machine's ([`Consequence`]); here are the indexes that find the tasks
//! concerned.

use std::sync::Arc;

use outlast_core::machine::{Blocker, Consequence};
use outlast_core::task::{Lease, NewTask};
use outlast_core::{JournalEntry, JournalKind, Task, TaskId};
use rusqlite::params;

use crate::failure::Failure;
use crate::row::{self, int};
use crate::unit::Unit;

/// The tasks that wait for the end of another.
pub(crate) const DEPENDANTS: &str = "SELECT task.id FROM dependency
    JOIN task ON task.sequence = dependency.task
    WHERE dependency.dependency = ?1 ORDER BY dependency.task";

/// The children of a task.
pub(crate) const CHILDREN: &str = "SELECT id FROM task WHERE parent = ?1 ORDER BY sequence";

/// Those that have not ended.
pub(crate) const OPEN_CHILDREN: &str = "SELECT id FROM task
    WHERE parent = ?1 AND phase <> 'finished' ORDER BY sequence";

impl Unit<'_> {
    pub(crate) fn spawn(
        &mut self,
        lease: &Lease,
        name: String,
        input_hash: Option<u64>,
        mut child: NewTask,
        detached: bool,
    ) -> Result<JournalEntry, Failure> {
        let (parent, now) = (self.fenced(lease)?, self.now);
        let sequence = int(parent.state.sequence);
        row::check_length("name of a journal entry", name.len())?;
        let entry = JournalEntry::child(&name, input_hash, child.id, now);
        if let Some(there) = self.journaled(sequence, JournalKind::Child, &name)? {
            return self.found(lease, there, &entry);
        }
        parent.adopt(lease, &mut child, detached)?;
        if self.find(child.id)?.is_some() {
            return Err(child.id_is_taken().into());
        }
        // Whatever can be refused is refused before anything is written.
        Task::clone(&parent).spawn(lease, &child, &entry, now)?;
        let child = self.create(child, None)?.task;
        let recorded = row::encode("journal entry", &entry.recorded)?;
        self.insert_journal(sequence, &entry, &recorded)?;
        // Read again: a child that could not begin has ended already, and its parent was told.
        self.change(lease.task, |task| {
            Ok(((), task.spawn(lease, &child.spec, &entry, now)?))
        })?;
        Ok(entry)
    }

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
                self.readable(*id)?;
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
        let (sql, id) = match consequence {
            Consequence::DependencyEnded { dependency, .. } => (DEPENDANTS, dependency),
            Consequence::ChildEnded { parent, .. } => {
                return Ok(self
                    .readable(*parent)?
                    .iter()
                    .map(|task| task.id())
                    .collect());
            }
            Consequence::ParentStopped { parent, ended } => {
                (if *ended { CHILDREN } else { OPEN_CHILDREN }, parent)
            }
            _ => return Ok(Vec::new()),
        };
        let mut statement = self.conn.prepare_cached(sql)?;
        let ids = statement.query_map([id.as_bytes()], |row| row.get(0))?;
        Ok(ids
            .map(|id| id.map(TaskId::from_bytes))
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets what no later consequence will need.
    fn applied(&mut self, consequence: &Consequence) -> Result<(), Failure> {
        if let Consequence::DependencyEnded { dependency, .. } = consequence {
            self.statement("DELETE FROM dependency WHERE dependency = ?1")?
                .execute([dependency.as_bytes()])?;
        }
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
