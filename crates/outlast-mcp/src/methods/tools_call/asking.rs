//! Asking a client of the older era on the call's own stream, for a call that is not a task.
//!
//! The question is a request of the server (2025-11-25 elicitation, sampling, roots). Its answer is
//! waited for in memory, and in the store where several servers have one: such a call ends with its process
//! anyway.

use std::sync::Arc;

use outlast_core::{Answer, InputRequest, RawJson, TaskId};

use super::request_state::PATIENCE;
use crate::answers;
use crate::jsonrpc::{RequestId, RpcError, request};
use crate::serve;
use crate::server::Inner;
use crate::session::{Awaited, Outlet, Session, TRIES, elsewhere, unstored_params, withdrawn};

/// Sends a question of `run` and waits for what the client says. If the answer does not fit, it is asked again,
/// [`TRIES`] times in all; then the question counts as dismissed.
///
/// # Cancel safety
/// Dropped, it tells the client that the question is withdrawn.
pub(super) async fn ask(
    server: Arc<Inner>,
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
        let response = response(&server, &session, &mut awaited);
        let Ok(Some(response)) = tokio::time::timeout(PATIENCE, response).await else {
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

/// The response to a question, at whichever server it comes. `None` if it can no longer come.
async fn response(
    server: &Inner,
    session: &Session,
    awaited: &mut Awaited<'_>,
) -> Option<Result<RawJson, RpcError>> {
    if !server.config.shared {
        return awaited.response().await;
    }
    let id = awaited.id().to_owned();
    loop {
        tokio::select! {
            response = awaited.response() => return response,
            () = tokio::time::sleep(elsewhere::LOOK) => {
                match elsewhere::answer(server.side(), session, &id).await {
                    Ok(None) => {}
                    Ok(response) => return response,
                    Err(error) => tracing::warn!(%error, "cannot look for an answer; looking again"),
                }
            }
        }
    }
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
