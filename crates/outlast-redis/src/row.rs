//! Between records and what Redis keeps of them.
//!
//! A record is two hashes. `t:<id>` holds what scripts look at and change: short values under short
//! names, so that Redis keeps it packed in a few hundred bytes. `d:<id>` holds the JSON texts: `spec`,
//! `state`, `outcome`. A value that stands in both is true in the first.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use outlast_core::event::EventKind;
use outlast_core::limit::Key;
use outlast_core::machine::Gate;
use outlast_core::status::Phase;
use outlast_core::store::ToolVersion;
use outlast_core::task::{Held, TaskSpec, TaskState};
use outlast_core::{Error, Event, JournalEntry, Owner, RawJson, Task, TaskId, Timestamp};
use redis::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest text of one value: what Redis takes in one argument, less some room.
const LONGEST: usize = 500_000_000;

/// A record and how often it had been written when it was read.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) task: Arc<Task>,
    pub(crate) revision: u64,
    /// Whether a task comes after it that was created before it ended.
    pub(crate) awaited: bool,
    /// Whether all of it stands in Redis as it is here: not if it had to be salvaged.
    pub(crate) is_whole: bool,
}

impl Known {
    /// What must still stand there for the record to be this one: how often it had been written, and
    /// under which lease it runs, for a store that has lost its last writes counts them again.
    pub(crate) fn mark(&self) -> [String; 2] {
        let held = self.task.state.held.as_ref();
        let nonce = held.map_or(String::new(), |held| held.nonce.to_string());
        [self.revision.to_string(), nonce]
    }
}

/// The JSON text of a value.
///
/// # Errors
/// [`Error::Invalid`] if it has none, or one that is too long.
pub(crate) fn encode<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<String, Error> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::Invalid(format!("the {what} has no JSON form: {error}")))?;
    check_length(what, text.len())?;
    Ok(text)
}

/// Refuses bytes that no value can hold.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_length(what: &str, bytes: usize) -> Result<(), Error> {
    if bytes > LONGEST {
        return Err(Error::Invalid(format!(
            "the {what} has {bytes} bytes, and the store takes at most {LONGEST}: keep large data in \
             a file and store its path"
        )));
    }
    Ok(())
}

/// A value from its stored form.
///
/// # Errors
/// What stands there is not ours.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| {
        Error::broken(format!(
            "a record in the task store cannot be read ({what}: {error}): restore a backup, or \
             delete the task"
        ))
    })
}

/// A value that is stored as its bare word.
fn word<T: DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, Error> {
    let text = String::from_utf8_lossy(text).into_owned();
    serde_json::from_value(serde_json::Value::String(text)).map_err(|error| {
        Error::broken(format!(
            "a record in the task store cannot be read ({what}: {error})"
        ))
    })
}

/// A key as scripts know it: its rule can be cut off.
pub(crate) fn key_name(key: &Key) -> String {
    format!("{}:{}{}", key.rule.len(), key.rule, key.value)
}

/// A tool version as scripts know it: one line.
pub(crate) fn version_name(tool: &str, version: &str) -> String {
    let (tool, version) = (line(tool), line(version));
    format!("{}:{tool}{version}", tool.len())
}

/// A text without ends of lines in it; no other text becomes the same.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if text.contains(['%', '\n']) {
        return text.replace('%', "%25").replace('\n', "%0A").into();
    }
    text.into()
}

/// The tool version of a group, if it is one of ours.
pub(crate) fn version_of_group(group: &str) -> Option<ToolVersion> {
    let (length, rest) = group.get(1..)?.split_once(':')?;
    let (tool, version) = rest.split_at_checked(length.parse().ok()?)?;
    let unlined = |text: &str| text.replace("%0A", "\n").replace("%25", "%");
    Some(ToolVersion {
        tool: unlined(tool),
        version: unlined(version),
    })
}

/// The tool version as scripts know it.
pub(crate) fn known_name(known: &ToolVersion) -> String {
    version_name(&known.tool, &known.version)
}

