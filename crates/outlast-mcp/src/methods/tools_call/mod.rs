//! `tools/call`, both eras: inline, synchronously, or as a task.
//!
//! The order is the point: which tool, whether the caller may have it this way, whether the
//! arguments fit, and only then anything is asked, run or stored.

mod ask_first;
mod asking;
mod order;
pub(super) mod request_state;
mod resume;
pub(super) mod synchronous;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outlast_core::status::Era;
use outlast_core::task::{MAX_RETENTION, ReplyTo};
use outlast_core::{InputRequest, RawJson, TaskId, ToolResult};
use outlast_engine::{Carried, DetachAfter, NewCall, TaskSupport, Tool};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use self::request_state::Kept;
use crate::context::{Context, Reply, from_store, missing_tasks};
use crate::detach;
use crate::helpers::{self, Helper, Helpers};
use crate::jsonrpc::{RpcError, code, owned};
use crate::methods::tasks_update;
use crate::protocol::names::META_REFUSED;
use crate::protocol::progress_token;
use crate::report::Report;
use crate::wire;

/// How a call is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// The caller waits for the result.
    Synchronous,
    /// The caller gets a task.
    Task { ttl: Option<Duration> },
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    if let Some(again) = cx.again
        && let Some(task) = again.task
    {
        return Box::pin(resume::again(cx, task, again.progress)).await;
    }
    let called = find(cx)?;
    let call = &cx.params;
    let token = progress_token(&cx.meta)?
        .map(|token| owned("progressToken", token))
        .transpose()?;
    let arguments = arguments(call.arguments)?;
    let tool = &match called {
        Called::Tool(tool) => tool,
        // Rare and long: kept out of the future that every call is.
        Called::Helper(helper) => {
            return Box::pin(helpers::call(
                cx,
                helper,
                &arguments,
                call.input_responses,
                token,
            ))
            .await;
        }
    };
    let mode = mode(cx, tool, call.task)?;
    let request_meta = cx
        .params
        .meta
        .map(|meta| owned("_meta", meta))
        .transpose()?;
    if let Err(problem) = tool.handler.check_meta(request_meta.as_ref()) {
        return Err(RpcError::invalid_params(problem));
    }
    if let Err(problem) = tool.handler.check(&arguments) {
        let problem = format!("invalid arguments for {:?}: {problem}", tool.name);
        return match (mode, cx.version.era()) {
            // The caller expects a task and could not read a result here.
            (Mode::Task { .. }, Era::Legacy) => Err(RpcError::invalid_params(problem)),
            // The model reads it and tries again (SEP-1303).
            _ => {
                let refused = ToolResult {
                    meta: Some(json!({META_REFUSED: true}).into()),
                    ..ToolResult::error(problem)
                };
                Ok(result(cx, &refused))
            }
        };
    }
    let detach = detach::of_call(tool, &cx.server.config, cx.meta.detach_after)?;
    // Sessions have no such state: their clients are asked by requests.
    let kept = call
        .request_state
        .filter(|_| cx.session.is_none())
        .map(|state| request_state::open(cx, state, &tool.name, &arguments))
        .transpose()?;
    let mut first = None;
    let mut carried = Carried::default();
    let mut asked = None;
    match kept {
        None => {}
        Some(Kept::First(answers)) => first = Some(answers),
        Some(Kept::Carried(before, keys)) => {
            (carried, asked) = (before, Some(keys));
        }
        Some(Kept::Stored(id)) => {
            let retry = resume::Retry {
                tool,
                arguments: &arguments,
                responses: call.input_responses,
                detach,
                report: Report::new(cx, token, None),
            };
            return Box::pin(resume::run(cx, id, retry)).await;
        }
    }
    let mut new = NewCall::new(Arc::clone(tool), arguments, cx.owner.clone());
    new.carried = carried;
    order::read(cx, &mut new)?;
    if let Some(ask) = &tool.ask_first {
        let collected = match cx.session {
            None => ask_first::collect(cx, ask, &new, call.input_responses, first)?,
            // Rare and long: kept out of the future that every call is.
            Some(session) => Box::pin(ask_first::collect_waiting(cx, session, ask, &new)).await?,
        };
        match collected {
            ask_first::Collected::All(answers) => new.first_answers = answers,
            ask_first::Collected::Ask(reply) => return Ok(reply),
        }
    }
    new.request_meta = order::storable(cx, request_meta);
    new.client = Some(cx.client());
    match mode {
        Mode::Synchronous if detach == DetachAfter::After(Duration::ZERO) => {
            Box::pin(start(cx, new)).await
        }
        Mode::Synchronous => {
            let level = synchronous::level(cx, tool.task)?;
            let waiting = synchronous::Waiting {
                report: Report::new(cx, token, level),
                detach,
                given: given(cx, asked.as_ref(), call.input_responses)?,
                bound: None,
            };
            synchronous::run(cx, new, waiting).await
        }
        Mode::Task { ttl } => Box::pin(create(cx, new, ttl, token)).await,
    }
}

