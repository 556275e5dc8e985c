//! Lists of tasks: one statement for each filter, driven by the index that leaves the fewest rows.
//!
//! What has an index is chosen in SQL; the rest, texts and times of change, by
//! [`Filter::matches`] row by row, for at most so many rows that other readers need not wait.

use std::fmt::Write as _;
use std::sync::Arc;

use outlast_core::filter::SCAN;
use outlast_core::store::{Filter, Page};
use outlast_core::{Phase, Standing, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::failure::Failure;
use crate::row::{self, TASK_COLUMNS};

/// The first task, by its sequence, at or behind `?1`, and when it was created.
pub(crate) const CREATED: &str = "SELECT sequence, json_extract(state, '$.created_at') FROM task
    WHERE sequence >= ?1 ORDER BY sequence LIMIT 1";

/// The tasks that match, in the order of the filter.
pub(crate) fn list(
    conn: &Connection,
    filter: &Filter,
    cursor: Option<u64>,
    limit: usize,
    now: Timestamp,
) -> Result<Page, Failure> {
    if limit == 0 {
        return Ok(Page::default());
    }
    // One snapshot for the bounds and what lies between them.
    let _snapshot = conn.unchecked_transaction()?;
    let bound = |at: Option<Timestamp>| at.map(|at| created_since(conn, at)).transpose();
    let (from, until) = (bound(filter.created.from)?, bound(filter.created.until)?);
    let by_row = filter.text.is_some() || !filter.updated.is_all();
    let most = if by_row { None } else { Some(limit + 1) };
    let (sql, values) = statement(filter, cursor, [from, until], most, now);
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = Page::default();
    let mut last = None;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        if by_row && looked_at == SCAN {
            page.next = last;
            break;
        }
        let task = match row::task(row, 0) {
            Err(Failure::Unreadable(_)) => {
                looked_at += 1;
                continue;
            }
            task => task?,
        };
        // A record that is kept for its webhooks alone is past its retention, and due later.
        let matches = filter.matches(&task) && !task.is_expired(now);
        if matches && page.tasks.len() == limit {
            page.next = last;
            break;
        }
        looked_at += 1;
        last = Some(task.state.sequence);
        if matches {
            page.tasks.push(Arc::new(task));
        }
    }
    if page.next.is_none() && most == Some(looked_at) {
        page.next = last;
    }
    Ok(page)
}

