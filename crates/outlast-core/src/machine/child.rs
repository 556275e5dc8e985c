//! Children: tasks that a task starts, and what happens to them.
//!
//! A child is a task like any other, with the owner of its parent. Its creation and the parent's journal
//! entry are one unit, so a parent that is run again finds the child that is there. An *attached* child
//! belongs to its parent: its end is told to the parent (and wakes it, in the same unit), and it does
//! not outlive it. A *detached* child only remembers who started it.
//!
//! Decisions:
//! * A task that ends, however it does, or is being cancelled, cancels its attached children that have
//!   not ended: nobody is left to use their results. Who wants them to go on detaches them.
//! * An attached child that has ended can be read as long as its parent may ask for it; its retention
//!   counts from the later end of the two.
//! * The record of the parent holds only counts, so that a parent of many children stays small.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::event::{Event, EventKind};
use crate::id::TaskId;
use crate::journal::JournalEntry;
use crate::machine::{CancelMode, Cancelled};
use crate::progress::Progress;
use crate::status::TaskStatus;
use crate::task::{Lease, MAX_RETENTION, Task, TaskSpec};

/// How deep children may be nested: a task that was not spawned has depth 0.
pub const MAX_DEPTH: u16 = 16;

/// How many children a task may have in its life.
pub const MAX_CHILDREN: u64 = 100_000;

/// How long the worker of a child has to stop once its parent has ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a child comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parent {
    /// The task that started it.
    pub task: TaskId,
    /// How many tasks stand above it.
    pub depth: u16,
    /// Whether it is independent of its parent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    /// When the parent will have ended at the latest; once it has, when it did.
    pub until: Timestamp,
}

/// How many children a task has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Children {
    /// Started in all.
    #[serde(default)]
    pub spawned: u64,
    /// Of these, detached.
    #[serde(default)]
    pub detached: u64,
    /// Attached ones that have ended.
    #[serde(default)]
    pub ended: u64,
}

impl Children {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spawned == 0
    }

    /// Those that belong to the parent.
    pub fn attached(&self) -> u64 {
        self.spawned - self.detached
    }
}

impl TaskSpec {
    /// Why a task with the id of one that exists cannot become a child.
    pub fn id_is_taken(&self) -> Error {
        Error::Invalid(format!(
            "there is a task {} already: a child has an id of its own",
            self.id
        ))
    }

    /// The task it belongs to, unless it was not spawned or is detached.
    pub fn attached_to(&self) -> Option<TaskId> {
        let parent = self.parent.as_ref().filter(|parent| !parent.detached)?;
        Some(parent.task)
    }
}

impl Task {
    /// Makes `child`, which is about to be created, a child of this task.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]; [`Error::Invalid`] beyond [`MAX_DEPTH`] or [`MAX_CHILDREN`].
    pub fn adopt(&self, lease: &Lease, child: &mut TaskSpec, detached: bool) -> Result<(), Error> {
        let id = self.id();
        if !self.holds(lease) {
            return Err(Error::LeaseLost(id));
        }
        let depth = self.spec.parent.map_or(0, |parent| parent.depth) + 1;
        if depth > MAX_DEPTH {
            return Err(Error::Invalid(format!(
                "a child of task {id} would stand {depth} levels deep, and at most {MAX_DEPTH} are \
                 allowed: does a tool spawn itself?"
            )));
        }
        if self.state.children.spawned >= MAX_CHILDREN {
            return Err(Error::Invalid(format!(
                "task {id} has started {MAX_CHILDREN} children, which is all it may"
            )));
        }
        child.owner = self.spec.owner.clone();
        // Its parent's journal makes it the same in every run; it is nobody else's task.
        child.idempotency = None;
        child.same = None;
        child.parent = Some(Parent {
            task: id,
            depth,
            detached,
            until: self.oldest(),
        });
        Ok(())
    }

    /// Notes that `child`, which [`Task::adopt`] accepted, is created with the journal entry `entry`.
    ///
    /// # Errors
    /// As [`Task::journaled`].
    pub fn spawn(
        &mut self,
        lease: &Lease,
        child: &TaskSpec,
        entry: &JournalEntry,
        now: Timestamp,
    ) -> Result<Vec<Event>, Error> {
        let id = self.id();
        let journaled = self.journaled(lease, entry, now);
        let journaled = journaled.map_err(|refused| refused.into_error(id))?;
        self.state.children.spawned += 1;
        self.state.children.detached += u64::from(child.attached_to().is_none());
        self.children_changed(now);
        let spawned = self.bump(now, EventKind::Spawned { child: child.id });
        Ok(journaled.into_iter().chain([spawned]).collect())
    }

