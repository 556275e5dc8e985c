//! What a store looks at before it writes its first key: what this server promises, and whose keys it holds.
//!
//! The start and whoever wants to know beforehand read the same and judge by the same words.

use outlast_core::{Error, Result};
use redis::Value;

use crate::connection::Link;
use crate::row;
use crate::schema::{Part, VERSION};

/// The oldest Redis with what the scripts need.
const OLDEST: u64 = 7;

/// What a server says of itself, and what stands against its being the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Examination {
    /// `Redis` or `Valkey`.
    pub product: &'static str,
    /// Its version, as the product counts.
    pub version: String,
    /// Host and port, or socket, of the server that holds the keys: the one that was found, where sentinels or
    /// a cluster were asked for it; of a store of several shards those that do, with `, ` between them.
    pub server: String,
    /// Whether an append-only file holds what was acknowledged.
    pub durable: bool,
    /// How many replicas are connected.
    pub replicas: usize,
    /// Why it is refused at the start, if it is; the first is what is said then.
    pub problems: Vec<Problem>,
    /// What the start only warns of.
    pub warnings: Vec<Problem>,
    /// Nobody has keys under the prefix.
    pub(crate) is_new: bool,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// What is wrong, as words that go on after the store's name.
    pub said: String,
    /// What to do.
    pub advice: String,
}

impl Problem {
    fn new(said: String, advice: impl Into<String>) -> Self {
        Self {
            said,
            advice: advice.into(),
        }
    }

    /// The sentence about the store `store`.
    pub(crate) fn of(&self, store: &str) -> String {
        format!("the task store {store} {}: {}", self.said, self.advice)
    }
}

/// Reads all of it, and writes nothing.
///
/// # Errors
/// The server cannot be reached, or lets nobody read.
pub(crate) async fn examine(
    link: &Link,
    server: &str,
    volatile: bool,
    part: Part,
) -> Result<Examination> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let info = text(link, redis::cmd("INFO").arg("server")).await?;
    let valkey = row::field(&info, "valkey_version");
    let (product, version) = match valkey {
        "" => ("Redis", row::field(&info, "redis_version").to_owned()),
        version => ("Valkey", version.to_owned()),
    };
    let major = row::field(&info, "redis_version").split('.').next();
    let major: u64 = major.and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < OLDEST {
        problems.push(Problem::new(
            format!("is {product} {version}, and Redis {OLDEST}.0 or any Valkey is needed"),
            "upgrade it",
        ));
    }
    let replication = text(link, redis::cmd("INFO").arg("replication")).await?;
    if row::field(&replication, "role") != "master" {
        problems.push(Problem::new(
            "is a replica, which takes no writes".into(),
            "name the primary",
        ));
    }
    let replicas = row::field(&replication, "connected_slaves")
        .parse()
        .unwrap_or(0);
    let wanted = link.replicas();
    if replicas < wanted {
        warnings.push(Problem::new(
            format!("has {replicas} replicas, and changes wait for {wanted} (wait_replicas)"),
            "connect replicas; until then callers are told to try again",
        ));
    }
    let memory = text(link, redis::cmd("INFO").arg("memory")).await?;
    let policy = row::field(&memory, "maxmemory_policy");
    if policy != "noeviction" {
        problems.push(Problem::new(
            format!(
                "deletes keys when its memory is full (maxmemory-policy {policy}), tasks among them"
            ),
            "set `maxmemory-policy noeviction`",
        ));
    }
    let persistence = text(link, redis::cmd("INFO").arg("persistence")).await?;
    let durable = row::field(&persistence, "aof_enabled") == "1";
    if !durable && !volatile {
        problems.push(Problem::new(
            format!("keeps no append-only file, so a restart of {product} loses tasks"),
            "set `appendonly yes` there, or accept the loss with `?volatile=true` in the address",
        ));
    }
    let cluster = text(link, redis::cmd("INFO").arg("cluster")).await?;
    if row::field(&cluster, "cluster_enabled") == "1" && !link.is_in_cluster() {
        warnings.push(Problem::new(
            "is one node of a cluster, and nobody looks for another when it gives the keys away"
                .into(),
            "write redis+cluster://HOST:PORT",
        ));
    }
    let whose = owner(link, server, part).await?;
    let is_new = matches!(whose, Ok(true));
    problems.extend(whose.err());
    Ok(Examination {
        product,
        version,
        server: link.server_name(),
        durable,
        replicas,
        problems,
        warnings,
        is_new,
    })
}

