//! Consequences: what a change of one task means for others.
//!
//! The state machine changes one record at a time. Where that must change other records, it says so
//! here, and the store applies it in the same atomic unit: it finds the records concerned, in the order
//! of their creation, and calls [`Task::follow`] on each, whose consequences come behind in the queue.
//! A store has to know two indexes for this and no rule.

use crate::clock::Timestamp;
use crate::event::Event;
use crate::id::TaskId;
use crate::status::TaskStatus;
use crate::task::Task;

/// What is owed to other tasks.
#[derive(Clone, PartialEq, Debug)]
pub enum Consequence {
    /// A task has ended: to be applied to each task that comes after it
    /// ([`crate::task::TaskSpec::after`]).
    DependencyEnded {
        /// The task that ended.
        dependency: TaskId,
        /// How; see [`Task::end_status`].
        status: TaskStatus,
    },
}

impl Consequence {
    /// What the change of a record from `before` to `after` means for others; a new record has no
    /// `before`. In the order in which it is to be applied.
    pub fn between(before: Option<&Task>, after: &Task) -> Vec<Self> {
        let mut owed = Vec::new();
        let ended = before.is_none_or(|before| !before.is_finished());
        if let Some(status) = after.end_status().filter(|_| ended) {
            let dependency = after.id();
            owed.push(Self::DependencyEnded { dependency, status });
        }
        owed
    }
}

impl Task {
    /// Applies what the change of another task means for this one. Repeating it is harmless.
    pub fn follow(&mut self, consequence: &Consequence, now: Timestamp) -> Vec<Event> {
        match consequence {
            Consequence::DependencyEnded { dependency, status } => {
                self.dependency_ended(*dependency, *status, now)
            }
        }
    }
}
