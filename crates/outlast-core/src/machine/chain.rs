//! Chains: a task that comes after others stays blocked until they have ended.
//!
//! Only tasks that exist may be named, and what a task comes after is fixed when it is created; so no
//! cycle can ever be made. Each edge says what it needs. The end of a dependency settles its edges in
//! the same atomic unit, and an edge to a task that has already ended is settled at the creation; so
//! nobody ever waits for a record that may be gone, and deleting or pruning strands no task.
//!
//! Decision: an edge that needs success and does not get it ends the dependant, whatever the other
//! edges say. A dependency that failed (a tool's own error is a failure here) ends it
//! `failed: dependency`; one that was cancelled cancels it. Either goes on to the dependants of the
//! dependant by the same rule.
//!
//! Decision: a call that takes the place of a task ([`crate::same::Then::Replace`]) cannot come after that
//! task, nor after one that ends with it. It would cancel what it waits for, in the very unit in which it
//! begins to wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::id::TaskId;
use crate::outcome::{Failure, FailureReason, Outcome};
use crate::status::{Era, Phase, TaskStatus};
use crate::task::{Task, TaskSpec};

/// How many tasks a task may come after.
pub const MAX_DEPENDENCIES: usize = 1000;

/// How many tasks are looked through for one that a call is about to replace.
const LONGEST_SEARCH: usize = 10_000;

/// A task that must have ended before another may run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dependency {
    /// The task to wait for.
    pub task: TaskId,
    /// How it must end.
    #[serde(default)]
    pub needs: Needs,
}

impl Dependency {
    /// `task` must complete.
    pub fn success(task: TaskId) -> Self {
        Self {
            task,
            needs: Needs::Success,
        }
    }

    /// `task` must end, no matter how.
    pub fn any_end(task: TaskId) -> Self {
        Self {
            task,
            needs: Needs::AnyEnd,
        }
    }
}

/// How a dependency must end for its dependant to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// It must complete, without an error of its tool. Otherwise the dependant ends: failed if the
    /// dependency failed, cancelled if it was cancelled.
    #[default]
    Success,
    /// It must end, no matter how.
    AnyEnd,
}

/// One reason why a task is blocked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Blocker {
    /// Another task has not ended.
    Task(Dependency),
}

impl TaskSpec {
    /// Looks up what the task comes after, before it is created, in the place of `replaced` if that is a
    /// task. Returns those that have ended already with their status, for [`Task::dependency_ended`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if a dependency does not exist, belongs to another owner (told in the same
    /// words), is named twice, is to be replaced or ends with the task that is, or if there are more than
    /// [`MAX_DEPENDENCIES`]; and what `find` returns.
    pub fn ended_dependencies<E: From<Error>>(
        &self,
        replaced: Option<TaskId>,
        now: Timestamp,
        mut find: impl FnMut(TaskId) -> Result<Option<Arc<Task>>, E>,
    ) -> Result<Vec<(TaskId, TaskStatus)>, E> {
        if self.after.len() > MAX_DEPENDENCIES {
            let count = self.after.len();
            let message = format!(
                "the task comes after {count} others, and at most {MAX_DEPENDENCIES} may be named: \
                 collect some of them in a task of their own"
            );
            return Err(Error::Invalid(message).into());
        }
        let mut ended = Vec::new();
        let mut named = BTreeSet::new();
        for Dependency { task: id, .. } in &self.after {
            if !named.insert(id) {
                let message = format!("task {id} is named twice among the tasks to come after");
                return Err(Error::Invalid(message).into());
            }
            let found =
                find(*id)?.filter(|task| task.spec.owner == self.owner && !task.is_expired(now));
            let Some(found) = found else {
                let message = format!("a task cannot come after task {id}: there is no such task");
                return Err(Error::Invalid(message).into());
            };
            ended.extend(found.end_status().map(|status| (*id, status)));
        }
        if let Some(replaced) = replaced {
            self.check_behind(replaced, find)?;
        }
        Ok(ended)
    }

