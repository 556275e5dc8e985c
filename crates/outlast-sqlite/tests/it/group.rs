//! Operations that share a commit.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::machine::AttemptEnd;
use outlast_core::store::{ClaimBy, ClaimNow, Reads, Store, ToolVersion};
use outlast_core::task::Lease;
use outlast_core::testing::{ManualClock, block_on, join_all};
use outlast_core::{Error, Outcome, RawJson, TaskId, TaskSpec, ToolResult};

use crate::support::{Files, open};

fn by() -> ClaimBy {
    let tool = ToolVersion {
        tool: "tool".into(),
        version: "1".into(),
    };
    ClaimBy {
        worker: WorkerId::random(),
        tools: Arc::new([tool].into()),
        lease: Duration::from_secs(30),
        suspects: true,
    }
}

fn spec() -> TaskSpec {
    TaskSpec::new("tool", RawJson::empty_object())
}

/// A refusal is an answer; it takes nothing of its neighbours' work back.
#[test]
fn a_refused_operation_disturbs_no_neighbour() {
    let files = Files::new();
    let store = open(&files.next_path(), Arc::new(ManualClock::default()));
    block_on(async {
        let stale = Lease {
            task: TaskId::random(),
            epoch: 1,
            nonce: 1,
        };
        let operations = (0..600).map(|number| {
            let store = &store;
            async move {
                let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text("x")));
                match number % 3 {
                    0 => {
                        let error = store.finish(&stale, end, None).await.unwrap_err();
                        assert!(matches!(error, Error::LeaseLost(_)));
                        None
                    }
                    1 => {
                        let missing = store.delete(TaskId::random()).await.unwrap_err();
                        assert!(matches!(missing, Error::NotFound(_)));
                        None
                    }
                    _ => {
                        let claim = Some(ClaimNow::Running(by()));
                        let created = store.create(spec(), claim).await.unwrap();
                        let lease = created.lease.expect("claimed in any case");
                        store.finish(&lease, end, None).await.unwrap();
                        Some(lease.task)
                    }
                }
            }
        });
        let ids: Vec<_> = join_all(operations).await.into_iter().flatten().collect();
        assert_eq!(ids.len(), 200);
        for id in ids {
            assert!(store.get(id).await.unwrap().unwrap().is_finished());
        }
    });
}

/// A value that no row can hold is refused alone. (The limit itself is far beyond a test's memory, so
/// this is about what comes close to it in one batch.)
#[test]
fn large_values_share_a_commit() {
    let files = Files::new();
    let path = files.next_path();
    let store = open(&path, Arc::new(ManualClock::default()));
    let sizes = [1, 10_000_000, 5, 20_000_000, 300];
    let specs = sizes.map(|size| TaskSpec {
        arguments: RawJson::of(&"x".repeat(size)).unwrap(),
        ..spec()
    });
    block_on(async {
        join_all(specs.clone().map(|spec| store.create(spec, None)))
            .await
            .into_iter()
            .for_each(|created| assert!(created.is_ok()));
    });
    drop(store);
    let store = open(&path, Arc::new(ManualClock::default()));
    for spec in specs {
        let task = block_on(store.get(spec.id)).unwrap().expect("it is there");
        assert!(*task.spec == spec, "to the last byte");
    }
}

/// Every caller reads what it was told, at once, from memory and from the file.
#[test]
fn who_was_told_can_read() {
    let files = Files::new();
    let store = Arc::new(open(&files.next_path(), Arc::new(ManualClock::default())));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                block_on(async {
                    for _ in 0..100 {
                        let claim = Some(ClaimNow::Running(by()));
                        let created = store.create(spec(), claim).await.unwrap();
                        let id = created.task.id();
                        assert_eq!(store.get(id).await.unwrap(), Some(created.task));
                        assert_eq!(store.events(id, 0, 9).await.unwrap().len(), 2);
                        let end = AttemptEnd::Done(Outcome::Cancelled { reason: None });
                        let lease = created.lease.expect("claimed in any case");
                        let reply = store.finish(&lease, end, None).await.unwrap();
                        assert_eq!(store.get(id).await.unwrap(), Some(reply.task));
                        assert_eq!(store.events(id, 0, 9).await.unwrap().len(), 3);
                        assert!(store.delete(id).await.unwrap());
                        assert_eq!(store.get(id).await.unwrap(), None);
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no reader saw an old state");
    }
}
