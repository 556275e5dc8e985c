//! Questions and answers.

use std::collections::BTreeMap;

use super::LeaseLost;
use crate::clock::Timestamp;
use crate::event::{Event, EventKind};
use crate::input::{Answer, Input, InputRequest};
use crate::task::{Lease, Task};

/// What came of some answers.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Answered {
    /// Keys that were open and are answered now.
    pub accepted: Vec<String>,
    /// Keys that were never asked, already answered, or belong to a task that has ended. Ignoring
    /// them is the rule (SEP-2663, tasks/update).
    pub ignored: Vec<String>,
    /// What changed.
    pub events: Vec<Event>,
}

impl Task {
    /// Asks questions. A key that was asked before is the same question and is left as it is, with
    /// its answer: that is what a replay finds. `None` if nothing was new.
    ///
    /// # Errors
    /// [`LeaseLost`] if the task does not run under `lease`.
    pub fn ask(
        &mut self,
        lease: &Lease,
        questions: Vec<InputRequest>,
        now: Timestamp,
    ) -> Result<Option<Event>, LeaseLost> {
        self.fence_attempt(lease)?;
        let mut keys = Vec::new();
        for request in questions {
            if self
                .state
                .inputs
                .iter()
                .all(|input| input.request.key != request.key)
            {
                keys.push(request.key.clone());
                self.state.inputs.push(Input {
                    request,
                    answer: None,
                });
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        self.state.updated_at = now;
        Ok(Some(self.bump(now, EventKind::InputRequired { keys })))
    }

    /// Takes answers: the first one for a key wins. A subset is welcome. A suspended task that
    /// waited for one of them becomes ready.
    pub fn answer(&mut self, answers: BTreeMap<String, Answer>, now: Timestamp) -> Answered {
        let mut answered = Answered::default();
        let finished = self.is_finished();
        for (key, answer) in answers {
            let open = self
                .state
                .inputs
                .iter_mut()
                .find(|input| input.request.key == key && input.is_open() && !finished);
            match open {
                Some(input) => {
                    input.answer = Some(answer);
                    answered.accepted.push(key);
                }
                None => answered.ignored.push(key),
            }
        }
        if !answered.accepted.is_empty() {
            self.state.updated_at = now;
            let keys = answered.accepted.clone();
            answered
                .events
                .push(self.bump(now, EventKind::InputAnswered { keys }));
            answered.events.extend(self.wake(now));
        }
        answered
    }
}
