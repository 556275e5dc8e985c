//! Reads, on connections of their own.

use outlast_core::{Event, JournalEntry, JournalKind, LogChunk, LogPage, TaskId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::failure::Failure;
use crate::row::{self, int};

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

/// At most `limit` entries of a task after the first `skip`.
pub(crate) fn journal_slice(
    conn: &Connection,
    id: TaskId,
    skip: usize,
    limit: usize,
) -> Result<Vec<JournalEntry>, Failure> {
    match sequence_of(conn, id)? {
        Some(task) => journal_range(conn, task, skip, limit),
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
        "SELECT kind, name, input_hash, at, recorded, took FROM journal
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
        "SELECT kind, name, input_hash, at, recorded, took FROM journal
         WHERE task = ?1 AND kind = ?2 AND name = ?3",
    )?;
    let mut rows = statement.query(params![task, kind.as_str(), name])?;
    rows.next()?.map(row::journal_entry).transpose()
}

/// Everything recorded for the task with this sequence.
pub(crate) fn journal_of(conn: &Connection, task: i64) -> Result<Vec<JournalEntry>, Failure> {
    journal_range(conn, task, 0, usize::MAX)
}

fn journal_range(
    conn: &Connection,
    task: i64,
    skip: usize,
    limit: usize,
) -> Result<Vec<JournalEntry>, Failure> {
    let mut statement = conn.prepare_cached(
        // Which ones are in the range is seen in the index, and no other is read.
        "SELECT kind, name, input_hash, at, recorded, took FROM journal WHERE ordinal IN
             (SELECT ordinal FROM journal WHERE task = ?1 ORDER BY ordinal LIMIT ?2 OFFSET ?3)
         ORDER BY ordinal",
    )?;
    let mut rows = statement.query(params![task, row::limit(limit), row::limit(skip)])?;
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
