//! Copies of stores: everything of a task arrives, it goes on there, and a copy can be made again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::archive::{Archive, Copied, copy, dossier};
use outlast_core::blob::RecordedArtifact;
use outlast_core::limit::{Control, Key, Queue, Rule};
use outlast_core::machine::{AttemptEnd, Dependency};
use outlast_core::same::IdempotencyKey;
use outlast_core::store::{ClaimBy, Filter, Store, ToolVersion};
use outlast_core::task::Awaiting;
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{
    Clock, JournalKind, Level, LogLine, NewSignal, Outcome, Owner, Phase, RawJson, Recorded,
    TaskId, TaskSpec, ToolResult, WorkerId,
};
use outlast_processes::{Redis, Server, binary, eventually};
use outlast_redis::RedisStore;
use outlast_sqlite::SqliteStore;
use serde_json::json;

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

fn done() -> AttemptEnd {
    AttemptEnd::Done(Outcome::Completed(ToolResult::text("done")))
}

/// One task of every kind. Returns the one that has ended with all that a task can have.
async fn fill(store: &dyn Archive) -> TaskId {
    let by = by();
    let rule = Control::Rule("one".into(), Some(Rule::Running(1)));
    let pause = Control::Pause(Queue::Tool("other".into()));
    store.control(vec![rule, pause]).await.unwrap();
    store
        .record_put("session", "key", b"\x00\xffsealed".to_vec(), None)
        .await
        .unwrap();
    let mut first = spec();
    first.idempotency = Some(IdempotencyKey {
        key: "the key".into(),
        digest: "d".into(),
        window: Duration::from_secs(3600),
    });
    first.labels = BTreeMap::from([("team".into(), "a".into())]);
    let whole = first.id;
    store.create(first, None).await.unwrap();
    let lease = store.claim(&by, 1).await.unwrap().pop().unwrap().lease;
    let value = |number: u32| Recorded::Value(RawJson::of(&number).unwrap());
    for number in 0..3 {
        let name = format!("step {number}");
        let took = Some(Duration::from_millis(7));
        store
            .journal_put(
                &lease,
                JournalKind::Step,
                &name,
                Some(9),
                value(number),
                took,
            )
            .await
            .unwrap();
    }
    let mut blob = store.blob_create(whole).await.unwrap();
    blob.write(b"the bytes".to_vec()).await.unwrap();
    let recorded = RecordedArtifact {
        mime: "text/plain".into(),
        size: 9,
        sha256: String::new(),
        blob: blob.finish().await.unwrap(),
    };
    let recorded = Recorded::Value(RawJson::of(&recorded).unwrap());
    store
        .journal_put(&lease, JournalKind::Artifact, "a.txt", None, recorded, None)
        .await
        .unwrap();
    for id in [None, Some("once".to_owned())] {
        let mut signal = NewSignal::new("s", RawJson::of(&1).unwrap());
        signal.id = id;
        store.signal(whole, signal).await.unwrap();
    }
    let line = |text: &[u8], mark| LogLine {
        level: Level::Info,
        logger: "stdout".into(),
        text: text.to_vec(),
        mark,
    };
    let lines = vec![line(b"one\n", Some(4)), line(b"\xfftwo\n", Some(9))];
    store.log_append(&lease, lines).await.unwrap();
    store
        .spawn(&lease, "child", None, spec(), false)
        .await
        .unwrap();
    let mut after = spec();
    after.after = vec![Dependency::success(whole)];
    store.create(after, None).await.unwrap();
    store.finish(&lease, done(), None).await.unwrap();

    // One that waits, one that runs under a limit, one behind it, and one for later.
    store.create(spec(), None).await.unwrap();
    for claimed in store.claim(&by, 3).await.unwrap() {
        let mut awaiting = Awaiting::default();
        awaiting.signals.insert("go".into(), 0);
        store.suspend(&claimed.lease, awaiting).await.unwrap();
    }
    for _ in 0..2 {
        let mut limited = spec();
        limited.keys.limits.push(outlast_core::limit::LimitKey {
            key: Key::new("one", ""),
            while_suspended: false,
        });
        store.create(limited, None).await.unwrap();
    }
    assert_eq!(
        store.claim(&by, 9).await.unwrap().len(),
        1,
        "the limit is one"
    );
    let mut later = spec();
    later.run_at = Some(store.clock().now() + Duration::from_secs(60));
    store.create(later, None).await.unwrap();
    whole
}

