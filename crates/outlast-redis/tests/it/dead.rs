//! Who is dead for certain, and who only seems to be: a process that renews its entry is alive, whatever its
//! machine is called.

use std::sync::Arc;

use outlast_core::store::{ClaimBy, Reads, Store};
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{Blobs, Clock, Phase, TaskId, WorkerId};
use outlast_redis::RedisStore;
use serde_json::{Value, json};

use crate::cost::{by, spec};
use crate::server::{Server, open};

/// Some servers' processes on one store, of which this test makes up one.
struct Fleet {
    server: Server,
    clock: Arc<ManualClock>,
    near: RedisStore,
    worker: WorkerId,
}

impl Fleet {
    fn new() -> Self {
        let server = Server::volatile();
        let clock = Arc::new(ManualClock::default());
        let near = open(
            &server.address("fleet"),
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        Self {
            server,
            clock,
            near,
            worker: WorkerId::random(),
        }
    }

    /// An entry like that of this process, changed by `change`, of a process with a worker.
    fn sign_in(&self, change: impl FnOnce(&mut Value)) {
        let entries = self.server.call(&["HVALS", "{fleet}:processes"]);
        let entries: Vec<String> = redis::from_redis_value(entries).unwrap();
        let mut entry: Value = serde_json::from_str(&entries[0]).unwrap();
        entry["worker"] = json!(self.worker);
        change(&mut entry);
        let entry = entry.to_string();
        self.server
            .call(&["HSET", "{fleet}:processes", "another", &entry]);
    }

    /// A task that its worker runs.
    async fn run(&self) -> TaskId {
        let id = self.near.create(spec(), None).await.unwrap().task.id();
        let claims = ClaimBy {
            worker: self.worker,
            ..by()
        };
        assert_eq!(self.near.claim(&claims, 1).await.unwrap().len(), 1);
        id
    }

    /// What has become of a task once another process has started.
    async fn after_a_start(&self, id: TaskId) -> Phase {
        let next = open(
            &self.server.address("fleet"),
            Arc::clone(&self.clock) as Arc<dyn Clock>,
        );
        next.recover(WorkerId::random()).await.unwrap();
        let task = next.get(id).await.unwrap().unwrap();
        assert_eq!(task.state.crashes, 0);
        task.state.phase
    }
}

#[test]
fn a_process_that_renews_its_entry_is_not_taken_for_dead() {
    // Another machine of the same name; one that tells nothing of its processes.
    let changes: [fn(&mut Value); 2] = [
        |entry| entry["boot"] = json!("another"),
        |entry| {
            entry["boot"] = Value::Null;
            entry["began"] = Value::Null;
        },
    ];
    for change in changes {
        let fleet = Fleet::new();
        block_on(async {
            fleet.sign_in(change);
            let id = fleet.run().await;
            assert_eq!(fleet.after_a_start(id).await, Phase::Running);
        });
    }
}

#[test]
fn a_process_of_an_earlier_boot_is_dead_and_that_counts_as_no_crash() {
    let fleet = Fleet::new();
    block_on(async {
        fleet.sign_in(|entry| {
            entry["boot"] = json!("an earlier one");
            entry["until"] = json!(0);
        });
        let id = fleet.run().await;
        assert_eq!(fleet.after_a_start(id).await, Phase::Queued);
    });
}

#[test]
fn what_a_namesake_is_writing_is_not_swept_away() {
    let fleet = Fleet::new();
    block_on(async {
        let task = fleet.near.create(spec(), None).await.unwrap().task.id();
        let mut writer = fleet.near.blob_create(task).await.unwrap();
        writer.write(b"half".to_vec()).await.unwrap();
        fleet.sign_in(|entry| entry["boot"] = json!("another"));
        let written = fleet.server.call(&["HKEYS", "{fleet}:blobs"]);
        let name: Vec<String> = redis::from_redis_value(written).unwrap();
        // As if the other process were writing it.
        let claim = ["HSET", "{fleet}:blobs", &name[0], "another"];
        fleet.server.call(&claim);
        let _next = open(
            &fleet.server.address("fleet"),
            Arc::clone(&fleet.clock) as Arc<dyn Clock>,
        );
        let left = fleet.server.call(&["HLEN", "{fleet}:blobs"]);
        assert_eq!(left, redis::Value::Int(1));
        drop(writer);
    });
}

#[test]
fn what_a_process_claims_that_was_taken_for_dead_is_left_to_its_leases() {
    let fleet = Fleet::new();
    block_on(async {
        // Elsewhere, and silent while a lease of its runs out.
        fleet.sign_in(|entry| {
            entry["machine"] = json!("another");
            entry["until"] = json!(0);
        });
        let id = fleet.run().await;
        // The first look may find that nobody could renew anything for a while.
        for _ in 0..2 {
            fleet.clock.advance(by().lease);
            fleet.near.tick(&[], by().lease, 100).await.unwrap();
        }
        let task = fleet.near.get(id).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Queued);
        let left = fleet
            .server
            .call(&["HEXISTS", "{fleet}:processes", "another"]);
        assert_eq!(left, redis::Value::Int(0));
        // It is back, and has not said so yet.
        let claims = ClaimBy {
            worker: fleet.worker,
            ..by()
        };
        assert_eq!(fleet.near.claim(&claims, 1).await.unwrap().len(), 1);
        let next = open(
            &fleet.server.address("fleet"),
            Arc::clone(&fleet.clock) as Arc<dyn Clock>,
        );
        next.recover(WorkerId::random()).await.unwrap();
        let task = next.get(id).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Running);
    });
}
