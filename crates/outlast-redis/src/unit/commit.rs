//! What a commit is called with: a unit as guards and operations.
//!
//! The guards are the revision of every record that was read and the value of every key; the script that
//! looks at them, and does the rest, is `lua/commit.lua`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outlast_core::limit::Key;
use outlast_core::machine::Blocker;
use outlast_core::status::Phase;
use outlast_core::store::{ClaimBy, ClaimNow, Notice};
use outlast_core::{Error, Event, Task, TaskId, Timestamp};

use super::{Creation, Unit};
use crate::notify;
use crate::row::{self, Known};
use crate::script::Arguments;
use crate::seen::Relation;

/// How long the records of a finished task outlive their retention if nobody comes to delete them.
const MARGIN_MS: i64 = 24 * 60 * 60 * 1000;

/// How many events go into one command: a script takes only so many arguments.
const EVENTS: usize = 1000;

/// What a commit is called with.
pub(crate) struct Commit {
    /// The records it was decided from.
    pub(crate) read: BTreeSet<TaskId>,
    pub(crate) guards: Arguments,
    pub(crate) operations: Arguments,
    pub(crate) notices: Vec<Notice>,
    /// Whoever claims with the creation.
    pub(crate) by: Option<ClaimBy>,
    /// Whether there is a creation in it.
    pub(crate) creates: bool,
    /// Whether the creation is claimed only if it is the next one.
    pub(crate) claims_next: bool,
    /// What comes of the creation if it is claimed.
    pub(crate) running: Option<Running>,
    /// Records as they are after it.
    pub(crate) after: Vec<(TaskId, Option<Known>)>,
}

impl Unit<'_> {
    /// Guards and operations.
    pub(crate) fn commit(self) -> Result<Commit, Error> {
        let mut operations = Arguments::default();
        let mut last = Arguments::default();
        let mut after = Vec::new();
        let mut by = None;
        let creates = self.creation.is_some();
        let mut claims_next = false;
        let mut running = None;
        // A creation can be refused by the script, which must not have written anything by then.
        if let Some((id, creation)) = &self.creation {
            let changed = &self.changed[id];
            let task = changed.after.as_ref().expect("it was just created");
            claims_next = matches!(creation.claim, Some(ClaimNow::IfNext(_)));
            by = match &creation.claim {
                Some(ClaimNow::IfNext(by) | ClaimNow::Running(by)) => Some(by.clone()),
                None => None,
            };
            running = by
                .as_ref()
                .map(|by| Running::of(task, by, &self.notices, self.now));
            let (first, more) = changed.events.split_at(changed.events.len().min(EVENTS));
            write_new(&mut operations, task, creation, first, running.as_ref())?;
            write_events(&mut operations, *id, more)?;
            write_end(&mut last, task, self.now);
        }
        for id in &self.order {
            let changed = &self.changed[id];
            let Some(before) = &changed.before else {
                continue;
            };
            let Some(task) = &changed.after else {
                write_removal(&mut operations, &before.task);
                after.push((*id, None));
                continue;
            };
            let revision = before.revision + 1;
            write_change(&mut operations, before, task, revision)?;
            write_events(&mut operations, *id, &changed.events)?;
            write_end(&mut last, task, self.now);
            let known = Known {
                task: Arc::clone(task),
                revision,
                awaited: before.awaited,
                is_whole: true,
            };
            after.push((*id, Some(known)));
        }
        for id in &self.awaited {
            let key = format!("t:{id}");
            operations.call(&["HINCRBY", &key, "revision", "1"]);
            operations.call(&["HSET", &key, "awaited", "1"]);
        }
        operations.append(self.operations);
        operations.append(last);
        let mut read = self.read.into_inner();
        read.extend(self.changed.keys());
        let mut guards = Arguments::default();
        for id in &read {
            let known = self.seen.records.get(id).and_then(Option::as_ref);
            let none = || ["0".to_owned(), String::new()];
            guards.begin("revision");
            guards.extend([id.to_string()]);
            guards.extend(known.map_or_else(none, Known::mark));
        }
        for name in self.names.borrow().iter() {
            let value = self.seen.names[name].clone().unwrap_or_default();
            guards.begin("value");
            guards.extend([name.clone(), value]);
        }
        guards.append(self.guards);
        let mut notices = self.notices;
        notices.extend(self.announced);
        Ok(Commit {
            read,
            guards,
            operations,
            notices,
            by,
            creates,
            claims_next,
            running,
            after,
        })
    }
}

