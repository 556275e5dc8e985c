//! Records that somebody has damaged: they fail, and the others go on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::machine::{AttemptEnd, Dependency};
use outlast_core::schedule::NewSchedule;
use outlast_core::status::Phase;
use outlast_core::store::{ClaimBy, Filter, Reads, Side, Store, ToolVersion};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{
    Clock, JournalKind, Outcome, RawJson, Recorded, Schedule, TaskId, TaskSpec, ToolResult,
    WorkerId,
};
use outlast_sqlite::{Options, SqliteStore};

const LEASE: Duration = Duration::from_secs(30);

fn by() -> ClaimBy {
    let tool = ToolVersion {
        tool: "tool".into(),
        version: "1".into(),
    };
    ClaimBy {
        worker: WorkerId::random(),
        tools: Arc::new([tool].into()),
        lease: LEASE,
        suspects: true,
    }
}

fn spec() -> TaskSpec {
    TaskSpec::new("tool", RawJson::empty_object())
}

fn open(path: &Path, clock: &Arc<ManualClock>) -> SqliteStore {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let options = Options::new(path.to_owned(), "test");
    SqliteStore::open(Options { clock, ..options }).unwrap()
}

/// Changes the file while nobody has it open.
fn damage(path: &Path, sql: &str, id: TaskId) {
    let conn = rusqlite::Connection::open(path).unwrap();
    assert_eq!(conn.execute(sql, [id.as_bytes()]).unwrap(), 1, "{sql}");
}

const STATE: &str = "UPDATE task SET state = '{' WHERE id = ?1";
const SPEC: &str = "UPDATE task SET spec = CAST(x'ff00' AS TEXT) WHERE id = ?1";
const ENTRY: &str = "UPDATE journal SET recorded = 'none of ours'
    WHERE task = (SELECT sequence FROM task WHERE id = ?1)";

async fn create(store: &SqliteStore, spec: TaskSpec) -> TaskId {
    store.create(spec, None).await.unwrap().task.id()
}

async fn failed(store: &SqliteStore, id: TaskId) {
    let task = store.get(id).await.unwrap().expect("it is still there");
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{task:?}");
    };
    assert!(failure.message.contains("could not be read"), "{failure:?}");
    let events = store.events(id, 0, 100).await.unwrap();
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    let expected: Vec<_> = (1..=task.state.version).collect();
    assert_eq!(numbers, expected, "events go on without a gap");
}

#[test]
fn claims_go_on_past_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let clock = Arc::new(ManualClock::default());
    block_on(async {
        let store = open(&path, &clock);
        let (state, call) = (create(&store, spec()).await, create(&store, spec()).await);
        let entry = create(&store, spec()).await;
        let mut after = spec();
        after.after = vec![Dependency::success(state)];
        let after = create(&store, after).await;
        // The third has run before.
        for claimed in store.claim(&by(), 3).await.unwrap() {
            let value = Recorded::Value(RawJson::empty_object());
            let put = store.journal_put(&claimed.lease, JournalKind::Step, "a", None, value, None);
            put.await.unwrap();
            let released = store.finish(&claimed.lease, AttemptEnd::Release, None);
            released.await.unwrap();
        }
        let whole = create(&store, spec()).await;
        store.close().await.unwrap();
        drop(store);
        damage(&path, STATE, state);
        damage(&path, SPEC, call);
        damage(&path, ENTRY, entry);

        let store = open(&path, &clock);
        store.stats().await.unwrap();
        let error = store.get(state).await.unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
        let listed = store.list(&Filter::default(), None, 10).await.unwrap();
        let listed: Vec<_> = listed.tasks.iter().map(|task| task.id()).collect();
        assert_eq!(listed, [whole, after, entry], "the others are listed");
        let claimed = store.claim(&by(), 10).await.unwrap();
        let claimed: Vec<_> = claimed.iter().map(|one| one.task.id()).collect();
        assert_eq!(claimed, [whole]);
        for id in [state, call, entry] {
            failed(&store, id).await;
        }
        let dependant = store.get(after).await.unwrap().unwrap();
        assert!(dependant.is_finished(), "it was told");
        let stood = store.record_get("set aside", &state.to_string()).await;
        let stood = String::from_utf8(stood.unwrap().unwrap()).unwrap();
        assert!(stood.contains("\"state\":\"{\""), "{stood}");
        // A journal stays as it is, and goes with its task.
        assert!(store.delete(entry).await.unwrap());
        check_invariants(&store).await;
        store.close().await.unwrap();
    });
}

