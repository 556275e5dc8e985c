//! The Redis store before the conformance suite and the model, on a server that the tests start.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod conformance;
mod server;
