//! The driver: polls a handler and does everything around it until the run has an ending.
//!
//! One loop, one place where a run can end. Beside the handler runs at most one errand at a time
//! (store progress and log, write the record down, read it again), so that storing never holds up
//! the work. The engine suspends only when the handler waits for slots alone: no step in flight, no
//! errand under way, and the hot wait is over.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use outlast_core::outcome::LARGEST_RESULT;
use outlast_core::store::{Report, SuspendReply};
use outlast_core::{Failure, FailureReason, Level, LogLine, Outcome, ToolResult};
use tokio::time::sleep_until;

use crate::BoxFuture;
use crate::deadline::Verdict;
use crate::error::{Error, ErrorKind, Result, from_store};
use crate::lifecycle;
use crate::progress::Tell;
use crate::run::Run;
use crate::unwind::CatchUnwind;
use crate::usage::Metered;

/// How often the log is stored while it grows.
const LOG_EVERY: Duration = Duration::from_millis(250);

/// How a run ended.
pub(crate) enum Ending {
    /// The task has an outcome.
    Outcome(Outcome),
    /// The attempt failed and another is to be made.
    Again {
        /// Why it failed.
        message: String,
        /// How long to wait.
        wait: Duration,
    },
    /// The worker stops; the task is to be handed back.
    Released,
    /// The worker stops in the middle of what may not be done again. What that means depends on whether there
    /// is a record, which may not be known yet.
    Interrupted,
    /// The task waits in the store.
    Suspended,
    /// The lease is gone; nothing can be written.
    Lost,
}

/// Drives `handler` to its ending.
pub(crate) async fn drive(
    run: &Arc<Run>,
    handler: BoxFuture<'static, Result<ToolResult>>,
) -> Ending {
    let mut handler = pin!(Metered::new(CatchUnwind(handler), &run.meter));
    // A quick tool is done at its first poll and pays for nothing else.
    let first = std::future::poll_fn(|cx| Poll::Ready(handler.as_mut().poll(cx))).await;
    if let Poll::Ready(returned) = first {
        return settle(run, ending_of(run, returned)).await;
    }
    // Large: kept out of the future that every run is.
    Box::pin(drive_on(run, handler)).await
}

