//! `POST /tasks`: a task that is stored when this answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use outlast_core::{RawJson, duration};
use outlast_engine::{NewCall, TaskSupport, Tool};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Json, Runner};
use super::links::Base;
use super::problem::Problem;
use super::task::TaskView;

/// A call of a tool. Where the server has a default tool, a body without `tool` is that tool's
/// arguments.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewTask {
    /// The tool.
    tool: String,
    /// Its arguments, an object that fits the tool's schema.
    #[serde(default = "RawJson::empty_object")]
    #[schema(value_type = Object)]
    arguments: RawJson,
    /// Free words to find it by.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// How long the task can be read, at least, from its creation on: `12h`.
    #[serde(default)]
    ttl: Option<String>,
    /// How long to wait before it may run: `30s`.
    #[serde(default)]
    delay: Option<String>,
}

impl NewTask {
    /// Reads a body.
    fn read(body: &RawJson, default_tool: Option<&str>) -> Result<Self, Problem> {
        if let Some(tool) = default_tool {
            let members: BTreeMap<String, RawJson> = body
                .to()
                .map_err(|_| Problem::bad("the body must be an object"))?;
            if !members.contains_key("tool") {
                return Ok(Self {
                    tool: tool.to_owned(),
                    arguments: body.clone(),
                    labels: BTreeMap::new(),
                    ttl: None,
                    delay: None,
                });
            }
        }
        body.to()
            .map_err(|why| Problem::bad(format!("the body does not fit: {why}")))
    }
}

/// Starts a task.
#[utoipa::path(
    post, path = "/tasks", tag = "tasks", request_body = NewTask,
    responses(
        (status = 202, description = "The task is stored and runs.", body = TaskView,
            headers(("Location" = String, description = "The task."))),
        (status = 400, description = "The body does not fit, or the tool refuses the arguments.", body = Problem),
        (status = 404, description = "There is no such tool.", body = Problem),
        (status = 409, description = "The tool never runs as a task; call it by POST /tools/{name}.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not JSON.", body = Problem),
        (status = 503, description = "The store cannot take it at present.", body = Problem),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    Runner(who): Runner,
    base: Base,
    Json(body): Json<RawJson>,
) -> Result<Response, Problem> {
    let new = NewTask::read(&body, api.options().default_tool.as_deref())?;
    let tool = tool(&api, &new.tool)?;
    if tool.task == TaskSupport::Forbidden {
        return Err(Problem::conflict(format!(
            "tool {:?} never runs as a task; call it by POST /tools/{}",
            tool.name, tool.name
        )));
    }
    check(&tool, &new.arguments)?;
    let time = |name: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(duration::parse).transpose();
        parsed.map_err(|why| Problem::bad(format!("{name:?}: {why}")))
    };
    let delay = time("delay", &new.delay)?;
    let call = NewCall {
        labels: new.labels,
        ttl: time("ttl", &new.ttl)?,
        run_at: delay.map(|delay| api.handle().now() + delay),
        ..NewCall::new(tool, new.arguments, who.owner().clone())
    };
    let task = api.handle().create(call).await?;
    let mut response =
        (StatusCode::ACCEPTED, Answer(TaskView::whole(&task, &base))).into_response();
    let location = HeaderValue::try_from(base.task(task.id()));
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The tool of this name.
pub(super) fn tool(api: &Api, name: &str) -> Result<Arc<Tool>, Problem> {
    let tools = api.handle().tools();
    tools.get(name).cloned().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            format!("there is no tool {name:?}; GET /tools lists them"),
        )
    })
}

/// Refuses what the tool would refuse, before anything is stored.
pub(super) fn check(tool: &Tool, arguments: &RawJson) -> Result<(), Problem> {
    if !arguments.as_str().starts_with('{') {
        return Err(Problem::bad("\"arguments\" must be an object"));
    }
    let checked = tool.handler.check(arguments);
    checked.map_err(|why| Problem::bad(format!("invalid arguments for {:?}: {why}", tool.name)))
}
