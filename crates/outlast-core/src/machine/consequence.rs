//! Consequences: what a change of one task means for others.
//!
//! The state machine changes one record at a time. Where that must change other records, it says so
//! here, and the store applies it in the same atomic unit: it finds the records concerned, in the order
//! of their creation, and calls [`Task::follow`] on each, whose consequences come behind in the queue.
//! A store has to know two indexes for this, dependants and children, and no rule.

use crate::clock::Timestamp;
use crate::event::Event;
use crate::id::TaskId;
use crate::status::TaskStatus;
use crate::task::Task;

/// What is owed to other tasks.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Consequence {
    /// A task has ended: to be applied to each task that comes after it
    /// ([`crate::task::TaskSpec::after`]).
    DependencyEnded {
        /// The task that ended.
        dependency: TaskId,
        /// How; see [`Task::end_status`].
        status: TaskStatus,
    },
    /// An attached child has ended: to be applied to its parent.
    ChildEnded {
        /// The task to be told.
        parent: TaskId,
        /// The task that ended.
        child: TaskId,
        /// How; see [`Task::end_status`].
        status: TaskStatus,
    },
    /// A task has ended, or is being cancelled: to be applied to each of its children, or, if it has
    /// not ended, to those of them that have not.
    ParentStopped {
        /// The task.
        parent: TaskId,
        /// Whether it has ended.
        ended: bool,
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
            if let Some(parent) = after.spec.attached_to() {
                let child = dependency;
                owed.push(Self::ChildEnded {
                    parent,
                    child,
                    status,
                });
            }
        }
        let asked = |task: &Task| task.is_finished() || task.state.cancel.is_some();
        let stopped = asked(after) && !before.is_some_and(asked);
        let now_ended = ended && after.is_finished();
        if after.state.children.attached() > 0 && (stopped || now_ended) {
            owed.push(Self::ParentStopped {
                parent: after.id(),
                ended: now_ended,
            });
        }
        owed
    }
}

impl Task {
    /// Applies what the change of another task means for this one.
    pub fn follow(&mut self, consequence: &Consequence, now: Timestamp) -> Vec<Event> {
        match consequence {
            Consequence::DependencyEnded { dependency, status } => {
                self.dependency_ended(*dependency, *status, now)
            }
            Consequence::ChildEnded { child, status, .. } => self.child_ended(*child, *status, now),
            Consequence::ParentStopped { parent, ended } => {
                self.parent_stopped(*parent, *ended, now)
            }
        }
    }
}
