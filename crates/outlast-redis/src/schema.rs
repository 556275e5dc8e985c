//! What a store looks at before it writes its first key: whose keys there are, how they are laid out,
//! and what this Redis promises.
//!
//! `meta` records `version`, the layout; `compatible_from`, the oldest version whose programs can still
//! work with it; and the name of the server that it belongs to.

use outlast_core::{Error, Result};
use redis::Value;

use crate::connection::Link;
use crate::row;

/// The layout this program writes.
pub(crate) const VERSION: u64 = 1;
/// The oldest program that can work with it.
const COMPATIBLE_FROM: u64 = 1;

/// The oldest Redis with what the scripts need.
const OLDEST: u64 = 7;

/// What this Redis promises, and whose store it is.
pub(crate) struct Checked {
    /// Whether an append-only file holds what was acknowledged.
    pub(crate) durable: bool,
}

/// Looks whether this Redis can be the store of the server `server`, and makes it so. Nothing is
/// written unless it is.
///
/// # Errors
/// One sentence that says what is wrong and what to do.
pub(crate) async fn check(link: &Link, server: &str, volatile: bool) -> Result<Checked> {
    let store = &link.location;
    let refuse = |message: String| Err(Error::broken(message));
    let info = text(link, redis::cmd("INFO").arg("server")).await?;
    let version = field(&info, "redis_version");
    let major: u64 = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap_or(0);
    if major < OLDEST {
        return refuse(format!(
            "the task store {store} is Redis {version}, and {OLDEST}.0 or newer is needed (Valkey in \
             every version): upgrade it"
        ));
    }
    let replication = text(link, redis::cmd("INFO").arg("replication")).await?;
    if field(&replication, "role") != "master" {
        return refuse(format!(
            "the task store {store} is a replica, which takes no writes: name the primary"
        ));
    }
    let memory = text(link, redis::cmd("INFO").arg("memory")).await?;
    let policy = field(&memory, "maxmemory_policy");
    if policy != "noeviction" {
        return refuse(format!(
            "the task store {store} deletes keys when its memory is full (maxmemory-policy {policy}), \
             tasks among them: set `maxmemory-policy noeviction`"
        ));
    }
    let persistence = text(link, redis::cmd("INFO").arg("persistence")).await?;
    let durable = field(&persistence, "aof_enabled") == "1";
    if !durable && !volatile {
        return refuse(format!(
            "the task store {store} keeps no append-only file, so a restart of Redis loses tasks: set \
             `appendonly yes` there, or accept the loss with `?volatile=true` in the address"
        ));
    }
    let meta = link
        .command(&redis::cmd("HGETALL").arg(link.key("meta")).take())
        .await?;
    let meta = row::array(meta);
    if meta.is_empty() {
        return begin(link, server).await.map(|()| Checked { durable });
    }
    let value = |name: &str| {
        let mut pairs = meta.chunks_exact(2);
        let pair = pairs.find(|pair| row::bytes(&pair[0]) == name.as_bytes());
        pair.map(|pair| row::text(&pair[1])).unwrap_or_default()
    };
    let (layout, compatible) = (value("version"), value("compatible_from"));
    if compatible.parse::<u64>().unwrap_or(u64::MAX) > VERSION {
        return refuse(format!(
            "the task store {store} was written by a newer version of this program (layout {layout}, \
             this program knows up to {VERSION}): start the newer program, or give this one another \
             prefix with `?prefix=` in the address"
        ));
    }
    let owner = value("server");
    if owner != server {
        return refuse(format!(
            "the task store {store} belongs to the server {owner:?}, and this one is {server:?}: give \
             each a prefix of its own with `?prefix=` in the address"
        ));
    }
    Ok(Checked { durable })
}

/// Makes a new store, if nobody else has keys under its prefix.
async fn begin(link: &Link, server: &str) -> Result<()> {
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
            return Err(Error::broken(format!(
                "the task store {} has keys of another program under this prefix, such as {:?}: choose \
                 another prefix with `?prefix=` in the address, or another database",
                link.location,
                row::text(key)
            )));
        }
        cursor = next.as_ref().map(row::text).unwrap_or_default();
        if cursor == "0" || cursor.is_empty() {
            break;
        }
    }
    let set = redis::cmd("HSET")
        .arg(link.key("meta"))
        .arg("version")
        .arg(VERSION)
        .arg("compatible_from")
        .arg(COMPATIBLE_FROM)
        .arg("server")
        .arg(server)
        .take();
    link.command(&set).await.map(|_| ())
}

async fn text(link: &Link, command: &mut redis::Cmd) -> Result<String> {
    Ok(match link.command(command).await? {
        Value::VerbatimString { text, .. } => text,
        value => row::text(&value),
    })
}

/// A line of INFO.
fn field<'a>(info: &'a str, name: &str) -> &'a str {
    let mut lines = info.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_default().trim()
}