/// A new record as it is if it is claimed with its creation.
#[derive(Debug)]
pub(crate) struct Running {
    /// Nothing but its sequence is missing.
    pub(crate) task: Arc<Task>,
    event: Option<Event>,
    /// All that is told then.
    pub(crate) notices: Vec<Notice>,
    /// What tells its lease from all others; drawn in vain if it is not ready.
    pub(crate) nonce: u64,
}

impl Running {
    fn of(task: &Arc<Task>, by: &ClaimBy, notices: &[Notice], now: Timestamp) -> Self {
        let nonce = crate::executor::random();
        let mut task = Arc::clone(task);
        let claimed = Arc::make_mut(&mut task).claim(by.worker, nonce, by.lease, now);
        let notices = notices.iter().cloned().chain(announcement(&task)).collect();
        Self {
            task,
            event: claimed.map(|(_, event)| event),
            notices,
            nonce,
        }
    }
}

/// What is told of a new record.
pub(super) fn announcement(task: &Task) -> Vec<Notice> {
    let mut notices = vec![
        Notice::Changed {
            task: task.id(),
            version: task.state.version,
        },
        Notice::Due(task.due_at()),
    ];
    if task.state.phase == Phase::Queued {
        notices.push(Notice::Ready);
    }
    notices
}

/// The tasks whose end a task waits for.
pub(super) fn edges(task: &Task) -> impl Iterator<Item = TaskId> {
    task.state
        .blocked
        .iter()
        .filter_map(|blocker| match blocker {
            Blocker::Task(edge) => Some(edge.task),
            _ => None,
        })
}

/// What a new record is made of.
fn write_new(
    operations: &mut Arguments,
    task: &Task,
    creation: &Creation,
    events: &[Event],
    running: Option<&Running>,
) -> Result<(), Error> {
    let id = task.id();
    let waits: Vec<_> = task.quota_keys().iter().map(row::key_name).collect();
    let mut sets = vec![
        "all".to_owned(),
        format!("own:{}", task.spec.owner.as_str()),
    ];
    if let Some(parent) = task.spec.parent {
        sets.push(Relation::Children.key(parent.task));
    }
    sets.extend(edges(task).map(|edge| Relation::Dependants.key(edge)));
    let mode = match &creation.claim {
        None => "",
        Some(ClaimNow::IfNext(_)) => "next",
        Some(ClaimNow::Running(_)) => "running",
    };
    let mut values = vec![
        "spec".to_owned(),
        row::encode("call", &*task.spec)?,
        "state".to_owned(),
        row::encode("record", &task.state)?,
    ];
    if let Some(outcome) = &task.outcome {
        values.extend(["outcome".to_owned(), row::encode("result", &**outcome)?]);
    }
    operations.begin("create");
    operations.extend([
        id.to_string(),
        row::priority_name(task),
        row::group(task),
        row::lane(task)?,
        task.state.phase.as_str().to_owned(),
        row::millis(task.due_at()),
        mode.to_owned(),
        if creation.checked { "1" } else { "0" }.to_owned(),
    ]);
    let fields = row::fields(task, 1)?;
    let events = events.iter().map(row::encode_event);
    let events = events.collect::<Result<Vec<_>, Error>>()?;
    operations.list(&waits);
    operations.list(&sets);
    operations.pairs(&fields);
    operations.list(&values);
    operations.list(&events);
    if let Some(running) = running {
        let changes = row::changes(&fields, row::fields(&running.task, 1)?);
        let event = running.event.as_ref().map(row::encode_event).transpose()?;
        operations.extend([
            row::millis(running.task.due_at()),
            notify::encode(&running.notices),
        ]);
        operations.pairs(&changes);
        operations.extend([event.unwrap_or_default()]);
    }
    operations.call(&["SADD", "owners", task.spec.owner.as_str()]);
    Ok(())
}

fn write_events(operations: &mut Arguments, id: TaskId, events: &[Event]) -> Result<(), Error> {
    for events in events.chunks(EVENTS) {
        let mut command = vec!["RPUSH".to_owned(), format!("e:{id}")];
        for event in events {
            command.push(row::encode_event(event)?);
        }
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        operations.call(&command);
    }
    Ok(())
}

