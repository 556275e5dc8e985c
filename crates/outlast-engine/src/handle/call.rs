//! Synchronous calls: a run in this process that becomes a task when something must not be lost.

use std::sync::{Arc, OnceLock};

use outlast_core::{Error, Failure, FailureReason, Lease, Outcome, Task, TaskSpec, Webhook, label};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Handle, NewCall};
use crate::attempt::{Ending, drive};
use crate::observer::Observer;
use crate::run::{Origin, Run};
use crate::running::{Call, End, OnDrop, Running};
use crate::stored::{self, Stored};
use crate::tool::{TaskSupport, Tool};
use crate::{cleanup, trace, worker};

impl Handle {
    /// Whether the store decides when this call may run, or that it may not.
    fn must_wait_its_turn(&self, spec: &TaskSpec) -> bool {
        label::check(&spec.labels).is_err()
            || !spec.keys.is_empty()
            || spec.idempotency.is_some()
            || spec.same.is_some()
            || spec.run_at.is_some()
            || spec.webhooks.iter().any(Webhook::is_of_call)
            || !self.shared.may_run(&spec.tool)
            || self.shared.is_paused(&spec.tool)
    }

    /// Calls a tool synchronously. One to which a limit, a key or a pause applies, or whose tool requires
    /// a worker with other labels than this one's, waits for its turn as a task. A tool that may be a task is written down at the first thing that
    /// must not be lost, or after a second; then the outcome is stored before it is returned. A call that the store refuses, as a full queue
    /// does, fails, and [`Running::refused`] says why.
    pub fn call(
        &self,
        mut call: NewCall,
        observer: Option<Arc<dyn Observer>>,
        on_drop: OnDrop,
    ) -> Running {
        let tool = Arc::clone(&call.tool);
        let origin = match tool.task {
            TaskSupport::Forbidden => Origin::Unstored(std::mem::take(&mut call.carried)),
            TaskSupport::Optional | TaskSupport::Required => Origin::Lazy,
        };
        let spec = call.into_spec(&self.shared);
        if tool.task != TaskSupport::Forbidden && self.must_wait_its_turn(&spec) {
            let stored = Arc::new(Stored {
                own: spec.id,
                task: OnceLock::new(),
                cancel: CancellationToken::new(),
                refused: OnceLock::new(),
            });
            let run = stored::run(self.clone(), spec, observer, Arc::clone(&stored));
            return Running {
                call: Call::Stored(stored),
                shared: Arc::clone(&self.shared),
                future: Some(Box::pin(run)),
                on_drop,
                begun: false,
                goes_on: false,
            };
        }
        let spec = Arc::new(spec);
        let run = Run::new(
            Arc::clone(&self.shared),
            &tool,
            spec,
            origin,
            observer,
            None,
        );
        let future = Box::pin(synchronous(self.clone(), Arc::clone(&run), tool));
        Running {
            call: Call::Here(run),
            shared: Arc::clone(&self.shared),
            future: Some(future),
            on_drop,
            begun: false,
            goes_on: false,
        }
    }
}

/// The whole life of a synchronous call.
async fn synchronous(handle: Handle, run: Arc<Run>, tool: Arc<Tool>) -> End {
    // A clean stop waits for it as for any other run.
    let _counted = handle.shared.calls.token();
    if !run.spec.after.is_empty() {
        return gone("a synchronous call cannot come after other tasks: create a task").into();
    }
    let handler = worker::start_handler(&tool.handler, &run);
    let driven = drive(&run, handler).instrument(trace::call(&run));
    let end = answer(&handle, &run, driven.await).await;
    run.over();
    end
}

/// What the caller is told of an ending, which is stored before if there is a record.
async fn answer(handle: &Handle, run: &Arc<Run>, ending: Ending) -> End {
    if matches!(ending, Ending::Again { .. }) {
        // The next attempt is the store's to make. Without a record the error is the answer.
        let _ = Box::pin(run.persist()).await;
    }
    let Some(lease) = run.settled_lease().await else {
        return match ending {
            // Its record may be another attempt's by now.
            Ending::Lost if run.is_storable() => Box::pin(elsewhere(handle, run)).await,
            ending => unstored_outcome(ending).into(),
        };
    };
    Box::pin(end_stored(handle, run, lease, ending)).await
}

/// The end of a call that has a record.
async fn end_stored(handle: &Handle, run: &Arc<Run>, lease: Lease, ending: Ending) -> End {
    let shared = &handle.shared;
    let released = matches!(ending, Ending::Released);
    let reported = match worker::attempt_end(shared, ending) {
        Some(end) => worker::report_end(shared, &lease, end, None).await,
        None => None,
    };
    shared.runs.remove(run);
    if let Some((task, _)) = reported
        && let Some(outcome) = task.outcome.clone()
    {
        cleanup::go_on(shared, lease, task);
        return Outcome::clone(&outcome).into();
    }
    if released {
        return End::GoesOn;
    }
    elsewhere(handle, run).await
}

/// The end of a call that was suspended or taken over: its task goes on elsewhere and ends in the store.
async fn elsewhere(handle: &Handle, run: &Run) -> End {
    tokio::select! {
        waited = handle.outwait(&run.spec.owner, run.spec.id) => waited_for(waited),
        () = handle.stopping() => End::GoesOn,
    }
}

/// What a wait for the end of a stored task has come to.
pub(crate) fn waited_for(waited: Result<Arc<Task>, Error>) -> End {
    match waited {
        Ok(task) => match task.outcome.as_deref() {
            Some(outcome) => outcome.clone().into(),
            None => End::GoesOn,
        },
        Err(error) => gone(&error.to_string()).into(),
    }
}

fn unstored_outcome(ending: Ending) -> Outcome {
    match ending {
        Ending::Outcome(outcome) => outcome,
        Ending::Again { message, .. } => gone(&message),
        Ending::Released | Ending::Interrupted => gone("the server is stopping; call again"),
        Ending::Suspended | Ending::Lost => gone("the call was taken from this process"),
    }
}

pub(crate) fn gone(message: &str) -> Outcome {
    Outcome::Failed(Failure::internal(FailureReason::Error, message))
}
