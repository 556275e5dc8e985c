//! Reads, on connections of their own.

use std::fmt::Write as _;
use std::sync::Arc;

use outlast_core::store::{Filter, Page};
use outlast_core::{
    Event, JournalEntry, JournalKind, LogChunk, LogPage, Phase, TaskId, TaskStatus, Timestamp,
};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use crate::failure::Failure;
use crate::row::{self, TASK_COLUMNS, int};

/// The tasks that match, the latest created first.
pub(crate) fn list(
    conn: &Connection,
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Failure> {
    if limit == 0 {
        return Ok(Page::default());
    }
    let (sql, values) = list_statement(filter, before, limit, now);
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = Page::default();
    while let Some(row) = rows.next()? {
        if page.tasks.len() == limit {
            page.next = page.tasks.last().map(|task| task.state.sequence);
            break;
        }
        page.tasks.push(Arc::new(row::task(row, 0)?));
    }
    Ok(page)
}

pub(crate) fn list_statement(
    filter: &Filter,
    before: Option<u64>,
    limit: usize,
    now: Timestamp,
) -> (String, Vec<Value>) {
    // Unfinished tasks are few among many finished ones and have an index of their own; without it
    // a list of them would read the whole history.
    let unfinished = (!filter.phases.is_empty() && !filter.phases.contains(&Phase::Finished))
        || (!filter.statuses.is_empty()
            && filter
                .statuses
                .iter()
                .all(|status| !TaskStatus::is_terminal(*status)));
    let (index, owner) = if unfinished {
        ("INDEXED BY task_unfinished", "+task.owner")
    } else {
        ("", "task.owner")
    };
    // The children of a task are fewer than the tasks of an owner, and so are its unfinished ones.
    let (index, owner, parent_column) = match filter.parent {
        Some(_) => ("INDEXED BY task_parent", "+task.owner", "task.parent"),
        None => (index, owner, ""),
    };
    let mut sql = format!(
        "SELECT {TASK_COLUMNS} FROM task {index} WHERE NOT (task.phase = 'finished' AND task.due_at <= ?)"
    );
    let mut values = vec![Value::Integer(now.as_millis())];
    if unfinished {
        sql.push_str(" AND task.phase <> 'finished'");
    }
    if let Some(wanted) = &filter.owner {
        let _ = write!(sql, " AND {owner} = ?");
        values.push(Value::Text(wanted.as_str().to_owned()));
    }
    if let Some(parent) = &filter.parent {
        let _ = write!(sql, " AND {parent_column} = ?");
        values.push(Value::Blob(parent.as_bytes().to_vec()));
    }
    if let Some(tool) = &filter.tool {
        sql.push_str(" AND +task.tool = ?");
        values.push(Value::Text(tool.clone()));
    }
    let phases = filter.phases.iter().map(|phase| phase.as_str());
    one_of(&mut sql, &mut values, "task.phase", phases);
    let statuses = filter.statuses.iter().map(|status| status.as_str());
    one_of(&mut sql, &mut values, "task.status", statuses);
    if let Some(before) = before {
        sql.push_str(" AND task.sequence < ?");
        values.push(Value::Integer(i64::try_from(before).unwrap_or(i64::MAX)));
    }
    sql.push_str(" ORDER BY task.sequence DESC LIMIT ?");
    values.push(Value::Integer(row::limit(limit.saturating_add(1))));
    (sql, values)
}

fn one_of(
    sql: &mut String,
    values: &mut Vec<Value>,
    column: &str,
    words: impl Iterator<Item = &'static str>,
) {
    let words: Vec<_> = words.map(|word| Value::Text(word.to_owned())).collect();
    if !words.is_empty() {
        let marks = vec!["?"; words.len()].join(", ");
        let _ = write!(sql, " AND +{column} IN ({marks})");
        values.extend(words);
    }
}

/// The events with numbers above `after`.
pub(crate) fn events(
    conn: &Connection,
    id: TaskId,
    after: u64,
    limit: usize,
) -> Result<Vec<Event>, Failure> {
    let mut events = Vec::new();
    let Some(task) = sequence_of(conn, id)? else {
        return Ok(events);
    };
    let mut statement = conn.prepare_cached(
        "SELECT last, events FROM event WHERE task = ?1 AND last > ?2 ORDER BY last",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![task, after])?;
    while events.len() < limit
        && let Some(row) = rows.next()?
    {
        let last = row::count(row.get(0)?);
        let unit = row::decode_events(id, last, row.get_ref(1)?)?;
        events.extend(unit.into_iter().filter(|event| int(event.number) > after));
    }
    events.truncate(limit);
    Ok(events)
}

/// Everything recorded for the task.
pub(crate) fn journal(conn: &Connection, id: TaskId) -> Result<Vec<JournalEntry>, Failure> {
    match sequence_of(conn, id)? {
        Some(task) => journal_of(conn, task),
        None => Ok(Vec::new()),
    }
}

/// The entries of one kind with names above `after`.
pub(crate) fn journal_page(
    conn: &Connection,
    id: TaskId,
    kind: JournalKind,
    after: &str,
    limit: usize,
) -> Result<Vec<JournalEntry>, Failure> {
    let Some(task) = sequence_of(conn, id)? else {
        return Ok(Vec::new());
    };
    let mut statement = conn.prepare_cached(
        "SELECT kind, name, input_hash, at, recorded FROM journal
         WHERE task = ?1 AND kind = ?2 AND name > ?3 ORDER BY name LIMIT ?4",
    )?;
    let mut rows = statement.query(params![task, kind.as_str(), after, row::limit(limit)])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(row::journal_entry(row)?);
    }
    Ok(entries)
}

