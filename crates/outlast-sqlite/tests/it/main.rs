//! The SQLite store before the conformance suite, the model, and what disks and people do to it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod alone;
mod archive;
mod aside;
mod budget;
mod conformance;
mod crowd;
mod disk;
mod group;
mod kill;
mod open;
mod support;
