//! The small world that everything is drawn from: few tasks, names and times, so that commands meet.

use std::time::Duration;

use crate::id::{TaskId, WorkerId};
use crate::json::RawJson;
use crate::label::RecordedLabel;
use crate::testing::Random;

/// How many tasks the world has.
pub(super) const TASKS: u64 = 9;

pub(super) const TOOLS: [&str; 3] = ["a", "b", "unknown"];
pub(super) const KEYS: [&str; 4] = ["k", "l", "m", "n"];
pub(super) const RULES: [&str; 4] = ["one", "some", "often", "many"];
pub(super) const WORKERS: u64 = 2;

/// How long leases run in this world.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// The task with this number.
pub(super) fn task_id(number: u64) -> TaskId {
    TaskId::from_bytes(numbered(b't', number))
}

/// The worker with this number.
pub(super) fn worker_id(number: u64) -> WorkerId {
    WorkerId::from_bytes(numbered(b'w', number))
}

fn numbered(kind: u8, number: u64) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Lengths of time that meet: leases, patience, retention and clock steps are drawn from the same.
pub(super) fn moment(random: &mut Random) -> Duration {
    let millis = [0, 1, 999, 1000, 29_999, 30_000, 30_001, 60_000, 3_600_000];
    Duration::from_millis(random.pick(&millis))
}

pub(super) fn keys(random: &mut Random, most: u64) -> Vec<&'static str> {
    (0..random.below(most + 1))
        .map(|_| random.pick(&KEYS))
        .collect()
}

pub(super) fn value(random: &mut Random) -> RawJson {
    RawJson::of(&random.below(3)).expect("a number is JSON")
}

/// Labels that meet; one of them no task may have.
pub(super) fn label(random: &mut Random) -> RawJson {
    let label = RecordedLabel {
        key: random.pick(&KEYS).into(),
        value: random.pick(&["", "1", "2", "\n"]).into(),
    };
    RawJson::of(&label).expect("a label is JSON")
}
