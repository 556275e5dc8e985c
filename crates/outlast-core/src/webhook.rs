//! Webhooks: who is told of a task over HTTP, and what has become of telling them.
//!
//! What is to be told stands in the record of the task itself. The verb that ends a task, or asks its
//! question, also notes a delivery for everybody who wants to hear of it, so the two are one write in
//! every store and no crash can fall between them. A pending delivery is one of the moments of
//! [`crate::Task::due_at`]; [`crate::Store::tick`] hands it out to a process that sends it, and takes it to be
//! lost with that process unless [`crate::Store::delivery_put`] says within [`IN_FLIGHT`] what came of it.
//!
//! So a delivery is made at least once. Its id, [`Delivery::id`], is the same each time, and a receiver
//! knows by it what it has heard already.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::EventKind;
use crate::id::TaskId;
use crate::status::TaskStatus;

/// How many webhooks one call may name.
pub const MAX_WEBHOOKS: usize = 8;

/// How many receivers a task may have in all: those of the server, and those of each call that it took in.
pub const MAX_RECEIVERS: usize = 64;

/// How many deliveries are kept with a task: the oldest that are settled go first.
pub const MAX_DELIVERIES: usize = 64;

/// How many of its attempts are kept with a delivery: the last ones.
pub const KEPT_ATTEMPTS: usize = 5;

/// How long a delivery that was handed out is not handed out again.
pub const IN_FLIGHT: Duration = Duration::from_secs(20);

/// How long after its event a delivery is tried again. One that fell due before and could not be handed out,
/// as when no server was running, is tried once more, however late.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What a receiver may hear of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookEvent {
    /// The task asks something.
    InputRequired,
    /// It has ended with a result; one that is the tool's own error too.
    Completed,
    /// It has ended without a result. Whoever wants to hear of this hears too of a task that has ended with the
    /// tool's own error, which is told as [`WebhookEvent::Completed`].
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl WebhookEvent {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::InputRequired,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Its word: the status that the task has then.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// What of a change receivers hear of.
    pub fn of(kind: &EventKind) -> Option<Self> {
        match kind {
            EventKind::InputRequired { .. } => Some(Self::InputRequired),
            EventKind::Finished { status } => match status {
                TaskStatus::Completed => Some(Self::Completed),
                TaskStatus::Failed => Some(Self::Failed),
                TaskStatus::Cancelled => Some(Self::Cancelled),
                TaskStatus::Working | TaskStatus::InputRequired => None,
            },
            _ => None,
        }
    }
}

impl fmt::Display for WebhookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WebhookEvent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|event| event.as_str() == text).ok_or_else(|| {
            format!(
                "{text:?} is nothing that a webhook hears of; allowed: input_required, completed, failed, \
                 cancelled"
            )
        })
    }
}

/// Somebody who wants to hear of a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// Who.
    pub to: Receiver,
    /// Of what.
    pub events: BTreeSet<WebhookEvent>,
}

impl Webhook {
    /// Whether the call itself named it.
    pub fn is_of_call(&self) -> bool {
        matches!(self.to, Receiver::Call { .. })
    }
}

/// Who is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receiver {
    /// One that the server's settings name; address and secret are what they say at the time of sending.
    Server(String),
    /// One that the call named.
    Call {
        /// Scheme, host and port, for people: the whole address may be a secret.
        origin: String,
        /// Address and secret, sealed under a key that is not in the store.
        sealed: String,
        /// The task that they were sealed for: that of the call, which another task may have taken in.
        sealed_for: TaskId,
    },
}

/// One thing to be told to one receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// The number of the event.
    pub number: u64,
    /// Which of the task's webhooks: its place in [`crate::TaskSpec::webhooks`].
    pub webhook: usize,
    /// What is told.
    pub event: WebhookEvent,
    /// When it happened.
    pub at: Timestamp,
    /// When somebody last asked for it to be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resent_at: Option<Timestamp>,
    /// How often it was handed out to a process.
    #[serde(default)]
    pub taken: u32,
    /// How often it was tried, as far as is known.
    #[serde(default)]
    pub attempts: u32,
    /// The last attempts, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latest: Vec<DeliveryAttempt>,
    /// Where it stands.
    pub state: DeliveryState,
}

impl Delivery {
    /// What the receiver knows it by: the same for every attempt, and no other delivery's.
    pub fn id(&self, task: TaskId) -> String {
        format!("{task}.{}.{}", self.number, self.webhook)
    }

    /// Until when it is tried.
    pub(crate) fn until(&self) -> Timestamp {
        self.resent_at.unwrap_or(self.at) + GIVE_UP_AFTER
    }

    /// Whether it is still to be made.
    pub fn is_pending(&self) -> bool {
        matches!(self.state, DeliveryState::Pending { .. })
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is to be made.
    Pending {
        /// Not before this moment.
        next_at: Timestamp,
    },
    /// The receiver has taken it.
    Delivered,
    /// It was given up.
    Failed,
}

/// One attempt to deliver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// When its end was recorded.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The status of the answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it failed, if it did, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What names one handing out of one delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// [`Delivery::number`].
    pub number: u64,
    /// [`Delivery::webhook`].
    pub webhook: usize,
    /// [`Delivery::taken`] as it was then, or as it was read: whoever comes with another one comes too late.
    pub taken: u32,
}

/// An attempt, as whoever made it reports it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tried {
    /// How long it took.
    pub took: Duration,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What came of a delivery that was handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeliveryEnd {
    /// The receiver has taken it.
    Delivered(Tried),
    /// It failed; it is to be tried again after so long, if that is before [`GIVE_UP_AFTER`].
    Retry {
        /// The attempt.
        tried: Tried,
        /// How long to wait.
        after: Duration,
    },
    /// The receiver wants to hear no more of this task: what is pending for it is given up, and nothing more
    /// is noted.
    Gone(Tried),
    /// It was not tried.
    Later {
        /// How long to wait.
        after: Duration,
    },
    /// Somebody wants it sent once more, whatever came of it: at once, and from now on for as long as a new
    /// one would be tried.
    Resend,
}