/// [`drive`] from the first time on that the handler had to wait.
async fn drive_on(
    run: &Arc<Run>,
    mut handler: Pin<&mut impl Future<Output = Result<Result<ToolResult>, String>>>,
) -> Ending {
    let started = tokio::time::Instant::now();
    let mut errand: Option<BoxFuture<'static, Result<()>>> = None;
    let mut grace: Option<tokio::time::Instant> = None;
    let mut log_at: Option<tokio::time::Instant> = None;
    let mut pause: Option<tokio::time::Instant> = None;
    let settings = &run.shared.settings;
    loop {
        let now = tokio::time::Instant::now();
        let mut wake: Option<tokio::time::Instant> = None;
        let mut earlier = |at: tokio::time::Instant| {
            wake = Some(wake.map_or(at, |wake| wake.min(at)));
        };

        if run.cancel.is_cancelled() && grace.is_none() {
            let patient = run.cancel_observed.load(Ordering::Acquire) || run.waits.must_stay_hot();
            grace = Some(if patient {
                now + settings.cancel_grace
            } else {
                now
            });
            run.waits.filled.notify_waiters();
        }
        if let Some(end) = grace {
            if end <= now {
                break Ending::Outcome(Outcome::Cancelled { reason: None });
            }
            earlier(end);
        }

        // Made before the clock is read, so that a move of it in between is noticed.
        let moved = run.shared.moved.notified();
        let waits = run.only_waits();
        match run.deadlines.verdict(waits, run.store().clock().now()) {
            Verdict::Unlimited => {}
            Verdict::Within(left) => earlier(now + left),
            Verdict::Over(failure) => break timed_out(run, failure),
        }

        if errand.is_none() && pause.is_none_or(|pause| pause <= now) {
            pause = None;
            if run.look_again.swap(false, Ordering::AcqRel) {
                errand = Some(Box::pin(read_again(Arc::clone(run))));
            } else if run.is_storable() && run.lease().is_none() {
                let due = started + settings.persist_after;
                if due <= now {
                    let run = Arc::clone(run);
                    errand = Some(Box::pin(async move { run.persist().await.map(drop) }));
                } else {
                    earlier(due);
                }
            }
            // With work under way there is no suspension that could take the questions along.
            let occupied = run.step_in_flight() || run.waits.must_stay_hot();
            if errand.is_none() && occupied && !run.waits.unasked().is_empty() {
                errand = Some(Box::pin(ask(Arc::clone(run))));
            }
            let mut tell = false;
            match run.progress.tell(now.into_std()) {
                Tell::Nothing => {}
                Tell::Later(at) => earlier(tokio::time::Instant::from_std(at)),
                Tell::Now => tell = true,
            }
            if run.lease().is_some() && !run.log.is_empty() {
                let at = *log_at.get_or_insert(now + LOG_EVERY);
                if at <= now { tell = true } else { earlier(at) }
            }
            if tell && errand.is_none() {
                log_at = None;
                errand = Some(Box::pin(flush(Arc::clone(run), false)));
            }
        } else if let Some(pause) = pause {
            earlier(pause);
        }

        if errand.is_none()
            && grace.is_none()
            && !run.step_in_flight()
            && !run.waits.must_stay_hot()
            && run.is_storable()
            && let Some(since) = run.waits.waiting_since()
        {
            // A parent must not sit in the slot that its children need, nor in the one place there
            // is for a task that may have crashed a process.
            let full = run.shared.slots.are_taken() || run.shared.suspect.load(Ordering::Acquire);
            let crowded = full && run.waits.needs_room();
            // A suspended task survives the process; a running one that may not be repeated would
            // be interrupted although it only waits.
            let fragile = !run.spec.repeatable;
            let due = if crowded || fragile {
                since
            } else {
                since + settings.hot_wait
            };
            if due <= now {
                match suspend(run).await {
                    Ok(true) => break Ending::Suspended,
                    // Something has happened: the handler finds it when it is polled below.
                    Ok(false) => continue_polling(run),
                    Err(error) => {
                        if let Some(ending) = ending_of_error(run, &error) {
                            break ending;
                        }
                        pause = Some(now + Duration::from_millis(200));
                    }
                }
                earlier(now + Duration::from_millis(200));
            } else {
                earlier(due);
            }
        }

        tokio::select! {
            biased;
            () = run.lost.cancelled() => break Ending::Lost,
            returned = &mut handler => {
                // The errand may be writing the record down: it must be known before the end.
                let stored = match errand.take() {
                    Some(errand) => errand.await,
                    None => Ok(()),
                };
                break match stored {
                    Err(error) if matches!(error.kind(), ErrorKind::LeaseLost) => Ending::Lost,
                    _ => ending_of(run, returned),
                };
            }
            done = async { errand.as_mut().expect("checked").await }, if errand.is_some() => {
                errand = None;
                if let Err(error) = done {
                    if let ErrorKind::LeaseLost = error.kind() {
                        break Ending::Lost;
                    }
                    tracing::warn!(task = %run.spec.id, %error, "could not store; trying again");
                    pause = Some(tokio::time::Instant::now() + Duration::from_secs(1));
                }
            }
            () = run.shared.releasing.cancelled() => break released(run),
            () = run.cancel.cancelled(), if grace.is_none() => {}
            () = run.poke.notified() => {}
            // From here on the time of the attempt counts again.
            () = run.waits.over.notified(), if run.deadlines.limit() => {}
            () = moved => {}
            () = async { sleep_until(wake.expect("checked")).await }, if wake.is_some() => {}
        }
    }
    .pipe(|ending| settle(run, ending))
    .await
}

