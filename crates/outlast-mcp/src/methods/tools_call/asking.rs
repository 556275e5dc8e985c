//! Asking a client of the older era on the call's own stream, for a call that is not a task.
//!
//! The question is a request of the server (2025-11-25 elicitation, sampling, roots). Its answer is
//! waited for in memory: such a call ends with its process anyway.

use std::sync::Arc;

use outlast_core::{Answer, InputRequest, TaskId};

use super::request_state::PATIENCE;
use crate::answers;
use crate::jsonrpc::{RequestId, request};
use crate::serve;
use crate::session::{Outlet, Session, TRIES, unstored_params, withdrawn};

/// Sends a question of `run` and waits for what the client says. If the answer does not fit, it is asked again,
/// [`TRIES`] times in all; then the question counts as dismissed.
///
/// # Cancel safety
/// Dropped, it tells the client that the question is withdrawn.
pub(super) async fn ask(
    session: Arc<Session>,
    outlet: Outlet,
    run: TaskId,
    question: InputRequest,
) -> Answer {
    let params = unstored_params(run, &question, session.identity.version);
    for _ in 0..TRIES {
        let (id, mut awaited) = session.pending.expect();
        // Whoever is away for a moment finds the question when it comes back for the rest of its stream.
        if !outlet.send(request(id.as_json(), &question.method, &params)) && !outlet.keeps() {
            return Answer::Expired;
        }
        let mut withdrawn = Withdrawn {
            outlet: &outlet,
            id: Some(id),
        };
        let response = tokio::time::timeout(PATIENCE, awaited.response()).await;
        let Ok(Some(response)) = response else {
            return Answer::Expired;
        };
        withdrawn.id = None;
        match response {
            Ok(answer) if answers::check(&question, &answer).is_ok() => {
                return Answer::Given(answer);
            }
            Ok(_) => {}
            Err(error) => return Answer::Given(serve::dismissed(&question.method, Some(&error))),
        }
    }
    Answer::Given(serve::dismissed(&question.method, None))
}

/// Tells the client that nobody waits for its answer any more (2025-11-25 cancellation).
struct Withdrawn<'o> {
    outlet: &'o Outlet,
    id: Option<RequestId>,
}

impl Drop for Withdrawn<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        if self.outlet.is_open() {
            self.outlet.send(withdrawn(&id, None));
        }
    }
}
