//! A call that goes on with a stored run: the retry of the newer era that brings its answers, and the call
//! that a relay makes again because the process which stored the run is gone.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::TaskId;
use outlast_core::status::Era;
use outlast_engine::{CancelBy, DetachAfter, OnDisconnect, Tool, Watch};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::request_state::{self, Kept};
use super::{detached, input_required, meta_of_result, result};
use crate::context::{Context, Reply, from_store};
use crate::detach;
use crate::follow::{self, Followed, Report};
use crate::helpers;
use crate::jsonrpc::owned;
use crate::methods::tasks_update;
use crate::parting;
use crate::protocol::progress_token;
use crate::retries::Retrying;
use crate::wire;

/// A retry.
pub(super) struct Retry<'a> {
    pub(super) tool: &'a Arc<Tool>,
    pub(super) arguments: &'a outlast_core::RawJson,
    pub(super) responses: Option<&'a RawValue>,
    pub(super) detach: DetachAfter,
    pub(super) report: Report,
}

pub(super) async fn run(cx: &Context<'_>, id: TaskId, retry: Retry<'_>) -> Reply {
    let task = cx.server.handle.get(cx.principal, id).await;
    let task = task.map_err(from_store)?;
    let responses = tasks_update::parse(retry.responses)?;
    tasks_update::answer(cx, &task, responses).await?;
    // Read after the answers are in, so that what they answer is not asked again.
    let watch = cx.server.handle.watch(cx.principal, id).await;
    let mut watch = watch.map_err(from_store)?;

    wait(cx, &mut watch, retry).await
}

/// Goes on with a call that was stored as this task, and whose caller was `told` this progress last.
pub(super) async fn again(cx: &Context<'_>, id: TaskId, told: Option<f64>) -> Reply {
    // Before anything is waited for: its client may cancel it at once.
    let mut caller = Caller {
        cx,
        waits: Some(cx.server.retries.begin(id)),
        goes_on: true,
        id,
    };
    let watch = cx.server.handle.watch(cx.principal, id).await;
    let mut watch = watch.map_err(from_store)?;
    let task = Arc::clone(watch.task());
    let tools = &cx.server.offer().tools;
    let Some(tool) = tools.get(&task.spec.tool).map(Arc::clone) else {
        return detached(cx, id, |told| result(cx, &told)).await;
    };
    let token = progress_token(&cx.meta)?.map(|token| owned("progressToken", token));
    let token = token.transpose()?;
    let arguments = super::arguments_again(cx)?;
    // The client has waited since the call was made.
    let waited = cx.server.handle.now().since(task.state.created_at);
    let detach = match detach::of_call(&tool, &cx.server.config, cx.meta.detach_after)? {
        DetachAfter::Never => DetachAfter::Never,
        DetachAfter::After(after) => DetachAfter::After(after.saturating_sub(waited)),
    };
    cx.outlet.lasts(cx.id, Some(id));
    let _waits = follow::attach(cx, &task).await?;
    let retry = Retry {
        tool: &tool,
        arguments: &arguments,
        responses: None,
        detach,
        report: Report::new(cx, token, None).after(told, &task.state.progress, waited),
    };
    caller.waits = None;
    wait(cx, &mut watch, retry).await
}

/// Waits for the run on behalf of its caller.
async fn wait(cx: &Context<'_>, watch: &mut Watch, retry: Retry<'_>) -> Reply {
    let task = Arc::clone(watch.task());
    let id = task.id();
    let mut caller = Caller {
        cx,
        waits: Some(cx.server.retries.begin(id)),
        goes_on: cx.version.era() == Era::Legacy
            || retry.tool.serving.on_disconnect == OnDisconnect::Detach,
        id,
    };
    let until = match retry.detach {
        DetachAfter::Never => None,
        DetachAfter::After(after) => Some(Instant::now() + after),
    };
    let heartbeat = heartbeat(cx, retry.tool);
    let followed = follow::follow(cx, watch, &retry.report, heartbeat, until).await;
    caller.waits = None;
    Ok(match followed? {
        Followed::Finished => {
            let outcome = watch.task().outcome.as_deref();
            let outcome = outcome.expect("a finished task has an outcome");
            wire::response(
                cx.id.get(),
                outcome,
                cx.version,
                meta_of_result(cx).as_slice(),
            )
        }
        Followed::Asks(questions) => {
            let state =
                request_state::seal(cx, &retry.tool.name, retry.arguments, Kept::Stored(id))?;
            let questions: Vec<_> = questions.iter().collect();
            input_required(cx, &questions, Some(&state))
        }
        Followed::Stopping => return parting::of_call(cx, retry.tool, id).await,
        Followed::StillRunning => {
            let told = helpers::unfinished(cx, watch.task(), "", super::has_helpers(cx));
            result(cx, &told)
        }
    })
}

/// How often a call of this tool says that it still runs.
pub(super) fn heartbeat(cx: &Context<'_>, tool: &Tool) -> Duration {
    tool.serving.heartbeat.unwrap_or(cx.server.config.heartbeat)
}

/// How long after the last retry has gone the next one may come: its client has lost the connection.
const COMES_BACK: Duration = Duration::from_secs(1);

/// The one who waits. Closing the stream is cancelling in the newer era (2026-07-28 Streamable HTTP).
struct Caller<'a> {
    cx: &'a Context<'a>,
    id: TaskId,
    /// It has not had its answer yet, and the run ends with the last of these.
    waits: Option<Retrying>,
    /// To leave is not to cancel.
    goes_on: bool,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let leaves = self.goes_on && !self.cx.is_cancelled();
        if self.waits.take().is_none() || leaves {
            return;
        }
        let id = self.id;
        let retries = self.cx.server.retries.clone();
        let handle = self.cx.server.handle.clone();
        let principal = self.cx.principal.clone();
        tokio::spawn(async move {
            tokio::time::sleep(COMES_BACK).await;
            if retries.wait_for(id) {
                return;
            }
            // Nobody who leaves ends what several callers may have joined.
            let task = handle.get(&principal, id).await;
            let spec = task.as_ref().map(|task| &task.spec);
            if spec.is_ok_and(|spec| spec.idempotency.is_some() || spec.same.is_some()) {
                return;
            }
            let reason = Some("the caller went away".to_owned());
            let cancel = handle.cancel(&principal, id, reason, CancelBy::Request);
            if let Err(error) = cancel.await {
                tracing::warn!(task = %id, %error, "a call that nobody waits for was not cancelled");
            }
        });
    }
}