/// Lets `loop { … }.pipe(f)` read in the order in which things happen.
trait Pipe: Sized {
    fn pipe<T>(self, then: impl FnOnce(Self) -> T) -> T {
        then(self)
    }
}

impl Pipe for Ending {}

fn continue_polling(run: &Run) {
    run.waits.resolved.notify_waiters();
    run.waits.filled.notify_waiters();
}

/// The last words of a run: progress and log are stored before its ending is.
pub(crate) async fn settle(run: &Arc<Run>, ending: Ending) -> Ending {
    let ending = match ending {
        Ending::Outcome(outcome) => Ending::Outcome(run.mask().outcome(outcome)),
        Ending::Again { message, wait } => Ending::Again {
            message: run.mask().text(&message).into_owned(),
            wait,
        },
        ending => ending,
    };
    if matches!(ending, Ending::Lost) {
        return ending;
    }
    if matches!(ending, Ending::Outcome(_)) && run.is_replay() {
        let unasked = run.unasked();
        if !unasked.is_empty() {
            let names = unasked.join(", ");
            run.log.push(
                Level::Warning,
                "outlast",
                &format!("recorded, but not asked for in the last run: {names}"),
            );
        }
    }
    if run.is_doubtful() && Box::pin(run.end_doubt()).await.is_err() {
        return Ending::Lost;
    }
    if run.lease().is_none() {
        if let Some(observer) = &run.observer
            && let Some(taken) = run.progress.take(Instant::now())
        {
            observer.progress(&taken.progress);
        }
        return ending;
    }
    Box::pin(last_flush(run, ending)).await
}

/// Stores what a run with a record has to say before its ending is.
async fn last_flush(run: &Arc<Run>, ending: Ending) -> Ending {
    loop {
        match flush(Arc::clone(run), run.meter.is_worth_telling()).await {
            Ok(()) => return ending,
            Err(error) => match error.kind() {
                ErrorKind::LeaseLost => return Ending::Lost,
                ErrorKind::Store(store) if store.is_retryable() => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                _ => return ending,
            },
        }
    }
}

/// An attempt that took too long is retried like any other error.
fn timed_out(run: &Run, failure: Failure) -> Ending {
    let error = Error::failed(failure);
    ending_of_error(run, &error).unwrap_or_else(|| Ending::Outcome(error.into_outcome()))
}

fn ending_of(run: &Run, returned: Result<Result<ToolResult>, String>) -> Ending {
    match returned {
        Ok(Ok(result)) if result.size() > LARGEST_RESULT => {
            let message = format!(
                "the result has {} bytes, and at most {LARGEST_RESULT} are kept: give large things \
                 out as artifacts",
                result.size()
            );
            let failure = Failure::internal(FailureReason::ResultTooLarge, message);
            Ending::Outcome(Outcome::Failed(failure))
        }
        Ok(Ok(result)) => Ending::Outcome(Outcome::Completed(result)),
        Ok(Err(error)) => {
            ending_of_error(run, &error).unwrap_or_else(|| Ending::Outcome(error.into_outcome()))
        }
        Err(panic) => {
            // It may hold an argument, and goes where logs and traces go.
            let told = run.mask().text(&panic);
            tracing::error!(task = %run.spec.id, tool = run.spec.tool, panic = %told, "a tool panicked");
            let message = format!("the tool panicked: {panic}");
            Ending::Outcome(Outcome::Failed(Failure::internal(
                FailureReason::Panic,
                message,
            )))
        }
    }
}

/// The ending that follows from an error without looking at what it says: the engine's own errors,
/// and errors after which the attempt is repeated.
fn ending_of_error(run: &Run, error: &Error) -> Option<Ending> {
    match error.kind() {
        ErrorKind::LeaseLost => Some(Ending::Lost),
        ErrorKind::Store(store)
            if store.is_retryable() && run.lease().is_some() && run.spec.repeatable =>
        {
            Some(Ending::Again {
                message: error.to_string(),
                wait: Duration::from_secs(1),
            })
        }
        _ if !run.is_storable() => None,
        _ => {
            let wait = error.wait_before_retry(run.retry.as_ref(), run.errors + 1)?;
            Some(Ending::Again {
                message: error.to_string(),
                wait,
            })
        }
    }
}