    /// Notes that an attached child has ended; to be called once for each. A suspended task that waited
    /// for it becomes ready.
    pub fn child_ended(&mut self, child: TaskId, status: TaskStatus, now: Timestamp) -> Vec<Event> {
        if self.is_finished() {
            return Vec::new();
        }
        self.state.children.ended += 1;
        self.children_changed(now);
        let mut events = vec![self.bump(now, EventKind::ChildEnded { child, status })];
        let awaiting = self.state.awaiting.as_ref();
        if awaiting.is_some_and(|awaiting| awaiting.children.contains(&child)) {
            events.push(self.resume(now));
        }
        events
    }

    /// The progress to show: what was reported, or else how many of its children have ended.
    pub fn shown_progress(&self) -> Progress {
        let children = self.state.children;
        if !self.state.progress.is_empty() || children.attached() == 0 {
            return self.state.progress.clone();
        }
        // Far below the numbers that a double cannot tell apart.
        let figure = |count: u64| u32::try_from(count).map_or(f64::MAX, f64::from);
        Progress {
            done: figure(children.ended),
            total: Some(figure(children.attached())),
            ..Progress::default()
        }
    }

    /// Marks what [`Task::shown_progress`] shows as changed.
    fn children_changed(&mut self, now: Timestamp) {
        if self.state.progress.is_empty() {
            self.state.updated_at = now;
        }
    }

    /// What the cancellation or the end of its parent does to an attached child: one that has not ended
    /// is cancelled, and is kept for its parent no longer; the retention of one that has begins to count.
    pub(super) fn parent_stopped(
        &mut self,
        parent: TaskId,
        ended: bool,
        now: Timestamp,
    ) -> Vec<Event> {
        if self.spec.attached_to() != Some(parent) {
            return Vec::new();
        }
        if self.is_finished() {
            if ended {
                let kept = self.kept_from(now);
                self.state.expire_at = self.state.expire_at.min(Some(kept));
            }
            return Vec::new();
        }
        if ended && let Some(parent) = &mut Arc::make_mut(&mut self.spec).parent {
            parent.until = now;
        }
        let what = if ended { "ended" } else { "is being cancelled" };
        let reason = Some(format!("its parent, task {parent}, {what}"));
        match self.cancel(reason, CancelMode::Ask(PATIENCE), now) {
            Cancelled::Now(event) | Cancelled::Requested(Some(event)) => vec![event],
            Cancelled::Requested(None) | Cancelled::AlreadyFinished => Vec::new(),
        }
    }

    /// Whether the record may be deleted on request, given the task it is attached to, if that exists.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the parent has not ended and may still ask for it, or if the record holds
    /// limit keys for a worker that may still be at work.
    pub fn check_deletable(&self, parent: Option<&Task>, now: Timestamp) -> Result<(), Error> {
        if let Some(until) = self.state.held_over.filter(|until| *until > now) {
            return Err(Error::Invalid(format!(
                "task {} was taken from its worker, which may be at work until {until}, and holds its \
                 limit keys until then: delete it after that",
                self.id()
            )));
        }
        match parent.filter(|parent| !parent.is_finished()) {
            Some(parent) => Err(Error::Invalid(format!(
                "task {} is a child of task {}, which has not ended and may still need it",
                self.id(),
                parent.id()
            ))),
            None => Ok(()),
        }
    }

    /// How long a finished record is kept if its retention counts from `from`. What a caller asked for
    /// counts from the creation and can only make the record live longer.
    pub(crate) fn kept_from(&self, from: Timestamp) -> Timestamp {
        let kept = from + self.spec.retention;
        let asked = self
            .spec
            .ttl
            .max(self.spec.idempotency.as_ref().map(|key| key.window))
            .map_or(kept, |ttl| self.state.created_at + ttl);
        kept.max(asked).min(from + MAX_RETENTION)
    }
}
