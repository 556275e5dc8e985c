//! Questions before the task exists.
//!
//! Newer era (2026-07-28, multi round-trip requests): the first call is answered with the questions and a sealed state; the same call with the answers
//! and that state goes on. Nothing is stored in between: the state holds the answers given so far
//! and is bound to the principal, to the tool with its arguments, and to a time limit.
//!
//! Older era: the questions go out as requests on the call's own stream, and the call waits. A client
//! that cannot answer is not asked; the tool then runs without the answers, as if they were declined.

use std::collections::BTreeMap;
use std::time::Duration;

use outlast_core::{InputRequest, Owner, RawJson, Timestamp};
use outlast_engine::{AskFirst, ErrorKind, NewCall};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{input_requests, result};
use crate::answers;
use crate::context::Context;
use crate::jsonrpc::{RpcError, code, request, string};
use crate::methods::tasks_update;
use crate::seal::Purpose;
use crate::serve;
use crate::session::{Session, elicitation_mode};

/// How long the answers may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What has come of it so far.
pub(super) enum Collected {
    /// Every question has an answer.
    All(BTreeMap<String, RawJson>),
    /// This is the response: something is still to be answered.
    Ask(Vec<u8>),
}

/// The state between two calls.
#[derive(Serialize, Deserialize)]
struct State {
    digest: [u8; 32],
    until: Timestamp,
    answers: BTreeMap<String, RawJson>,
}

pub(super) fn collect(
    cx: &Context<'_>,
    ask: &AskFirst,
    call: &NewCall,
    responses: Option<&RawValue>,
    state: Option<&RawValue>,
) -> Result<Collected, RpcError> {
    let questions = match questions(cx, ask, call)? {
        Ok(questions) => questions,
        Err(reply) => return Ok(Collected::Ask(reply)),
    };
    let digest = digest(cx.owner, &call.tool.name, &call.arguments);
    let now = cx.server.handle.now();
    let mut answered = match state {
        Some(state) => open(cx, state, &digest, now)?,
        None => BTreeMap::new(),
    };
    // Answers without the state were given to no question of ours.
    let responses = if state.is_some() {
        tasks_update::parse(responses)?
    } else {
        BTreeMap::new()
    };
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
    let state = State {
        digest,
        until: now + PATIENCE,
        answers: answered,
    };
    let state = serde_json::to_vec(&state).expect("the state has a JSON form");
    let state = cx.server.sealer.seal(Purpose::CallState, &state);
    Ok(Collected::Ask(cx.reply_object(|result| {
        result.raw("resultType", r#""input_required""#);
        input_requests(result, &open);
        result
            .plain("requestState", state)
            .raw("_meta", cx.server.meta.as_str());
    })))
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
    session: &Session,
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
        let (id, mut awaited) = session.pending.expect();
        cx.outlet
            .send(request(id.as_json(), &question.method, &question.params));
        let response = tokio::time::timeout(PATIENCE, awaited.response()).await;
        let Ok(Some(response)) = response else {
            return Err(RpcError::internal(
                "nobody answered the questions that come before the task; call again",
            ));
        };
        let fits = |answer: &RawJson| answers::check(&question, answer).is_ok();
        let answer = match response {
            Ok(answer) if fits(&answer) => answer,
            Ok(_) => serve::dismissed(&question.method, None),
            Err(error) => serve::dismissed(&question.method, Some(&error)),
        };
        answered.insert(question.key, answer);
    }
    Ok(Collected::All(answered))
}

fn open(
    cx: &Context<'_>,
    state: &RawValue,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<BTreeMap<String, RawJson>, RpcError> {
    let text = string(state)
        .ok_or_else(|| RpcError::invalid_params(r#""requestState" must be a string"#))?;
    let plain = cx.server.sealer.open(Purpose::CallState, &text);
    let state: Option<State> = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    match state {
        Some(state) if state.digest == *digest && now <= state.until => Ok(state.answers),
        Some(state) if state.digest == *digest => Err(RpcError::invalid_params(
            "\"requestState\" has expired; call the tool again without it",
        )),
        // Changed, of another caller, or of another call: no difference is told.
        _ => Err(RpcError::invalid_params(
            "\"requestState\" does not belong to this call; call the tool again without it",
        )),
    }
}

/// The client must have declared that it answers such questions.
fn may_be_asked(cx: &Context<'_>, question: &InputRequest) -> Result<(), RpcError> {
    let mode = elicitation_mode(question);
    if cx
        .capabilities
        .can_answer(&question.method, mode.as_deref())
    {
        return Ok(());
    }
    let capability = match question.method.as_str() {
        "sampling/createMessage" => "sampling",
        "roots/list" => "roots",
        _ => "elicitation",
    };
    let data = format!(r#"{{"requiredCapabilities":{{"{capability}":{{}}}}}}"#);
    Err(RpcError::new(
        code::MISSING_CAPABILITY,
        format!("this tool asks before it runs; declare the capability {capability:?}"),
    )
    .with_data(RawJson::parse(data).expect("written as JSON")))
}

/// Stands for the caller, the tool and the arguments, however their members are ordered.
fn digest(owner: &Owner, tool: &str, arguments: &RawJson) -> [u8; 32] {
    let parts = [owner.as_str(), tool, &arguments.to_value().to_string()];
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_ignores_order_and_nothing_else() {
        let of = |owner: &str, tool: &str, json: &str| {
            digest(&Owner::new(owner), tool, &RawJson::parse(json).unwrap())
        };
        let one = of("a", "t", r#"{"x":1,"y":2}"#);
        assert_eq!(one, of("a", "t", r#"{ "y":2, "x":1 }"#));
        assert_ne!(one, of("b", "t", r#"{"x":1,"y":2}"#));
        assert_ne!(one, of("a", "u", r#"{"x":1,"y":2}"#));
        assert_ne!(one, of("a", "t", r#"{"x":1,"y":3}"#));
    }
}
