//! Serving the helper tools.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::store::{CancelReply, Filter};
use outlast_core::{AnswerBy, Outcome, Phase, RawJson, Task, ToolResult};
use outlast_engine::CancelBy;
use serde_json::value::RawValue;

use super::arguments::{self, Action};
use super::definition::Helper;
use super::{links, unfinished, wait, words};
use crate::answers;
use crate::context::{Context, Reply, from_store};
use crate::jsonrpc::RpcError;
use crate::methods::tasks_list;
use crate::methods::tools_call::result;

/// How long a worker may take to stop before its task is cancelled over its head.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// What a model is told: a result, or what it should mend; or an error that is not its business.
type Told = Result<Result<ToolResult, String>, RpcError>;

/// Serves a call of a helper tool.
pub(crate) async fn call(
    cx: &Context<'_>,
    helper: Helper,
    arguments: &RawJson,
    responses: Option<&RawValue>,
    token: Option<RawJson>,
) -> Reply {
    let told = match helper {
        Helper::Wait => return wait::handle(cx, arguments, responses, token).await,
        Helper::Status => status(cx, arguments).await,
        Helper::Result => fetch(cx, arguments).await,
        Helper::Cancel => cancel(cx, arguments).await,
        Helper::List => list(cx, arguments).await,
        Helper::Answer => answer(cx, arguments).await,
    };
    Ok(result(cx, &told?.unwrap_or_else(ToolResult::error)))
}

/// The task that the arguments name.
async fn find(
    cx: &Context<'_>,
    helper: &str,
    arguments: &RawJson,
) -> Result<Result<Arc<Task>, String>, RpcError> {
    let id = arguments::read::<arguments::One>(helper, arguments)
        .and_then(|one| arguments::id(&one.task_id));
    match id {
        Ok(id) => get(cx, id).await,
        Err(problem) => Ok(Err(problem)),
    }
}

pub(super) async fn get(
    cx: &Context<'_>,
    id: outlast_core::TaskId,
) -> Result<Result<Arc<Task>, String>, RpcError> {
    match cx.server.handle.get(cx.principal, id).await {
        Ok(task) => Ok(Ok(task)),
        Err(outlast_core::Error::NotFound(id)) => Ok(Err(arguments::unknown(&id.to_string()))),
        Err(error) => Err(from_store(error)),
    }
}

async fn status(cx: &Context<'_>, arguments: &RawJson) -> Told {
    Ok(find(cx, "task_status", arguments).await?.map(|task| {
        if task.is_finished() {
            let text = format!(
                "{} Call task_result with {{\"taskId\":\"{}\"}} for its result.",
                words::standing(cx, &task),
                task.id()
            );
            ToolResult {
                structured: Some(words::data(cx, &task)),
                ..ToolResult::text(text)
            }
        } else {
            unfinished(cx, &task, "", true)
        }
    }))
}

async fn fetch(cx: &Context<'_>, arguments: &RawJson) -> Told {
    Ok(match find(cx, "task_result", arguments).await? {
        Err(problem) => Err(problem),
        Ok(task) if task.is_finished() => Ok(ended(cx, &task).await?),
        Ok(task) => Ok(unfinished(cx, &task, "There is no result yet. ", true)),
    })
}

/// What a task ended with, as a result that a model reads: the tool's own, or what became of it.
///
/// # Errors
/// The store failed.
pub(super) async fn ended(cx: &Context<'_>, task: &Task) -> Result<ToolResult, RpcError> {
    let outcome = task.outcome.as_deref();
    let text = match outcome.expect("a finished task has an outcome") {
        Outcome::Completed(result) => {
            let linked = links::add(cx, task, result.clone()).await;
            return linked.map_err(from_store);
        }
        Outcome::Failed(failure) => {
            format!("Task {} has no result: {}", task.id(), failure.message)
        }
        Outcome::Cancelled { reason } => match reason {
            Some(reason) => format!("Task {} was cancelled: {reason}", task.id()),
            None => format!("Task {} was cancelled.", task.id()),
        },
    };
    Ok(ToolResult {
        structured: Some(words::data(cx, task)),
        ..ToolResult::error(text)
    })
}

