//! What Redis says, as sentences that say what to do.

use outlast_core::Error;
use redis::{ErrorKind, RedisError};

use crate::seen::Need;

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

/// Whether Redis has no room for what was to be written.
pub(crate) fn is_full(error: &Error) -> bool {
    let Error::Store {
        source: Some(source),
        ..
    } = error
    else {
        return false;
    };
    let source = source.downcast_ref::<RedisError>();
    source.is_some_and(|error| error.code() == Some("OOM"))
}

/// The error of a closed store.
pub(crate) fn closed() -> Error {
    Error::broken("the task store is closed")
}

/// The error of a change that too few replicas are known to have.
pub(crate) fn unsure(store: &str, wanted: usize, have: usize) -> Error {
    Error::Store {
        message: format!(
            "the task store {store} is to be sure of {wanted} replicas before it acknowledges, and {have} have \
             confirmed in time: the change was made and may be lost in a failover; try again"
        ),
        retryable: true,
        source: None,
    }
}

/// Puts an error of Redis into words. What is wrong with the way there, or with the rights of the user, says
/// nothing of the task for which somebody came: it can be put right, and the same call succeeds then. A start
/// ends with it all the same, for it waits for nobody. `store` is its address without secrets; `in_cluster` tells whether it is
/// looked for in a cluster.
pub(crate) fn explain(store: &str, in_cluster: bool, error: RedisError) -> Error {
    let code = error.code().unwrap_or_default().to_owned();
    let detail = error.to_string();
    let (message, retryable) = match code.as_str() {
        _ if code == "WRONGPASS" || error.kind() == ErrorKind::AuthenticationFailed => (
            format!(
                "the task store {store} refuses the user name or the password: correct the address"
            ),
            true,
        ),
        "NOAUTH" => (
            format!("the task store {store} wants a password: put it into the address"),
            true,
        ),
        "NOPERM" => (
            format!(
                "the user of the task store {store} may not do what the store needs ({detail}): for a \
                 prefix `team` it needs `~{{team}}* &{{team}}* +@all -@dangerous +info +config|get`, \
                 and `~{{team:* &{{team:*` if it has several shards"
            ),
            true,
        ),
        "OOM" => (
            format!(
                "the task store {store} has reached its maxmemory: give it more memory, or delete \
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
        _ if detail.contains("max number of clients") => (
            format!(
                "the task store {store} has as many clients as it takes: raise its maxclients, or \
                 close some; try again then"
            ),
            true,
        ),
        "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNBLOCKED" => (
            format!("the task store {store} is not ready ({detail}): try again in a moment"),
            true,
        ),
        "NOREPLICAS" => (
            format!(
                "the task store {store} takes no writes while it has too few replicas ({detail}): try again in \
                 a moment"
            ),
            true,
        ),
        "ASK" => (
            format!(
                "the task store {store} is on its way to another node of the cluster ({detail}): try again \
                 when its slot has arrived"
            ),
            true,
        ),
        "MOVED" if in_cluster => (
            format!(
                "the nodes of the task store {store} do not agree who holds its keys ({detail}): try again \
                 in a moment"
            ),
            true,
        ),
        "MOVED" | "CROSSSLOT" => (
            format!(
                "the task store {store} is a node of a cluster that does not hold its keys ({detail}): write \
                 redis+cluster://HOST:PORT"
            ),
            true,
        ),
        _ if error.kind() == ErrorKind::MasterNameNotFoundBySentinel => (
            format!(
                "the sentinels of the task store {store} do not know it ({detail}): correct the name behind \
                 the slash, or their configuration"
            ),
            true,
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
                "{store} is no address of a task store ({detail}): write redis://HOST:PORT/DATABASE, \
                 redis+sentinel://HOST:PORT/NAME or redis+cluster://HOST:PORT"
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
