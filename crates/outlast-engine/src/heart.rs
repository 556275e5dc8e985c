//! The heart: renews leases, does what is due, fires schedules and passes webhooks to their courier, on a thread that no handler can block.
//!
//! The thread has a small runtime of its own, so leases are renewed even while every worker thread
//! of the application is stuck in a handler. It sleeps until the next renewal or the next due
//! moment, whichever is first, and costs nothing in between. It renews before it looks at what has
//! expired, and names what it runs when it looks, so that the store never takes a lease from it. A
//! lease that it was given and never heard of is not among them, and is taken back when it expires.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use outlast_core::store::BeatReply;
use outlast_core::{Lease, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::shared::Shared;
use crate::{crew, no_worker, schedule, webhook};

/// Tasks that one tick may touch, so that a flood of due tasks does not hold up the writer.
const BUDGET: usize = 256;
/// How long the heart waits when the store does not answer.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest sleep, in case a moment was missed: a backstop, not a schedule.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a process that stops waits for the store to say what is to be told.
const LAST_BEAT: Duration = Duration::from_secs(5);

pub(crate) struct Heart {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Heart {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self, outlast_core::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| {
                outlast_core::Error::unavailable("cannot start the heart's runtime", error)
            })?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("outlast-heart".into())
            .spawn(move || {
                let live = || {
                    runtime.block_on(async {
                        tokio::select! {
                            () = stopped.cancelled() => {}
                            () = beat(&shared) => {}
                        }
                    });
                };
                // Without it nothing that is due would ever be done, while the server goes on taking calls.
                while std::panic::catch_unwind(AssertUnwindSafe(live)).is_err() {
                    tracing::error!("the thread that does what is due panicked, and begins again");
                    std::thread::sleep(BACKOFF);
                }
            })
            .map_err(|error| {
                outlast_core::Error::unavailable("cannot start the heart's thread", error)
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    pub(crate) fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn beat(shared: &Arc<Shared>) {
    let every = shared.settings.lease / 3;
    let mut renew_at = Instant::now();
    loop {
        if Instant::now() >= renew_at {
            let renewed = renew(shared).await;
            crew::show(shared).await;
            renew_at = Instant::now() + if renewed { every } else { every.min(BACKOFF) };
        }
        // Until the next look is decided, whatever falls due is nearer: a moment that is announced while
        // the store ticks leaves a permit behind, and is looked at again.
        shared.looks_at.store(i64::MAX, Ordering::Release);
        let looked = match look(shared).await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::warn!(%error, "could not look at what is due; trying again");
                tokio::time::sleep(BACKOFF).await;
                continue;
            }
        };
        let sleep = if looked.stuck {
            until(shared, looked.next).max(BACKOFF)
        } else {
            until(shared, looked.next)
        };
        let looks_at = shared.store.clock().now() + sleep;
        shared
            .looks_at
            .store(looks_at.as_millis(), Ordering::Release);
        let wake = renew_at.min(Instant::now() + sleep);
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            () = shared.due.notified() => {}
        }
    }
}

/// What a look at what is due has brought.
pub(crate) struct Looked {
    /// Whether something was done.
    pub(crate) did: bool,
    /// When something is due next.
    next: Option<Timestamp>,
    /// Something is due and cannot be done: it must not keep the heart awake.
    stuck: bool,
}

/// Does what is due.
pub(crate) async fn look(shared: &Arc<Shared>) -> Result<Looked, outlast_core::Error> {
    if shared.emptied.swap(false, Ordering::AcqRel) {
        // What is due is done meanwhile: it may be what makes room for it.
        if let Err(error) = declare_again(shared).await {
            tracing::warn!(%error, "could not declare limits and schedules again; trying again");
            shared.emptied.store(true, Ordering::Release);
        }
    }
    let (alive, length) = (alive(shared), shared.settings.lease);
    let ticked = shared.store.tick(&alive, length, BUDGET).await?;
    shared.pulse.beat();
    let idle = ticked.changed + ticked.deleted == 0 && ticked.deliveries.is_empty();
    webhook::dispatch(shared, ticked.deliveries);
    let fires = schedule::fire_due(shared, ticked.schedules, ticked.now).await;
    let watched = no_worker::look(shared).await;
    let moments = fires.into_iter().chain(ticked.next).chain(watched.next);
    Ok(Looked {
        did: !idle || watched.changed > 0 || fires.is_some_and(|next| next > ticked.now),
        next: moments.min(),
        stuck: idle && ticked.next.is_some_and(|next| next <= ticked.now),
    })
}

/// Tells a store that has lost everything what this process has declared to it. It takes nothing away: who else is
/// there has been lost too, so that each process would take itself for the only one.
async fn declare_again(shared: &Arc<Shared>) -> Result<(), outlast_core::Error> {
    crew::show(shared).await;
    shared.declare_rules_again().await?;
    schedule::declare_again(shared).await
}

/// Hands what is due to be told to the courier once more: the heart may stop before it has seen how the last
/// task ended.
pub(crate) async fn last_beat(shared: &Arc<Shared>) {
    if shared.courier.webhooks().is_none() {
        return;
    }
    let alive = alive(shared);
    let tick = shared.store.tick(&alive, shared.settings.lease, BUDGET);
    match tokio::time::timeout(LAST_BEAT, tick).await {
        Ok(Ok(ticked)) => webhook::dispatch(shared, ticked.deliveries),
        Ok(Err(error)) => tracing::debug!(%error, "what is to be told waits for the next process"),
        Err(_) => tracing::debug!("what is to be told waits for the next process"),
    }
}

/// The leases under which this process runs something.
fn alive(shared: &Shared) -> Vec<Lease> {
    let runs = shared.runs.all();
    runs.iter().filter_map(|run| run.lease()).collect()
}

/// How long to sleep until `next`.
fn until(shared: &Shared, next: Option<Timestamp>) -> Duration {
    next.map_or(LONGEST, |next| {
        next.since(shared.store.clock().now()).min(LONGEST)
    })
}

/// Renews the leases of all runs and passes on what the store says about each. `false` if the store did
/// not answer for all of them.
async fn renew(shared: &Shared) -> bool {
    let runs = shared.runs.all();
    let (runs, leases): (Vec<_>, Vec<_>) = runs
        .into_iter()
        .filter_map(|run| run.lease().map(|lease| (run, lease)))
        .unzip();
    if leases.is_empty() {
        return true;
    }
    let renewed = shared.store.heartbeat(leases, shared.settings.lease);
    match shared.meters.timed("heartbeat", renewed).await {
        Ok(replies) => {
            let mut renewed = true;
            for (run, reply) in runs.iter().zip(replies) {
                match reply {
                    BeatReply::Held => {}
                    BeatReply::Cancelled => run.cancel.cancel(),
                    BeatReply::Lost => {
                        shared.meters.lease_lost();
                        run.lost.cancel();
                    }
                    BeatReply::Unknown => renewed = false,
                }
            }
            renewed
        }
        Err(error) => {
            tracing::warn!(%error, "could not renew leases; trying again");
            false
        }
    }
}
