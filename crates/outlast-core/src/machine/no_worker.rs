//! No worker: what becomes of a ready task that nobody could take.

use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::no_worker::{Missing, NoWorker};
use crate::outcome::{Failure, FailureReason, Outcome};
use crate::status::Phase;
use crate::task::Task;

impl Task {
    /// Notes that no living worker runs the tool, or with `None` that one does. A task that has waited for
    /// one for longer than it may fails with [`FailureReason::NoWorker`]. `None` if that changes nothing: it
    /// is noted already, or the task is not ready to be started.
    ///
    /// A task that has its outcome is left alone: its undos have a time limit of their own.
    pub fn note_no_worker(&mut self, missing: Option<&Missing>, now: Timestamp) -> Option<Event> {
        if self.state.phase != Phase::Queued || self.is_finished() {
            return None;
        }
        let Some(missing) = missing else {
            self.state.no_worker.take()?;
            self.state.updated_at = now;
            return Some(self.bump(now, EventKind::Queued));
        };
        let noted = self.state.no_worker.as_ref();
        let since = noted.map_or(now, |noted| noted.since);
        let timeout = self.spec.no_worker_timeout.or(missing.timeout);
        if timeout.is_some_and(|timeout| now >= since + timeout) {
            let failure =
                Failure::internal(FailureReason::NoWorker, self.nobody(&missing.requires));
            return Some(self.take_over(Outcome::Failed(failure), now));
        }
        if noted.is_some_and(|noted| noted.requires == missing.requires) {
            return None;
        }
        let requires = missing.requires.clone();
        self.state.no_worker = Some(NoWorker {
            since,
            requires: requires.clone(),
        });
        self.state.updated_at = now;
        Some(self.bump(now, EventKind::NoWorker { requires }))
    }

    /// The sentence about it for people.
    pub(crate) fn no_worker_line(&self) -> Option<String> {
        let noted = self.state.no_worker.as_ref()?;
        Some(format!(
            "{}; it waits for one",
            self.nobody(&noted.requires)
        ))
    }

    fn nobody(&self, requires: &[String]) -> String {
        let (tool, version) = (&self.spec.tool, &self.spec.tool_version);
        let labels = match requires {
            [] => String::new(),
            [label] => format!(" with the label {label}"),
            labels => format!(" with the labels {}", labels.join(", ")),
        };
        format!("no worker{labels} runs version {version} of tool {tool:?}")
    }
}
