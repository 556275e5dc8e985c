//! What Redis says, as sentences that say what to do.

use outlast_core::Error;
use redis::{ErrorKind, RedisError};

use crate::unit::Need;

/// Why an operation did not happen, or not yet.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An answer for the caller.
    Told(Error),
    /// It must be decided again, with this read as well.
    Need(Vec<Need>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

/// The error of a closed store.
pub(crate) fn closed() -> Error {
    Error::broken("the task store is closed")
}

/// Puts an error of Redis into words. `store` is its address without secrets.
pub(crate) fn explain(store: &str, error: RedisError) -> Error {
    let code = error.code().unwrap_or_default().to_owned();
    let detail = error.to_string();
    let (message, retryable) = match code.as_str() {
        _ if code == "WRONGPASS" || error.kind() == ErrorKind::AuthenticationFailed => (
            format!(
                "the task store {store} refuses the user name or the password: correct the address"
            ),
            false,
        ),
        "NOAUTH" => (
            format!("the task store {store} wants a password: put it into the address"),
            false,
        ),
        "NOPERM" => (
            format!(
                "the user of the task store {store} may not do what the store needs ({detail}): for a \
                 prefix `team` it needs `~{{team}}* &{{team}}* +@all -@dangerous +info +config|get`"
            ),
            false,
        ),
        "OOM" => (
            format!(
                "the task store {store} has reached its maxmemory: give Redis more memory, or delete \
                 finished tasks; nothing was changed, and the same call succeeds once there is room"
            ),
            true,
        ),
        "MISCONF" => (
            format!(
                "the task store {store} cannot write to its disk ({detail}): free some space there; \
                 try again then"
            ),
            true,
        ),
        "READONLY" => (
            format!(
                "the task store {store} is a replica and takes no writes: name the primary; after a \
                 failover try again in a moment"
            ),
            true,
        ),
        "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNBLOCKED" => (
            format!("the task store {store} is not ready ({detail}): try again in a moment"),
            true,
        ),
        "MOVED" | "ASK" | "CROSSSLOT" => (
            format!(
                "the task store {store} is a node of a cluster that does not hold its keys ({detail}): \
                 name the node that does"
            ),
            false,
        ),
        _ if error.is_timeout() => (
            format!(
                "the task store {store} did not answer in time: try again; whether the change was made \
                 is not known"
            ),
            true,
        ),
        _ if error.is_io_error() || error.is_connection_dropped() => (
            format!("the task store {store} cannot be reached ({detail}): try again in a moment"),
            true,
        ),
        _ if error.kind() == ErrorKind::InvalidClientConfig => (
            format!(
                "{store} is no address of a task store ({detail}): write redis://HOST:PORT/DATABASE"
            ),
            false,
        ),
        _ => (format!("the task store {store} failed: {detail}"), false),
    };
    Error::Store {
        message,
        retryable,
        source: Some(Box::new(error)),
    }
}