#[test]
fn the_clock_and_deletions_go_on_past_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let clock = Arc::new(ManualClock::default());
    block_on(async {
        let store = open(&path, &clock);
        let later = || TaskSpec {
            run_at: Some(clock.now() + LEASE),
            ..spec()
        };
        let (torn, whole) = (create(&store, later()).await, create(&store, later()).await);
        let (running, ended) = (create(&store, spec()).await, create(&store, spec()).await);
        let mut claimed = store.claim(&by(), 2).await.unwrap();
        let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text("done")));
        let last = claimed.pop().unwrap();
        store.finish(&last.lease, end, None).await.unwrap();
        let lease = claimed.pop().unwrap().lease;
        let call = r#"{"tool": "restore", "version": "1", "arguments": {}}"#;
        let call = Recorded::Value(RawJson::parse(call).unwrap());
        let put = store.journal_put(&lease, JournalKind::Undo, "restore", None, call, None);
        put.await.unwrap();
        store.close().await.unwrap();
        drop(store);
        for id in [torn, running, ended] {
            damage(&path, STATE, id);
        }

        let store = open(&path, &clock);
        // Whoever had it has it no more; its undo is left to be run.
        store.recover(WorkerId::random()).await.unwrap();
        failed(&store, running).await;
        let cleaned = store.get(running).await.unwrap().unwrap();
        assert!(cleaned.is_cleaning_up());
        let claimed = store.claim(&by(), 1).await.unwrap().pop().unwrap();
        assert_eq!(claimed.task.id(), running);
        assert_eq!(claimed.journal.len(), 1, "the undo is there to be run");
        clock.advance(LEASE);
        let ticked = store.tick(&[], LEASE, 100).await.unwrap();
        assert!(ticked.next.is_none_or(|next| next > clock.now()));
        failed(&store, torn).await;
        let task = store.get(whole).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Queued);
        assert!(store.delete(ended).await.unwrap());
        assert!(store.get(ended).await.unwrap().is_none());
        check_invariants(&store).await;
        store.close().await.unwrap();
    });
}

#[test]
fn a_schedule_that_cannot_be_read_holds_up_neither_tasks_nor_other_schedules() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.db");
    let clock = Arc::new(ManualClock::default());
    block_on(async {
        let every = |name: &str| {
            let spec = NewSchedule::every(LEASE).call("tool", &());
            Schedule::create(spec.named(name), clock.now())
        };
        let store = open(&path, &clock);
        for name in ["torn", "whole"] {
            store.schedule_put(None, every(name), None).await.unwrap();
        }
        let later = TaskSpec {
            run_at: Some(clock.now() + LEASE),
            ..spec()
        };
        let later = create(&store, later).await;
        store.close().await.unwrap();
        drop(store);
        let conn = rusqlite::Connection::open(&path).unwrap();
        let torn = "UPDATE schedule SET record = CAST(x'ff00' AS TEXT) WHERE name = 'torn'";
        assert_eq!(conn.execute(torn, []).unwrap(), 1);
        drop(conn);

        let store = open(&path, &clock);
        clock.advance(2 * LEASE);
        let ticked = store.tick(&[], LEASE, 100).await.unwrap();
        let due: Vec<_> = ticked.schedules.iter().map(|due| &due.spec.name).collect();
        assert_eq!(due, ["whole"]);
        assert!(ticked.next.is_none_or(|next| next > clock.now()));
        let task = store.get(later).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Queued);
        assert_eq!(store.schedules().await.unwrap().len(), 1);

        // It is not taken for absent, and can be removed.
        let error = store.schedule_get("torn").await.unwrap_err();
        assert!(error.to_string().contains("\"torn\""), "{error}");
        let error = store.schedule_put(None, every("torn"), None).await;
        assert!(error.unwrap_err().to_string().contains("\"torn\""));
        assert!(store.schedule_delete("torn").await.unwrap());
        store.schedule_put(None, every("torn"), None).await.unwrap();
        store.close().await.unwrap();
    });
}
