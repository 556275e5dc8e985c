//! The engine over the memory store: every promise of the context and the handle, in process.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod between;
mod calls;
mod cancel;
mod careful;
mod chains;
mod children;
mod given;
mod labels;
mod lifecycle;
mod no_worker;
mod order;
mod over;
mod progress;
mod replay;
mod retries;
mod schedules;
mod secrets;
mod signals;
mod support;
mod timeouts;
mod undo;
mod waiting;
mod webhooks;
