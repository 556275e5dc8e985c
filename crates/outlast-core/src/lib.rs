//! The task model of Outlast: what a task is, how it may change, and what a store must keep.
//!
//! Everything here is free of input and output. A [`Task`] changes only through the verbs in
//! [`machine`], each a pure function of the record, its arguments and the time; a [`Store`] applies
//! such a verb inside one atomic unit and nothing else decides what a task may become. That is why
//! one function can be tested to death and every store be compared with it.
//!
//! Who should depend on this crate: authors of a store. Everybody else depends on `outlast`.

pub mod archive;
pub mod blob;
pub mod clock;
pub mod duration;
pub mod error;
pub mod event;
pub mod filter;
pub mod id;
pub mod input;
pub mod journal;
pub mod json;
pub mod label;
pub mod limit;
pub mod log;
pub mod machine;
pub mod no_worker;
pub mod outcome;
pub mod principal;
pub mod progress;
pub mod same;
pub mod schedule;
pub mod signal;
pub mod status;
pub mod store;
pub mod task;
pub mod undo;
pub mod usage;
pub mod webhook;
pub mod worker;

#[cfg(feature = "testing")]
pub mod testing;

pub use blob::{Artifact, BlobWriter, Blobs};
pub use clock::{Clock, SystemClock, Timestamp};
pub use error::{Error, Result};
pub use event::{Event, EventKind, RescueReason};
pub use id::{Owner, TaskId, WorkerId};
pub use input::{Answer, AnswerBy, Input, InputRequest};
pub use journal::{JournalEntry, JournalKind, Recorded};
pub use json::RawJson;
pub use log::{Level, LogChunk, LogLine, LogPage};
pub use outcome::{Failure, FailureReason, Outcome, ToolResult};
pub use principal::{Principal, Scope};
pub use progress::Progress;
pub use schedule::{NewSchedule, Schedule};
pub use signal::{NewSignal, Signal};
pub use status::{Era, Phase, Standing, TaskStatus};
pub use store::{Reads, Side, Store};
pub use task::{Lease, NewTask, Task, TaskSpec};
pub use undo::{Cleanup, UndoCall};
pub use usage::{AttemptUsage, Usage};
pub use webhook::{Webhook, WebhookEvent};
