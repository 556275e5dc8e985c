//! The rows of the table, one kind a file.

pub(crate) mod calls;
pub(crate) mod create;
pub(crate) mod crowds;
pub(crate) mod engine;
pub(crate) mod instructions;
pub(crate) mod lifecycles;
pub(crate) mod million;
pub(crate) mod redis;
pub(crate) mod redis_memory;
pub(crate) mod resume;
pub(crate) mod sockets;
pub(crate) mod startup;
pub(crate) mod timeouts;
pub(crate) mod users;
pub(crate) mod watchers;
pub(crate) mod workers;