/// The answers that came with a call of the newer era. Of those that come with a state, the ones that it
/// did not ask for are ignored (2026-07-28 multi round-trip requests, "Server Requirements"). Without one
/// they are taken for what the code is going to ask: the official suite expects that a first call with
/// good answers completes.
///
/// # Errors
/// They are not answers by key.
pub(super) fn given(
    cx: &Context<'_>,
    asked: Option<&BTreeSet<String>>,
    responses: Option<&RawValue>,
) -> Result<BTreeMap<String, RawJson>, RpcError> {
    let Some(responses) = responses.filter(|_| cx.session.is_none()) else {
        return Ok(BTreeMap::new());
    };
    let mut given = tasks_update::parse(Some(responses))?;
    if let Some(asked) = asked {
        given.retain(|key, _| asked.contains(key));
    }
    Ok(given)
}

/// What is called.
enum Called {
    Tool(Arc<Tool>),
    Helper(Helper),
}

fn find(cx: &Context<'_>) -> Result<Called, RpcError> {
    let name = cx.named("name", cx.params.name)?;
    if let Some(tool) = cx.server.offer().tools.get(&name) {
        return Ok(Called::Tool(Arc::clone(tool)));
    }
    // Also where they are not listed: a list may have been made for another request.
    match Helper::named(&name) {
        Some(helper) if cx.server.config.helpers != Helpers::Never => Ok(Called::Helper(helper)),
        _ => Err(RpcError::invalid_params(format!("unknown tool {name:?}"))),
    }
}

/// The arguments of a call that has been read before.
fn arguments_again(cx: &Context<'_>) -> Result<RawJson, RpcError> {
    arguments(cx.params.arguments)
}

