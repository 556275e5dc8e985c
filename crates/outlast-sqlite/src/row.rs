//! Between records and rows.
//!
//! A value is encoded before the first statement of its operation runs, so one that the file cannot
//! hold is refused while nothing has been written.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::event::EventKind;
use outlast_core::limit::Key;
use outlast_core::machine::Gate;
use outlast_core::{Error, Event, JournalEntry, Level, RawJson, Task, TaskId, Timestamp};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// The longest text of one value. SQLite holds 1,000,000,000 bytes in a row; the rest of the row
/// needs some of them.
const LONGEST: usize = 900_000_000;

/// What [`task`] reads, in its order.
pub(crate) const TASK_COLUMNS: &str = "coalesce(task.spec, (SELECT spec FROM long_spec \
     WHERE long_spec.task = task.sequence)), task.state, task.outcome";

/// The JSON text of a value.
pub(crate) fn encode<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<String, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::Invalid(format!("the {what} has no JSON form: {error}")))?;
    if text.len() > LONGEST {
        return Err(too_long(what, text.len()));
    }
    Ok(text)
}

/// Refuses bytes that no row can hold.
pub(crate) fn check_length(what: &str, bytes: usize) -> Result<(), Failure> {
    if bytes > LONGEST {
        return Err(too_long(what, bytes));
    }
    Ok(())
}

fn too_long(what: &str, bytes: usize) -> Failure {
    Failure::Told(Error::Invalid(format!(
        "the {what} has {bytes} bytes, and the store takes at most {LONGEST}: keep large data in a \
         file and store its path"
    )))
}

fn decode<T: DeserializeOwned>(what: &str, text: ValueRef<'_>) -> Result<T, Failure> {
    let text = text.as_str().unwrap_or_default();
    serde_json::from_str(text).map_err(|error| {
        Failure::Told(Error::broken(format!(
            "a record in the task store cannot be read ({what}: {error}): restore a backup, or \
             delete the task"
        )))
    })
}

/// The stored form of what must be open before a task can be claimed: the name of its lane.
pub(crate) fn encode_gates(task: &Task) -> Result<String, Failure> {
    if task.spec.keys.is_empty() {
        return Ok(String::new());
    }
    let gates: Vec<Gate> = task.gates().collect();
    if gates.is_empty() {
        return Ok(String::new());
    }
    encode("limit", &gates)
}

/// What must be open, from its stored form.
pub(crate) fn decode_gates(text: &str) -> Result<Vec<Gate>, Failure> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    decode_text("limit", text)
}

/// The stored form of some keys; `None` if there are none.
pub(crate) fn encode_keys<'a>(
    keys: impl Iterator<Item = &'a Key>,
) -> Result<Option<String>, Failure> {
    let keys: Vec<&Key> = keys.collect();
    (!keys.is_empty())
        .then(|| encode("limit key", &keys))
        .transpose()
}

/// A value from its stored form.
pub(crate) fn decode_text<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, Failure> {
    decode(what, ValueRef::Text(text.as_bytes()))
}

/// Reads a record from the three columns that begin at `first`.
pub(crate) fn task(row: &Row<'_>, first: usize) -> Result<Task, Failure> {
    let outcome = match row.get_ref(first + 2)? {
        ValueRef::Null => None,
        text => Some(Arc::new(
            decode("outcome", text).map_err(Failure::of_record)?,
        )),
    };
    let spec = decode("specification", row.get_ref(first)?);
    let state = decode("state", row.get_ref(first + 1)?);
    Ok(Task {
        spec: Arc::new(spec.map_err(Failure::of_record)?),
        state: state.map_err(Failure::of_record)?,
        outcome,
    })
}

/// The stored form of the events of one unit.
pub(crate) fn encode_events(events: &[Event]) -> Result<String, Failure> {
    let stored: Vec<(Timestamp, &EventKind)> =
        events.iter().map(|event| (event.at, &event.kind)).collect();
    encode("event", &stored)
}

/// The events of one unit, the last of which has the number `last`.
pub(crate) fn decode_events(
    id: TaskId,
    last: u64,
    text: ValueRef<'_>,
) -> Result<Vec<Event>, Failure> {
    let stored: Vec<(Timestamp, EventKind)> = decode("events", text)?;
    let before = last - stored.len() as u64;
    Ok((before + 1..)
        .zip(stored)
        .map(|(number, (at, kind))| Event {
            task: id,
            number,
            at,
            kind,
        })
        .collect())
}

/// Reads (kind, name, input_hash, at, recorded, took).
pub(crate) fn journal_entry(row: &Row<'_>) -> Result<JournalEntry, Failure> {
    let hash: Option<i64> = row.get(2)?;
    Ok(JournalEntry {
        kind: word("journal kind", row.get_ref(0)?)?,
        name: row.get(1)?,
        input_hash: hash.map(i64::cast_unsigned),
        at: Timestamp::from_millis(row.get(3)?),
        recorded: decode("journal entry", row.get_ref(4)?)?,
        took: row
            .get::<_, Option<i64>>(5)?
            .map(|took| Duration::from_millis(count(took))),
    })
}

/// A value that is kept as it came.
pub(crate) fn json(what: &str, text: ValueRef<'_>) -> Result<RawJson, Failure> {
    decode(what, text)
}

/// The level a word names.
pub(crate) fn level(text: ValueRef<'_>) -> Result<Level, Failure> {
    word("log level", text)
}

/// A value that is stored as its bare word.
pub(crate) fn word<T: DeserializeOwned>(what: &str, text: ValueRef<'_>) -> Result<T, Failure> {
    let text = text.as_str().unwrap_or_default();
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|_| {
        Failure::Told(Error::broken(format!(
            "a record in the task store cannot be read ({what} {text:?})"
        )))
    })
}

/// A time in the unit that it is kept in.
pub(crate) fn millis(time: Duration) -> u64 {
    let most = i64::MAX.unsigned_abs();
    u64::try_from(time.as_millis()).map_or(most, |millis| millis.min(most))
}

/// A count as SQLite keeps it.
pub(crate) fn int(count: u64) -> i64 {
    i64::try_from(count).expect("no count here reaches 2^63")
}

/// A count as it was kept.
pub(crate) fn count(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

/// A limit of rows as SQLite takes it.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
