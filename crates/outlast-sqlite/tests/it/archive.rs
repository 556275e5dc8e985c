//! Copies that are made again: what has gone on in either store since, and what both say.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::archive::{Copied, copy};
use outlast_core::blob::RecordedArtifact;
use outlast_core::limit::{Control, Queue};
use outlast_core::machine::AttemptEnd;
use outlast_core::same::{IdempotencyKey, Same, Then};
use outlast_core::schedule::NewSchedule;
use outlast_core::store::{ClaimBy, Reads, SchedulePut, Side, Store, ToolVersion};
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{
    Blobs, Clock, JournalKind, Outcome, RawJson, Recorded, Schedule, TaskSpec, ToolResult, WorkerId,
};
use outlast_sqlite::{Options, SqliteStore};

struct Pair {
    clock: Arc<ManualClock>,
    from: SqliteStore,
    to: SqliteStore,
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let open = |name: &str| {
            let options = Options::new(folder.path().join(name), "test");
            let clock = Arc::clone(&clock) as Arc<dyn Clock>;
            SqliteStore::open(Options { clock, ..options }).unwrap()
        };
        let (from, to) = (open("from.db"), open("to.db"));
        Self {
            clock,
            from,
            to,
            folder,
        }
    }

    async fn copy(&self) -> Copied {
        copy(&self.from, &self.to, |_| ()).await.unwrap()
    }

    fn beside(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

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

async fn end(store: &SqliteStore, text: &str) {
    let lease = store.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
    let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text(text)));
    store.finish(&lease, end, None).await.unwrap();
}

#[test]
fn a_task_that_has_ended_there_stays_as_it_ended() {
    let pair = Pair::new();
    block_on(async {
        let id = pair.from.create(spec(), None).await.unwrap().task.id();
        assert_eq!(pair.copy().await.new, 1);
        end(&pair.to, "there").await;
        // It goes on here too: for longer, and to another end.
        let by = by();
        for _ in 0..3 {
            pair.clock.advance(Duration::from_secs(1));
            let lease = pair.from.claim(&by, 1).await.unwrap().pop().unwrap().lease;
            let released = pair.from.finish(&lease, AttemptEnd::Release, None).await;
            released.unwrap();
        }
        end(&pair.from, "here").await;
        let again = pair.copy().await;
        assert_eq!((again.changed, again.newer_there), (0, 1), "{again:?}");
        let there = pair.to.get(id).await.unwrap().unwrap();
        let Some(Outcome::Completed(result)) = there.outcome.as_deref() else {
            panic!("{there:?}");
        };
        assert_eq!(result.headline().as_deref(), Some("there"));
    });
}

#[test]
fn equal_versions_of_two_histories_are_not_one() {
    let pair = Pair::new();
    block_on(async {
        pair.from.create(spec(), None).await.unwrap();
        pair.copy().await;
        end(&pair.to, "there").await;
        pair.clock.advance(Duration::from_secs(1));
        end(&pair.from, "here").await;
        let again = pair.copy().await;
        assert_eq!((again.unchanged, again.newer_there), (0, 1), "{again:?}");
    });
}

#[test]
fn a_grant_that_was_taken_back_is_not_given_again() {
    let pair = Pair::new();
    let put = async |store: &SqliteStore, key: &str, value: &str| {
        let value = value.as_bytes().to_vec();
        store.record_put("grants", key, value, None).await.unwrap();
    };
    block_on(async {
        for key in ["there", "here", "raised", "own"] {
            put(&pair.from, key, "read").await;
        }
        put(&pair.to, "own", "run").await;
        let first = pair.copy().await;
        assert_eq!((first.records, first.kept_there), (3, 1));
        // Taken back in either store, and raised in the one that is copied.
        put(&pair.to, "there", "").await;
        put(&pair.from, "here", "").await;
        put(&pair.from, "raised", "run").await;
        let again = pair.copy().await;
        assert_eq!((again.records, again.kept_there), (2, 2), "{again:?}");
        for (key, value) in [
            ("there", ""),
            ("here", ""),
            ("raised", "run"),
            ("own", "run"),
        ] {
            let kept = pair.to.record_get("grants", key).await.unwrap().unwrap();
            assert_eq!(String::from_utf8(kept).unwrap(), value, "{key}");
        }
        // Nothing of this is copied on.
        copy(&pair.to, &pair.from, |_| ()).await.unwrap();
        let kept = pair.from.record_get("grants", "there").await.unwrap();
        assert_eq!(kept, Some(Vec::new()), "taken back wins");
    });
}

