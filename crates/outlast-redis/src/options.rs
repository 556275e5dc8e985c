//! How a store is opened.

use std::sync::Arc;

use outlast_core::Clock;

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Where Redis or Valkey is:
    ///
    /// * `redis://[user:password@]host[:port][/database]`, one server, or `redis+unix:///path`, its socket;
    /// * `redis+sentinel://[user:password@]host[:port],…/name[/database]`, sentinels, and the name by which
    ///   they know the primary; `sentinel_user=NAME` and `sentinel_password=PASSWORD` are what they ask for
    ///   themselves;
    /// * `redis+cluster://[user:password@]host[:port],…`, some nodes of a cluster.
    ///
    /// `rediss` in place of `redis` is TLS, also to sentinels. User name and password are percent-encoded.
    ///
    /// Behind a question mark: `prefix=NAME`, what all keys begin with (`outlast`); `volatile=true`, which
    /// accepts a server that loses tasks when it restarts; `wait_replicas=NUMBER`, how many replicas must
    /// have a change before it is acknowledged (0); `shards=NUMBER`, among how many parts the owners are
    /// divided (1, at most 64): see [`open`](crate::open). With TLS also `ca=FILE`, the certificate to trust in
    /// place of those that the machine trusts, and `cert=FILE` with `key=FILE`, what to show to a server that
    /// asks for a certificate; all are PEM.
    pub address: String,
    /// The server's name. The keys under a prefix belong to the first server that opened them.
    pub server_name: String,
    /// The store's clock; the server's where there is none.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Options {
    /// The store at `address` for the server `server_name`, with the defaults.
    pub fn new(address: impl Into<String>, server_name: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            server_name: server_name.into(),
            clock: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
