//! Opening a store that one should not: each refusal is a sentence that says what to do.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::event::{EventKind, RescueReason};
use outlast_core::id::WorkerId;
use outlast_core::store::{ClaimBy, Reads, Store, ToolVersion};
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{Error, RawJson, TaskSpec};
use outlast_sqlite::{Options, SqliteStore};
use rusqlite::Connection;

use crate::support::{Files, open, options};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::default())
}

fn refusal(path: &Path) -> String {
    let error = SqliteStore::open(options(path, clock())).expect_err("it must be refused");
    assert!(matches!(error, Error::Store { .. }), "{error:?}");
    let busy = error.to_string().contains("in use");
    assert_eq!(error.is_retryable(), busy, "{error}");
    error.to_string()
}

#[test]
fn a_second_server_is_told_who_has_the_store() {
    let files = Files::new();
    let path = files.next_path();
    let store = open(&path, clock());
    let pid = std::process::id().to_string();
    let message = refusal(&path);
    assert!(message.contains(&format!("process {pid}")), "{message}");
    assert!(message.contains("another store"), "{message}");
    store.set_address("http://127.0.0.1:9876").unwrap();
    let message = refusal(&path);
    assert!(message.contains("(http://127.0.0.1:9876)"), "{message}");
    // A second name of the same file is the same store.
    let other = files.next_path();
    symlink(&path, &other).unwrap();
    assert!(refusal(&other).contains("in use"));
    drop(store);
    open(&other, clock());
    open(&path, clock());
}

#[test]
fn a_closed_store_is_free_and_one_file() {
    let files = Files::new();
    let path = files.next_path();
    let store = open(&path, clock());
    let id = block_on(store.create(spec(), None)).unwrap().task.id();
    block_on(store.close()).unwrap();
    let next = open(&path, clock());
    assert!(block_on(next.get(id)).unwrap().is_some());
    assert!(store.set_address("x").is_err());
    drop(next);
    let wal = path.with_extension("db-wal");
    assert!(!wal.exists() || wal.metadata().unwrap().len() == 0);
}

#[test]
fn what_it_makes_is_private() {
    let files = Files::new();
    let folder = files.next_path();
    let path = folder.join("deep").join("tasks.db");
    let store = open(&path, clock());
    block_on(store.create(spec(), None)).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("deep")), 0o700);
    for name in ["tasks.db", "tasks.db-wal", "tasks.db-shm", "tasks.db.lock"] {
        assert_eq!(mode(&folder.join("deep").join(name)), 0o600, "{name}");
    }
}

#[test]
fn a_store_belongs_to_its_server() {
    let files = Files::new();
    let path = files.next_path();
    drop(open(&path, clock()));
    let error = SqliteStore::open(Options::new(&path, "other")).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("\"test\"") && message.contains("\"other\""),
        "{message}"
    );
    open(&path, clock());
}

#[test]
fn a_newer_store_is_refused_unless_it_is_compatible() {
    let files = Files::new();
    let path = files.next_path();
    drop(open(&path, clock()));
    let set = |version: &str, compatible_from: &str| {
        let conn = Connection::open(&path).unwrap();
        let sql = "UPDATE meta SET value = ?2 WHERE key = ?1";
        conn.execute(sql, ["version", version]).unwrap();
        conn.execute(sql, ["compatible_from", compatible_from])
            .unwrap();
    };
    set("99", "1");
    drop(open(&path, clock()));
    set("99", "99");
    let message = refusal(&path);
    assert!(
        message.contains("newer version") && message.contains("99"),
        "{message}"
    );
    let conn = Connection::open(&path).unwrap();
    let version: String = conn
        .query_row("SELECT value FROM meta WHERE key = 'version'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(version, "99", "a refused store is left alone");
}

#[test]
fn files_of_others_are_left_alone() {
    let files = Files::new();
    let path = files.next_path();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE theirs (n INTEGER)")
        .unwrap();
    drop(conn);
    let before = std::fs::read(&path).unwrap();
    let message = refusal(&path);
    assert!(message.contains("another program"), "{message}");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let text = files.next_path();
    std::fs::write(
        &text,
        "this is a text, and a rather long one at that\n".repeat(40),
    )
    .unwrap();
    let message = refusal(&text);
    assert!(message.contains("not a SQLite database"), "{message}");

    let folder = files.next_path();
    std::fs::create_dir(&folder).unwrap();
    let message = refusal(&folder);
    assert!(message.contains("is a folder"), "{message}");

    let message = refusal(&text.join("below.db"));
    assert!(
        message.contains("below.db") || message.contains("folder"),
        "{message}"
    );
}

#[test]
fn a_damaged_file_is_an_error_and_no_panic() {
    let files = Files::new();
    let path = files.next_path();
    let store = open(&path, clock());
    let ids: Vec<_> = (0..400)
        .map(|_| block_on(store.create(spec(), None)).unwrap().task.id())
        .collect();
    block_on(store.close()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut failures = 0;
    for page in 1..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xa5);
        std::fs::write(&path, &damaged).unwrap();
        match SqliteStore::open(options(&path, clock())) {
            Err(error) => {
                failures += 1;
                assert!(error.to_string().contains("damaged"), "{error}");
            }
            Ok(store) => {
                for id in &ids {
                    if let Err(error) = block_on(store.get(*id)) {
                        failures += 1;
                        let text = error.to_string();
                        assert!(text.contains("damaged") || text.contains("read"), "{text}");
                        break;
                    }
                }
                // Whatever it can still do, it must not take the process down.
                let _ = block_on(store.create(spec(), None));
                let _ = block_on(store.list(&Default::default(), None, 1000));
            }
        }
    }
    assert!(failures > 10, "damage was noticed {failures} times");
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let files = Files::new();
    let path = files.next_path();
    let store = open(&path, clock());
    let bad = block_on(store.create(spec(), None)).unwrap().task.id();
    let good = block_on(store.create(spec(), None)).unwrap().task.id();
    drop(store);
    let conn = Connection::open(&path).unwrap();
    conn.execute(
        "UPDATE task SET state = '{' WHERE id = ?1",
        [bad.as_bytes()],
    )
    .unwrap();
    drop(conn);
    let store = open(&path, clock());
    let error = block_on(store.get(bad)).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    assert!(block_on(store.get(good)).unwrap().is_some());
    let error = block_on(store.cancel(bad, None, outlast_core::machine::CancelMode::Force));
    assert!(error.is_err());
    assert!(block_on(store.create(spec(), None)).is_ok(), "others go on");
}