async fn same(a: &dyn Archive, b: &dyn Archive) {
    let filter = Filter {
        oldest_first: true,
        ..Filter::default()
    };
    let [first, second] = [
        a.list(&filter, None, 100).await.unwrap().tasks,
        b.list(&filter, None, 100).await.unwrap().tasks,
    ];
    assert_eq!(first.len(), second.len());
    for (one, other) in first.into_iter().zip(second) {
        let [one, other] = [
            dossier(a, one).await.unwrap(),
            dossier(b, other).await.unwrap(),
        ];
        let id = one.task.id();
        let mut state = other.task.state.clone();
        state.sequence = one.task.state.sequence;
        assert_eq!(one.task.state, state, "{id}");
        assert_eq!(one.task.spec, other.task.spec, "{id}");
        assert_eq!(one.task.outcome, other.task.outcome, "{id}");
        assert_eq!(one.events, other.events, "{id}");
        assert_eq!(one.signals, other.signals, "{id}");
        assert_eq!(one.log, other.log, "{id}");
        assert_eq!(one.journal.len(), other.journal.len(), "{id}");
        for (mine, copied) in one.journal.iter().zip(&other.journal) {
            if mine.kind != JournalKind::Artifact {
                assert_eq!(mine, copied, "{id}");
                continue;
            }
            let mut bytes = Vec::new();
            for (store, entry) in [(a, mine), (b, copied)] {
                let named: RecordedArtifact = entry.recorded.json().to().unwrap();
                bytes.push(
                    store
                        .blob_read(id, &named.blob, 0, 99)
                        .await
                        .unwrap()
                        .unwrap(),
                );
            }
            assert_eq!(bytes, [b"the bytes", b"the bytes"]);
        }
    }
    assert_eq!(a.controls().await.unwrap(), b.controls().await.unwrap());
    let mut records = Vec::new();
    for store in [a, b] {
        let mut kept = store.small_records().await.unwrap();
        // What a store got with the last copy is its own.
        kept.retain(|record| record.space != "store copy");
        records.push(kept);
    }
    assert_eq!(records[0], records[1]);
    check_invariants(a).await;
    check_invariants(b).await;
}

async fn there_and_on(from: &dyn Archive, to: &dyn Archive) {
    let whole = fill(from).await;
    let copied = copy(from, to, |_| ()).await.unwrap();
    let new = copied.new;
    assert!(new >= 7, "{copied:?}");
    same(from, to).await;
    let again = copy(from, to, |_| ()).await.unwrap();
    let unchanged = Copied {
        unchanged: new,
        ..Copied::default()
    };
    assert_eq!(again, unchanged, "nothing is left to be copied");

    // One goes on where it was: it is copied again. One goes on where it is: it is left alone.
    let filter = |phase| Filter {
        phases: vec![phase],
        ..Filter::default()
    };
    let waiting = from.list(&filter(Phase::Suspended), None, 9).await.unwrap();
    let [here, there] = [&waiting.tasks[0], &waiting.tasks[1]].map(|task| task.id());
    let go = || NewSignal::new("go", RawJson::empty_object());
    from.signal(here, go()).await.unwrap();
    to.signal(there, go()).await.unwrap();
    // One that holds a key changes while it holds it.
    let holding = from.list(&filter(Phase::Running), None, 9).await.unwrap();
    let holding = holding.tasks[0].id();
    from.signal(holding, go()).await.unwrap();
    let third = copy(from, to, |_| ()).await.unwrap();
    assert_eq!((third.changed, third.newer_there), (2, 1), "{third:?}");
    assert_eq!(third.unchanged, new - 3);
    check_invariants(to).await;
    for id in [here, there] {
        let task = to.get(id).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Queued);
    }
    // The key of the call means the copy.
    let mut repeated = spec();
    repeated
        .idempotency
        .clone_from(&from.get(whole).await.unwrap().unwrap().spec.idempotency);
    let joined = to.create(repeated, None).await.unwrap();
    assert!(joined.joined);
    assert_eq!(joined.task.id(), whole);
    // What was queued finishes there, and so does what comes after it.
    let by = by();
    while let Some(claimed) = to.claim(&by, 1).await.unwrap().pop() {
        to.finish(&claimed.lease, done(), None).await.unwrap();
    }
    check_invariants(to).await;
    let queued = to.list(&filter(Phase::Queued), None, 9).await.unwrap();
    assert_eq!(
        queued.tasks.len(),
        1,
        "the one that runs still holds the only place of its key"
    );
}

