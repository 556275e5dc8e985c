//! Waiting for a stored task on behalf of a caller that wants its result.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::{InputRequest, Scope, Task};
use outlast_engine::{Observer, Right, Watch};
use tokio::time::Instant;

use crate::context::{Context, from_store};
use crate::jsonrpc::RpcError;
use crate::session::{Attached, Waiter};
use crate::visible;

pub(crate) use crate::report::Report;

/// Makes the caller's stream a way for the questions of a task, until the returned value is dropped, if
/// the caller is a session.
///
/// # Errors
/// The store failed.
pub(crate) async fn attach(cx: &Context<'_>, task: &Task) -> Result<Option<Attached>, RpcError> {
    let Some(session) = cx.session else {
        return Ok(None);
    };
    let right = cx.server.handle.right(cx.principal, task).await;
    let right = right.map_err(from_store)?;
    let waiter = Waiter {
        outlet: cx.outlet.clone(),
        session: Arc::clone(session),
        may_answer: right == Some(Right::Run) && cx.principal.may(Scope::Run),
    };
    let couriers = &cx.server.couriers;
    Ok(Some(couriers.attach(
        cx.server,
        &task.spec.owner,
        task.id(),
        waiter,
    )))
}

/// How a wait ended.
pub(crate) enum Followed {
    /// The task has its outcome.
    Finished,
    /// It asks what this caller, of the newer era, can answer.
    Asks(Vec<InputRequest>),
    /// The time is over.
    StillRunning,
    /// The server stops, and the task goes on.
    Stopping,
}

/// Waits until the task has ended, asks something, or `until` has come; tells progress and signs of
/// life meanwhile.
///
/// # Errors
/// The task was deleted, or the store failed.
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
            () = cx.server.stopping.cancelled() => return Ok(Followed::Stopping),
        }
    }
}

/// The open questions of a task that a caller of the newer era answers with a retry. The older era's
/// callers are sent requests instead, and whoever may only look is asked nothing.
pub(crate) fn questions(cx: &Context<'_>, task: &Arc<Task>) -> Vec<InputRequest> {
    if cx.session.is_some() || !cx.principal.may(Scope::Run) {
        return Vec::new();
    }
    let seen = visible::to(cx.capabilities, Arc::clone(task));
    seen.open_inputs()
        .map(|input| input.request.clone())
        .collect()
}