/// A death with the whole machine is nobody's fault; one without it may be the task's.
#[test]
fn a_reboot_is_told_from_a_crash() {
    let files = Files::new();
    let path = files.next_path();
    let tool = ToolVersion {
        tool: "tool".into(),
        version: "1".into(),
    };
    let by = ClaimBy {
        worker: WorkerId::random(),
        tools: Arc::new([tool].into()),
        lease: Duration::from_secs(30),
        suspects: true,
    };
    let store = open(&path, clock());
    block_on(store.recover(by.worker)).unwrap();
    let id = block_on(store.create(spec(), None)).unwrap().task.id();
    drop(store);
    for (boot, reason, crashes) in [
        ("another boot", RescueReason::Reboot, 0),
        ("", RescueReason::Crash, 1),
        ("yet another", RescueReason::Reboot, 1),
    ] {
        let store = open(&path, clock());
        assert_eq!(block_on(store.claim(&by, 1)).unwrap().len(), 1);
        drop(store);
        if !boot.is_empty() {
            let conn = Connection::open(&path).unwrap();
            let sql = "UPDATE meta SET value = ?1 WHERE key = 'boot'";
            assert_eq!(conn.execute(sql, [boot]).unwrap(), 1);
        }
        let store = open(&path, clock());
        let recovered = block_on(store.recover(WorkerId::random())).unwrap();
        assert_eq!(recovered.rescued, 1);
        let task = block_on(store.get(id)).unwrap().unwrap();
        assert_eq!(task.state.crashes, crashes, "{reason:?}");
        let last = block_on(store.events(id, 0, 99)).unwrap().pop().unwrap();
        assert_eq!(last.kind, EventKind::Rescued { reason });
    }
}

fn spec() -> TaskSpec {
    TaskSpec::new("tool", RawJson::empty_object())
}

/// What an examination refuses the opening refuses in the same words, and what it makes is nothing.
#[test]
fn an_examination_says_what_the_opening_would() {
    let files = Files::new();
    let examined = |path: &Path| {
        SqliteStore::examine(&options(path, clock())).map_err(|error| error.to_string())
    };
    let listed = |folder: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let good = files.next_path();
    let folder = good.parent().unwrap().to_owned();
    let before = listed(&folder);
    assert_eq!(examined(&good), Ok(()));
    assert_eq!(examined(&good.join("deep").join("tasks.db")), Ok(()));
    assert_eq!(listed(&folder), before, "something was made");

    // While it is open, after a clean end, and as a process that was killed leaves it.
    let store = open(&good, clock());
    assert_eq!(examined(&good), Ok(()));
    let killed = files.next_path();
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        std::fs::copy(name(&good), name(&killed)).unwrap();
    }
    assert_eq!(examined(&killed), Ok(()));
    drop(store);
    assert_eq!(examined(&good), Ok(()));

    let empty = files.next_path();
    std::fs::write(&empty, "").unwrap();
    assert_eq!(examined(&empty), Ok(()));

    let (text, foreign, newer, other) = (
        files.next_path(),
        files.next_path(),
        files.next_path(),
        files.next_path(),
    );
    std::fs::write(&text, "theirs, and no database at all").unwrap();
    let make = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    make(&foreign, "CREATE TABLE theirs (a);");
    for path in [&newer, &other] {
        drop(open(path, clock()));
    }
    make(
        &newer,
        "UPDATE meta SET value = '99' WHERE key IN ('version', 'compatible_from');",
    );
    make(
        &other,
        "UPDATE meta SET value = 'other' WHERE key = 'server';",
    );
    for bad in [
        text.join("o.db"),
        folder.clone(),
        text,
        foreign,
        newer,
        other,
    ] {
        let before = listed(&folder);
        let said = examined(&bad).unwrap_err();
        assert_eq!(listed(&folder), before, "{said}: something was made");
        assert_eq!(said, refusal(&bad));
    }
}
