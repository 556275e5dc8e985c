//! The Redis store of Outlast: many processes on one Redis or Valkey, one round trip an operation.
//!
//! * **Decided here, committed there.** What may become of a task is decided by the pure state machine
//!   of `outlast-core`, from records that were read before, in this process. One script commits the
//!   decision: it looks whether everything that was read is still as it was (each record has a
//!   revision) and applies all writes, or none. Whoever comes second decides again. So there is one
//!   set of rules for all stores, and no second one in Lua that would have to be kept equal.
//! * **Except where workers meet.** Claiming is a script of its own, for many workers that decide from
//!   the same head of a queue would only get in each other's way: it knows the order, the limits and
//!   the rates, and does to a record what `Task::claim` does. Renewing leases is the other one. The
//!   model test compares both with the state machine.
//! * **One round trip.** A process remembers the records that it holds leases on, so that report,
//!   journal entry, suspension and end begin with the commit; a creation takes its id to be new; the
//!   end of an attempt claims the next task in the same script. Create, claim, end and one look at the
//!   result are four round trips; three, where the creation is claimed at once.
//! * **Fenced.** Every write under a lease commits only if the record still is the one that was
//!   decided from, epoch and nonce included. A Redis that has lost its last writes gives out epochs
//!   again, and never nonces.
//! * **The server's time.** All processes go by the clock of Redis.
//! * **One slot, or one for each shard.** All keys begin with the same name in braces, so that they stand in
//!   one slot of a cluster; a store of several shards is several of these, and divides the owners among
//!   them ([`open`]). Every key but the indexes, `meta`, `controls`, `sequence` and small records without a
//!   limit expires some time after its task has ended.
//!
//! ```no_run
//! use outlast_redis::{Options, RedisStore};
//!
//! let store = RedisStore::open(Options::new("redis://127.0.0.1/0", "my-server"))?;
//! # Ok::<(), outlast_core::Error>(())
//! ```

mod address;
mod ahead;
mod archive;
mod aside;
mod blobs;
mod claim;
mod clock;
mod connection;
mod crew;
mod doubt;
mod driver;
mod examination;
mod executor;
mod failure;
mod lease;
mod limit;
mod log;
mod notify;
mod options;
mod process;
mod pulse;
mod query;
mod reads;
mod record;
mod recover;
mod replicas;
mod row;
mod same;
mod schedule;
mod schema;
mod script;
mod seen;
mod sharded;
mod signal;
mod store;
mod tick;
mod tls;
mod topology;
mod transition;
mod unit;

pub use examination::{Examination, Problem};
pub use options::Options;
pub use sharded::open;
pub use store::RedisStore;
