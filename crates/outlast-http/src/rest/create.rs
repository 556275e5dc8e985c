//! `POST /tasks`: a task that is stored when this answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use outlast_core::task::MAX_RETENTION;
use outlast_core::{RawJson, Task, duration};
use outlast_engine::{NewCall, TaskSupport, Tool, check_priority, trace};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Json, Nothing, Query, Runner, no_list};
use super::links::Base;
use super::problem::Problem;
use super::task::TaskView;

/// After how many seconds a new task is worth a look, for those who poll.
const LOOK_AGAIN: u64 = 1;

/// The longest name of a call.
const LONGEST_KEY: usize = 255;

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
    /// Larger runs earlier. By default the tool's.
    #[serde(default)]
    #[schema(value_type = Option<i16>)]
    priority: Option<i64>,
    /// Who else is told over HTTP what becomes of the task, at most 8.
    #[serde(default)]
    webhooks: Vec<NewWebhook>,
}

/// A receiver of messages by the Standard Webhooks specification.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhook {
    /// Where messages are sent. The server's operator lists the hosts that may be named.
    url: String,
    /// What they are signed with: `whsec_` and 24 to 64 bytes in base64. The server's own key by default,
    /// where it has one. It is stored sealed and never shown.
    #[serde(default)]
    secret: Option<String>,
    /// What the receiver wants to hear of: `input_required`, `completed`, `failed`, `cancelled`; of all by
    /// default.
    #[serde(default)]
    events: Option<BTreeSet<String>>,
}

impl NewWebhook {
    fn read(self) -> Result<outlast_engine::NewWebhook, String> {
        let mut wanted = outlast_engine::NewWebhook::new(self.url);
        if let Some(events) = self.events {
            let events = events.iter().map(|event| event.parse());
            wanted.events = events.collect::<Result<_, _>>()?;
        }
        wanted.secret = self.secret.map(|secret| secret.parse()).transpose()?;
        Ok(wanted)
    }
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
                    priority: None,
                    webhooks: Vec::new(),
                });
            }
        }
        no_list(body)?;
        body.to()
            .map_err(|why| Problem::bad(format!("the body does not fit: {why}")))
    }
}

/// Starts a task.
#[utoipa::path(
    post, path = "/tasks", tag = "tasks", request_body = NewTask,
    params(("Idempotency-Key" = Option<String>, Header, description = "The caller's name for the call: a repeated one with the same key and arguments gets the first one's task.")),
    responses(
        (status = 202, description = "The task is stored and runs.", body = TaskView,
            headers(("Location" = String, description = "The task."))),
        (status = 400, description = "The body does not fit, or the tool refuses the arguments.", body = Problem),
        (status = 404, description = "There is no such tool.", body = Problem),
        (status = 409, description = "The tool never runs as a task, call it by POST /tools/{name}; or the key was used for a call with other arguments.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 415, description = "The body is not JSON.", body = Problem),
        (status = 429, description = "Too many tasks wait already; Retry-After says when to try again.", body = Problem),
        (status = 503, description = "The store cannot take it at present.", body = Problem),
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    Runner(who): Runner,
    base: Base,
    headers: HeaderMap,
    Query(Nothing {}): Query<Nothing>,
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
    let ttl = time("ttl", &new.ttl)?;
    if ttl.is_some_and(|ttl| ttl > MAX_RETENTION) {
        return Err(Problem::bad("\"ttl\" is too long; at most 30d"));
    }
    let priority = new.priority.map(check_priority).transpose();
    let priority = priority.map_err(|why| Problem::bad(format!("\"priority\": {why}")))?;
    let webhooks = new.webhooks.into_iter().map(NewWebhook::read);
    let webhooks = webhooks
        .collect::<Result<_, _>>()
        .map_err(|why| Problem::bad(format!("\"webhooks\": {why}")))?;
    let webhooks = api.handle().admit_webhooks(webhooks)?;
    let call = NewCall::new(tool, new.arguments, who.owner().clone());
    let call = NewCall {
        labels: new.labels,
        ttl,
        delay,
        key: key(&headers)?,
        webhooks,
        request_meta: trace(&headers),
        priority: priority.unwrap_or(call.priority),
        ..call
    };
    let task = api.handle().create(call).await?;
    Ok(accepted(&task, &base))
}

/// The answer that a task is stored: where it is, and when it is worth a look.
pub(super) fn accepted(task: &Task, base: &Base) -> Response {
    let view = TaskView::whole(task, base);
    let mut response = (StatusCode::ACCEPTED, Answer(view)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(base.task(task.id())) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, LOOK_AGAIN.into());
    response
}

/// The caller's trace context, as a call over MCP has it in `_meta`.
pub(super) fn trace(headers: &HeaderMap) -> Option<RawJson> {
    let said = headers.get(trace::TRACEPARENT)?.to_str().ok();
    trace::meta_with(None, said)
}

/// The caller's name for the call, if the request has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = key.to_str().unwrap_or_default();
    if text.is_empty() || text.len() > LONGEST_KEY {
        return Err(Problem::bad(format!(
            "the header Idempotency-Key is no key: write 1 to {LONGEST_KEY} visible ASCII characters"
        )));
    }
    Ok(Some(text.to_owned()))
}

/// Refuses a key where a repeated request could not be recognized by it.
pub(super) fn no_key(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key("idempotency-key") {
        return Err(Problem::bad(
            "a repeated request cannot be recognized here: leave Idempotency-Key out",
        ));
    }
    Ok(())
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
