//! Requests other than calls whose code may ask its caller: `prompts/get` and `resources/read`.
//!
//! Such a request is run like a call of a tool that is never a task, so all that such a call can do
//! about questions it can do too, by the same code: rounds with a sealed state in 2026-07-28 (multi
//! round-trip requests, "Supported Requests"), requests on its own stream in 2025-11-25. The typed result
//! does not travel through the run, which knows results of tools alone, but beside it.

use std::sync::{Arc, Mutex};

use outlast_core::{Failure, FailureReason, Outcome, RawJson, ToolResult};
use outlast_engine::{
    BoxFuture, Carried, Cx, DetachAfter, Error, Handler, NewCall, Result as EngineResult,
    TaskSupport, Tool,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::tools_call::request_state::{self, Kept};
use super::tools_call::{given, synchronous};
use crate::context::Context;
use crate::jsonrpc::{RpcError, code, owned};
use crate::offer::{self, RequestCx};
use crate::protocol::progress_token;
use crate::report::Report;
use crate::wire;

/// What a request is about: a state between two rounds belongs to this alone.
pub(super) struct Named<'a> {
    pub(super) method: &'a str,
    /// Of the prompt, or the URI.
    pub(super) name: &'a str,
    pub(super) arguments: RawJson,
}

/// What a round of a request ended with.
pub(super) enum Ended<T> {
    /// What its code returned.
    With(T),
    /// This response: the caller is to answer, and to send the request again.
    Asking(Vec<u8>),
}

#[derive(Deserialize)]
struct Rounds<'a> {
    #[serde(borrow, default, rename = "inputResponses")]
    responses: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestState")]
    state: Option<&'a RawValue>,
}

/// Runs the code of a prompt or a resource, for the first time or with the answers to its questions.
///
/// # Errors
/// Those of the code, as [`offer::run`] says them; a state that is not this request's; answers that do
/// not fit their questions; a caller that cannot be asked.
pub(super) async fn run<T: Send + 'static>(
    cx: &Context<'_>,
    named: Named<'_>,
    start: impl FnOnce(RequestCx) -> BoxFuture<'static, EngineResult<T>> + Send + 'static,
) -> Result<Ended<T>, RpcError> {
    let Rounds { responses, state } = cx.params.read()?;
    let name = format!("{} {}", named.method, named.name);
    // Sessions have no such state: their clients are asked by requests.
    let kept = state
        .filter(|_| cx.session.is_none())
        .map(|state| request_state::open(cx, state, &name, &named.arguments))
        .transpose()?;
    let token = progress_token(&cx.meta)?
        .map(|token| owned("progressToken", token))
        .transpose()?;
    let level = synchronous::level(cx, TaskSupport::Forbidden)?;
    let request = RequestCx::new(cx, None)?;
    let returned = Arc::new(Mutex::new(None));
    let once = Once {
        returned: Arc::clone(&returned),
        start: Mutex::new(Some((start, request))),
    };
    let tool = Tool::new(name, Arc::new(once));
    let mut new = NewCall::new(Arc::new(tool), RawJson::empty_object(), cx.owner.clone());
    let (carried, asked) = match kept {
        Some(Kept::Carried(carried, asked)) => (carried, Some(asked)),
        _ => (Carried::default(), None),
    };
    new.carried = carried;
    new.client = Some(cx.client());
    let waiting = synchronous::Waiting {
        report: Report::new(cx, token, level),
        detach: DetachAfter::Never,
        given: given(cx, asked.as_ref(), responses)?,
        bound: Some(named.arguments),
    };
    let reply = synchronous::run_and(cx, new, waiting, |outcome| match outcome {
        Outcome::Completed(_) => Ok(Vec::new()),
        Outcome::Failed(failure) => Err(RpcError {
            code: wire::code_of(&failure, cx.version),
            message: failure.message.into(),
            data: failure.data,
        }),
        Outcome::Cancelled { .. } => Err(RpcError::internal("the request was cancelled")),
    })
    .await?;
    let returned = returned
        .lock()
        .expect("nothing panics under this lock")
        .take();
    Ok(match returned {
        Some(value) => Ended::With(value),
        None => Ended::Asking(reply),
    })
}

/// The code of one request, as a handler that is called once.
struct Once<T, F> {
    returned: Arc<Mutex<Option<T>>>,
    start: Mutex<Option<(F, RequestCx)>>,
}

impl<T, F> Handler for Once<T, F>
where
    T: Send + 'static,
    F: FnOnce(RequestCx) -> BoxFuture<'static, EngineResult<T>> + Send + 'static,
{
    fn check(&self, _arguments: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, _arguments: RawJson, cx: Cx) -> BoxFuture<'static, EngineResult<ToolResult>> {
        let start = self
            .start
            .lock()
            .expect("nothing panics under this lock")
            .take();
        let returned = Arc::clone(&self.returned);
        Box::pin(async move {
            let Some((start, request)) = start else {
                return Err(Error::protocol(
                    code::INTERNAL_ERROR,
                    "the request has been run before",
                ));
            };
            let value = offer::run(|| start(request.of_run(cx))).await;
            let value = value.map_err(|error| {
                Error::failed(Failure {
                    reason: FailureReason::Error,
                    code: error.code,
                    message: error.message.into_owned(),
                    data: error.data,
                })
            })?;
            *returned.lock().expect("nothing panics under this lock") = Some(value);
            Ok(ToolResult::text(""))
        })
    }
}
