//! Webhooks: tells others over HTTP what becomes of tasks.
//!
//! What is to be told, and when again, stands in the task's record ([`outlast_core::webhook`]). Here it is
//! decided who is told ([`Webhooks`], and [`NewWebhook`] of a call), and what came of it is recorded
//! ([`courier`]). How a message gets to a receiver is a [`WebhookSender`]'s: the engine knows no HTTP.
//!
//! Messages are signed as the Standard Webhooks specification says (standardwebhooks.com), so that
//! receivers can check them with a library that exists for their language.
//!
//! The server's own webhooks hear of every task that a caller or a schedule makes, from the moment of its
//! creation on: who is told is part of the record. They do not hear of children, which are a matter of their
//! parents, nor of calls that are never stored.

mod courier;
mod message;
mod sign;

pub(crate) use courier::{Courier, dispatch};
pub use sign::SigningKey;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::webhook::{MAX_WEBHOOKS, Receiver, Webhook};
use outlast_core::{Error, TaskId, TaskSpec, WebhookEvent};
use serde::{Deserialize, Serialize};

use crate::BoxFuture;
use crate::handle::Handle;
use crate::secrets::Vault;

/// The longest address of a webhook, in bytes.
const LONGEST_URL: usize = 2048;

/// A webhook as a call asks for it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where messages are sent.
    pub url: String,
    /// What they are signed with: `whsec_` and 24 to 64 bytes in base64. The server's own key by default,
    /// where it has one.
    #[serde(default)]
    pub secret: Option<SigningKey>,
    /// What the receiver wants to hear of; of everything by default.
    #[serde(default = "everything")]
    pub events: BTreeSet<WebhookEvent>,
}

fn everything() -> BTreeSet<WebhookEvent> {
    WebhookEvent::ALL.into()
}

impl NewWebhook {
    /// One that hears of everything, at this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            secret: None,
            events: everything(),
        }
    }
}

/// A webhook of a call that may be had: made by [`Handle::admit_webhooks`] alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallWebhook {
    origin: String,
    address: Address,
    events: BTreeSet<WebhookEvent>,
}

/// Where to send, and what to sign with. Stored sealed only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Address {
    url: String,
    secret: SigningKey,
}

/// A webhook of the server itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerWebhook {
    /// Where messages are sent.
    pub url: String,
    /// What they are signed with.
    pub secret: SigningKey,
    /// What it hears of.
    pub events: BTreeSet<WebhookEvent>,
    /// The tools of whose tasks it hears; of all if there are none.
    pub tools: BTreeSet<String>,
    /// Whether the receiver may have a private address.
    pub private: bool,
}

/// Who may send where.
#[derive(Clone)]
pub struct Webhooks {
    /// What sends.
    pub sender: Arc<dyn WebhookSender>,
    /// The server's own, by name.
    pub server: BTreeMap<String, ServerWebhook>,
    /// What messages are signed with where a call names no key.
    pub secret: Option<SigningKey>,
    /// Where people reach the server, for links in messages.
    pub public_url: Option<String>,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sender: _,
            server,
            secret,
            public_url,
        } = self;
        f.debug_struct("Webhooks")
            .field("server", server)
            .field("secret", secret)
            .field("public_url", public_url)
            .finish_non_exhaustive()
    }
}

/// A message on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookMessage {
    /// Where to.
    pub url: String,
    /// Whose address it is, and so what is allowed.
    pub trust: Trust,
    /// Headers besides the usual ones, names in small letters.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

/// Who has chosen an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// A caller: what holds for all of them holds.
    Caller,
    /// The server's settings.
    Settings {
        /// [`ServerWebhook::private`].
        private: bool,
    },
}

/// What a receiver has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WebhookAnswer {
    /// The status of HTTP.
    pub status: u16,
    /// `Retry-After`, if it has one.
    pub retry_after: Option<Duration>,
}

/// Sends messages over HTTP.
pub trait WebhookSender: Send + Sync + 'static {
    /// Whether a caller may name this address, as far as that can be told before its name is resolved.
    /// Returns its origin (scheme, host and port).
    ///
    /// # Errors
    /// Why not, in one sentence that says what is allowed.
    fn admit(&self, url: &str) -> Result<String, String>;

    /// Sends one message and waits for the answer; follows no redirect. The courier drops the future when
    /// it takes too long.
    ///
    /// # Errors
    /// There was no answer; or the address may not be used, now that its name is resolved.
    fn send(&self, message: WebhookMessage) -> BoxFuture<'_, Result<WebhookAnswer, String>>;
}