fn arguments(raw: Option<&RawValue>) -> Result<RawJson, RpcError> {
    match raw {
        None => Ok(RawJson::empty_object()),
        Some(raw) if raw.get().starts_with('{') => owned("arguments", raw),
        Some(_) => Err(RpcError::invalid_params(r#""arguments" must be an object"#)),
    }
}

/// How the call is to be served, by the tool's wish and the caller's abilities.
fn mode(cx: &Context<'_>, tool: &Tool, task: Option<&RawValue>) -> Result<Mode, RpcError> {
    let task = task.filter(|_| cx.version.has_legacy_tasks());
    match (cx.version.era(), tool.task) {
        (Era::Legacy, TaskSupport::Forbidden) if task.is_some() => Err(RpcError::new(
            code::METHOD_NOT_FOUND,
            format!(
                "tool {:?} cannot run as a task; call it without \"task\"",
                tool.name
            ),
        )),
        (Era::Legacy, TaskSupport::Required) if task.is_none() => Err(RpcError::new(
            code::METHOD_NOT_FOUND,
            format!(
                "tool {:?} runs only as a task; call it with \"task\"",
                tool.name
            ),
        )),
        (Era::Legacy, _) => match task {
            Some(task) => Ok(Mode::Task {
                ttl: requested_ttl(task)?,
            }),
            None => Ok(Mode::Synchronous),
        },
        (Era::Modern, TaskSupport::Forbidden) => Ok(Mode::Synchronous),
        (Era::Modern, _) if cx.capabilities.tasks => Ok(Mode::Task { ttl: None }),
        (Era::Modern, TaskSupport::Required) => Err(missing_tasks()),
        (Era::Modern, TaskSupport::Optional) => Ok(Mode::Synchronous),
    }
}

fn requested_ttl(task: &RawValue) -> Result<Option<Duration>, RpcError> {
    #[derive(Default, Deserialize)]
    struct TaskParams {
        #[serde(default)]
        ttl: Option<f64>,
    }
    let wrong = || {
        RpcError::invalid_params(
            r#""task" must be an object whose "ttl" is a number of milliseconds"#,
        )
    };
    let TaskParams { ttl } = crate::protocol::object(task).ok_or_else(wrong)?;
    match ttl {
        None => Ok(None),
        Some(ttl) if ttl >= 0.0 => {
            // More than the longest is the longest.
            let longest = MAX_RETENTION.as_secs_f64();
            Ok(Some(Duration::from_secs_f64((ttl / 1000.0).min(longest))))
        }
        Some(_) => Err(wrong()),
    }
}

/// A result that is there already.
pub(crate) fn result(cx: &Context<'_>, result: &ToolResult) -> Vec<u8> {
    let room = result.content.as_str().len() + 256;
    cx.reply(room, |out| {
        let meta = meta_of_result(cx);
        wire::tool_result(out, result, cx.version, meta.as_slice());
    })
}

/// What is added to the `_meta` of a result of the newer era.
pub(crate) fn meta_of_result<'a>(cx: &'a Context<'_>) -> Option<(&'a str, &'a str)> {
    let info = (
        crate::protocol::names::META_SERVER_INFO,
        cx.server.info.as_str(),
    );
    (cx.version.era() == Era::Modern).then_some(info)
}

async fn create(
    cx: &Context<'_>,
    mut new: NewCall,
    ttl: Option<Duration>,
    token: Option<RawJson>,
) -> Reply {
    new.ttl = ttl;
    new.reply_to = cx.session.map(|session| ReplyTo {
        session: session.key.clone(),
        progress_token: token,
    });
    let task = cx.server.handle.create(new).await.map_err(from_store)?;
    cx.introduce(task.id());
    let now = cx.server.handle.now();
    Ok(cx.reply_object(|result| match cx.version.era() {
        Era::Legacy => {
            wire::legacy_members(&mut result.object("task"), &task, now);
            // Clients from before the final text look for a result stub; the later ones do not mind.
            result.raw("content", "[]");
            let mut meta = result.object("_meta");
            meta.object("modelcontextprotocol.io/task")
                .plain("taskId", task.id())
                .plain("status", "working");
        }
        Era::Modern => {
            result.raw("resultType", r#""task""#);
            wire::modern_members(result, &task, now);
            result.raw("_meta", cx.server.meta.as_str());
        }
    }))
}

/// Starts a call as a task whose caller asked for its result and is to have the id at once.
async fn start(cx: &Context<'_>, new: NewCall) -> Reply {
    let task = cx.server.handle.create(new).await.map_err(from_store)?;
    cx.introduce(task.id());
    Ok(result(
        cx,
        &helpers::unfinished(cx, &task, "Started. ", has_helpers(cx)),
    ))
}

/// The answer to a call that goes on as this task; `tell` makes it of what a model is told.
pub(crate) async fn detached(
    cx: &Context<'_>,
    id: TaskId,
    tell: impl FnOnce(ToolResult) -> Vec<u8>,
) -> Reply {
    let task = match cx.server.handle.get(cx.principal, id).await {
        Ok(task) => task,
        // A caller that is told of an error calls again, and the work is done twice.
        Err(error) if error.is_retryable() => {
            return Ok(tell(helpers::unseen(id, has_helpers(cx))));
        }
        Err(error) => return Err(from_store(error)),
    };
    Ok(match task.outcome.as_deref() {
        // It ended at the last moment.
        Some(outcome) => wire::response(
            cx.id.get(),
            outcome,
            cx.version,
            meta_of_result(cx).as_slice(),
        ),
        None => tell(helpers::unfinished(cx, &task, "", has_helpers(cx))),
    })
}

/// Whether a model can be told to call the helper tools.
fn has_helpers(cx: &Context<'_>) -> bool {
    cx.server.config.helpers != Helpers::Never
}

/// The answer to a call of the newer era that is to be made again with answers to these questions.
pub(crate) fn input_required(
    cx: &Context<'_>,
    questions: &[&InputRequest],
    state: Option<&str>,
) -> Vec<u8> {
    cx.reply_object(|result| {
        result.raw("resultType", r#""input_required""#);
        {
            let mut requests = result.object("inputRequests");
            for question in questions {
                wire::input_request(&mut requests, question);
            }
        }
        if let Some(state) = state {
            result.plain("requestState", state);
        }
        result.raw("_meta", cx.server.meta.as_str());
    })
}
