//! The primary that sentinels name.
//!
//! They are asked in turn, beginning with the one that knew last time. What they name is taken for the primary
//! only if it says so itself: a sentinel that was cut off names the one of before the failover. Each server
//! is tried once however many name it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::{Client, ErrorKind, RedisError, ServerErrorKind};

use super::{ASK, Reached, at, call, connect, name};
use crate::row;

pub(crate) struct Sentinels {
    sentinels: Vec<Client>,
    /// Who knew last time.
    knew: AtomicUsize,
    /// By which they know the primary.
    name: String,
    /// What is said to the primary, wherever it is.
    login: Client,
}

impl Sentinels {
    pub(super) fn new(sentinels: Vec<Client>, name: String, login: Client) -> Self {
        Self {
            sentinels,
            knew: AtomicUsize::new(0),
            name,
            login,
        }
    }

    /// # Errors
    /// Why the primary could not be reached; why the sentinels could not, if none of them named one.
    pub(super) async fn connect(&self) -> Result<Reached, RedisError> {
        let (mut unasked, mut unreached) = (None, None);
        let mut tried = BTreeSet::new();
        let first = self.knew.load(Ordering::Relaxed);
        for turn in 0..self.sentinels.len() {
            let turn = (first + turn) % self.sentinels.len();
            let (host, port) = match self.ask(&self.sentinels[turn]).await {
                Ok(named) => named,
                Err(error) => {
                    unasked = Some(error);
                    continue;
                }
            };
            let client = at(&self.login, &host, port)?;
            if !tried.insert(name(&client)) {
                continue;
            }
            match reach(client).await {
                Ok(reached) => {
                    self.knew.store(turn, Ordering::Relaxed);
                    return Ok(reached);
                }
                Err(error) => unreached = Some(error),
            }
        }
        Err(unreached
            .or(unasked)
            .expect("an address names a sentinel at least"))
    }

    /// The host and the port of the primary, as a sentinel knows it.
    async fn ask(&self, sentinel: &Client) -> Result<(String, u16), RedisError> {
        let mut connection = connect(sentinel, ASK).await?;
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name.as_str()];
        let named = call(&mut connection, &asked).await.map_err(|error| {
            if error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError) {
                let detail = format!("{} is no sentinel", name(sentinel));
                return RedisError::from((ErrorKind::InvalidClientConfig, "no sentinel", detail));
            }
            error
        })?;
        let named = row::array(named);
        let port = named.get(1).and_then(|port| row::text(port).parse().ok());
        match (named.first(), port) {
            (Some(host), Some(port)) => Ok((row::text(host), port)),
            _ => Err(RedisError::from((
                ErrorKind::MasterNameNotFoundBySentinel,
                "no such primary",
                format!("{} knows no primary {:?}", name(sentinel), self.name),
            ))),
        }
    }
}

async fn reach(client: Client) -> Result<Reached, RedisError> {
    let mut connection = connect(&client, ASK).await?;
    let info = call(&mut connection, &["INFO", "replication"]).await?;
    if row::field(&row::verbatim(&info), "role") == "master" {
        return Ok(Reached { client, connection });
    }
    Err(RedisError::from((
        ErrorKind::Server(ServerErrorKind::ReadOnly),
        "no primary",
        format!("{} is a replica", name(&client)),
    )))
}