fn stores(folder: &tempfile::TempDir, redis: &Redis, name: &str) -> (SqliteStore, RedisStore) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let path = folder.path().join(format!("{name}.db"));
    let sqlite = SqliteStore::open(outlast_sqlite::Options {
        clock: Arc::clone(&clock),
        ..outlast_sqlite::Options::new(path, "test")
    });
    let redis = RedisStore::open(outlast_redis::Options {
        clock: Some(clock),
        ..outlast_redis::Options::new(redis.address(name), "test")
    });
    (sqlite.unwrap(), redis.unwrap())
}

#[test]
fn a_copy_is_whole_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::new();
    block_on(async {
        let (file, shared) = stores(&folder, &redis, "there");
        there_and_on(&file, &shared).await;
        let (file, shared) = stores(&folder, &redis, "back");
        there_and_on(&shared, &file).await;
    });
}

/// Stores in a file, and in so many shards of a Redis each.
fn divided(redis: &Redis, name: &str, shards: &[usize]) -> Vec<Arc<dyn Archive>> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let open = |shards: &usize| {
        let address = redis.address(&format!("{name}{shards}"));
        outlast_redis::open(outlast_redis::Options {
            clock: Some(Arc::clone(&clock)),
            ..outlast_redis::Options::new(format!("{address}&shards={shards}"), "test")
        })
    };
    shards.iter().map(|shards| open(shards).unwrap()).collect()
}

#[test]
fn a_copy_divides_owners_among_shards() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::new();
    block_on(async {
        let (file, _) = stores(&folder, &redis, "divided");
        let shards = divided(&redis, "shards", &[3]);
        there_and_on(&file, &*shards[0]).await;

        // The ids of a file name no shard, and those of a store name that of its number.
        let (file, _) = stores(&folder, &redis, "owners");
        fill(&file).await;
        for owner in ["ann", "bob", "kim", "lea", "max"] {
            for _ in 0..3 {
                let owner = Owner::new(owner);
                let task = TaskSpec { owner, ..spec() };
                file.create(task, None).await.unwrap();
            }
        }
        let shards = divided(&redis, "again", &[3, 2, 1]);
        let mut from: &dyn Archive = &file;
        for to in &shards {
            let copied = copy(from, &**to, |_| ()).await.unwrap();
            assert!(copied.new >= 22 && copied.lost == 0, "{copied:?}");
            same(from, &**to).await;
            let again = copy(from, &**to, |_| ()).await.unwrap();
            assert_eq!(again.unchanged, copied.new, "{again:?}");
            from = &**to;
        }
    });
}

#[test]
fn a_server_moves_from_a_file_to_redis() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::new();
    let file = format!("sqlite:{}", folder.path().join("tasks.db").display());
    let shared = redis.address("moved");
    let server = |store: &str| {
        let arguments = ["--listen", "127.0.0.1:{port}", "--store", store];
        Server::new(&binary("conformance-server"), &arguments, folder.path())
    };
    let copies = |from: &str, to: &str| {
        let copied = std::process::Command::new(binary("outlast"))
            .args([
                "store",
                "copy",
                "--json",
                "--name",
                "conformance-server",
                from,
                to,
            ])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&copied.stderr).into_owned();
        (copied.status.code(), copied.stdout, said)
    };
    let (code, _, said) = copies(&file, &shared);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no task store in"), "{said}");

    let mut first = server(&file);
    first.start();
    let client = first.client();
    let call = json!({"name": "steps", "arguments": {
        "count": 2, "step_ms": 1, "ledger": folder.path().join("ledger")}});
    let made = client.modern("tools/call", call).unwrap();
    let id = made.result()["taskId"].clone();
    let get = |client: &outlast_processes::Client| {
        let answer = client.modern("tasks/get", json!({"taskId": id})).unwrap();
        answer.result().clone()
    };
    let ended = eventually("the end", || {
        Some(get(&client)).filter(|task| task["status"] == "completed")
    });
    let (code, _, said) = copies(&file, &shared);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("in use"), "a server runs on it: {said}");
    first.stop();
    for (new, unchanged) in [(1, 0), (0, 1)] {
        let (code, copied, said) = copies(&file, &shared);
        assert_eq!(code, Some(0), "{said}");
        let copied: serde_json::Value = serde_json::from_slice(&copied).unwrap();
        assert_eq!(copied["new"], new, "{copied}");
        assert_eq!(copied["unchanged"], unchanged, "{copied}");
    }
    let mut second = server(&shared);
    second.start();
    assert_eq!(get(&second.client()), ended, "it is what it was");
    let back = format!("sqlite:{}", folder.path().join("back.db").display());
    let (code, _, said) = copies(&shared, &back);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("in use by process"), "{said}");
}
