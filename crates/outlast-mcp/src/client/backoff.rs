//! Pauses between attempts: short at first, doubling, up to a limit, with an end to the patience.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one series of attempts.
pub(super) struct Backoff {
    next: Duration,
    until: Option<Instant>,
}

impl Backoff {
    /// A series that ends after `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        // A patience beyond all time is endless.
        Self {
            next: FIRST,
            until: Instant::now().checked_add(patience),
        }
    }

    /// A series without an end.
    pub(super) fn endless() -> Self {
        Self {
            next: FIRST,
            until: None,
        }
    }

    /// Makes the next pause at least this long.
    pub(super) fn at_least(&mut self, pause: Option<Duration>) {
        if let Some(pause) = pause {
            self.next = self.next.max(pause.min(LONGEST));
        }
    }

    /// Waits. False, at once, if the patience is at its end.
    pub(super) async fn pause(&mut self) -> bool {
        let now = Instant::now();
        let mut pause = self.next;
        if let Some(until) = self.until {
            if now >= until {
                return false;
            }
            pause = pause.min(until - now);
        }
        tokio::time::sleep(pause).await;
        self.next = (self.next * 2).min(LONGEST);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_end() {
        let start = Instant::now();
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let mut count = 0;
        while backoff.pause().await {
            count += 1;
        }
        // 100, 200, 400 and what is left of the second.
        assert_eq!((count, start.elapsed()), (4, Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_may_ask_for_longer_ones_within_reason() {
        let start = Instant::now();
        let mut backoff = Backoff::endless();
        backoff.at_least(Some(Duration::from_secs(3_600)));
        assert!(backoff.pause().await);
        assert_eq!(start.elapsed(), LONGEST);
    }
}
