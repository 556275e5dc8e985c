//! Sessions of the older era: who a client is, and where messages to it can go.
//!
//! What a session *is* (version, capabilities, principal) travels sealed in its id, so a session
//! survives restarts and is good on every instance. What a session *has* (open streams, requests in
//! flight, log level) lives here, in the process that serves it.

mod claims;
mod client;
mod courier;
mod couriers;
mod crier;
pub(crate) mod elsewhere;
mod following;
mod index;
mod inflight;
mod introduction;
pub(crate) mod lasting;
mod live;
mod messages;
mod origin;
mod outlet;
mod pending;
mod question;
mod registry;
mod stream;
mod token;

pub(crate) use claims::Instance;
pub(crate) use client::LatestClient;
pub(crate) use couriers::{Attached, Couriers, TRIES, Waiter, notice_tasks, tell_completed_urls};
pub(crate) use crier::{PROMPTS, RESOURCE_UPDATED, RESOURCES, TOOLS, changed_lists, cry};
pub(crate) use following::{Followed, Following};
pub(crate) use inflight::{Busy, Flight, InFlight, MOST as MOST_IN_FLIGHT};
pub(crate) use introduction::Introduction;
pub(crate) use live::Session;
pub(crate) use messages::{
    elicitation_mode, next_value, progress_notification, unstored_params, url_completed, withdrawn,
};
pub(crate) use outlet::Outlet;
pub(crate) use pending::{Awaited, is_pending_id};
pub(crate) use question::QuestionId;
pub(crate) use registry::{Change, Lookup, Registry, sweep};
pub(crate) use stream::{Event, Events, SseStream, StreamKind};
pub(crate) use token::Identity;
