//! How long a client may take to send the head of a request, timed once for many requests.
//!
//! A connection starts such a wait before every request and gives it up with every head. Entering each
//! wait into the runtime's timers and taking it out again would cost a busy connection a lock, often a
//! system call, twice a request; so a connection keeps one timer, which is moved only when it has run
//! out and the wait then under way has not.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// The timer of one connection, whose waits follow one another.
#[derive(Clone, Default)]
pub(crate) struct Patience(Arc<Mutex<Option<Alarm>>>);

/// The runtime's timer, made by the first wait.
type Alarm = Pin<Box<tokio::time::Sleep>>;

/// One wait.
struct Wait {
    alarm: Patience,
    until: Instant,
}

impl Patience {
    fn lock(&self) -> MutexGuard<'_, Option<Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, until: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Wait {
            alarm: self.clone(),
            until,
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, until: Instant) {
        if let Some(mut wait) = sleep.as_mut().downcast_mut_pin::<Wait>() {
            wait.until = until;
        }
    }
}

impl Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let until = tokio::time::Instant::from_std(self.until);
        let mut alarm = self.alarm.lock();
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if alarm.deadline() > until {
            alarm.as_mut().reset(until);
        }
        loop {
            std::task::ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= until {
                return Poll::Ready(());
            }
            // It ran out for an earlier wait.
            alarm.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_wait_takes_as_long_as_it_says() {
        let patience = Patience::default();
        let begun = patience.now();
        let mut first = patience.sleep(10 * SECOND);
        assert!(futures_util::poll!(&mut first).is_pending());
        drop(first);
        tokio::time::advance(6 * SECOND).await;
        // Begun while the timer stood at ten seconds.
        patience.sleep(10 * SECOND).await;
        assert_eq!(patience.now() - begun, 16 * SECOND);
        // Begun after the timer had run out, and nobody waited.
        tokio::time::advance(4 * SECOND).await;
        patience.sleep(10 * SECOND).await;
        assert_eq!(patience.now() - begun, 30 * SECOND);
        // Shorter than what the timer stands at.
        let mut long = patience.sleep(10 * SECOND);
        assert!(futures_util::poll!(&mut long).is_pending());
        drop(long);
        patience.sleep(SECOND).await;
        assert_eq!(patience.now() - begun, 31 * SECOND);
        let mut moved = patience.sleep(SECOND);
        let until = patience.now() + 3 * SECOND;
        patience.reset(&mut moved, until);
        moved.await;
        assert_eq!(patience.now() - begun, 34 * SECOND);
    }
}
