//! Waiting in tests, on any executor: several futures at once, and until a condition holds.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long [`eventually`] waits: long enough for the busiest machine, for only failures take it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs all futures at once and returns their results in order.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    enum Slot<F: Future> {
        Runs(Pin<Box<F>>),
        Done(Option<F::Output>),
    }
    let mut slots: Vec<Slot<F>> = futures
        .into_iter()
        .map(|future| Slot::Runs(Box::pin(future)))
        .collect();
    poll_fn(move |cx| {
        let mut pending = false;
        for slot in &mut slots {
            if let Slot::Runs(future) = slot {
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => *slot = Slot::Done(Some(output)),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            return Poll::Pending;
        }
        let outputs = slots.iter_mut().map(|slot| match slot {
            Slot::Done(output) => output.take().expect("taken once"),
            Slot::Runs(_) => unreachable!("none is pending"),
        });
        Poll::Ready(outputs.collect())
    })
    .await
}

/// Polls `future` once. `None` if it was not ready; then it is dropped.
pub async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Waits until `condition` returns something, looking again and again.
///
/// # Panics
/// If nothing comes within a minute; the message names `what`.
pub async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        pause().await;
    }
}

/// Gives everybody else a moment. Needs no timer of the executor.
pub(super) async fn pause() {
    let mut started = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut started, true) {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1));
            waker.wake();
        });
        Poll::Pending
    })
    .await;
}

/// Runs `future` on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = Box::pin(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