/// The entry of this kind and name.
pub(crate) fn journal_get(
    conn: &Connection,
    id: TaskId,
    kind: JournalKind,
    name: &str,
) -> Result<Option<JournalEntry>, Failure> {
    let Some(task) = sequence_of(conn, id)? else {
        return Ok(None);
    };
    let mut statement = conn.prepare_cached(
        "SELECT kind, name, input_hash, at, recorded FROM journal
         WHERE task = ?1 AND kind = ?2 AND name = ?3",
    )?;
    let mut rows = statement.query(params![task, kind.as_str(), name])?;
    rows.next()?.map(row::journal_entry).transpose()
}

/// Everything recorded for the task with this sequence.
pub(crate) fn journal_of(conn: &Connection, task: i64) -> Result<Vec<JournalEntry>, Failure> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, name, input_hash, at, recorded FROM journal
         WHERE task = ?1 ORDER BY ordinal",
    )?;
    let mut rows = statement.query([task])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(row::journal_entry(row)?);
    }
    Ok(entries)
}

/// The log from an offset.
pub(crate) fn log_read(
    conn: &Connection,
    id: TaskId,
    offset: u64,
    limit: usize,
) -> Result<LogPage, Failure> {
    // One snapshot: a log that grows or is cut between two statements would be told wrong.
    let _snapshot = conn.unchecked_transaction()?;
    let Some(task) = sequence_of(conn, id)? else {
        return Ok(LogPage::default());
    };
    let head: Option<(i64, Option<i64>)> = conn
        .prepare_cached("SELECT log_end, mark FROM log_head WHERE task = ?1")?
        .query_row([task], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (end, mark) = head.unwrap_or_default();
    let mut page = LogPage {
        next: offset,
        end: row::count(end),
        mark: mark.map(row::count),
        ..LogPage::default()
    };
    if offset >= page.end {
        return Ok(page);
    }
    let mut statement = conn.prepare_cached(
        "SELECT start, at, level, logger, text FROM log WHERE task = ?1 AND start >=
             coalesce((SELECT max(start) FROM log WHERE task = ?1 AND start <= ?2), 0)
         ORDER BY start",
    )?;
    let mut rows = statement.query(params![task, int(offset)])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        if bytes >= limit && !page.chunks.is_empty() {
            break;
        }
        let mut chunk = LogChunk {
            offset: row::count(row.get(0)?),
            at: Timestamp::from_millis(row.get(1)?),
            level: row::level(row.get_ref(2)?)?,
            logger: row.get(3)?,
            text: row.get(4)?,
        };
        // The piece before a gap may end where the gap begins.
        if chunk.end() <= offset {
            continue;
        }
        if chunk.offset < offset {
            let skipped = usize::try_from(offset - chunk.offset).expect("within the piece");
            chunk.text.drain(..skipped);
            chunk.offset = offset;
        }
        bytes += chunk.text.len();
        page.next = chunk.end();
        page.chunks.push(chunk);
    }
    Ok(page)
}

/// The record under (space, key), unless it has expired.
pub(crate) fn record_of(
    conn: &Connection,
    space: &str,
    key: &str,
    now: Timestamp,
) -> Result<Option<Vec<u8>>, Failure> {
    Ok(conn
        .prepare_cached(
            "SELECT value FROM record
             WHERE space = ?1 AND key = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
        )?
        .query_row(params![space, key, now.as_millis()], |row| row.get(0))
        .optional()?)
}

pub(crate) fn sequence_of(conn: &Connection, id: TaskId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT sequence FROM task WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()
}