    /// Whether what the task comes after outlives the end of `replaced`.
    fn check_behind<E: From<Error>>(
        &self,
        replaced: TaskId,
        mut find: impl FnMut(TaskId) -> Result<Option<Arc<Task>>, E>,
    ) -> Result<(), E> {
        let invalid = |message| Err(Error::Invalid(message).into());
        let mut seen = BTreeSet::new();
        for Dependency { task: named, .. } in &self.after {
            let mut search = vec![*named];
            while let Some(id) = search.pop() {
                if id == replaced {
                    let ends = match id == *named {
                        true => "which the call would replace",
                        false => "which would end with the task that the call replaces",
                    };
                    return invalid(format!("a call cannot come after task {named}, {ends}"));
                }
                if !seen.insert(id) {
                    continue;
                }
                if seen.len() > LONGEST_SEARCH {
                    return invalid(format!(
                        "a call cannot both replace a task and come after {named}: more than \
                         {LONGEST_SEARCH} tasks stand before that one, too many to tell whether it would \
                         end with the task that the call replaces"
                    ));
                }
                if let Some(task) = find(id)? {
                    search.extend(task.ends_with());
                }
            }
        }
        Ok(())
    }
}

impl Task {
    /// The tasks whose failure or cancellation ends this one too.
    fn ends_with(&self) -> impl Iterator<Item = TaskId> {
        let edges = self.state.blocked.iter().filter_map(|blocker| {
            let Blocker::Task(edge) = blocker;
            (edge.needs == Needs::Success).then_some(edge.task)
        });
        let parent = self.spec.attached_to().filter(|_| !self.is_finished());
        edges.chain(parent)
    }

    /// How the task ended, if it has: a tool's own error counts as a failure.
    pub fn end_status(&self) -> Option<TaskStatus> {
        let outcome = self.outcome.as_deref()?;
        Some(TaskStatus::of(Some(outcome), false, Era::Legacy))
    }

    /// Settles the edge to `dependency`, which ended with `status` (see [`Task::end_status`]). Without
    /// such an edge nothing happens. The last edge makes a blocked task ready.
    pub fn dependency_ended(
        &mut self,
        dependency: TaskId,
        status: TaskStatus,
        now: Timestamp,
    ) -> Vec<Event> {
        let edge =
            self.state.blocked.iter().position(
                |blocker| matches!(blocker, Blocker::Task(edge) if edge.task == dependency),
            );
        let Some(edge) = edge else {
            return Vec::new();
        };
        let Blocker::Task(edge) = self.state.blocked.remove(edge);
        match (edge.needs, status) {
            (Needs::Success, TaskStatus::Cancelled) => {
                let reason = Some(format!(
                    "task {dependency}, which had to complete first, was cancelled"
                ));
                vec![self.take_over(Outcome::Cancelled { reason }, now)]
            }
            (Needs::Success, TaskStatus::Failed) => {
                let message = format!("task {dependency}, which had to complete first, failed");
                let failure = Failure::internal(FailureReason::Dependency, message);
                vec![self.take_over(Outcome::Failed(failure), now)]
            }
            _ if self.state.phase == Phase::Blocked && self.state.blocked.is_empty() => {
                vec![self.make_ready(now)]
            }
            _ => Vec::new(),
        }
    }

    /// Makes a task whose time has come ready, or blocked if there is a reason.
    pub(super) fn make_ready(&mut self, now: Timestamp) -> Event {
        self.requeue_unless_blocked();
        match self.state.phase {
            Phase::Blocked => self.bump(now, EventKind::Blocked),
            _ => self.bump(now, EventKind::Queued),
        }
    }

    /// Its time has come: it is queued, or blocked if there is a reason.
    pub(super) fn requeue_unless_blocked(&mut self) {
        self.requeue();
        if !self.state.blocked.is_empty() {
            self.state.phase = Phase::Blocked;
        }
    }
}