/// Stores what the run has reported since the last time, and tells the observer. What it has used up
/// goes along with anything else, and `usage` makes it go alone.
async fn flush(run: Arc<Run>, usage: bool) -> Result<()> {
    let taken = run.progress.take(Instant::now());
    if let (Some(taken), Some(observer)) = (&taken, &run.observer) {
        observer.progress(&taken.progress);
    }
    let Some(lease) = run.lease() else {
        return Ok(());
    };
    let lines = run.log.drain();
    if taken.is_none() && lines.is_empty() && !usage {
        return Ok(());
    }
    let milestones = taken.iter().flat_map(|taken| &taken.milestones);
    let report = Report {
        progress: taken.as_ref().map(|taken| taken.progress.clone()),
        lines: lines
            .iter()
            .cloned()
            .chain(milestones.filter_map(|percent| milestone(&run, *percent)))
            .collect(),
        usage: Some(run.meter.usage(run.log.lost_lines())),
    };
    match run.store().report(&lease, report).await {
        Ok(()) => Ok(()),
        Err(error) => {
            // The last word must not get lost because the store was away for a moment.
            if let Some(taken) = taken {
                run.progress.put_back(taken);
            }
            run.log.put_back(lines);
            Err(from_store(error))
        }
    }
}

/// The log line for a milestone. It has no mark: a replay counts the handler's own lines only. A log that a
/// handler writes byte by byte, as the output of a command, gets none: it would stand in the middle of a line.
fn milestone(run: &Run, percent: u8) -> Option<LogLine> {
    lifecycle::milestone(run, percent);
    (!run.log.is_the_handlers()).then(|| LogLine {
        level: Level::Info,
        logger: "outlast".into(),
        text: format!("{percent} % done\n").into_bytes(),
        mark: None,
    })
}

/// The worker stops before the handler does. A handler that only waits has done all that it was to do
/// so far; one that may not be run again cannot be interrupted anywhere else.
fn released(run: &Run) -> Ending {
    if run.spec.repeatable || run.only_waits() {
        Ending::Released
    } else {
        Ending::Interrupted
    }
}

/// Puts the questions that wait for it into the record.
async fn ask(run: Arc<Run>) -> Result<()> {
    let (Some(lease), questions) = (run.lease(), run.waits.unasked()) else {
        return Ok(());
    };
    let asked = run.store().ask(&lease, questions.clone()).await;
    let task = asked.map_err(from_store)?;
    run.waits.asked(&questions);
    run.learn(&task);
    Ok(())
}

async fn read_again(run: Arc<Run>) -> Result<()> {
    match run.store().get(run.spec.id).await.map_err(from_store)? {
        Some(task) => run.learn(&task),
        None if run.lease().is_some() => run.lost.cancel(),
        None => {}
    }
    Ok(())
}

/// Gives up the worker; `false` if something waited for has already happened.
async fn suspend(run: &Arc<Run>) -> Result<bool> {
    flush(Arc::clone(run), run.meter.is_worth_telling()).await?;
    let Some(lease) = run.lease() else {
        return Ok(false);
    };
    let (awaiting, questions) = (run.waits.awaiting(), run.waits.unasked());
    let reply = if questions.is_empty() {
        run.store().suspend(&lease, awaiting).await
    } else {
        let store = run.store();
        store
            .ask_and_suspend(&lease, questions.clone(), awaiting)
            .await
    };
    match reply.map_err(from_store)? {
        SuspendReply::Suspended => Ok(true),
        SuspendReply::Resolved(task) => {
            run.waits.asked(&questions);
            run.learn(&task);
            Ok(false)
        }
    }
}