/// The group in which a ready task stands.
pub(crate) fn group(task: &Task) -> String {
    let suspect = if task.state.suspect { '1' } else { '0' };
    let version = version_name(&task.spec.tool, &task.spec.tool_version);
    format!("{suspect}{version}")
}

/// The lane in which it stands: the gates it needs open.
pub(crate) fn lane(task: &Task) -> Result<String, Error> {
    if task.spec.keys.is_empty() {
        return Ok(String::new());
    }
    let gates: Vec<_> = task
        .gates()
        .map(|gate| match gate {
            Gate::Limit(key) => format!("L{}", key_name(&key)),
            Gate::Rate(key) => format!("R{}", key_name(&key)),
        })
        .collect();
    if gates.is_empty() {
        return Ok(String::new());
    }
    encode("limit", &gates)
}

/// The part of a task's place that is known before its sequence: larger priorities first.
pub(crate) fn priority_name(task: &Task) -> String {
    format!(
        "{:04x}",
        i32::from(i16::MAX) - i32::from(task.spec.priority)
    )
}

/// Its sequence in the order of characters.
pub(crate) fn sequence_name(task: &Task) -> String {
    format!("{:012x}", task.state.sequence)
}

/// What stands for it in its lane.
pub(crate) fn member(task: &Task) -> String {
    format!(
        "{}{}{}",
        priority_name(task),
        sequence_name(task),
        task.id()
    )
}

/// When the record must be looked at apart from the end of a lease, if it is or were running.
fn due_beside_lease(task: &Task) -> Timestamp {
    let mut task = task.clone();
    task.state.held = None;
    task.state.ready_since = None;
    task.due_at()
}

