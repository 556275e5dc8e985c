//! The file's layout and how it grows: versioned migrations from the first version on.
//!
//! A store records two numbers: `version`, the layout it has, and `compatible_from`, the oldest
//! layout version whose programs can still work with it. A program opens a newer store if it is
//! compatible, and refuses it with a sentence otherwise; it brings an older one up to date in one
//! transaction a step.

use std::path::Path;
use std::time::Duration;

use outlast_core::{Error, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::failure::explain;
use crate::lock::suffixed;
use crate::store::Synchronous;

/// Marks the file as ours: "outl".
const APPLICATION_ID: i64 = 0x6f75_746c;

/// One step from a version to the next.
struct Migration {
    version: i64,
    /// The oldest program, by the version it knows, that can use the store after this step.
    compatible_from: i64,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 1] = [Migration {
    version: 1,
    compatible_from: 1,
    sql: include_str!("schema.sql"),
}];

/// The version this program writes.
const VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// How long SQLite itself waits for a lock that a visitor holds, such as a backup or a shell.
const BUSY: Duration = Duration::from_secs(5);

/// Enough for every statement of the store.
const STATEMENTS: usize = 96;

/// Opens the connection that writes, brings the layout up to date and checks whose store it is.
///
/// # Errors
/// The file is not ours, is newer than this program, belongs to another server, or cannot be used.
pub(crate) fn open_writer(
    path: &Path,
    server_name: &str,
    synchronous: Synchronous,
) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn =
        Connection::open_with_flags(path, flags).map_err(|error| explain(path, error))?;
    let told = |error| explain(path, error);
    configure(&conn).map_err(told)?;
    check_identity(&conn, path)?;
    // Until the store is ready nobody was promised anything, and every flush delays the start. The
    // first commit afterwards flushes all that was written here with it.
    conn.execute_batch("PRAGMA synchronous = NORMAL;")
        .map_err(told)?;
    let mode: String = conn
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(told)?;
    if mode != "wal" {
        return Err(Error::broken(format!(
            "the task store {} cannot use a write-ahead log (its journal mode is {mode}): put it on \
             a local disk with shared memory",
            path.display()
        )));
    }
    // The cache is filled as it is needed. Ids are random, so that each creation touches another
    // page of their index: 32 MiB hold the index of a million tasks.
    conn.execute_batch(
        "PRAGMA cache_size = -32768;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA secure_delete = FAST;",
    )
    .map_err(told)?;
    // Instead of moving the log into the file on its own, in the middle of somebody's commit.
    conn.wal_hook(Some(crate::writer::pages::note));
    migrate(&mut conn, path)?;
    claim_name(&conn, path, server_name)?;
    if synchronous == Synchronous::Full {
        conn.execute_batch("PRAGMA synchronous = FULL;")
            .map_err(told)?;
    }
    Ok(conn)
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    configure(&conn)?;
    conn.execute_batch("PRAGMA cache_size = -2048; PRAGMA query_only = ON;")?;
    Ok(conn)
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise a statement whose plan may look at a parameter, as `LIMIT ?` does, is parsed and planned
    // again at every call. No plan here is meant to depend on a value.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.execute_batch("PRAGMA temp_store = MEMORY;")
}

/// A file that another program made is left alone.
fn check_identity(conn: &Connection, path: &Path) -> Result<()> {
    let told = |error| explain(path, error);
    let id: i64 = conn
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(told)?;
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(told)?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        return Ok(());
    }
    Err(Error::broken(format!(
        "{} is a database of another program: name another file as the task store",
        path.display()
    )))
}

/// Tells what [`open_writer`] would refuse of the file at `path`, and changes nothing.
pub(crate) fn examine(path: &Path, server_name: &str) -> Result<()> {
    let told = |error| explain(path, error);
    let conn = open_untouched(path).map_err(told)?;
    configure(&conn).map_err(told)?;
    check_identity(&conn, path)?;
    if check_version(&conn, path)?.is_some() {
        check_name(&conn, path, server_name)?;
    }
    Ok(())
}

