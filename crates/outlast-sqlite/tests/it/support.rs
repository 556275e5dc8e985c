//! Stores in temporary folders.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use outlast_core::testing::{Fixture, ManualClock, Reopened};
use outlast_core::{Clock, Store};
use outlast_sqlite::{Options, SqliteStore, Synchronous};

/// SQLite stores in one temporary folder.
pub(crate) struct Files {
    folder: tempfile::TempDir,
    made: std::sync::atomic::AtomicUsize,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            made: Default::default(),
        }
    }

    /// Stores on a file system in memory where there is one: for thousands of short lives.
    pub(crate) fn in_memory() -> Self {
        let folder = match tempfile::tempdir_in("/dev/shm") {
            Ok(folder) => folder,
            Err(_) => tempfile::tempdir().expect("a temporary folder"),
        };
        Self {
            folder,
            made: Default::default(),
        }
    }

    /// The path of a store that nobody has opened.
    pub(crate) fn next_path(&self) -> PathBuf {
        let number = self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.folder.path().join(format!("{number}.db"))
    }
}

/// How tests open stores: what is tested does not depend on waiting for the disk.
pub(crate) fn options(path: &Path, clock: Arc<dyn Clock>) -> Options {
    Options {
        synchronous: Synchronous::Normal,
        clock,
        ..Options::new(path, "test")
    }
}

pub(crate) fn open(path: &Path, clock: Arc<dyn Clock>) -> SqliteStore {
    SqliteStore::open(options(path, clock)).expect("a store that opens")
}

#[async_trait]
impl Fixture for Files {
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        Arc::new(open(&self.next_path(), clock))
    }

    async fn reopen(&self, store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Reopened {
        let path = PathBuf::from(store.info().location);
        assert_eq!(Arc::strong_count(&store), 1, "nobody else uses it");
        drop(store);
        Reopened::Next(Arc::new(open(&path, clock)))
    }
}
