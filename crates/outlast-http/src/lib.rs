//! Outlast over HTTP: everything that listens on the one port.
//!
//! [`bind`] takes the port and says in a sentence why it cannot; [`HttpServer`] serves MCP on `/mcp`
//! and, beside it, the routes of an axum router. Every accepted socket has TCP_NODELAY set: event
//! streams lose nine tenths of their rate without it. [`Mounted`] is the same without the port.

pub mod auth;
mod bind;
mod body;
mod cors;
mod dashboard;
pub mod figures;
mod front;
mod health;
mod mounted;
mod opening;
mod patience;
mod rest;
mod serve;
mod taking;
mod unread;
mod webhook;

pub use bind::{BindError, bind, check_address};
pub use body::Body;
pub use front::Answering;
pub use health::serve_health;
pub use mounted::Mounted;
pub use rest::{Reload, Reloads, RestOptions, is_taken};
pub use serve::{DEFAULT_CONNECTIONS, DEFAULT_MCP_PATH, HttpServer};
pub use webhook::{WebhookSettings, WebhookTo};