/// What a change of a record means for what Redis keeps of it.
fn write_change(
    operations: &mut Arguments,
    known: &Known,
    after: &Task,
    revision: u64,
) -> Result<(), Error> {
    let before = &*known.task;
    let (id, sequence) = (after.id(), after.state.sequence.to_string());
    let text = id.to_string();
    let recounted =
        before.state.phase != after.state.phase || before.standing() != after.standing();
    if recounted {
        operations.begin("tally");
        operations.extend([text.clone(), "-1".to_owned()]);
    }
    let fields = row::fields(after, revision)?;
    let fields = match known.is_whole {
        true => row::changes(&row::fields(before, known.revision)?, fields),
        false => fields.into(),
    };
    let key = format!("t:{id}");
    let pairs = fields.iter().flat_map(|(name, value)| [*name, value]);
    operations.call(&["HSET", &key].into_iter().chain(pairs).collect::<Vec<_>>());
    if recounted {
        operations.begin("tally");
        operations.extend([text.clone(), "1".to_owned()]);
    }
    let state = row::encode("record", &after.state)?;
    let long = format!("d:{id}");
    let mut command = vec!["HSET", &long, "state", &state];
    let outcome = match &after.outcome {
        Some(outcome) if before.outcome.is_none() => row::encode("result", &**outcome)?,
        _ => String::new(),
    };
    if !outcome.is_empty() {
        command.extend(["outcome", &outcome]);
    }
    let spec = if before.spec == after.spec {
        String::new()
    } else {
        row::encode("call", &*after.spec)?
    };
    if !spec.is_empty() {
        command.extend(["spec", &spec]);
    }
    operations.call(&command);
    let (old, new) = (before.state.phase, after.state.phase);
    if old != new {
        operations.call(&["ZREM", &format!("p:{}", old.as_str()), &text]);
        operations.call(&["ZADD", &format!("p:{}", new.as_str()), &sequence, &text]);
    }
    if new == Phase::Finished
        && old != new
        && let Some(same) = &after.spec.same
    {
        let name = crate::same::same_name(&after.spec, &same.key);
        operations.begin("unname");
        operations.extend([name, text.clone()]);
    }
    if before.due_at() != after.due_at() {
        let member = format!("{}{id}", row::sequence_name(after));
        operations.call(&["ZADD", "due", &row::millis(after.due_at()), &member]);
    }
    let place = |task: &Task| -> Result<Option<[String; 3]>, Error> {
        if task.state.phase != Phase::Queued {
            return Ok(None);
        }
        let (group, lane) = (row::group(task), row::lane(task)?);
        Ok(Some([group, lane, row::member(task)]))
    };
    let (left, taken) = (place(before)?, place(after)?);
    if left != taken {
        for (operation, place) in [("remove", left), ("insert", taken)] {
            if let Some(place) = place {
                operations.begin(operation);
                operations.extend(place);
            }
        }
    }
    differences("hold", before.held_keys(), after.held_keys(), operations);
    let (waited, waits) = (before.quota_keys().iter(), after.quota_keys().iter());
    differences("wait", waited, waits, operations);
    Ok(())
}

/// Counts keys that came and went.
fn differences<'k>(
    operation: &str,
    before: impl Iterator<Item = &'k Key>,
    after: impl Iterator<Item = &'k Key>,
    operations: &mut Arguments,
) {
    let mut counts: BTreeMap<&Key, i64> = BTreeMap::new();
    after.for_each(|key| *counts.entry(key).or_default() += 1);
    before.for_each(|key| *counts.entry(key).or_default() -= 1);
    for (key, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        operations.begin(operation);
        operations.extend([row::key_name(key), count.to_string()]);
    }
}

/// Lets a finished record expire; not one that is counted somewhere, for a record that expires by itself
/// takes nothing along.
fn write_end(operations: &mut Arguments, task: &Task, now: Timestamp) {
    if task.state.phase != Phase::Finished || task.held_keys().next().is_some() {
        return;
    }
    let expires = task.state.expire_at.unwrap_or(now).as_millis();
    let left = expires.saturating_sub(now.as_millis()).max(0);
    let left = left
        .saturating_add(MARGIN_MS)
        .min(i64::from(i32::MAX) * 1000);
    operations.begin("expire");
    operations.extend([task.id().to_string(), left.to_string()]);
}

fn write_removal(operations: &mut Arguments, task: &Task) {
    let id = task.id().to_string();
    operations.begin("delete");
    operations.extend([
        id.clone(),
        task.state.sequence.to_string(),
        task.state.phase.as_str().to_owned(),
    ]);
    differences("hold", task.held_keys(), [].into_iter(), operations);
    operations.call(&["ZREM", "all", &id]);
    operations.begin("disown");
    operations.extend([task.spec.owner.as_str().to_owned(), id.clone()]);
    if let Some(parent) = task.spec.parent {
        operations.call(&["ZREM", &Relation::Children.key(parent.task), &id]);
    }
    for edge in &task.spec.after {
        operations.call(&["ZREM", &Relation::Dependants.key(edge.task), &id]);
    }
}
