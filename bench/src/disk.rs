//! What the disk alone can do: bare SQLite commits with `synchronous=FULL`.
//!
//! One connection inserts one row of the size of a small task and commits, over
//! and over, in the folder where the measured store lies. A durable operation
//! cannot be faster than this except by sharing a commit with others, so the
//! figure stands beside every durable rate.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::Result;

/// A database of its own, in the folder under measurement.
pub(crate) struct Bare {
    connection: Connection,
}

impl Bare {
    /// Opens `<folder>/bare.db`, in WAL mode.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let connection = Connection::open(folder.join("bare.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS bare (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
        )?;
        Ok(Bare { connection })
    }

    /// Commits `count` times; returns the microseconds of each commit.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(crate) fn commit(&self, count: usize) -> Result<Vec<u32>> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO bare (body) VALUES (zeroblob(256))")?;
        let mut latencies = Vec::with_capacity(count);
        let mut before = Instant::now();
        for _ in 0..count {
            insert.execute([])?;
            let now = Instant::now();
            let micros = now.duration_since(before).as_micros();
            latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
            before = now;
        }
        Ok(latencies)
    }

    /// How many commits fit into `length`.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(crate) fn commits_in(&self, length: Duration) -> Result<u64> {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < length {
            count += self.commit(1)?.len() as u64;
        }
        Ok(count)
    }
}