async fn cancel(cx: &Context<'_>, arguments: &RawJson) -> Told {
    let task = match find(cx, "task_cancel", arguments).await? {
        Ok(task) => task,
        Err(problem) => return Ok(Err(problem)),
    };
    let by = CancelBy::Wait(STOP_WITHIN);
    let cancel = cx.server.handle.cancel(cx.principal, task.id(), None, by);
    let (task, text) = match cancel.await.map_err(from_store)? {
        CancelReply::Cancelled(task) => {
            let text = format!("Task {} is cancelled.", task.id());
            (task, text)
        }
        CancelReply::Requested(task) => {
            let text = format!("Task {} is being cancelled.", task.id());
            (task, text)
        }
        CancelReply::AlreadyFinished(task) => {
            let text = format!("{} It had ended before.", words::standing(cx, &task));
            (task, text)
        }
    };
    Ok(Ok(ToolResult {
        structured: Some(words::data(cx, &task)),
        ..ToolResult::text(text)
    }))
}

async fn list(cx: &Context<'_>, arguments: &RawJson) -> Told {
    let arguments::List { unfinished, limit } = match arguments::read("task_list", arguments) {
        Ok(list) => list,
        Err(problem) => return Ok(Err(problem)),
    };
    if !(1..=100).contains(&limit) {
        return Ok(Err(format!(
            "invalid arguments for \"task_list\": \"limit\" is {limit}; allowed: 1 to 100"
        )));
    }
    if !tasks_list::is_offered(cx.transport, cx.principal) {
        return Ok(Err(
            "tasks cannot be listed here, where callers cannot be told apart; use the ids that calls \
             returned"
                .into(),
        ));
    }
    let mut filter = Filter::default();
    if unfinished {
        filter.phases = Phase::UNFINISHED.to_vec();
    }
    let page = cx
        .server
        .handle
        .list(cx.principal, filter, None, limit)
        .await;
    let tasks = page.map_err(from_store)?.tasks;
    let mut text = String::new();
    for task in &tasks {
        let _ = writeln!(
            text,
            "{} Begun {}.",
            words::standing(cx, task),
            task.state.created_at
        );
    }
    if tasks.is_empty() {
        text.push_str("There are no such tasks.");
    }
    let structured = crate::server::object(|object| {
        let list = object.buffer("tasks");
        list.push(b'[');
        for (index, task) in tasks.iter().enumerate() {
            if index > 0 {
                list.push(b',');
            }
            list.extend_from_slice(words::data(cx, task).as_str().as_bytes());
        }
        list.push(b']');
    });
    Ok(Ok(ToolResult {
        structured: Some(structured),
        ..ToolResult::text(text.trim_end())
    }))
}

async fn answer(cx: &Context<'_>, arguments: &RawJson) -> Told {
    let read = arguments::read::<arguments::Answer>("task_answer", arguments)
        .and_then(|answer| Ok((arguments::id(&answer.task_id)?, answer)));
    let (id, answer) = match read {
        Ok(read) => read,
        Err(problem) => return Ok(Err(problem)),
    };
    let task = match get(cx, id).await? {
        Ok(task) => task,
        Err(problem) => return Ok(Err(problem)),
    };
    let key = answer.key;
    let Some(input) = task.open_inputs().find(|input| input.request.key == key) else {
        return Ok(Err(format!(
            "task {id} has no open question {key:?}; {}",
            words::standing(cx, &task)
        )));
    };
    if input.request.answer_by != AnswerBy::Model || input.request.method != "elicitation/create" {
        return Ok(Err(format!(
            "the question {key:?} is not for you: a person must answer it"
        )));
    }
    let response = crate::server::object(|object| {
        object.plain("action", answer.action.as_str());
        if let (Action::Accept, Some(content)) = (answer.action, &answer.content) {
            object.raw("content", content.as_str());
        }
    });
    if let Err(why) = answers::check(&input.request, &response) {
        return Ok(Err(format!("the answer to {key:?} {why}")));
    }
    let answers = BTreeMap::from([(key.clone(), response)]);
    let answered = cx.server.handle.answer(cx.principal, id, answers).await;
    if answered.map_err(from_store)?.accepted.is_empty() {
        return Ok(Ok(ToolResult::text(format!(
            "The question {key:?} was answered by somebody else a moment ago."
        ))));
    }
    match get(cx, id).await? {
        Ok(task) if !task.is_finished() => Ok(Ok(unfinished(cx, &task, "Answered. ", true))),
        Ok(task) => Ok(Ok(ended(cx, &task).await?)),
        Err(problem) => Ok(Err(problem)),
    }
}
