//! `GET /tools` and `POST /tools/{name}`: what can be run, and a call whose caller waits.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use outlast_core::{Outcome, RawJson};
use outlast_engine::{NewCall, OnDrop, TaskSupport, Tool};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::create::{check, key, tool, trace};
use super::extract::{Json, Nothing, Path, Query, Reader, Runner};
use super::links::Base;
use super::problem::Problem;
use super::result::{Ending, ResultView, ended_or_not};
use super::show::Patience;
use super::task::TaskView;

/// A tool.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolView {
    /// Names it in calls.
    name: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The JSON Schema of its arguments.
    #[schema(value_type = Object)]
    input_schema: RawJson,
    /// The JSON Schema of its structured result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    output_schema: Option<RawJson>,
    /// The protocol's hints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    annotations: Option<RawJson>,
    /// `forbidden`: runs inline only. `optional`, `required`: runs as a task.
    task_support: &'static str,
}

impl ToolView {
    fn of(tool: &Tool) -> Self {
        Self {
            name: tool.name.clone(),
            title: tool.title.clone(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
            output_schema: tool.output_schema.clone(),
            annotations: tool.annotations.clone(),
            task_support: tool.task.as_str(),
        }
    }
}

/// The tools.
#[derive(Serialize, ToSchema)]
pub(super) struct ToolList {
    /// In the order of their names.
    tools: Vec<ToolView>,
}

/// What can be run.
#[utoipa::path(
    get, path = "/tools", tag = "tools",
    responses((status = 200, description = "The tools.", body = ToolList))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Reader(_): Reader,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<ToolList> {
    let tools = api.handle().tools();
    Answer(ToolList {
        tools: tools.iter().map(|tool| ToolView::of(tool)).collect(),
    })
}

/// Calls a tool with the body as its arguments. A tool that never runs as a task runs inline and the
/// answer is its result; any other becomes a task, and with `wait` the answer is how it ended, if it
/// ended in time.
#[utoipa::path(
    post, path = "/tools/{name}", tag = "tools",
    params(("name" = String, Path, description = "The tool."), Patience,
        ("Idempotency-Key" = Option<String>, Header, description = "As for POST /tasks. Refused for a tool that never runs as a task: a repeated call could not be recognized.")),
    request_body(content = Object, description = "The arguments."),
    responses(
        (status = 200, description = "The result, or how the task ended.",
            body = CallAnswer),
        (status = 202, description = "The task runs.", body = TaskView),
        (status = 400, description = "The tool refuses the arguments, or a key that it could not recognize.", body = Problem),
        (status = 404, description = "There is no such tool.", body = Problem),
        (status = 409, description = "The key was used for a call with other arguments.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not JSON.", body = Problem),
        (status = 429, description = "Too many tasks wait already; Retry-After says when to try again.", body = Problem),
        (status = 500, description = "The tool failed.", body = Problem),
        (status = 503, description = "The store cannot take it at present.", body = Problem),
    )
)]
pub(super) async fn call(
    State(api): State<Api>,
    Runner(who): Runner,
    Path(name): Path<String>,
    base: Base,
    Query(patience): Query<Patience>,
    headers: HeaderMap,
    Json(arguments): Json<RawJson>,
) -> Result<Response, Problem> {
    let tool = tool(&api, &name)?;
    check(&tool, &arguments)?;
    let inline = tool.task == TaskSupport::Forbidden;
    let key = key(&headers)?;
    if inline && key.is_some() {
        return Err(Problem::bad(format!(
            "{name:?} never runs as a task, so a repeated call cannot be recognized: leave Idempotency-Key out"
        )));
    }
    let call = NewCall {
        key,
        request_meta: trace(&headers),
        ..NewCall::new(tool, arguments, who.owner().clone())
    };
    if inline {
        let outcome = api.handle().call(call, None, OnDrop::Cancel).await;
        return inline_answer(outcome);
    }
    let task = api.handle().create(call).await?;
    let task = patience.wait.on(api.server(), &who, task.id()).await?;
    Ok(ended_or_not(&task, &base))
}

/// What a call came to: the result of a tool that ran inline, or the end of a task.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only describes what is written")]
pub(super) enum CallAnswer {
    /// Of a tool that never runs as a task.
    Inline(ResultView),
    /// Of any other.
    Task(Ending),
}

fn inline_answer(outcome: Outcome) -> Result<Response, Problem> {
    let failed = |why: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why);
    match outcome {
        Outcome::Completed(result) => Ok(Answer(ResultView::from(&result)).into_response()),
        Outcome::Failed(failure) => Err(failed(failure.message)),
        Outcome::Cancelled { reason } => {
            Err(failed(reason.unwrap_or_else(|| "cancelled".to_owned())))
        }
    }
}