impl Handle {
    /// Looks whether a call may have these webhooks.
    ///
    /// # Errors
    /// [`Error::Invalid`]: this server sends none, an address is not allowed, there is no key to sign with,
    /// nothing is to be told, or there are more than [`MAX_WEBHOOKS`].
    pub fn admit_webhooks(&self, wanted: Vec<NewWebhook>) -> Result<Vec<CallWebhook>, Error> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let refused = |why: String| Error::Invalid(format!("webhook: {why}"));
        let Some(webhooks) = self.shared.courier.webhooks() else {
            return Err(refused("this server sends none for callers".into()));
        };
        if wanted.len() > MAX_WEBHOOKS {
            let many = wanted.len();
            return Err(refused(format!(
                "{many} are named, and at most {MAX_WEBHOOKS} are allowed"
            )));
        }
        let admit = |wanted: NewWebhook| webhooks.admit(wanted).map_err(refused);
        wanted.into_iter().map(admit).collect()
    }
}

impl Webhooks {
    fn admit(&self, wanted: NewWebhook) -> Result<CallWebhook, String> {
        let NewWebhook {
            url,
            secret,
            events,
        } = wanted;
        if url.len() > LONGEST_URL {
            return Err(format!("an address has at most {LONGEST_URL} bytes"));
        }
        let origin = self.sender.admit(&url)?;
        let secret = secret.or_else(|| self.secret.clone()).ok_or_else(|| {
            "give a \"secret\", whsec_ and 24 to 64 bytes in base64: this server has no key of its own to \
             sign with"
                .to_owned()
        })?;
        if events.is_empty() {
            return Err("\"events\" is empty; name what is to be told, or leave it out".into());
        }
        Ok(CallWebhook {
            origin,
            address: Address { url, secret },
            events,
        })
    }

    /// The server's own that hear of a task of `tool`.
    fn of_tool(&self, tool: &str) -> impl Iterator<Item = Webhook> {
        let hears = move |hook: &ServerWebhook| hook.tools.is_empty() || hook.tools.contains(tool);
        let own = self.server.iter().filter(move |(_, hook)| hears(hook));
        own.map(|(name, hook)| Webhook {
            to: Receiver::Server(name.clone()),
            events: hook.events.clone(),
        })
    }
}

/// Who is told of a task that is to be created: the server's own first.
pub(crate) fn of_call(
    webhooks: Option<&Webhooks>,
    vault: &Vault,
    spec: &TaskSpec,
    of_call: Vec<CallWebhook>,
) -> Vec<Webhook> {
    let server = webhooks.map(|webhooks| webhooks.of_tool(&spec.tool));
    let mut all: Vec<_> = server.into_iter().flatten().collect();
    all.extend(of_call.into_iter().map(|hook| {
        let plain = serde_json::to_string(&hook.address).expect("texts have a JSON form");
        Webhook {
            to: Receiver::Call {
                origin: hook.origin,
                sealed: vault.seal_text(spec.id, &plain),
                sealed_for: spec.id,
            },
            events: hook.events,
        }
    }));
    all
}

/// The webhooks that the call of this task named, for a call that repeats it.
///
/// # Errors
/// They were sealed with another key.
pub(crate) fn named_by(vault: &Vault, spec: &TaskSpec) -> Result<Vec<CallWebhook>, String> {
    let named = spec.webhooks.iter().filter_map(|hook| match &hook.to {
        Receiver::Call {
            origin,
            sealed,
            sealed_for,
        } => Some((hook, origin, open(vault, *sealed_for, sealed))),
        Receiver::Server(_) => None,
    });
    named
        .map(|(hook, origin, address)| {
            Ok(CallWebhook {
                origin: origin.clone(),
                address: address?,
                events: hook.events.clone(),
            })
        })
        .collect()
}

fn open(vault: &Vault, sealed_for: TaskId, sealed: &str) -> Result<Address, String> {
    let plain = vault.open_text(sealed_for, sealed)?;
    serde_json::from_str(&plain).map_err(|error| error.to_string())
}
