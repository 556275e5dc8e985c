//! A call of the newer era that goes on with a stored run: the retry that brings its answers.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::TaskId;
use outlast_engine::{CancelBy, DetachAfter, OnDisconnect, Tool};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::request_state::{self, Kept};
use super::{input_required, meta_of_result, result};
use crate::context::{Context, Reply, from_store};
use crate::follow::{self, Followed, Report};
use crate::helpers;
use crate::methods::tasks_update;
use crate::parting;
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

    // Nobody who leaves ends what several callers may have joined.
    let joined = task.spec.idempotency.is_some() || task.spec.same.is_some();
    let ends = retry.tool.serving.on_disconnect == OnDisconnect::AsProtocol && !joined;
    let mut caller = Caller {
        cx,
        waits: ends.then(|| cx.server.retries.begin(id)),
        id,
    };
    let until = match retry.detach {
        DetachAfter::Never => None,
        DetachAfter::After(after) => Some(Instant::now() + after),
    };
    let heartbeat = heartbeat(cx, retry.tool);
    let followed = follow::follow(cx, &mut watch, &retry.report, heartbeat, until).await;
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

/// The one who waits. Closing the stream is cancelling (2026-07-28 Streamable HTTP).
struct Caller<'a> {
    cx: &'a Context<'a>,
    id: TaskId,
    /// It has not had its answer yet, and the run ends with the last of these.
    waits: Option<Retrying>,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if self.waits.take().is_none() {
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
            let reason = Some("the caller went away".to_owned());
            let cancel = handle.cancel(&principal, id, reason, CancelBy::Request);
            if let Err(error) = cancel.await {
                tracing::warn!(task = %id, %error, "a call that nobody waits for was not cancelled");
            }
        });
    }
}
