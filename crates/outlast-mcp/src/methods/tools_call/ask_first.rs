//! Questions before the task exists.
//!
//! Newer era (2026-07-28, multi round-trip requests): the first call is answered with the questions and a sealed state; the same call with the answers
//! and that state goes on. Nothing is stored in between: the state holds the answers given so far
//! and is bound to the principal, to the tool with its arguments, and to a time limit.
//!
//! Older era: the questions go out as requests on the call's own stream, and the call waits. A client
//! that cannot answer is not asked; the tool then runs without the answers, as if they were declined.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_core::{Answer, InputRequest, RawJson, TaskId};
use outlast_engine::{AskFirst, ErrorKind, NewCall};
use serde_json::value::RawValue;

use super::request_state::{self, Kept};
use super::{asking, input_required, result};
use crate::answers;
use crate::context::Context;
use crate::jsonrpc::RpcError;
use crate::methods::tasks_update;
use crate::session::Session;

/// What has come of it so far.
pub(super) enum Collected {
    /// Every question has an answer.
    All(BTreeMap<String, RawJson>),
    /// This is the response: something is still to be answered.
    Ask(Vec<u8>),
}

/// Collects answers over the calls of a client of the newer era. `before` are those of earlier calls;
/// `None` in the first one.
pub(super) fn collect(
    cx: &Context<'_>,
    ask: &AskFirst,
    call: &NewCall,
    responses: Option<&RawValue>,
    before: Option<BTreeMap<String, RawJson>>,
) -> Result<Collected, RpcError> {
    let questions = match questions(cx, ask, call)? {
        Ok(questions) => questions,
        Err(reply) => return Ok(Collected::Ask(reply)),
    };
    // Answers without the state were given to no question of ours.
    let responses = if before.is_some() {
        tasks_update::parse(responses)?
    } else {
        BTreeMap::new()
    };
    let mut answered = before.unwrap_or_default();
    for question in &questions {
        if let Some(response) = responses.get(&question.key) {
            answers::check(question, response).map_err(|why| {
                RpcError::invalid_params(format!("the answer to {:?} {why}", question.key))
            })?;
            answered
                .entry(question.key.clone())
                .or_insert_with(|| response.clone());
        }
    }
    let open: Vec<&InputRequest> = questions
        .iter()
        .filter(|question| !answered.contains_key(&question.key))
        .collect();
    if open.is_empty() {
        return Ok(Collected::All(answered));
    }
    open.iter()
        .try_for_each(|question| may_be_asked(cx, question))?;
    let kept = Kept::First(answered);
    let state = request_state::seal(cx, &call.tool.name, &call.arguments, kept)?;
    Ok(Collected::Ask(input_required(cx, &open, Some(&state))))
}

/// What the tool wants to know; or the reply, if it would rather fail.
fn questions(
    cx: &Context<'_>,
    ask: &AskFirst,
    call: &NewCall,
) -> Result<Result<Vec<InputRequest>, Vec<u8>>, RpcError> {
    ask(&call.arguments)
        .map(Ok)
        .or_else(|error| match error.kind() {
            ErrorKind::Tool(failed) => Ok(Err(result(cx, failed))),
            ErrorKind::Protocol {
                code,
                message,
                data,
            } => Err(RpcError {
                code: *code,
                message: message.clone().into(),
                data: data.clone(),
            }),
            _ => Err(RpcError::internal(error.to_string())),
        })
}

/// Asks a client of the older era and waits.
pub(super) async fn collect_waiting(
    cx: &Context<'_>,
    session: &Arc<Session>,
    ask: &AskFirst,
    call: &NewCall,
) -> Result<Collected, RpcError> {
    let questions = match questions(cx, ask, call)? {
        Ok(questions) => questions,
        Err(reply) => return Ok(Collected::Ask(reply)),
    };
    let mut answered = BTreeMap::new();
    for question in questions {
        if may_be_asked(cx, &question).is_err() {
            continue;
        }
        let key = question.key.clone();
        let asked = asking::ask(
            Arc::clone(cx.server),
            Arc::clone(session),
            cx.outlet.clone(),
            TaskId::random(),
            question,
        )
        .await;
        let Answer::Given(answer) = asked else {
            return Err(RpcError::internal(
                "nobody answered the questions that come before the task; call again",
            ));
        };
        answered.insert(key, answer);
    }
    Ok(Collected::All(answered))
}

/// The client must have declared that it answers such questions.
fn may_be_asked(cx: &Context<'_>, question: &InputRequest) -> Result<(), RpcError> {
    if answers::can(cx.capabilities, question) {
        Ok(())
    } else {
        Err(answers::missing_capability(question))
    }
}
