//! The engine: runs tools as durable tasks.
//!
//! An [`Engine`] owns the worker and the heart of one process over one [`Store`](outlast_core::Store);
//! a cheap [`Handle`] is how every surface (MCP, REST, command line, an application's own code)
//! creates, watches and cancels tasks. A [`Handler`] gets one object, the context [`Cx`].
//!
//! Execution is at least once, recording is exactly once: a handler may be run again from its top
//! after a crash, and what it did in [`Cx::step`] is not done again once it was recorded.

mod again;
mod artifact;
mod attempt;
mod begun;
mod blocking;
mod builder;
mod carried;
mod changes;
mod child;
mod cleanup;
mod confirm;
mod context;
mod crew;
mod deadline;
mod declared;
mod defaults;
mod engine;
mod error;
mod figures;
mod given;
mod handle;
mod heart;
mod hub;
mod label;
mod lifecycle;
mod log;
mod namespace;
mod no_worker;
mod observer;
mod order;
mod placement;
mod progress;
mod race;
mod retry;
mod role;
mod run;
mod running;
mod runs;
mod schedule;
mod secrets;
mod serving;
mod shared;
mod sharing;
mod signal;
mod slots;
mod state;
mod step;
mod stop;
mod stored;
mod tool;
pub mod trace;
mod undo;
mod unwind;
mod usage;
mod usual;
mod wait;
mod webhook;
mod worker;

pub use artifact::{ArtifactSource, LARGEST_PARTIAL, LARGEST_PARTIALS, MOST_PARTIALS, Partial};
pub use blocking::BlockingCx;
pub use builder::EngineBuilder;
pub use carried::Carried;
pub use changes::{Changed, Changes};
pub use child::{Child, ChildFailure, FanOut, Spawn};
pub use confirm::CONFIRM_KEY;
pub use context::Cx;
pub use declared::Declarations;
pub use engine::{Engine, Stopped};
pub use error::{Error, ErrorKind, Result};
pub use figures::{Figures, Histogram, Minute, ToolFigures};
pub use handle::{CancelBy, Handle, NewCall, Watch, WeakHandle};
pub use namespace::Namespace;
pub use no_worker::Unserved;
pub use observer::Observer;
pub use order::{
    Compute, DEFAULT_KEY_WINDOW, Limit, Order, PRIORITIES, Per, Sameness, check_priority,
};
pub use placement::worker_label;
pub use progress::{
    Items, Over, OverReader, OverStream, ProgressPart, ProgressReporter, ProgressSink,
    ProgressUpdate,
};
pub use race::Race;
pub use retry::Retry;
pub use role::Role;
pub use running::{OnDrop, Running};
pub use schedule::{Schedules, view as schedule_view};
pub use secrets::{DOTS, Mask};
pub use serving::{DetachAfter, HEARTBEATS, LEASES, OnDisconnect, Serving, heartbeat, lease};
pub use sharing::{Asker, Grantee, Right};
pub use signal::Signals;
pub use state::StateMap;
pub use step::Step;
pub use tool::{AskFirst, Handler, TaskSupport, Tool, Tools};
pub use undo::Undo;
pub use unwind::CatchUnwind;
pub use webhook::{
    CallWebhook, NewWebhook, ServerWebhook, SigningKey, Trust, WebhookAnswer, WebhookMessage,
    WebhookSender, Webhooks,
};

/// A future on the heap, as handlers return it.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
