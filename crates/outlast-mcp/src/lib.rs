//! The Model Context Protocol, both eras on one endpoint, tasks first.
//!
//! A [`Server`] turns messages into calls of an engine's handle and tasks into messages. It is
//! reached over Streamable HTTP through [`http::HttpService`], a plain tower service, and over
//! anything that carries lines through [`Server::serve_lines`]. Clients of 2025-11-25 and before
//! (handshake, sessions, SEP-1686 tasks) and of 2026-07-28 (stateless requests, the tasks extension
//! SEP-2663) are served at the same time: the same task is shown to each in its own words.
//!
//! The life of a request: a transport reads a message ([`jsonrpc`]), `serve` finds out which era it
//! belongs to and who sent it, `dispatch` holds the table of methods, one file each in `methods`,
//! and `wire` writes the answer.
//!
//! With the feature `client` there is a client of both eras on the same types.

mod answers;
mod bounds;
mod context;
mod detach;
mod dispatch;
mod exchange;
mod follow;
mod helpers;
mod methods;
mod parting;
mod report;
mod requests;
mod retries;
mod root;
mod scope;
mod seal;
mod serve;
mod server;
mod session;
mod spoken;
mod visible;
mod wire;

#[cfg(feature = "client")]
pub mod client;
pub mod http;
pub mod jsonrpc;
pub mod lines;
pub mod offer;
pub mod protocol;
pub mod relay;
pub mod sse;

pub use answers::check as check_answer;
pub use bounds::{Full, Room};
pub use helpers::{Helpers, WAITS_FOR_A_PERSON};
pub use root::Root;
pub use server::{
    Config, DEFAULT_HEARTBEAT, DEFAULT_MESSAGE_LIMIT, DEFAULT_OPEN, DEFAULT_PAGE_SIZE, Server,
};