/// Opens a file so that nothing is left beside it. One with a write-ahead log has a process at work on it, or
/// had one that was killed, and only with that log is it whole; its index stands there as well.
fn open_untouched(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if suffixed(path, "-wal").exists() {
        return Connection::open_with_flags(path, flags);
    }
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
}

/// The layout's version, if this program can work with it; `None` in an empty file.
fn check_version(conn: &Connection, path: &Path) -> Result<Option<i64>> {
    match found_version(conn).map_err(|error| explain(path, error))? {
        Some((version, compatible_from)) if version > VERSION && compatible_from > VERSION => {
            Err(Error::broken(format!(
                "the task store {} was written by a newer version of this program (layout {version}, \
                 this program knows up to {VERSION}): start the newer program, or give this one another \
                 store",
                path.display()
            )))
        }
        found => Ok(found.map(|(version, _)| version)),
    }
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<()> {
    let told = |error| explain(path, error);
    let version = check_version(conn, path)?.unwrap_or(0);
    for step in MIGRATIONS.iter().filter(|step| step.version > version) {
        apply(conn, step).map_err(told)?;
    }
    if version < VERSION {
        // Otherwise the file is empty until the log is first moved into it, and who copies it without the log
        // has a store without a word of warning in which there is nothing, not even a name.
        let moved = conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);");
        moved.map_err(told)?;
    }
    Ok(())
}

fn apply(conn: &mut Connection, step: &Migration) -> rusqlite::Result<()> {
    let unit = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    unit.execute_batch(step.sql)?;
    unit.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID};"))?;
    put_meta(&unit, "version", &step.version.to_string())?;
    put_meta(&unit, "compatible_from", &step.compatible_from.to_string())?;
    unit.commit()
}

/// The layout's (`version`, `compatible_from`), or `None` in an empty file.
fn found_version(conn: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(None);
    }
    let number = |key: &str| -> rusqlite::Result<i64> {
        let text = get_meta(conn, key)?.unwrap_or_default();
        // What is no number is no version of ours: newer than anything we know.
        Ok(text.parse().unwrap_or(i64::MAX))
    };
    Ok(Some((number("version")?, number("compatible_from")?)))
}

fn claim_name(conn: &Connection, path: &Path, server_name: &str) -> Result<()> {
    if check_name(conn, path, server_name)? {
        return Ok(());
    }
    put_meta(conn, "server", server_name).map_err(|error| explain(path, error))
}

/// Whether the store belongs to the server already; if not, it belongs to nobody.
fn check_name(conn: &Connection, path: &Path, server_name: &str) -> Result<bool> {
    match get_meta(conn, "server").map_err(|error| explain(path, error))? {
        Some(found) if found == server_name => Ok(true),
        Some(found) => Err(Error::broken(format!(
            "the task store {} belongs to the server {found:?}, and this one is called \
             {server_name:?}: give this server another store, or its old name back",
            path.display()
        ))),
        None => Ok(false),
    }
}

