//! `tasks/update`, 2026-07-28: answers to a task's questions.
//!
//! Any subset is welcome. Keys that are not open are ignored, so that an update may be repeated. An
//! answer that does not fit its question refuses the whole update and leaves every key open. An update
//! without `inputResponses`, which the extension's schema requires, is refused: acknowledged, it would leave
//! whoever mistyped the member to believe that its answer was taken.

use std::collections::BTreeMap;

use outlast_core::{RawJson, Task};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::answers;
use crate::context::{Context, Reply, from_store};
use crate::jsonrpc::RpcError;

#[derive(Deserialize)]
struct Update<'a> {
    #[serde(borrow, default, rename = "inputResponses")]
    responses: Option<&'a RawValue>,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    cx.require_tasks()?;
    let id = cx.task_id()?;
    let Update { responses } = cx.params.read()?;
    let responses = responses.filter(|raw| raw.get() != "null");
    let responses = responses.ok_or_else(wrong)?;
    let task = cx
        .server
        .handle
        .get(cx.principal, id)
        .await
        .map_err(from_store)?;
    answer(cx, &task, parse(Some(responses))?).await?;
    Ok(cx.acknowledge())
}

/// Answers what of this a task asks. Keys that are not open are ignored.
///
/// # Errors
/// An answer does not fit its question: none is taken.
pub(crate) async fn answer(
    cx: &Context<'_>,
    task: &Task,
    responses: BTreeMap<String, RawJson>,
) -> Result<(), RpcError> {
    let mut answers = BTreeMap::new();
    for (key, response) in responses {
        if let Some(input) = task.open_inputs().find(|input| input.request.key == key) {
            answers::check(&input.request, &response)
                .map_err(|why| RpcError::invalid_params(format!("the answer to {key:?} {why}")))?;
            answers.insert(key, response);
        }
    }
    if !answers.is_empty() {
        cx.server
            .handle
            .answer(cx.principal, task.id(), answers)
            .await
            .map_err(from_store)?;
    }
    Ok(())
}

/// Reads a map of responses.
pub(crate) fn parse(raw: Option<&RawValue>) -> Result<BTreeMap<String, RawJson>, RpcError> {
    let raw = raw.filter(|raw| raw.get() != "null");
    let responses = crate::protocol::object_or_default(raw);
    responses.ok_or_else(wrong)
}

fn wrong() -> RpcError {
    RpcError::invalid_params(r#""inputResponses" must be an object of responses by key"#)
}
