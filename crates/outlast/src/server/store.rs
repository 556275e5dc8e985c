//! Opening the store that the settings name.
//!
//! A SQLite file has one server, and its lock says which. A Redis has any number, on one machine too;
//! what stands beside the store there (the socket that bridges and the command line look for) belongs
//! to the first of them, and the others have numbered ones: each takes the first that nobody locks, so what
//! those leave behind that are killed is taken over by those that come after them.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_core::Store;
use outlast_core::archive::Archive;
use outlast_sqlite::{Options, SqliteStore};

use super::socket::{beside, socket_path};
use crate::error::StartError;
use crate::settings::{Settings, StoreAt, Synchronous};

/// The most processes of one server on one machine.
const MOST_BESIDE: usize = 1000;

/// An open store, and what belongs to its kind.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    kind: Kind,
}

enum Kind {
    Sqlite(Arc<SqliteStore>),
    #[cfg(feature = "redis")]
    Redis,
}

/// Opens the store; `database` is its file, or the place beside it.
///
/// # Errors
/// The store's, in a sentence that says what to do.
pub(super) async fn open_store(
    database: &Path,
    name: &str,
    settings: &Settings,
) -> Result<Opened, StartError> {
    match settings.store.as_ref().map(|store| store.at()) {
        Some(StoreAt::Redis(address)) => open_redis(address, name).await,
        Some(StoreAt::Sqlite(_)) | None => {
            let mut options = Options::new(database, name);
            options.synchronous = match settings.synchronous {
                Some(Synchronous::Normal) => outlast_sqlite::Synchronous::Normal,
                Some(Synchronous::Full) | None => outlast_sqlite::Synchronous::Full,
            };
            let store = Arc::new(SqliteStore::open(options)?);
            Ok(Opened {
                store: Arc::clone(&store) as Arc<dyn Store>,
                kind: Kind::Sqlite(store),
            })
        }
    }
}

/// Tells what [`open_store`] would refuse, as far as this machine can say; nothing is made or changed.
///
/// # Errors
/// As [`open_store`].
pub(super) fn examine_store(
    database: &Path,
    name: &str,
    settings: &Settings,
) -> Result<(), StartError> {
    match settings.store.as_ref().map(|store| store.at()) {
        Some(StoreAt::Redis(address)) => check_redis(address),
        Some(StoreAt::Sqlite(_)) | None => Ok(SqliteStore::examine(&Options::new(database, name))?),
    }
}

#[cfg(feature = "redis")]
fn check_redis(address: &str) -> Result<(), StartError> {
    Ok(outlast_redis::RedisStore::check_address(address)?)
}

#[cfg(not(feature = "redis"))]
fn check_redis(_address: &str) -> Result<(), StartError> {
    Err(without_redis())
}

#[cfg(feature = "redis")]
async fn open_redis(address: &str, name: &str) -> Result<Opened, StartError> {
    Ok(Opened {
        store: open_redis_archive(address, name).await?,
        kind: Kind::Redis,
    })
}

/// The Redis at `address` as a store that can be copied.
#[cfg(feature = "redis")]
pub(super) async fn open_redis_archive(
    address: &str,
    name: &str,
) -> Result<Arc<dyn Archive>, StartError> {
    let options = outlast_redis::Options::new(address, name);
    let open = move || outlast_redis::open(options);
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(opened.map_err(|_| StartError::new("the task store cannot be opened"))??)
}

#[cfg(not(feature = "redis"))]
async fn open_redis(_address: &str, _name: &str) -> Result<Opened, StartError> {
    Err(without_redis())
}

/// The Redis at `address` as a store that can be copied.
#[cfg(not(feature = "redis"))]
pub(super) async fn open_redis_archive(
    _address: &str,
    _name: &str,
) -> Result<Arc<dyn Archive>, StartError> {
    Err(without_redis())
}

#[cfg(not(feature = "redis"))]
fn without_redis() -> StartError {
    StartError::new(
        "this program was built without Redis: build it with the feature `redis`, or name a file with \
         --store sqlite:PATH",
    )
}

impl Opened {
    /// Where this server's socket is to be, and what keeps others on this machine from that place.
    ///
    /// # Errors
    /// The folder of what stands beside the store cannot be used.
    pub(super) fn socket_path(
        &self,
        database: &Path,
    ) -> Result<(PathBuf, Option<File>), StartError> {
        if let Kind::Sqlite(_) = self.kind {
            return Ok((socket_path(database), None));
        }
        let (place, lock) = first_free(database)?;
        Ok((socket_path(&place), Some(lock)))
    }

    /// Says where the server is reached, for one that finds the store taken.
    ///
    /// # Errors
    /// It cannot be written down.
    pub(super) fn set_address(&self, address: &str) -> Result<(), StartError> {
        if let Kind::Sqlite(store) = &self.kind {
            store.set_address(address)?;
        }
        Ok(())
    }
}

/// The first place beside `database` that no process locks, and its lock.
fn first_free(database: &Path) -> Result<(PathBuf, File), StartError> {
    for number in 1..=MOST_BESIDE {
        let place = match number {
            1 => database.to_owned(),
            other => beside(database, &format!("-{other}")),
        };
        let path = beside(&place, ".lock");
        let cannot = |error: std::io::Error| {
            StartError::new(format!("cannot use {}: {error}", path.display()))
        };
        let mut options = File::options();
        options.create(true).write(true).truncate(false);
        let lock = options.open(&path).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => return Ok((place, lock)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
    }
    Err(StartError::new(format!(
        "{MOST_BESIDE} processes of this server run on this machine already"
    )))
}

#[cfg(test)]
mod tests {
    use super::first_free;

    #[test]
    fn what_a_dead_process_leaves_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("redis-1");
        let take = || first_free(&database).unwrap();
        let (first, one) = take();
        let (second, two) = take();
        let (third, _three) = take();
        assert_eq!(first, database);
        assert_eq!(second, folder.path().join("redis-1-2"));
        assert_eq!(third, folder.path().join("redis-1-3"));
        drop(two);
        let (next, _two) = take();
        assert_eq!(next, second);
        drop(one);
        assert_eq!(take().0, first);
    }
}