/// The fields of `t:<id>` but for the sequence.
pub(crate) type Fields = [(&'static str, String); 22];

/// The fields that are different in `after`, and those that follow from others and that the script of a
/// claim leaves as they were.
pub(crate) fn changes(before: &Fields, after: Fields) -> Vec<(&'static str, String)> {
    let pairs = before.iter().zip(after);
    let changed = pairs.filter(|(old, new)| **old != *new || ["due", "standing"].contains(&new.0));
    changed.map(|(_, new)| new).collect()
}

/// The fields of a record.
pub(crate) fn fields(task: &Task, revision: u64) -> Result<Fields, Error> {
    let state = &task.state;
    let time = |time: Option<Timestamp>| time.map_or(String::new(), millis);
    let flag = |set: bool| if set { "1" } else { "0" }.to_owned();
    let held = state.held.as_ref();
    let waits: Vec<_> = task.quota_keys().iter().map(key_name).collect();
    let waits = if waits.is_empty() {
        String::new()
    } else {
        encode("limit key", &waits)?
    };
    let cleanup = encode("clean-up", &state.cleanup)?;
    Ok([
        ("revision", revision.to_string()),
        ("phase", state.phase.as_str().to_owned()),
        ("version", state.version.to_string()),
        ("epoch", state.epoch.to_string()),
        ("attempt", state.attempt.to_string()),
        (
            "worker",
            held.map_or(String::new(), |held| held.worker.to_string()),
        ),
        (
            "nonce",
            held.map_or(String::new(), |held| held.nonce.to_string()),
        ),
        ("until", time(held.map(|held| held.until))),
        ("started", time(state.started_at)),
        ("ready", time(state.ready_since)),
        ("resuming", flag(state.resuming)),
        ("keeps_keys", flag(state.keeps_keys)),
        ("held_over", time(state.held_over)),
        ("cleanup", cleanup.trim_matches('"').to_owned()),
        ("updated", millis(state.updated_at)),
        ("due", millis(due_beside_lease(task))),
        ("ended", flag(task.is_finished())),
        ("waits", waits),
        ("stop", flag(state.cancel.is_some())),
        ("standing", task.standing().as_str().to_owned()),
        ("tool", task.spec.tool.clone()),
        ("owner", task.spec.owner.as_str().to_owned()),
    ])
}

/// A time as scripts know it.
pub(crate) fn millis(time: Timestamp) -> String {
    time.as_millis().to_string()
}

/// The event as its list holds it.
pub(crate) fn encode_event(event: &Event) -> Result<String, Error> {
    encode("event", &(event.at, &event.kind))
}

/// The event with this number.
pub(crate) fn decode_event(task: TaskId, number: u64, text: &[u8]) -> Result<Event, Error> {
    let (at, kind): (Timestamp, EventKind) = decode("event", text)?;
    Ok(Event {
        task,
        number,
        at,
        kind,
    })
}

/// The name of a journal entry in its hash.
pub(crate) fn entry_name(kind: outlast_core::JournalKind, name: &str) -> String {
    format!("{}:{name}", kind.as_str())
}

/// A journal entry and its place in the order of recording.
pub(crate) fn decode_entry(text: &[u8]) -> Result<(u64, JournalEntry), Error> {
    let colon = text.iter().position(|byte| *byte == b':').unwrap_or(0);
    let ordinal = number("journal entry", &text[..colon])?;
    let entry = decode("journal entry", text.get(colon + 1..).unwrap_or_default())?;
    Ok((ordinal, entry))
}

/// All entries of a journal's hash, in the order of recording.
pub(crate) fn decode_journal(hash: Value) -> Result<Vec<JournalEntry>, Error> {
    let mut entries = Vec::new();
    for pair in array(hash).chunks_exact(2) {
        entries.push(decode_entry(bytes(&pair[1]))?);
    }
    entries.sort_unstable_by_key(|(ordinal, _)| *ordinal);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// A record as scripts load it: fields, and long values. `None` if there is none.
pub(crate) fn decode_record(loaded: Value) -> Result<Option<Known>, Error> {
    let call = |_: &Named<'_>, text: &[u8]| decode("specification", text);
    decode_with(loaded, call, |_, text| decode("state", text))
}

/// What can be made of a record that cannot be read: as it stands in its fields, with nothing of what it has
/// been through, and without an outcome. Without its call either if that cannot be read, which is said.
pub(crate) fn salvage(id: TaskId, loaded: Value, now: Timestamp) -> Option<(Known, bool)> {
    let mut parts = array(loaded);
    let mut long = array(parts.pop()?);
    long.truncate(2);
    parts.push(Value::Array(long));
    let mut has_call = true;
    let call = |fields: &Named<'_>, text: &[u8]| {
        let known = decode("specification", text).ok();
        Ok(known.unwrap_or_else(|| {
            has_call = false;
            let word = |name: &str| {
                let text = fields.get(name.as_bytes()).copied().unwrap_or_default();
                String::from_utf8_lossy(text).into_owned()
            };
            TaskSpec {
                id,
                owner: Owner::new(word("owner")),
                ..TaskSpec::new(word("tool"), RawJson::empty_object())
            }
        }))
    };
    let fresh = |spec: &Arc<TaskSpec>, _: &[u8]| Ok(Task::create(Arc::clone(spec), 0, now).0.state);
    let mut known = decode_with(Value::Array(parts), call, fresh).ok()??;
    known.is_whole = false;
    Some((known, has_call))
}

/// The fields of a record by their names.
type Named<'v> = HashMap<&'v [u8], &'v [u8]>;

/// A record whose call is read by `call` and whose state by `state`.
fn decode_with(
    loaded: Value,
    call: impl FnOnce(&Named<'_>, &[u8]) -> Result<TaskSpec, Error>,
    state: impl FnOnce(&Arc<TaskSpec>, &[u8]) -> Result<TaskState, Error>,
) -> Result<Option<Known>, Error> {
    let mut parts = array(loaded).into_iter();
    let (Some(hash), Some(long)) = (parts.next(), parts.next()) else {
        return Ok(None);
    };
    let hash = array(hash);
    if hash.is_empty() {
        return Ok(None);
    }
    let pairs = hash.chunks_exact(2);
    let fields: Named<'_> = pairs
        .map(|pair| (bytes(&pair[0]), bytes(&pair[1])))
        .collect();
    let field = |name: &str| fields.get(name.as_bytes()).copied().unwrap_or_default();
    let time = |name: &str| -> Result<Option<Timestamp>, Error> {
        let text = field(name);
        if text.is_empty() {
            return Ok(None);
        }
        Ok(Some(timestamp(name, text)?))
    };
    let long = array(long);
    let text = |index: usize| long.get(index).map(bytes).unwrap_or_default();
    let outcome = match long.get(2) {
        None | Some(Value::Nil) => None,
        Some(text) => Some(Arc::new(decode("outcome", bytes(text))?)),
    };
    let spec = Arc::new(call(&fields, text(0))?);
    let mut state = state(&spec, text(1))?;
    state.phase = word::<Phase>("phase", field("phase"))?;
    state.version = number("version", field("version"))?;
    state.sequence = number("sequence", field("sequence"))?;
    state.epoch = number("epoch", field("epoch"))?;
    state.attempt = number("attempt", field("attempt"))?;
    state.held = match time("until")?.filter(|_| state.phase == Phase::Running) {
        None => None,
        Some(until) => Some(Held {
            worker: word("worker", field("worker"))?,
            nonce: number("nonce", field("nonce"))?,
            until,
        }),
    };
    state.started_at = time("started")?;
    state.ready_since = time("ready")?;
    state.resuming = field("resuming") == b"1";
    state.keeps_keys = field("keeps_keys") == b"1";
    state.held_over = time("held_over")?;
    state.cleanup = word("clean-up", field("cleanup"))?;
    state.updated_at = timestamp("updated", field("updated"))?;
    if state.phase != Phase::Queued {
        // A claim leaves the long values as they were.
        state.no_worker = None;
    }
    let task = Task {
        spec,
        state,
        outcome,
    };
    Ok(Some(Known {
        task: Arc::new(task),
        revision: number("revision", field("revision"))?,
        awaited: field("awaited") == b"1",
        is_whole: true,
    }))
}

fn timestamp(what: &str, text: &[u8]) -> Result<Timestamp, Error> {
    parse(what, text).map(Timestamp::from_millis)
}

/// A count from its text.
pub(crate) fn number<T: std::str::FromStr>(what: &str, text: &[u8]) -> Result<T, Error> {
    parse(what, text)
}

fn parse<T: std::str::FromStr>(what: &str, text: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().map_err(|_| {
        Error::broken(format!(
            "a record in the task store cannot be read ({what} {text:?} is no number): restore a \
             backup, or delete the task"
        ))
    })
}

/// The elements of a reply; none of anything but a list.
pub(crate) fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(a, b)| [a, b]).collect(),
        _ => Vec::new(),
    }
}

/// The bytes of a reply; none of anything but text.
pub(crate) fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.as_bytes(),
        _ => &[],
    }
}

/// The text of a reply.
pub(crate) fn text(value: &Value) -> String {
    String::from_utf8_lossy(bytes(value)).into_owned()
}

/// The text of a reply of several lines.
pub(crate) fn verbatim(value: &Value) -> String {
    match value {
        Value::VerbatimString { text, .. } => text.clone(),
        value => text(value),
    }
}

/// A field of INFO.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> &'a str {
    let mut lines = info.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_default().trim()
}

/// The number of a reply.
pub(crate) fn int(value: &Value) -> u64 {
    match value {
        Value::Int(int) => u64::try_from(*int).unwrap_or(0),
        other => std::str::from_utf8(bytes(other))
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
    }
}

/// The ids of a reply.
pub(crate) fn ids(value: Value) -> Vec<TaskId> {
    let ids = array(value).into_iter();
    ids.filter_map(|id| text(&id).parse().ok()).collect()
}
