//! The courier: sends what the ticks of this process hand out, and records what came of it.
//!
//! A slow receiver holds up itself only: so many messages are on their way to one receiver at a time, so many
//! wait for it, and so many in all. For a call's webhook the receiver is the whole origin, since calls name an
//! address of their own each. What finds no place in time is put back, for longer each time, and counts as no
//! attempt. What this process cannot record (it dies, or the store is away) is handed out again by the store.
//!
//! Whoever asks whether this process is still needed hears until when messages may fall due that it knows of
//! ([`Courier::owes`]). What earlier processes owed it does not know; but that falls due within the longest
//! wait between attempts, and so it waits that long at first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use outlast_core::store::DueDelivery;
use outlast_core::webhook::{Delivery, DeliveryEnd, IN_FLIGHT, Receiver, Tried};
use outlast_core::{Task, TaskId, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{Address, Trust, WebhookMessage, Webhooks, message, open, sign};
use crate::retry::Retry;
use crate::shared::Shared;

/// How long a receiver may take to answer. Together with the wait for a place it is less than
/// [`IN_FLIGHT`], so that nothing is sent by two processes at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a message waits for its place.
const QUEUE_TIME: Duration = Duration::from_secs(IN_FLIGHT.as_secs() / 4);

/// How many messages are on their way at a time, and how many of them to one receiver.
const AT_ONCE: usize = 64;
const AT_ONCE_TO_ONE: usize = 8;

/// How many messages wait for a place or have one, and how many of them to one receiver.
const QUEUE: usize = 512;
const QUEUE_TO_ONE: usize = 64;

/// How long to wait between attempts: 5 s, then twice as long each time, up to an hour.
const BACKOFF: Retry = Retry {
    attempts: u32::MAX,
    first: Duration::from_secs(5),
    factor: 2.0,
    longest: Duration::from_secs(60 * 60),
};

/// How much later than it is due a message may be handed out.
const SLACK: Duration = Duration::from_secs(60);

/// The longest wait that a receiver can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(12 * 60 * 60);

/// Where webhooks are sent from.
pub(crate) struct Courier {
    webhooks: RwLock<Option<Arc<Webhooks>>>,
    /// The heart's own runtime has no network.
    runtime: tokio::runtime::Handle,
    places: Arc<Semaphore>,
    to_one: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Until when messages may fall due, in milliseconds by the store's clock.
    owes_until: AtomicI64,
    /// What waits or is on its way.
    pub(crate) sending: TaskTracker,
}

impl Courier {
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn new(webhooks: Option<Webhooks>, now: Timestamp) -> Self {
        let courier = Self {
            webhooks: RwLock::new(webhooks.map(Arc::new)),
            runtime: tokio::runtime::Handle::current(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            to_one: Mutex::default(),
            owes_until: AtomicI64::new(i64::MIN),
            sending: TaskTracker::new(),
        };
        courier.will_owe(now + BACKOFF.longest);
        courier
    }

    fn will_owe(&self, until: Timestamp) {
        let until = (until + SLACK).as_millis();
        self.owes_until.fetch_max(until, Ordering::Relaxed);
    }

    /// Whether there may be a message that nobody sends if this process ends.
    pub(crate) fn owes(&self, now: Timestamp) -> bool {
        let until = self.owes_until.load(Ordering::Relaxed);
        self.webhooks().is_some() && (now.as_millis() <= until || !self.sending.is_empty())
    }

    pub(crate) fn webhooks(&self) -> Option<Arc<Webhooks>> {
        let webhooks = self.webhooks.read();
        webhooks.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends by these settings from now on; what is on its way goes by those that it began with.
    pub(crate) fn set_webhooks(&self, webhooks: Option<Webhooks>, now: Timestamp) {
        let mut there = self
            .webhooks
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *there = webhooks.map(Arc::new);
        drop(there);
        // There may be messages that nobody here could send before.
        self.will_owe(now + BACKOFF.longest);
    }

    /// The places for messages to one receiver; `None` if enough are waiting for one.
    fn places_for(&self, receiver: &Receiver) -> Option<Arc<Semaphore>> {
        let receiver = match receiver {
            Receiver::Server(name) => name,
            Receiver::Call { origin, .. } => origin,
        };
        let mut to_one = self.to_one.lock().expect("nothing panics under this lock");
        // Whoever has nothing on its way is forgotten.
        to_one.retain(|_, places| Arc::strong_count(places) > 1);
        let new = || Arc::new(Semaphore::new(AT_ONCE_TO_ONE));
        let places = to_one.entry(receiver.clone()).or_insert_with(new);
        // Each message that waits or has a place holds one.
        (Arc::strong_count(places) <= QUEUE_TO_ONE).then(|| Arc::clone(places))
    }
}

/// Sends what a tick has handed out.
pub(crate) fn dispatch(shared: &Arc<Shared>, due: Vec<DueDelivery>) {
    if !due.is_empty() {
        // Until it is known what came of them.
        let now = shared.store.clock().now();
        shared.courier.will_owe(now + IN_FLIGHT);
    }
    for due in due {
        let shared = Arc::clone(shared);
        let courier = &shared.courier;
        let sending = courier.sending.clone();
        let full = sending.len() >= QUEUE;
        let runtime = courier.runtime.clone();
        sending.spawn_on(
            async move {
                let end = if full {
                    Some(put_back(&due))
                } else {
                    carry(&shared, &due).await
                };
                if let Some(end) = end {
                    record(&shared, &due, end).await;
                }
            },
            &runtime,
        );
    }
}

async fn record(shared: &Shared, due: &DueDelivery, end: DeliveryEnd) {
    let (task, taken) = (due.task.id(), due.taken);
    if let DeliveryEnd::Retry { after, .. } | DeliveryEnd::Later { after } = &end {
        let now = shared.store.clock().now();
        shared.courier.will_owe(now + *after);
    }
    if let Err(error) = shared.store.delivery_put(task, taken, end).await {
        tracing::warn!(%task, %error, "could not record what came of a webhook; it is sent again");
    }
}

/// Waits longer each time: it was handed out more often than it was tried.
fn put_back(due: &DueDelivery) -> DeliveryEnd {
    let tried = delivery_of(due).map_or(0, |delivery| delivery.attempts);
    let put_back = due.taken.taken.saturating_sub(tried);
    let after = BACKOFF.wait_after(put_back.min(8));
    DeliveryEnd::Later {
        after: after.unwrap_or(BACKOFF.longest),
    }
}

fn delivery_of(due: &DueDelivery) -> Option<&Delivery> {
    let taken = due.taken;
    let mut deliveries = due.task.state.deliveries.iter();
    deliveries.find(|one| (one.number, one.webhook) == (taken.number, taken.webhook))
}

/// Sends one. `None` if there is no such delivery.
async fn carry(shared: &Shared, due: &DueDelivery) -> Option<DeliveryEnd> {
    let (task, delivery) = (&due.task, delivery_of(due)?);
    let begun = Instant::now();
    let failed = |status: Option<u16>, why: String, after: Option<Duration>| {
        let backoff = BACKOFF.wait_after(delivery.attempts + 1);
        let backoff = backoff.unwrap_or(BACKOFF.longest);
        DeliveryEnd::Retry {
            tried: Tried {
                took: begun.elapsed(),
                status,
                error: Some(why),
            },
            after: backoff.max(after.unwrap_or_default().min(LONGEST_RETRY_AFTER)),
        }
    };
    let (address, trust) = match address_of(shared, task, delivery) {
        Ok(Some(found)) => found,
        // A process with other settings may know it.
        Ok(None) => return Some(put_back(due)),
        Err(why) => return Some(failed(None, why, None)),
    };
    let webhooks = shared.courier.webhooks()?;
    let receiver = &task.spec.webhooks.get(delivery.webhook)?.to;
    let Some(to_one) = shared.courier.places_for(receiver) else {
        return Some(put_back(due));
    };
    let place = tokio::time::timeout(QUEUE_TIME, async {
        let one = to_one.acquire_owned().await;
        (
            one,
            Arc::clone(&shared.courier.places).acquire_owned().await,
        )
    });
    let Ok(_places) = place.await else {
        return Some(put_back(due));
    };
    let id = delivery.id(task.id());
    let body = message::body(task, delivery, webhooks.public_url.as_deref());
    let now = shared.store.clock().now();
    let message = WebhookMessage {
        url: address.url,
        trust,
        headers: sign::headers(&address.secret, &id, now, &body),
        body,
    };
    let sent = tokio::time::timeout(PATIENCE, webhooks.sender.send(message)).await;
    let end = match sent {
        Err(_) => failed(
            None,
            format!("no answer within {} s", PATIENCE.as_secs()),
            None,
        ),
        Ok(Err(why)) => failed(None, why, None),
        Ok(Ok(answer)) => match answer.status {
            200..=299 => DeliveryEnd::Delivered(Tried {
                took: begun.elapsed(),
                status: Some(answer.status),
                error: None,
            }),
            410 => DeliveryEnd::Gone(Tried {
                took: begun.elapsed(),
                status: Some(410),
                error: Some("the receiver wants no more (410)".into()),
            }),
            status => {
                let why = format!("the receiver answered {status}");
                failed(Some(status), why, answer.retry_after)
            }
        },
    };
    note(shared, task.id(), &id, &end);
    Some(end)
}

/// Where a delivery goes; `None` if no settings here say so.
fn address_of(
    shared: &Shared,
    task: &Task,
    delivery: &Delivery,
) -> Result<Option<(Address, Trust)>, String> {
    let webhook = task.spec.webhooks.get(delivery.webhook);
    let (Some(webhook), Some(webhooks)) = (webhook, shared.courier.webhooks()) else {
        return Ok(None);
    };
    match &webhook.to {
        Receiver::Server(name) => Ok(webhooks.server.get(name).map(|hook| {
            let address = Address {
                url: hook.url.clone(),
                secret: hook.secret.clone(),
            };
            let private = hook.private;
            (address, Trust::Settings { private })
        })),
        Receiver::Call {
            sealed, sealed_for, ..
        } => {
            let address = open(&shared.vault, *sealed_for, sealed)?;
            Ok(Some((address, Trust::Caller)))
        }
    }
}

fn note(shared: &Shared, task: TaskId, delivery: &str, end: &DeliveryEnd) {
    let (what, tried) = match end {
        DeliveryEnd::Delivered(tried) => ("delivered", Some(tried)),
        DeliveryEnd::Retry { tried, .. } => ("failed", Some(tried)),
        DeliveryEnd::Gone(tried) => ("gone", Some(tried)),
        DeliveryEnd::Later { .. } | DeliveryEnd::Resend => return,
    };
    shared.meters.webhook(what);
    match tried.and_then(|tried| tried.error.as_deref()) {
        None => tracing::debug!(%task, delivery, "webhook delivered"),
        Some(why) => tracing::info!(%task, delivery, why, "webhook not delivered"),
    }
}
