//! A synchronous call: a run whose caller waits for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use outlast_core::{Answer, Outcome, TaskId};

use crate::BoxFuture;
use crate::carried::Carried;
use crate::error::{ErrorKind, Result};
use crate::handle::gone;
use crate::run::Run;
use crate::shared::Shared;
use crate::stored::Stored;

/// What happens to a synchronous call whose caller goes away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDrop {
    /// It goes on: going away is not cancelling (2025-11-25 transports, "Sending Messages").
    Continue,
    /// It is cancelled: closing the stream is cancelling (2026-07-28 Streamable HTTP).
    Cancel,
}

/// A synchronous call under way. Resolves to its outcome.
///
/// Nothing runs before it is polled. A call that is dropped before its end goes on or is cancelled,
/// as [`OnDrop`] says; its record, if it has one by then, comes to its end in either case.
#[must_use = "nothing runs before it is polled"]
pub struct Running {
    pub(crate) call: Call,
    pub(crate) shared: Arc<Shared>,
    pub(crate) future: Option<BoxFuture<'static, End>>,
    pub(crate) on_drop: OnDrop,
    pub(crate) begun: bool,
    pub(crate) goes_on: bool,
}

/// How a synchronous call ends for its caller.
pub(crate) enum End {
    Outcome(Outcome),
    /// The engine stops, and the task goes on without a word to this caller.
    GoesOn,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

/// Where the handler of a synchronous call runs.
pub(crate) enum Call {
    /// With its caller.
    Here(Arc<Run>),
    /// With a worker, when the store allows.
    Stored(Arc<Stored>),
}

impl Running {
    /// The id of the call's task, if it has one or will get one. A call that means another call's task
    /// has that one's id from the moment at which it [is stored](Running::is_stored).
    pub fn id(&self) -> TaskId {
        match &self.call {
            Call::Here(run) => run.spec.id,
            Call::Stored(stored) => stored.task.get().copied().unwrap_or(stored.own),
        }
    }

    /// Whether the call has a record: it survives this process and can be looked up by its id.
    pub fn is_stored(&self) -> bool {
        match &self.call {
            Call::Here(run) => run.lease().is_some(),
            Call::Stored(stored) => stored.task.get().is_some(),
        }
    }

    /// Writes the call down now, whatever it has done so far, so that it can be looked up by its id and
    /// survives this process. `false` if it can have no record, has ended without one, or waits for
    /// the store to give it one.
    ///
    /// To be awaited beside the call itself.
    ///
    /// # Errors
    /// The store failed; the call goes on as it was.
    ///
    /// # Cancel safety
    /// A dropped wait leaves the call with its record or without.
    pub fn store(&self) -> impl Future<Output = Result<bool>> + Send + 'static + use<> {
        let stored = self.is_stored();
        let run = match &self.call {
            Call::Here(run) => Some(Arc::clone(run)),
            Call::Stored(_) => None,
        };
        async move {
            let Some(run) = run else { return Ok(stored) };
            match run.persist().await {
                Ok(lease) => Ok(lease.is_some()),
                Err(error) if matches!(error.kind(), ErrorKind::LeaseLost) => {
                    Ok(run.lease().is_some())
                }
                Err(error) => Err(error),
            }
        }
    }

    /// Answers a question of a call without a record. The first answer counts.
    pub fn answer(&self, key: impl Into<String>, answer: Answer) {
        if let Call::Here(run) = &self.call {
            run.give(key.into(), answer);
        }
    }

    /// Whether work is under way that is going to be recorded, so that ending the call now would lose
    /// it.
    pub fn is_recording(&self) -> bool {
        match &self.call {
            Call::Here(run) => run.step_in_flight(),
            Call::Stored(_) => false,
        }
    }

    /// What a call without a record has done so far, for [`NewCall::carried`](crate::NewCall::carried)
    /// of the call that goes on with it.
    pub fn carried(&self) -> Carried {
        match &self.call {
            Call::Here(run) => run.carried(),
            Call::Stored(_) => Carried::default(),
        }
    }

    /// Why the store refused the call, if it did: nothing was stored and nothing has run. The outcome
    /// says it in words; a surface has a form of its own for each such error.
    pub fn refused(&self) -> Option<&outlast_core::Error> {
        match &self.call {
            Call::Here(_) => None,
            Call::Stored(stored) => stored.refused.get(),
        }
    }

    /// Whether the call has ended for its caller alone: the engine stops, and the [task](Running::id) goes
    /// on in the next process. The outcome is then a failure that says so in words; whoever can send the
    /// caller there must not take it for what became of the work.
    pub fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Cancels the call because its caller said so, in whichever era.
    pub fn cancel(mut self) {
        self.on_drop = OnDrop::Cancel;
    }

    /// Lets the call go on by itself and hands it to nobody.
    pub fn detach(mut self) {
        self.on_drop = OnDrop::Continue;
    }
}

impl Future for Running {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.begun = true;
        let future = self.future.as_mut().expect("not polled after its end");
        let end = std::task::ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(match end {
            End::Outcome(outcome) => outcome,
            End::GoesOn => {
                self.goes_on = true;
                gone(&format!(
                    "the server is stopping; the call goes on as task {}",
                    self.id()
                ))
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(future) = self.future.take().filter(|_| self.begun) else {
            return;
        };
        if self.on_drop == OnDrop::Cancel {
            match &self.call {
                Call::Here(run) => run.cancel.cancel(),
                Call::Stored(stored) => stored.cancel.cancel(),
            }
        }
        // The driver brings it to its end, also when that end is a cancellation.
        let tracker = self.shared.running.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            tracker.spawn_on(
                async move {
                    let _ = future.await;
                },
                &runtime,
            );
        }
    }
}