/// The value under `key`.
pub(crate) fn get_meta(conn: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

/// Puts `value` under `key`.
pub(crate) fn put_meta(conn: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, value])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{claim, limit, list, log, ready, relation, same, schedule, tally, transition};
    use outlast_core::store::Filter;
    use outlast_core::{Owner, Phase, Standing, Timestamp};

    /// What claims, ticks and lists cost must not depend on how many tasks there are: each finds its
    /// rows in an index that has them in order.
    #[test]
    fn nothing_scans_or_sorts() {
        let conn = Connection::open_in_memory().unwrap();
        configure(&conn).unwrap();
        conn.execute_batch(MIGRATIONS[0].sql).unwrap();
        let asked = |filter: Filter| {
            let created = [Some(1), Some(9)];
            list::statement(
                &filter,
                Some(9),
                created,
                Some(5),
                Timestamp::from_millis(0),
            )
            .0
        };
        let owned = Filter {
            owner: Some(Owner::local()),
            ..Filter::default()
        };
        let completed = Filter {
            standings: vec![Standing::Completed],
            ..owned.clone()
        };
        let children = Filter {
            parent: Some(outlast_core::TaskId::random()),
            ..owned.clone()
        };
        let running = Filter {
            phases: vec![Phase::Running],
            ..owned.clone()
        };
        let failed = Filter {
            standings: vec![Standing::Failed],
            ..owned.clone()
        };
        let failed_for_people = Filter {
            standings: vec![Standing::Error, Standing::Failed],
            ..owned.clone()
        };
        let of_tool = Filter {
            tool: Some("t".into()),
            ..owned.clone()
        };
        let labelled = Filter {
            labels: [("a".to_owned(), "b".to_owned())].into(),
            ..owned.clone()
        };
        let statements = [
            (
                ready::HEADS.to_owned(),
                "task_ready (tool=? AND tool_version=? AND suspect=? AND gates=?)",
            ),
            (
                ready::NEXT_LANE.to_owned(),
                "task_ready ((tool,tool_version,suspect,gates)>(?,?,?,?))",
            ),
            (
                ready::NEXT_VERSION.to_owned(),
                "task_ready ((tool,tool_version)>(?,?))",
            ),
            (
                ready::OF_VERSION.to_owned(),
                "task_ready (tool=? AND tool_version=?)",
            ),
            (limit::HOLDS.to_owned(), "task_holds (holds>?)"),
            (
                same::FIND.to_owned(),
                "same USING PRIMARY KEY (owner=? AND tool=? AND kind=? AND key=?)",
            ),
            (same::FORGET.to_owned(), "same_task (task=?)"),
            (limit::WAITS.to_owned(), "task_waits (waits>?)"),
            (limit::FORGET.to_owned(), "rate_arrival (arrival<?)"),
            (schedule::DUE.to_owned(), "schedule_due (due_at<?)"),
            (schedule::NEXT_DUE.to_owned(), "schedule_due (due_at>?)"),
            (
                schedule::FIND.to_owned(),
                "schedule USING PRIMARY KEY (name=?)",
            ),
            (transition::DUE.to_owned(), "task_due (due_at<?)"),
            (claim::RUNNING.to_owned(), "task_unfinished (phase=?)"),
            (relation::CHILDREN.to_owned(), "task_parent (parent=?)"),
            (relation::OPEN_CHILDREN.to_owned(), "task_parent (parent=?)"),
            (
                asked(children),
                "task_parent (parent=? AND rowid>? AND rowid<?)",
            ),
            (
                relation::DEPENDANTS.to_owned(),
                "dependency USING PRIMARY KEY (dependency=?)",
            ),
            (
                asked(Filter::default()),
                "INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            ),
            (asked(owned), "task_owner (owner=? AND rowid>? AND rowid<?)"),
            (
                asked(failed),
                "task_unsuccessful (standing=? AND rowid>? AND rowid<?)",
            ),
            (
                asked(failed_for_people),
                "task_failed (sequence>? AND sequence<?)",
            ),
            (
                asked(of_tool),
                "task_tool (owner=? AND tool=? AND rowid>? AND rowid<?)",
            ),
            (
                asked(labelled),
                "label USING PRIMARY KEY (key=? AND value=? AND task>? AND task<?)",
            ),
            (
                asked(running),
                "task_unfinished (phase=? AND rowid>? AND rowid<?)",
            ),
            (list::CREATED.to_owned(), "INTEGER PRIMARY KEY (rowid>?)"),
            (
                asked(completed),
                "task_owner (owner=? AND rowid>? AND rowid<?)",
            ),
        ];
        for (sql, index) in statements {
            let plan = plan(&conn, &sql);
            assert!(plan[0].contains(index), "{sql}\n{plan:#?}");
            for step in plan {
                assert!(
                    !step.contains("SCAN") && !step.contains("TEMP"),
                    "{sql}\n{step}"
                );
            }
        }
        let forget = plan(&conn, log::FORGET).join("\n");
        assert!(
            forget.contains("record_expiry (expires_at>? AND expires_at<?)"),
            "{forget}"
        );
        assert!(!forget.contains("SCAN record"), "{forget}");
        let all = plan(&conn, tally::ALL).join("\n");
        assert_eq!(all, "SCAN task USING COVERING INDEX task_tool");
    }

    fn plan(conn: &Connection, sql: &str) -> Vec<String> {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
        let steps = statement
            .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))
            .unwrap();
        steps.map(Result::unwrap).collect()
    }
}
