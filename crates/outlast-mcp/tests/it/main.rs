//! The server driven in process: raw messages in, raw messages out, over both transports.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod changes;
mod crowd;
mod detach;
mod envelope;
mod failing;
mod handshake;
mod joined;
mod legacy;
mod lines;
mod modern;
mod mutations;
mod offered;
#[path = "../official/mod.rs"]
mod official;
mod owners;
mod questions;
mod refusals;
mod rig;
mod rounds;
mod rounds_beside_tools;
mod stops;
mod streams;
mod urls;
