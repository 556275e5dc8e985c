//! The node of a cluster that has the slot of our keys.
//!
//! Any node is asked for a key of ours, and names the one that has it (`MOVED`). So a slot is never computed
//! here, and a replica that was promoted is found like a slot that was given to another node. After that the
//! node is asked who else there is, for the day when none of those in the address is left.
//!
//! **A slot on its way is not used.** While it is moved key by key (`ASK`), each of two nodes has a part of the
//! keys. The only key that scripts are called with is the name that all keys begin with, which is never
//! there; so the node that gives the slot away refuses every script as a whole, and the one that gets it
//! would run one on a part of the keys if it were told to (`ASKING`). It never is: callers are told to try
//! again until the slot has arrived. Nothing is half done.

use std::collections::BTreeSet;
use std::sync::Mutex;

use redis::{Client, ErrorKind, RedisError, Value};

use super::{ASK, Reached, at, call, connect, name};
use crate::row;

/// How many nodes may name another one, before the cluster is taken to be in disorder.
const REDIRECTS: usize = 5;
/// The most nodes that are remembered; a cluster has no more.
const MOST: usize = 1000;

pub(crate) struct Cluster {
    /// Those in the address.
    named: Vec<Client>,
    /// All that are known, the most promising first.
    known: Mutex<Vec<Client>>,
}

impl Cluster {
    pub(super) fn new(named: Vec<Client>) -> Self {
        Self {
            known: Mutex::new(named.clone()),
            named,
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.known.lock().expect("nothing panics under this lock")
    }

    /// # Errors
    /// Why the last of the nodes that were asked did not lead to one that has the key.
    pub(super) async fn connect(&self, key: &str) -> Result<Reached, RedisError> {
        let known = self.known().clone();
        let mut tried = BTreeSet::new();
        let mut last = None;
        for client in known {
            let mut next = Some(client);
            for _ in 0..=REDIRECTS {
                let Some(client) = next.take() else { break };
                if !tried.insert(name(&client)) {
                    break;
                }
                match self.reach(&client, key).await {
                    Ok(reached) => return Ok(reached),
                    Err(error) => {
                        next = redirect(&client, &error)?;
                        if next.is_none() {
                            self.put_last(&client);
                        }
                        last = Some(error);
                    }
                }
            }
        }
        Err(last.expect("an address names a node at least"))
    }

    async fn reach(&self, client: &Client, key: &str) -> Result<Reached, RedisError> {
        let mut connection = connect(client, ASK).await?;
        call(&mut connection, &["EXISTS", key]).await?;
        match call(&mut connection, &["CLUSTER", "SLOTS"]).await {
            Ok(slots) => self.learn(client, slots)?,
            // A user who may not ask knows the nodes in the address.
            Err(error) if error.code() == Some("NOPERM") => {}
            Err(error) if error.to_string().contains("cluster support disabled") => {
                let detail = format!("{} is no node of a cluster", name(client));
                return Err((ErrorKind::InvalidClientConfig, "no cluster", detail).into());
            }
            Err(error) => return Err(error),
        }
        let client = client.clone();
        Ok(Reached { client, connection })
    }

    /// Remembers the nodes of the cluster as `asked` knows them.
    fn learn(&self, asked: &Client, slots: Value) -> Result<(), RedisError> {
        let mut names = BTreeSet::new();
        let mut known = Vec::new();
        let mut add = |client: Client| {
            if names.insert(name(&client)) && known.len() < MOST {
                known.push(client);
            }
        };
        add(asked.clone());
        for range in row::array(slots) {
            // Behind the first and the last slot stand the nodes: host, port, id.
            for node in row::array(range).into_iter().skip(2) {
                let node = row::array(node);
                let (Some(host), Some(port)) = (node.first(), node.get(1)) else {
                    continue;
                };
                if let Ok(port) = u16::try_from(row::int(port)) {
                    add(beside(asked, &row::text(host), port)?);
                }
            }
        }
        self.named.iter().cloned().for_each(add);
        *self.known() = known;
        Ok(())
    }

    /// Asks a node that did not help after all others.
    fn put_last(&self, client: &Client) {
        let mut known = self.known();
        let found = known.iter().position(|one| name(one) == name(client));
        if let Some(at) = found {
            let one = known.remove(at);
            known.push(one);
        }
    }
}

/// The node that an error names.
fn redirect(asked: &Client, error: &RedisError) -> Result<Option<Client>, RedisError> {
    if error.code() != Some("MOVED") {
        return Ok(None);
    }
    let named = error
        .redirect_node()
        .and_then(|(node, _)| node.rsplit_once(':'))
        .and_then(|(host, port)| Some((host, port.parse().ok()?)));
    named
        .map(|(host, port)| beside(asked, host, port))
        .transpose()
}

/// A node as another one names it. One that does not know by which name it is reached leaves it out, and
/// means the name of the one that was asked.
fn beside(asked: &Client, host: &str, port: u16) -> Result<Client, RedisError> {
    if !matches!(host, "" | "?") {
        return at(asked, host, port);
    }
    let name = name(asked);
    let host = name.rsplit_once(':').map_or("", |(host, _)| host);
    at(asked, host, port)
}
