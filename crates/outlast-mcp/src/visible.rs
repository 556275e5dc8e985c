//! A task as one caller may see it: without questions that this caller cannot answer.
//!
//! A client must not be sent a kind of request it did not declare (2026-07-28 multi-round-trip
//! requests, "Server Requirements"). If none of a task's questions is for the caller, the task is
//! working as far as the caller can tell: somebody else may answer. Its status message says so, or the
//! caller would wait for days and never hear why.

use std::sync::Arc;

use outlast_core::{Input, Progress, Task};

use crate::answers;
use crate::helpers;
use crate::protocol::Capabilities;

/// The task for a caller with these capabilities.
pub(crate) fn to(capabilities: Capabilities, task: Arc<Task>) -> Arc<Task> {
    let hidden = |input: &Input| input.is_open() && { !answers::can(capabilities, &input.request) };
    if !task.state.inputs.iter().any(hidden) {
        return task;
    }
    let mut shown = Task::clone(&task);
    shown.state.inputs.retain(|input| !hidden(input));
    if !task.is_finished() && shown.open_inputs().next().is_none() {
        let waits = task
            .open_inputs()
            .map(|input| helpers::waits_for_a_person(&input.request));
        let waits = waits.collect::<Vec<_>>().join("; ");
        let progress = &mut shown.state.progress;
        // The figures stay, and what was said with them goes.
        if *progress == Progress::default() {
            shown.state.note = Some(waits);
        } else {
            progress.message = Some(waits);
        }
    }
    Arc::new(shown)
}
