//! The SQLite store of Outlast: one file, one server, group commit.
//!
//! * **One writer.** There is a single connection that writes. Its thread takes the operations that are
//!   queued, applies each to the records through the pure state machine of `outlast-core`, commits them
//!   together and only then replies; it never waits for more to come. Under load many operations share
//!   one disk flush. A lone one is not delayed: while commits take less than a millisecond it is
//!   committed in the thread that asks for it.
//! * **Durable.** With [`Synchronous::Full`], the default, an acknowledged write survives `kill -9`
//!   and the loss of power. [`Synchronous::Normal`] survives `kill -9`, and may lose the last
//!   moments before a loss of power.
//! * **One server a store.** A lock that the kernel frees on any death guards the file. That is why a
//!   starting server knows that every task found running was left behind, and takes it back at once.
//! * **Records are cached.** A record is replaced in the cache after the commit and before the reply,
//!   so that a reader sees neither an uncommitted change nor an old one.
//!
//! ```no_run
//! use outlast_sqlite::{Options, SqliteStore};
//!
//! let store = SqliteStore::open(Options::new("outlast.db", "my-server"))?;
//! # Ok::<(), outlast_core::Error>(())
//! ```

mod archive;
mod aside;
mod blobs;
mod cache;
mod claim;
mod failure;
mod limit;
mod list;
mod lock;
mod log;
mod query;
mod readers;
mod ready;
mod relation;
mod row;
mod same;
mod schedule;
mod schema;
mod signal;
mod store;
mod tally;
mod transition;
mod unit;
mod writer;

pub use lock::network_file_system;
pub use store::{Options, SqliteStore, Synchronous};
