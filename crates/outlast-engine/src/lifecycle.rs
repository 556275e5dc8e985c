//! The life of each task in the server's own log, through `tracing`: created, started, milestones
//! passed, ended, each with task, tool and attempt.
//!
//! What goes well is said at level debug: a server may run thousands of tasks a second, and a line for
//! each would cost more than the task. What did not end well is said at level info.

use outlast_core::status::Era;
use outlast_core::{Outcome, Task, TaskId, TaskSpec};

use crate::run::Run;

pub(crate) fn created(task: &Task) {
    tracing::debug!(task = %task.id(), tool = task.spec.tool, "task created");
}

pub(crate) fn started(task: &Task) {
    let attempt = task.state.attempt;
    tracing::debug!(task = %task.id(), tool = task.spec.tool, attempt, "attempt started");
}

pub(crate) fn milestone(run: &Run, percent: u8) {
    let TaskSpec { id, tool, .. } = &*run.spec;
    let attempt = run.attempt;
    tracing::debug!(task = %id, tool, attempt, percent, "task passed a milestone");
}

/// An attempt has ended, and perhaps the task with it.
pub(crate) fn ended(task: &Task) {
    let (id, tool, attempt): (TaskId, &str, u32) = (task.id(), &task.spec.tool, task.state.attempt);
    match task.outcome.as_deref() {
        None => {
            let phase = task.state.phase.as_str();
            tracing::debug!(task = %id, tool, attempt, phase, "attempt ended");
        }
        Some(Outcome::Completed(_)) => {
            let status = task.status(Era::Legacy).as_str();
            tracing::debug!(task = %id, tool, attempt, status, "task ended");
        }
        Some(Outcome::Failed(failure)) => {
            let reason = failure.reason;
            let why = failure.message.as_str();
            tracing::info!(task = %id, tool, attempt, ?reason, why, "task failed");
        }
        Some(Outcome::Cancelled { .. }) => {
            tracing::info!(task = %id, tool, attempt, "task cancelled");
        }
    }
}
