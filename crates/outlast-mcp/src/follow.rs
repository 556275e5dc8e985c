//! Waiting for a stored task on behalf of a caller that wants its result.

use std::time::Duration;

use outlast_core::InputRequest;
use outlast_engine::{Observer, Watch};
use tokio::time::Instant;

use crate::context::{Context, from_store};
use crate::jsonrpc::RpcError;
use crate::visible;

pub(crate) use crate::report::Report;

/// How a wait ended.
pub(crate) enum Followed {
    /// The task has its outcome.
    Finished,
    /// It asks what this caller, of the newer era, can answer.
    Asks(Vec<InputRequest>),
    /// The time is over.
    StillRunning,
}

/// Waits until the task has ended, asks something, or `until` has come; tells progress and signs of
/// life meanwhile.
///
/// # Errors
/// The task was deleted, the store failed, or the server stops.
pub(crate) async fn follow(
    cx: &Context<'_>,
    watch: &mut Watch,
    report: &Report,
    heartbeat: Duration,
    until: Option<Instant>,
) -> Result<Followed, RpcError> {
    let mut told = None;
    loop {
        let task = watch.task();
        if task.is_finished() {
            return Ok(Followed::Finished);
        }
        let questions = questions(cx, task);
        if !questions.is_empty() {
            return Ok(Followed::Asks(questions));
        }
        let progress = &task.state.progress;
        if !progress.is_empty() && told.as_ref() != Some(progress) {
            report.progress(progress);
            told = Some(progress.clone());
        }
        let time_is_over = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = watch.changed() => {
                changed.map_err(from_store)?;
            }
            () = tokio::time::sleep(heartbeat) => report.alive(),
            () = time_is_over => return Ok(Followed::StillRunning),
            () = cx.server.stopping.cancelled() => {
                return Err(RpcError::internal(
                    "the server is stopping; the task goes on, ask for its result again",
                ));
            }
        }
    }
}

/// The open questions of a task that a caller of the newer era answers with a retry. The older era's
/// callers are sent requests instead.
pub(crate) fn questions(
    cx: &Context<'_>,
    task: &std::sync::Arc<outlast_core::Task>,
) -> Vec<InputRequest> {
    if cx.session.is_some() {
        return Vec::new();
    }
    let seen = visible::to(cx.capabilities, std::sync::Arc::clone(task));
    seen.open_inputs()
        .map(|input| input.request.clone())
        .collect()
}
