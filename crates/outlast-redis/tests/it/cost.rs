//! What a task costs Redis: round trips, and what stays behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::machine::AttemptEnd;
use outlast_core::store::{ClaimBy, ClaimNow, Reads, Side, Store, ToolVersion};
use outlast_core::task::Lease;
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{
    Blobs, Clock, JournalKind, Level, LogLine, NewSignal, Outcome, RawJson, Recorded, TaskSpec,
    ToolResult,
};
use outlast_redis::RedisStore;

use crate::lasting;
use crate::server::{Server, open};

pub(crate) fn by() -> ClaimBy {
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

pub(crate) fn spec() -> TaskSpec {
    TaskSpec::new("tool", RawJson::empty_object())
}

pub(crate) fn done() -> AttemptEnd {
    AttemptEnd::Done(Outcome::Completed(ToolResult::text("done")))
}

async fn record(store: &RedisStore, lease: &Lease, name: &str) {
    let value = Recorded::Value(RawJson::of(&1).unwrap());
    store
        .journal_put(lease, JournalKind::Step, name, None, value, None)
        .await
        .unwrap();
}

#[test]
fn a_lifecycle_takes_at_most_four_round_trips() {
    let server = Server::volatile();
    let store = open(&server.next_address(), Arc::new(ManualClock::default()));
    block_on(async {
        let by = by();
        let mut last = store.round_trips();
        let mut trips = || {
            let now = store.round_trips();
            let spent = now - last;
            last = now;
            spent
        };
        let id = store.create(spec(), None).await.unwrap().task.id();
        let create = trips();
        let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        let claim = trips();
        store.finish(&lease, done(), None).await.unwrap();
        let finish = trips();
        assert!(store.get(id).await.unwrap().unwrap().is_finished());
        let get = trips();
        println!("create {create}, claim {claim}, finish {finish}, get {get}");
        assert_eq!([create, claim, finish, get], [1, 1, 1, 1]);

        // Fused: the creation claims, the end claims the next.
        let now = Some(ClaimNow::IfNext(by.clone()));
        let created = store.create(spec(), now).await.unwrap();
        let lease = created.lease.unwrap();
        let next = store.create(spec(), None).await.unwrap().task.id();
        assert_eq!(trips(), 2);
        record(&store, &lease, "step").await;
        assert_eq!(trips(), 1, "a step is one");
        store.heartbeat(vec![lease], by.lease).await.unwrap();
        assert_eq!(trips(), 1);
        let line = LogLine {
            level: Level::Info,
            logger: String::new(),
            text: b"x".to_vec(),
            mark: None,
        };
        store.log_append(&lease, vec![line]).await.unwrap();
        assert_eq!(trips(), 1);
        let reply = store.finish(&lease, done(), Some(&by)).await.unwrap();
        assert_eq!(reply.next.unwrap().task.id(), next);
        assert_eq!(
            trips(),
            1,
            "neither the renewal nor the line made it read again"
        );
    });
}

#[test]
fn everything_of_a_finished_task_expires() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let store = open(
        &server.address("kept"),
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    block_on(async {
        let by = by();
        let parent = store.create(spec(), None).await.unwrap().task.id();
        let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
        record(&store, &lease, "step").await;
        let mut blob = store.blob_create(parent).await.unwrap();
        blob.write(b"bytes".to_vec()).await.unwrap();
        let blob = blob.finish().await.unwrap();
        let recorded = outlast_core::blob::RecordedArtifact {
            mime: "text/plain".into(),
            size: 5,
            sha256: String::new(),
            blob,
        };
        let value = Recorded::Value(RawJson::of(&recorded).unwrap());
        store
            .journal_put(&lease, JournalKind::Artifact, "a", None, value, None)
            .await
            .unwrap();
        let signal = NewSignal::new("s", RawJson::empty_object());
        store.signal(parent, signal).await.unwrap();
        let line = LogLine {
            level: Level::Info,
            logger: String::new(),
            text: b"x".to_vec(),
            mark: None,
        };
        store.log_append(&lease, vec![line]).await.unwrap();
        store
            .spawn(&lease, "child", None, spec(), true)
            .await
            .unwrap();
        let mut second = spec();
        second.after = vec![outlast_core::machine::Dependency::success(parent)];
        store.create(second, None).await.unwrap();
        store.finish(&lease, done(), None).await.unwrap();
        for claimed in store.claim(&by, 10).await.unwrap() {
            store.finish(&claimed.lease, done(), None).await.unwrap();
        }
        assert_eq!(store.stats().await.unwrap().phases()["finished"], 3);
    });
    let left = without_expiry(&server);
    println!("without an expiry: {left:#?}");
    lasting::check(&server);
    // And a server that is there deletes them in time.
    clock.advance(Duration::from_secs(40 * 24 * 60 * 60));
    block_on(async {
        store.tick(&[], by().lease, 100).await.unwrap();
        assert!(store.stats().await.unwrap().phases().is_empty());
    });
    for name in without_expiry(&server).keys() {
        let lasting = ["clock", "groups", "meta", "processes", "sequence"];
        assert!(lasting.contains(&name.as_str()), "{name} was left behind");
    }
    let text = format!("{:?}", server.call(&["KEYS", "*"]));
    let ids = text.matches("t:").count();
    assert_eq!(ids, 0, "{text}");
}

/// Keys that never expire, by the word behind the prefix.
fn without_expiry(server: &Server) -> BTreeMap<String, usize> {
    let mut left = BTreeMap::new();
    let redis::Value::Array(keys) = server.call(&["KEYS", "*"]) else {
        panic!("a list");
    };
    for key in keys {
        let redis::Value::BulkString(key) = key else {
            panic!("a name");
        };
        let key = String::from_utf8(key).unwrap();
        if server.call(&["PTTL", &key]) == redis::Value::Int(-1) {
            let word = key.split(':').nth(1).unwrap().to_owned();
            *left.entry(word).or_default() += 1;
        }
    }
    left
}