/// Whose keys there are: this server's, or nobody's, which is `true`; somebody else's are a problem.
async fn owner(link: &Link, server: &str, part: Part) -> Result<Result<bool, Problem>> {
    let mut meta = meta_of(link).await?;
    if meta.is_empty() {
        let Some(key) = foreign_key(link).await? else {
            return Ok(Ok(true));
        };
        // Unless it is of one that has begun the store in between.
        meta = meta_of(link).await?;
        if meta.is_empty() {
            return Ok(Err(Problem::new(
                format!("has keys of another program under this prefix, such as {key:?}"),
                "choose another prefix with `?prefix=` in the address, or another database",
            )));
        }
    }
    Ok(owned(&meta, server, part).map(|()| false))
}

async fn meta_of(link: &Link) -> Result<Vec<Value>> {
    let all = redis::cmd("HGETALL").arg(link.key("meta")).take();
    Ok(row::array(link.command(&all).await?))
}

/// Whether the store is this server's and of a layout that this program knows, by what `meta` says.
pub(crate) fn owned(meta: &[Value], server: &str, part: Part) -> Result<(), Problem> {
    let value = |name: &str| {
        let mut pairs = meta.chunks_exact(2);
        let pair = pairs.find(|pair| row::bytes(&pair[0]) == name.as_bytes());
        pair.map(|pair| row::text(&pair[1])).unwrap_or_default()
    };
    let (layout, compatible) = (value("version"), value("compatible_from"));
    if compatible.parse::<u64>().unwrap_or(u64::MAX) > VERSION {
        return Err(Problem::new(
            format!(
                "was written by a newer version of this program (layout {layout}, this program knows up \
                 to {VERSION})"
            ),
            "start the newer program, or give this one another prefix with `?prefix=` in the address",
        ));
    }
    let owner = value("server");
    if owner != server {
        return Err(Problem::new(
            format!("belongs to the server {owner:?}, and this one is {server:?}"),
            "give each a prefix of its own with `?prefix=` in the address",
        ));
    }
    let (shards, wanted) = (value("shards"), part.shards());
    let shards = shards.parse().unwrap_or(1);
    if shards != wanted {
        return Err(Problem::new(
            format!("is divided into {shards}, and the address says shards={wanted}"),
            format!(
                "write `?shards={shards}`; to change the number, copy it with `outlast store copy` into a \
                 store with another prefix"
            ),
        ));
    }
    Ok(())
}

/// A key under our prefix.
async fn foreign_key(link: &Link) -> Result<Option<String>> {
    let pattern = link.key("*").replace('[', "\\[");
    let mut cursor = "0".to_owned();
    loop {
        let scan = redis::cmd("SCAN")
            .arg(&cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(1000)
            .take();
        let mut parts = row::array(link.command(&scan).await?).into_iter();
        let (next, keys) = (parts.next(), parts.next());
        if let Some(key) = keys.map(row::array).unwrap_or_default().first() {
            return Ok(Some(row::text(key)));
        }
        cursor = next.as_ref().map(row::text).unwrap_or_default();
        if cursor == "0" || cursor.is_empty() {
            return Ok(None);
        }
    }
}

async fn text(link: &Link, command: &mut redis::Cmd) -> Result<String> {
    Ok(row::verbatim(&link.command(command).await?))
}

impl Examination {
    /// # Errors
    /// The first problem, as a sentence about the store `store`.
    pub(crate) fn judge(&self, store: &str) -> Result<()> {
        match self.problems.first() {
            None => Ok(()),
            Some(problem) => Err(Error::broken(problem.of(store))),
        }
    }
}