#[test]
fn pauses_and_schedules_follow_unless_they_were_changed_there() {
    let pair = Pair::new();
    let queue = |tool: &str| Queue::Tool(tool.into());
    let every = |name: &str| {
        let spec = NewSchedule::every(Duration::from_secs(60)).call("tool", &());
        Schedule::create(spec.named(name), pair.clock.now())
    };
    let change = async |store: &SqliteStore, name: &str| {
        let there = store.schedule_get(name).await.unwrap().unwrap();
        let mut after = there.clone();
        assert!(after.pause(true, pair.clock.now()));
        let put = store.schedule_put(Some(there.state.version), after, None);
        assert!(matches!(put.await.unwrap(), SchedulePut::Done { .. }));
    };
    block_on(async {
        for name in ["stays", "changed", "changed there", "gone", "gone there"] {
            let put = pair.from.schedule_put(None, every(name), None);
            put.await.unwrap();
        }
        let paused = ["still", "over", "over there"].map(|tool| Control::Pause(queue(tool)));
        pair.from.control(paused.into()).await.unwrap();
        assert_eq!(pair.copy().await.schedules, 5);

        change(&pair.from, "changed").await;
        for store in [&pair.from, &pair.to] {
            change(store, "changed there").await;
        }
        change(&pair.from, "gone there").await;
        pair.from.schedule_delete("gone").await.unwrap();
        pair.to.schedule_delete("gone there").await.unwrap();
        let own = Control::Pause(queue("own"));
        let resumed = Control::Resume(queue("over there"));
        pair.to.control(vec![own, resumed]).await.unwrap();
        let resumed = Control::Resume(queue("over"));
        pair.from.control(vec![resumed]).await.unwrap();
        let again = pair.copy().await;
        assert_eq!(again.schedules, 2, "{again:?}");

        let there = pair.to.schedules().await.unwrap();
        let there: Vec<_> = there
            .iter()
            .map(|one| (one.spec.name.as_str(), one.state.paused))
            .collect();
        let expected = [("changed", true), ("changed there", true), ("stays", false)];
        assert_eq!(there, expected);
        let paused = pair.to.controls().await.unwrap().paused;
        assert_eq!(paused, ["own", "still"].map(queue).into());
    });
}

#[test]
fn the_keys_of_joined_calls_mean_the_copy() {
    let pair = Pair::new();
    let call = |key: &str| TaskSpec {
        idempotency: Some(IdempotencyKey {
            key: key.into(),
            digest: "d".into(),
            window: Duration::from_secs(3600),
        }),
        same: Some(Same {
            key: "report".into(),
            then: Then::Join,
        }),
        ..spec()
    };
    block_on(async {
        let id = pair.from.create(call("one"), None).await.unwrap().task.id();
        assert!(pair.from.create(call("two"), None).await.unwrap().joined);
        pair.copy().await;
        // A call that joins after the copy changes nothing else.
        assert!(pair.from.create(call("three"), None).await.unwrap().joined);
        pair.copy().await;
        let joined = pair.to.create(call("four"), None).await.unwrap();
        assert_eq!(joined.task.id(), id, "it has not ended");
        end(&pair.to, "done").await;
        for key in ["one", "two", "three", "four"] {
            let joined = pair.to.create(call(key), None).await.unwrap();
            assert_eq!(joined.task.id(), id, "{key}");
        }
        let new = pair.to.create(call("five"), None).await.unwrap();
        assert_ne!(new.task.id(), id);
        // A copy does not take the key of the work back from the newer task.
        pair.copy().await;
        let joined = pair.to.create(call("six"), None).await.unwrap();
        assert_eq!(joined.task.id(), new.task.id());
    });
}

#[test]
fn an_artifact_without_its_bytes_has_none_in_the_copy() {
    let pair = Pair::new();
    block_on(async {
        let id = pair.from.create(spec(), None).await.unwrap().task.id();
        let lease = pair
            .from
            .claim(&by(), 1)
            .await
            .unwrap()
            .pop()
            .unwrap()
            .lease;
        for name in ["whole", "gone", "short"] {
            let mut blob = pair.from.blob_create(id).await.unwrap();
            blob.write(b"the bytes".to_vec()).await.unwrap();
            let recorded = RecordedArtifact {
                mime: "text/plain".into(),
                size: 9,
                sha256: String::new(),
                blob: blob.finish().await.unwrap(),
            };
            let file = find(&pair.beside("from.db.artifacts"), &recorded.blob);
            match name {
                "gone" => std::fs::remove_file(file).unwrap(),
                "short" => std::fs::write(file, "the").unwrap(),
                _ => {}
            }
            let value = Recorded::Value(RawJson::of(&recorded).unwrap());
            let put = pair
                .from
                .journal_put(&lease, JournalKind::Artifact, name, None, value, None);
            put.await.unwrap();
        }
        let copied = pair.copy().await;
        assert_eq!(copied.lost, 2, "{copied:?}");
        let mut bytes = Vec::new();
        for entry in pair.to.journal(id).await.unwrap() {
            let recorded: RecordedArtifact = entry.recorded.json().to().unwrap();
            let read = pair.to.blob_read(id, &recorded.blob, 0, 99).await.unwrap();
            bytes.push((entry.name, read));
        }
        let whole = Some(b"the bytes".to_vec());
        let expected = [("whole", whole), ("gone", None), ("short", None)];
        assert_eq!(bytes, expected.map(|(name, read)| (name.to_owned(), read)));
    });
}

/// The file of a blob, wherever it stands below a folder.
fn find(folder: &Path, blob: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.to_string_lossy().contains(blob) => return path,
                false => {}
            }
        }
    }
    panic!("no file of the blob {blob} below {}", folder.display());
}
