//! The engine of one process, and its end.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::Store;
use outlast_core::store::{ClaimBy, Recovered};

use crate::builder::EngineBuilder;
use crate::crew;
use crate::handle::Handle;
use crate::heart::{self, Heart};
use crate::shared::Shared;

/// How long a clean stop waits for what was told to hand its task back.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Resolves once nothing runs any more. Both trackers must be closed.
async fn quiet(shared: &Shared) {
    // The end of a call may start the undos of its task.
    while !(shared.running.is_empty() && shared.calls.is_empty()) {
        shared.running.wait().await;
        shared.calls.wait().await;
    }
}

/// A running engine. Dropping it without [`Engine::shutdown`] is like a crash: running tasks are
/// taken up by the next process.
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) heart: Heart,
    pub(crate) worker: tokio::task::JoinHandle<()>,
    pub(crate) recovered: Recovered,
}

impl Engine {
    /// On what terms this process claims tasks now.
    pub fn claims(&self) -> ClaimBy {
        self.shared.claim_by(true)
    }

    /// Begins an engine over `store`.
    pub fn builder(store: Arc<dyn Store>) -> EngineBuilder {
        EngineBuilder::new(store)
    }

    /// How surfaces and applications reach the tasks.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// What the process before this one left running.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Makes the engine look at once at what is due, for clocks that are moved by hand: timers,
    /// deadlines and the time limits of attempts and steps.
    pub fn run_due(&self) {
        self.shared.moved.notify_waiters();
        self.shared.due.notify_one();
    }

    /// Does what is due now, as the engine does by itself when the moment comes; for tests whose clock stands
    /// still. `false` if there was nothing to do.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// What was begun is done by the next look.
    pub async fn look(&self) -> Result<bool, outlast_core::Error> {
        Ok(heart::look(&self.shared).await?.did)
    }

    /// Ends as a crash does, for tests: every handler is dropped where it stands, nothing more is
    /// written, and the store stays open.
    pub async fn abandon(self) {
        let shared = self.shared;
        shared.stopping.cancel();
        shared.slots.close();
        self.worker.abort();
        let _ = self.worker.await;
        self.heart.stop();
        shared.running.close();
        while !shared.running.is_empty() {
            // A run that was just claimed may not have been entered yet.
            let runs = shared.runs.all();
            runs.iter().for_each(|run| run.lost.cancel());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Stops cleanly: [`Engine::stop`] and [`Stopped::close`].
    ///
    /// # Errors
    /// As [`Stopped::close`].
    pub async fn shutdown(self, grace: Duration) -> Result<(), outlast_core::Error> {
        self.stop(grace).await.close().await
    }

    /// Claims nothing more, lets running handlers end for up to `grace`, those of synchronous calls as
    /// well, and hands back the rest without counting the attempt. What cannot be handed back within ten
    /// seconds more, as on a full disk, is taken up by the next process. The store is still open: whoever
    /// asks for a task meanwhile is answered.
    pub async fn stop(self, grace: Duration) -> Stopped {
        let shared = self.shared;
        shared.stopping.cancel();
        shared.slots.close();
        let _ = self.worker.await;
        shared.running.close();
        shared.calls.close();
        if tokio::time::timeout(grace, quiet(&shared)).await.is_err() {
            shared.releasing.cancel();
            if tokio::time::timeout(LAST_WORDS, quiet(&shared))
                .await
                .is_err()
            {
                tracing::warn!(
                    "some tasks could not be handed back in time; the next process takes them up"
                );
            }
        }
        heart::last_beat(&shared).await;
        self.heart.stop();
        // What is on its way and cannot be recorded any more is sent again by the next process.
        shared.courier.sending.close();
        let _ = tokio::time::timeout(grace, shared.courier.sending.wait()).await;
        crew::leave(&shared).await;
        shared.usual.store(&*shared.store).await;
        Stopped { shared }
    }
}

/// An engine that runs nothing any more, over a store that is still open.
#[must_use = "the store is to be closed"]
pub struct Stopped {
    shared: Arc<Shared>,
}

impl Stopped {
    /// Closes the store.
    ///
    /// # Errors
    /// The store could not be closed cleanly; nothing acknowledged is lost.
    pub async fn close(self) -> Result<(), outlast_core::Error> {
        self.shared.store.close().await
    }
}
