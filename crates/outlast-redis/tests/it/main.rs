//! The Redis store before the conformance suite and the model, on a server that the tests start; what
//! happens to servers, and what it costs them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod broken;
mod cluster;
mod conformance;
mod cost;
mod dead;
mod doubt;
mod emptied;
mod failover;
mod fault;
mod fleet;
mod lasting;
mod open;
mod outage;
mod proxy;
mod roles;
mod server;
mod sharded;
mod shared;
mod stale;
