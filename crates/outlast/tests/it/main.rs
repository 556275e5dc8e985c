//! The integration tests of the facade: one binary, one module a topic. What needs a process of its
//! own, the bridge above all, is tested with the server in `examples/conformance-server`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "client")]
mod answering;
#[cfg(feature = "client")]
mod client;
mod composed;
mod errors;
mod kit;
mod offered;
#[path = "../../../outlast-mcp/tests/official/mod.rs"]
mod official;
mod order;
mod reload;
mod rig;
mod scheduled;
mod start;
mod tagged;
mod tools;
mod webhooks;
