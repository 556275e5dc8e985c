//! The `outlast` program from outside: what its processes do, seen through files and process ids.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod check;
mod cli;
mod client;
mod full;
mod mute;
mod reload;
mod rig;
mod schedules;
mod secrets;
mod serve;
mod setup;
mod shim;
mod tool;
mod users;
