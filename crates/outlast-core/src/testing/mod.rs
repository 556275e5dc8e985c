//! What tests of stores and of programs need: a memory store, a clock that stands still, a store that
//! fails on demand, and the suite that every store must pass.
//!
//! The memory store is the state machine with a mutex around it and nothing else, so it is the model
//! every other store is compared with. It is a test double and never a product mode: it survives
//! nothing.

mod clock;
pub mod conformance;
mod faulty;
mod memory;
mod model;
mod mutation;
mod random;
mod wait;

pub use clock::ManualClock;
pub use conformance::{Fixture, Reopened, conformance};
pub use faulty::{Fault, FaultyStore};
pub use memory::MemoryStore;
pub use model::model;
pub use mutation::{mutate, mutate_json};
pub use random::{Random, count, seed};
pub use wait::{block_on, eventually, join_all, poll_once};
