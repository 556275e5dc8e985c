//! Where the server is that holds the keys: the one that the address names, the one that sentinels name, or
//! the node of a cluster that has the slot.
//!
//! It is looked for whenever a connection is made, and at no other time: a server that stops being the
//! primary breaks its connections or refuses what is written ([`Topology::says_elsewhere`]), and the next
//! connection goes where the keys are now. A store is one slot, so one connection to one server is all there
//! is to a cluster for it: no map of slots is kept.

mod cluster;
mod sentinel;

use std::time::Duration;

use outlast_core::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisError, Value};

use crate::address::{Address, Servers};
use crate::connection::PATIENCE;
use crate::tls;
use cluster::Cluster;
use sentinel::Sentinels;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may take where others can be asked instead.
const ASK: Duration = Duration::from_secs(2);

/// How the server that holds the keys is found.
pub(crate) enum Topology {
    One(Client),
    Sentinels(Sentinels),
    Cluster(Cluster),
}

/// A connection to the server that holds the keys, and that server.
pub(crate) struct Reached {
    pub(crate) client: Client,
    pub(crate) connection: MultiplexedConnection,
}

impl Topology {
    /// # Errors
    /// The address or a file that it names cannot be used.
    pub(crate) fn new(address: &Address) -> Result<Self> {
        let client = |url: &String| tls::client(&address.location, url, &address.certificates);
        let clients = |urls: &[String]| urls.iter().map(client).collect::<Result<Vec<_>>>();
        Ok(match &address.servers {
            Servers::One(url) => Self::One(client(url)?),
            Servers::Sentinels {
                sentinels,
                name,
                primary,
            } => Self::Sentinels(Sentinels::new(
                clients(sentinels)?,
                name.clone(),
                client(primary)?,
            )),
            Servers::Cluster(nodes) => Self::Cluster(Cluster::new(clients(nodes)?)),
        })
    }

    /// Connects to the server that holds the keys; `key` is one of them.
    ///
    /// # Errors
    /// There is none at the moment, or none can be reached.
    pub(crate) async fn connect(&self, key: &str) -> Result<Reached, RedisError> {
        match self {
            Self::One(client) => {
                let connection = connect(client, CONNECT).await?;
                let client = client.clone();
                Ok(Reached { client, connection })
            }
            Self::Sentinels(sentinels) => sentinels.connect().await,
            Self::Cluster(cluster) => cluster.connect(key).await,
        }
    }

    /// Whether an error says that another server may hold the keys by now. Nothing has been carried out.
    pub(crate) fn says_elsewhere(&self, error: &RedisError) -> bool {
        match error.code() {
            // After a failover the same address may lead to the new primary.
            Some("READONLY" | "MOVED") => true,
            // A part of the fleet that is too small to go on alone.
            Some("CLUSTERDOWN" | "NOREPLICAS" | "MASTERDOWN") => !matches!(self, Self::One(_)),
            _ => false,
        }
    }

    /// Whether a cluster is asked where the keys are.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

/// The words for a server in errors, and what tells it from others.
pub(crate) fn name(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

/// The same login at another host.
fn at(client: &Client, host: &str, port: u16) -> Result<Client, RedisError> {
    let info = client.get_connection_info().clone();
    let host = host.to_owned();
    let addr = match info.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    Client::open(info.set_addr(addr))
}

/// A connection that is answered on: whoever is not let in is told so before anything long is sent.
///
/// # Errors
/// What the server says, or that it says nothing.
pub(crate) async fn connect(
    client: &Client,
    patience: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(PATIENCE));
    let connected = tokio::time::timeout(patience, async {
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        call(&mut connection, &["PING"]).await?;
        Ok(connection)
    });
    let connected = connected.await;
    connected.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

async fn call(connection: &mut MultiplexedConnection, words: &[&str]) -> Result<Value, RedisError> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    connection
        .send_packed_command(&command)
        .await?
        .extract_error()
}
