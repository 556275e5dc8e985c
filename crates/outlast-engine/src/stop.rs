//! A switch that is thrown once and stays so: something is to stop.
//!
//! Every run has two, and nearly none is ever thrown or waited for; so one is a part of its run and
//! not an allocation of its own, as a token that can be cloned would be.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Stop {
    cancelled: AtomicBool,
    told: Notify,
}

impl Stop {
    /// Throws it. Repeating this is harmless.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Resolves once it has been thrown.
    ///
    /// Cancel safe.
    pub(crate) async fn cancelled(&self) {
        // Made before the look, so that a throw in between is heard.
        let told = self.told.notified();
        if !self.is_cancelled() {
            told.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_waits_and_who_comes_later_hear_of_it() {
        let stop = Arc::new(Stop::default());
        let waiting = {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move { stop.cancelled().await })
        };
        tokio::task::yield_now().await;
        assert!(!stop.is_cancelled() && !waiting.is_finished());
        stop.cancel();
        waiting.await.unwrap();
        stop.cancel();
        stop.cancelled().await;
        assert!(stop.is_cancelled());
    }
}