/// The sequence of the first task that was created at `at` or later. Tasks are numbered in the order of
/// their creation, so it is found by halves and needs no index.
fn created_since(conn: &Connection, at: Timestamp) -> Result<i64, Failure> {
    let mut statement = conn.prepare_cached(CREATED)?;
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(sequence) FROM task")?
        .query_row([], |row| row.get(0))?;
    // Everything before `low` is earlier, everything from `high` on is not.
    let (mut low, mut high) = (0, last.map_or(0, |last| last + 1));
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = statement
            .query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((sequence, created)) if created < at.as_millis() => low = sequence + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// What drives a list: the index, the table it begins with and what it is asked for.
enum Driver<'a> {
    Parent(&'a [u8]),
    Label(&'a str, &'a str),
    Unfinished(Option<Phase>),
    Unsuccessful(Standing),
    Failed,
    Tool(&'a str, &'a str),
    Owner(&'a str),
    Everything,
}

impl<'a> Driver<'a> {
    fn of(filter: &'a Filter) -> Self {
        if let Some(parent) = &filter.parent {
            return Self::Parent(parent.as_bytes());
        }
        if let Some((key, value)) = filter.labels.first_key_value() {
            return Self::Label(key, value);
        }
        // Unfinished tasks are few among many finished ones and have an index of their own; without it
        // a list of them would read the whole history.
        if filter.is_unfinished() {
            let one = <[Phase; 1]>::try_from(filter.phases.as_slice());
            return Self::Unfinished(one.ok().map(|[phase]| phase));
        }
        match (filter.standings.as_slice(), &filter.owner, &filter.tool) {
            ([standing @ (Standing::Error | Standing::Failed | Standing::Cancelled)], _, _) => {
                Self::Unsuccessful(*standing)
            }
            (several @ [_, ..], _, _) if several.iter().all(is_failed) => Self::Failed,
            (_, Some(owner), Some(tool)) => Self::Tool(owner.as_str(), tool),
            (_, Some(owner), None) => Self::Owner(owner.as_str()),
            (_, None, _) => Self::Everything,
        }
    }
}

/// The statement for a filter, with its values. `created` are the sequences between which tasks were
/// created in the span that is asked for.
pub(crate) fn statement(
    filter: &Filter,
    cursor: Option<u64>,
    created: [Option<i64>; 2],
    most: Option<usize>,
    now: Timestamp,
) -> (String, Vec<Value>) {
    let text = |text: &str| Value::Text(text.to_owned());
    let mut values = Vec::new();
    let driver = Driver::of(filter);
    let (from, chosen) = match &driver {
        Driver::Parent(parent) => {
            values.push(Value::Blob(parent.to_vec()));
            ("task INDEXED BY task_parent", "task.parent = ?")
        }
        Driver::Label(key, value) => {
            values.extend([text(key), text(value)]);
            (
                "label CROSS JOIN task ON task.sequence = label.task",
                "label.key = ? AND label.value = ?",
            )
        }
        Driver::Unfinished(None) => (
            "task INDEXED BY task_unfinished",
            "task.phase <> 'finished'",
        ),
        Driver::Unfinished(Some(phase)) => {
            values.push(text(phase.as_str()));
            (
                "task INDEXED BY task_unfinished",
                "task.phase <> 'finished' AND task.phase = ?",
            )
        }
        Driver::Unsuccessful(standing) => {
            values.push(text(standing.as_str()));
            (
                "task INDEXED BY task_unsuccessful",
                "task.standing IN ('error', 'failed', 'cancelled') AND task.standing = ?",
            )
        }
        Driver::Failed => (
            "task INDEXED BY task_failed",
            "task.standing IN ('error', 'failed')",
        ),
        Driver::Tool(owner, tool) => {
            values.extend([text(owner), text(tool)]);
            (
                "task INDEXED BY task_tool",
                "task.owner = ? AND task.tool = ?",
            )
        }
        Driver::Owner(owner) => {
            values.push(text(owner));
            ("task INDEXED BY task_owner", "task.owner = ?")
        }
        Driver::Everything => ("task", "TRUE"),
    };
    // A finished record is due when it expires, or before: when it holds its keys no more, and for its
    // webhooks.
    let mut sql = format!(
        "SELECT {TASK_COLUMNS} FROM {from} WHERE {chosen} \
         AND NOT (+task.phase = 'finished' AND +task.due_at <= ? \
         AND json_extract(task.state, '$.expire_at') <= ?)"
    );
    values.extend([
        Value::Integer(now.as_millis()),
        Value::Integer(now.as_millis()),
    ]);
    // Marked so that none of these draws the statement to another index.
    if let Some(owner) = &filter.owner {
        sql.push_str(" AND +task.owner = ?");
        values.push(text(owner.as_str()));
    }
    if let Some(tool) = &filter.tool {
        sql.push_str(" AND +task.tool = ?");
        values.push(text(tool));
    }
    for (key, value) in &filter.labels {
        sql.push_str(
            " AND EXISTS (SELECT 1 FROM label AS other WHERE other.key = ? AND other.value = ? \
             AND other.task = task.sequence)",
        );
        values.extend([text(key), text(value)]);
    }
    let phases = filter.phases.iter().map(|phase| phase.as_str());
    one_of(&mut sql, &mut values, "task.phase", phases);
    let standings = filter.standings.iter().map(|standing| standing.as_str());
    one_of(&mut sql, &mut values, "task.standing", standings);
    let place = match driver {
        Driver::Label(..) => "label.task",
        _ => "task.sequence",
    };
    let (beyond, order) = if filter.oldest_first {
        (">", "ASC")
    } else {
        ("<", "DESC")
    };
    let cursor = cursor.map(|cursor| i64::try_from(cursor).unwrap_or(i64::MAX));
    for (compare, bound) in [(beyond, cursor), (">=", created[0]), ("<", created[1])] {
        if let Some(bound) = bound {
            let _ = write!(sql, " AND {place} {compare} ?");
            values.push(Value::Integer(bound));
        }
    }
    let _ = write!(sql, " ORDER BY {place} {order}");
    if let Some(most) = most {
        sql.push_str(" LIMIT ?");
        values.push(Value::Integer(row::limit(most)));
    }
    (sql, values)
}

fn is_failed(standing: &Standing) -> bool {
    matches!(standing, Standing::Error | Standing::Failed)
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
