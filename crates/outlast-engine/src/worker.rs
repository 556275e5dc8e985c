//! The worker: claims ready tasks while slots are free, and runs each to the end of its attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outlast_core::machine::AttemptEnd;
use outlast_core::store::Claimed;
use outlast_core::{Error, Failure, FailureReason, Lease, Outcome, Task};
use tracing::Instrument;

use crate::attempt::{Ending, drive};
use crate::context::Cx;
use crate::lifecycle;
use crate::run::{Origin, Run};
use crate::shared::Shared;
use crate::slots::Slot;
use crate::{cleanup, trace};

/// How long the worker waits when the store does not answer.
const BACKOFF: Duration = Duration::from_millis(500);

/// The longest pause before an end is told again to a store that is in no state to keep it.
const UNREADY: Duration = Duration::from_secs(10);

/// Claims until the engine stops. Every turn is: wait for a slot, claim, and wait for a notice that there may
/// be more; one that came before the wait is not lost.
///
/// One task is asked for first, and twice as many each time that there were as many. So a backlog is taken
/// up in a few calls, and where there is none whoever creates a task finds the other slots free, and claims
/// it with its creation.
pub(crate) async fn claim_loop(shared: Arc<Shared>) {
    let mut most = 1;
    loop {
        let slots = tokio::select! {
            () = shared.stopping.cancelled() => return,
            slots = shared.slots.take(most) => slots,
        };
        let Some(slots) = slots else { return };
        let by = shared.claim_by(true);
        let asked = slots.len();
        let claimed = shared
            .meters
            .timed("claim", shared.store.claim(&by, asked))
            .await;
        match claimed {
            Ok(claimed) => {
                most = if claimed.len() < asked { 1 } else { asked * 2 };
                for (claimed, slot) in claimed.into_iter().zip(slots) {
                    if claimed.task.state.suspect {
                        shared.suspect.store(true, Ordering::Release);
                    }
                    start(&shared, claimed, slot);
                }
                tokio::select! {
                    () = shared.stopping.cancelled() => return,
                    () = shared.ready.notified() => {}
                }
            }
            Err(error) => {
                drop(slots);
                // So many may have been too many to be answered in time.
                most = 1;
                tracing::warn!(%error, "could not claim; trying again");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}

/// Runs a claimed task, and those that are claimed with its end, on a tokio task of their own.
pub(crate) fn start(shared: &Arc<Shared>, claimed: Claimed, slot: Slot) {
    let shared = Arc::clone(shared);
    let tracker = shared.running.clone();
    tracker.spawn(async move {
        let mut next = Some(claimed);
        while let Some(claimed) = next.take() {
            let suspect = claimed.task.state.suspect;
            next = attempt(&shared, claimed, &slot).await;
            if suspect {
                shared.suspect.store(false, Ordering::Release);
                // Another suspect may have been passed over meanwhile.
                shared.ready.notify_one();
            }
        }
    });
}

/// One attempt, from its claim to what the store knows of its end. Returns the next task.
async fn attempt(shared: &Arc<Shared>, claimed: Claimed, slot: &Slot) -> Option<Claimed> {
    let task = Arc::clone(&claimed.task);
    let lease = claimed.lease;
    lifecycle::started(&task);
    shared.meters.started(&task);
    let Some(tool) = shared.tools().get(&task.spec.tool).cloned() else {
        // The set of tools changed between the claim and now: somebody else will know it.
        return end(shared, &lease, AttemptEnd::Release).await;
    };
    let until = task.state.held.as_ref().map(|held| held.until);
    if until.is_some_and(|until| until <= shared.store.clock().now()) {
        // The reply took longer than the lease runs, so another may have the task by now: what has not begun
        // is better not begun twice.
        return end(shared, &lease, AttemptEnd::Release).await;
    }
    if shared.stopping.is_cancelled() {
        // The stop came while the claim was on its way. What begins now would be interrupted.
        return end(shared, &lease, AttemptEnd::Release).await;
    }
    let undoes = task.is_finished();
    let journal = if undoes {
        claimed.journal.clone()
    } else {
        Vec::new()
    };
    let run = Run::new(
        Arc::clone(shared),
        &tool,
        Arc::clone(&task.spec),
        Origin::Leased(Box::new(claimed)),
        shared.observers.of(task.id()),
        Some(slot.clone()),
    );
    if task.state.version > 2 && !task.is_finished() {
        // Not its first entry: what was logged before is not logged again.
        if let Ok(page) = shared.store.log_read(task.id(), u64::MAX, 0).await {
            run.log.swallow(page.mark.unwrap_or(0));
        }
    }
    shared.runs.insert(Arc::clone(&run));
    let ended = if undoes {
        let opened = |entry| run.opened_entry(entry);
        let journal: Vec<_> = journal.into_iter().map(opened).collect();
        let undone = cleanup::clean_up(&run, &journal);
        undone.instrument(trace::attempt(&task)).await
    } else {
        let handler = start_handler(&tool.handler, &run);
        let driven = drive(&run, handler).instrument(trace::attempt(&task));
        attempt_end(shared, driven.await)
    };
    let next = match ended {
        Some(attempt_end) => end(shared, &lease, attempt_end).await,
        None => None,
    };
    shared.runs.remove(&run);
    run.over();
    next
}

/// Calls the handler, which may panic before it has returned a future.
pub(crate) fn start_handler(
    handler: &Arc<dyn crate::tool::Handler>,
    run: &Arc<Run>,
) -> crate::BoxFuture<'static, crate::error::Result<outlast_core::ToolResult>> {
    let handler = Arc::clone(handler);
    let cx = Cx {
        run: Arc::clone(run),
    };
    let arguments = match &run.opened {
        Ok(opened) => Ok(opened
            .arguments
            .as_ref()
            .unwrap_or(&run.spec.arguments)
            .clone()),
        Err(why) => Err(why.clone()),
    };
    // Inside the future, so that a panic of the call itself is caught like any other.
    Box::pin(async move {
        match arguments {
            Ok(arguments) => handler.call(arguments, cx).await,
            Err(why) => Err(crate::Error::protocol(-32603, why)),
        }
    })
}

/// What the store is told about an ending; `None` if it knows already.
pub(crate) fn attempt_end(shared: &Shared, ending: Ending) -> Option<AttemptEnd> {
    match ending {
        Ending::Outcome(outcome) => Some(AttemptEnd::Done(outcome)),
        Ending::Again { message, wait } => {
            let at = shared.store.clock().now() + wait;
            Some(AttemptEnd::Retry { message, at })
        }
        Ending::Released => Some(AttemptEnd::Release),
        Ending::Interrupted => {
            let failure = Failure::interrupted("the server was stopped");
            Some(AttemptEnd::Done(Outcome::Failed(failure)))
        }
        Ending::Suspended | Ending::Lost => None,
    }
}

/// Reports the end of an attempt until the store has it, and takes the next task with it, or the
/// undos of this one.
pub(crate) async fn end(
    shared: &Arc<Shared>,
    lease: &Lease,
    attempt_end: AttemptEnd,
) -> Option<Claimed> {
    let by = (!shared.stopping.is_cancelled()).then(|| shared.claim_by(false));
    let (task, next) = report_end(shared, lease, attempt_end, by.as_ref()).await?;
    match next {
        Some(next) => Some(next),
        None => cleanup::kept(shared, lease, task).await,
    }
}

/// Reports the end of an attempt until the store has it. `None` if the lease was lost.
///
/// Only what the store refuses to keep is given up for a failure that says so. A store that is in no state
/// to keep anything may need a hand, and the result waits for that until this process stops.
pub(crate) async fn report_end(
    shared: &Arc<Shared>,
    lease: &Lease,
    mut attempt_end: AttemptEnd,
    by: Option<&outlast_core::store::ClaimBy>,
) -> Option<(Arc<Task>, Option<Claimed>)> {
    let mut wait = Duration::from_millis(50);
    loop {
        let finished = shared.store.finish(lease, attempt_end.clone(), by);
        match shared.meters.timed("finish", finished).await {
            Ok(reply) => {
                shared.usual.note(&reply.task);
                lifecycle::ended(&reply.task);
                match attempt_end {
                    AttemptEnd::Retry { .. } => shared.meters.retried(&reply.task),
                    AttemptEnd::Done(_) => shared.meters.ended(&reply.task),
                    _ => {}
                }
                return Some((reply.task, reply.next));
            }
            Err(Error::LeaseLost(task)) => {
                shared.meters.lease_lost();
                tracing::debug!(%task, "the task was ended or taken over by somebody else");
                return None;
            }
            Err(error) if error.is_retryable() => {
                tracing::warn!(task = %lease.task, %error, "could not store the end; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            }
            Err(error @ Error::Store { .. }) if !shared.releasing.is_cancelled() => {
                tracing::error!(task = %lease.task, %error, "could not store the end; trying again");
                tokio::select! {
                    () = shared.releasing.cancelled() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                wait = (wait * 2).min(UNREADY);
            }
            Err(error) => {
                // Not worth repeating as it is: the record must still end, and say why.
                tracing::error!(task = %lease.task, %error, "could not store the outcome");
                let message = format!("the outcome could not be stored: {error}");
                let failure = Failure::internal(FailureReason::Error, message);
                let failed = AttemptEnd::Done(Outcome::Failed(failure));
                if attempt_end == failed || matches!(attempt_end, AttemptEnd::Release) {
                    return None;
                }
                attempt_end = failed;
            }
        }
    }
}
