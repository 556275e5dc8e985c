//! The unit: a decision, made here from what was read, and committed by one script if all of that
//! still holds.
//!
//! An operation is a function of what has been [`Seen`]. If it needs a record that nobody has read, it
//! ends with [`Failure::Need`], that is read, and it is decided again from the start: an operation has
//! no effect before its commit, so that costs nothing but time. Changes of records go through
//! [`Unit::change`], which applies a verb of the state machine; what the unit changes is seen by what
//! comes behind in the same unit. [`Unit::commit`] turns it into guards (the revision of every record
//! that was read, the value of every key) and operations, and the script applies all or nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use outlast_core::limit::Key;
use outlast_core::machine::{Blocker, Consequence, LeaseLost};
use outlast_core::status::{Era, Phase};
use outlast_core::store::{ClaimBy, ClaimNow, Notice};
use outlast_core::task::Lease;
use outlast_core::{Error, Event, JournalEntry, Task, TaskId, Timestamp};

use crate::failure::Failure;
use crate::notify;
use crate::row::{self, Known};
use crate::script::Arguments;

/// How long the records of a finished task outlive their retention if nobody comes to delete them.
const MARGIN_MS: i64 = 24 * 60 * 60 * 1000;

/// How many events go into one command: a script takes only so many arguments.
const EVENTS: usize = 1000;

/// Something an operation wants to have read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    Record(TaskId),
    /// The tasks in the sorted set `dep:<id>` or `kids:<id>`.
    Related(Relation, TaskId),
    /// The value of a key.
    Name(String),
    /// A journal entry.
    Entry(TaskId, String),
    /// The number of the signal with this id.
    SignalId(TaskId, String),
}

/// A sorted set of tasks that belongs to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Relation {
    Dependants,
    Children,
}

impl Relation {
    pub(crate) fn key(self, id: TaskId) -> String {
        match self {
            Self::Dependants => format!("dep:{id}"),
            Self::Children => format!("kids:{id}"),
        }
    }
}

/// What has been read for an operation.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    /// Whether some of it was not read for this operation.
    pub(crate) remembered: bool,
    pub(crate) records: HashMap<TaskId, Option<Known>>,
    pub(crate) related: HashMap<(Relation, TaskId), Vec<TaskId>>,
    pub(crate) names: HashMap<String, Option<String>>,
    pub(crate) entries: HashMap<(TaskId, String), Option<JournalEntry>>,
    pub(crate) signals: HashMap<(TaskId, String), Option<u64>>,
    /// Records that cannot be read and are being set aside for this operation.
    pub(crate) setting_aside: BTreeSet<TaskId>,
}

impl Seen {
    /// As it was before anything was read.
    pub(crate) fn forget_all(&mut self) {
        *self = Self {
            setting_aside: std::mem::take(&mut self.setting_aside),
            ..Self::default()
        };
    }
}

/// A record as the unit leaves it.
#[derive(Debug)]
struct Changed {
    /// As it was read; `None` for a new one.
    before: Option<Known>,
    /// `None` if it is deleted.
    after: Option<Arc<Task>>,
    events: Vec<Event>,
}

/// How a new record is claimed with its creation, and what else its creation depends on.
#[derive(Debug, Default)]
pub(crate) struct Creation {
    pub(crate) claim: Option<ClaimNow>,
    /// Whether its quotas are checked.
    pub(crate) checked: bool,
}

/// One operation.
pub(crate) struct Unit<'a> {
    seen: &'a Seen,
    pub(crate) now: Timestamp,
    read: RefCell<BTreeSet<TaskId>>,
    names: RefCell<BTreeSet<String>>,
    changed: BTreeMap<TaskId, Changed>,
    order: Vec<TaskId>,
    creation: Option<(TaskId, Creation)>,
    /// What is told of a new record unless it is claimed at once.
    announced: Vec<Notice>,
    /// Unfinished tasks that the new one comes after.
    awaited: BTreeSet<TaskId>,
    guards: Arguments,
    /// Behind the changes of records.
    operations: Arguments,
    pub(crate) notices: Vec<Notice>,
    owed: VecDeque<Consequence>,
    settling: bool,
}

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

impl<'a> Unit<'a> {
    pub(crate) fn new(seen: &'a Seen, now: Timestamp) -> Self {
        Self {
            seen,
            now,
            read: RefCell::default(),
            names: RefCell::default(),
            changed: BTreeMap::new(),
            order: Vec::new(),
            creation: None,
            announced: Vec::new(),
            awaited: BTreeSet::new(),
            guards: Arguments::default(),
            operations: Arguments::default(),
            notices: Vec::new(),
            owed: VecDeque::new(),
            settling: false,
        }
    }

    /// Asks for all of these records at once.
    pub(crate) fn need_all(&self, ids: impl IntoIterator<Item = TaskId>) -> Result<(), Failure> {
        let unread = ids
            .into_iter()
            .filter(|id| !self.changed.contains_key(id) && !self.seen.records.contains_key(id));
        let unread: Vec<_> = unread.map(Need::Record).collect();
        if unread.is_empty() {
            return Ok(());
        }
        Err(Failure::Need(unread))
    }

    /// The record as this unit sees it.
    pub(crate) fn find(&self, id: TaskId) -> Result<Option<Arc<Task>>, Failure> {
        if let Some(changed) = self.changed.get(&id) {
            return Ok(changed.after.clone());
        }
        self.need_all([id])?;
        self.read.borrow_mut().insert(id);
        let known = self.seen.records[&id].as_ref();
        Ok(known.map(|known| Arc::clone(&known.task)))
    }

    /// The record with the id of a new one: taken to be absent until the commit says otherwise.
    pub(crate) fn find_new(&self, id: TaskId) -> Result<Option<Arc<Task>>, Failure> {
        if self.seen.records.contains_key(&id) || self.changed.contains_key(&id) {
            return self.find(id);
        }
        self.read.borrow_mut().insert(id);
        Ok(None)
    }

    /// The value of a key.
    pub(crate) fn name(&self, key: &str) -> Result<Option<&'a str>, Failure> {
        let Some(value) = self.seen.names.get(key) else {
            return Err(Failure::Need(vec![Need::Name(key.to_owned())]));
        };
        self.names.borrow_mut().insert(key.to_owned());
        Ok(value.as_deref())
    }

    /// A journal entry of a record that this unit has found.
    pub(crate) fn entry(&self, id: TaskId, name: &str) -> Result<Option<JournalEntry>, Failure> {
        let key = (id, name.to_owned());
        match self.seen.entries.get(&key) {
            Some(entry) => Ok(entry.clone()),
            None => Err(Failure::Need(vec![Need::Entry(id, key.1)])),
        }
    }

    /// The number of the signal with this id, of a record that this unit has found.
    pub(crate) fn signal_number(&self, id: TaskId, signal: &str) -> Result<Option<u64>, Failure> {
        let key = (id, signal.to_owned());
        match self.seen.signals.get(&key) {
            Some(number) => Ok(*number),
            None => Err(Failure::Need(vec![Need::SignalId(id, key.1)])),
        }
    }

    fn related(&self, relation: Relation, id: TaskId) -> Result<&'a [TaskId], Failure> {
        match self.seen.related.get(&(relation, id)) {
            Some(ids) => Ok(ids),
            None => Err(Failure::Need(vec![Need::Related(relation, id)])),
        }
    }

    /// Applies a verb to a record. Returns the record after it.
    pub(crate) fn change<T>(
        &mut self,
        id: TaskId,
        verb: impl FnOnce(&mut Task) -> Result<(T, Vec<Event>), Error>,
    ) -> Result<(T, Arc<Task>), Failure> {
        let before = self.find(id)?.ok_or(Error::NotFound(id))?;
        self.change_found(&before, verb)
    }

    /// [`Unit::change`] for a record that was found before.
    pub(crate) fn change_found<T>(
        &mut self,
        before: &Arc<Task>,
        verb: impl FnOnce(&mut Task) -> Result<(T, Vec<Event>), Error>,
    ) -> Result<(T, Arc<Task>), Failure> {
        let mut task = Task::clone(before);
        let (value, events) = verb(&mut task)?;
        let after = Arc::new(task);
        if *after == **before && events.is_empty() {
            return Ok((value, after));
        }
        self.notices.extend(Notice::between(before, &after));
        let freed = |key: &Key| !after.held_keys().any(|kept| kept == key);
        if before.held_keys().any(freed) {
            self.notices.push(Notice::Ready);
        }
        self.put(after.id(), Some(Arc::clone(&after)), events);
        self.owe(Some(before), &after)?;
        // What it meant for others may have come back to it.
        let after = self.find(after.id())?.unwrap_or(after);
        Ok((value, after))
    }

    /// Applies a verb that needs a lease. Without a record the lease is as lost as with another one.
    pub(crate) fn under_lease<T>(
        &mut self,
        lease: &Lease,
        verb: impl FnOnce(&mut Task) -> Result<(T, Vec<Event>), LeaseLost>,
    ) -> Result<(T, Arc<Task>), Failure> {
        let lost = || Error::LeaseLost(lease.task);
        let before = self.find(lease.task)?.ok_or_else(lost)?;
        self.change_found(&before, |task| verb(task).map_err(|LeaseLost| lost()))
    }

    /// The record, if it runs under this lease.
    pub(crate) fn fenced(&self, lease: &Lease) -> Result<Arc<Task>, Failure> {
        self.find(lease.task)?
            .filter(|task| task.holds(lease))
            .ok_or(Failure::Told(Error::LeaseLost(lease.task)))
    }

    fn put(&mut self, id: TaskId, after: Option<Arc<Task>>, events: Vec<Event>) {
        let before = self.seen.records.get(&id).and_then(Option::clone);
        let order = &mut self.order;
        let changed = self.changed.entry(id).or_insert_with(|| {
            order.push(id);
            Changed {
                before,
                after: None,
                events: Vec::new(),
            }
        });
        changed.after = after;
        changed.events.extend(events);
    }

    /// Writes a new record with its events. Its sequence is given by the commit.
    pub(crate) fn insert(
        &mut self,
        task: &Arc<Task>,
        events: Vec<Event>,
        creation: Creation,
    ) -> Result<(), Failure> {
        let id = task.id();
        // A new record must not be there.
        self.read.borrow_mut().insert(id);
        self.put(id, Some(Arc::clone(task)), events);
        self.creation = Some((id, creation));
        for edge in edges(task) {
            // Its end must find this edge: whoever has read it without must read it again.
            self.awaited.insert(edge);
        }
        self.announced = announcement(task);
        self.owe(None, task)
    }

    /// Writes a record as it is, which another store has made, at the end of the order of creation.
    pub(crate) fn insert_as_is(&mut self, task: &Arc<Task>, events: Vec<Event>) {
        let id = task.id();
        self.read.borrow_mut().insert(id);
        self.put(id, Some(Arc::clone(task)), events);
        self.creation = Some((id, Creation::default()));
        for key in task.held_keys() {
            self.operate("hold", [row::key_name(key), "1".to_owned()]);
        }
        self.notices.push(Notice::Due(task.due_at()));
    }

    /// [`Unit::remove`] for a record in any phase, which another one is to replace.
    pub(crate) fn remove_as_is(&mut self, task: &Task) -> Result<(), Failure> {
        self.remove(task);
        let id = task.id();
        self.call(&["ZREM", "live", &id.to_string()]);
        if task.state.phase == Phase::Queued {
            let place = [row::group(task), row::lane(task)?, row::member(task)];
            self.operate("remove", place);
        }
        // The keys that it holds are given back with its removal.
        for key in task.quota_keys() {
            self.operate("wait", [row::key_name(key), "-1".to_owned()]);
        }
        Ok(())
    }

    /// Deletes a finished record with everything that belongs to it.
    pub(crate) fn remove(&mut self, task: &Task) {
        self.put(task.id(), None, Vec::new());
        if task.held_keys().next().is_some() {
            self.notices.push(Notice::Ready);
        }
        self.notices.push(Notice::Changed {
            task: task.id(),
            version: task.state.version,
        });
    }

    /// Notes what a change means for others, and applies it unless somebody further up does.
    fn owe(&mut self, before: Option<&Task>, after: &Task) -> Result<(), Failure> {
        self.owed.extend(Consequence::between(before, after));
        if std::mem::replace(&mut self.settling, true) {
            return Ok(());
        }
        let now = self.now;
        while let Some(consequence) = self.owed.pop_front() {
            let concerned = self.concerned(&consequence)?;
            self.need_all(concerned.iter().copied())?;
            for id in concerned {
                if self.find(id)?.is_some() {
                    self.change(id, |task| Ok(((), task.follow(&consequence, now))))?;
                }
            }
        }
        self.settling = false;
        Ok(())
    }

    /// The tasks to which a consequence is to be applied, in the order of creation.
    fn concerned(&mut self, consequence: &Consequence) -> Result<Vec<TaskId>, Failure> {
        Ok(match consequence {
            Consequence::DependencyEnded { dependency, .. } => {
                let known = self.seen.records.get(dependency).and_then(Option::as_ref);
                if !known.is_some_and(|known| known.awaited) {
                    return Ok(Vec::new());
                }
                let concerned = self.related(Relation::Dependants, *dependency)?;
                if !concerned.is_empty() {
                    // No later consequence will need it.
                    let key = Relation::Dependants.key(*dependency);
                    self.call(&["DEL", &key]);
                }
                concerned.to_vec()
            }
            Consequence::ChildEnded { parent, .. } => vec![*parent],
            Consequence::ParentStopped { parent, .. } => {
                self.related(Relation::Children, *parent)?.to_vec()
            }
            _ => Vec::new(),
        })
    }

    /// A command on a key of ours, behind the changes of records.
    pub(crate) fn call(&mut self, command: &[&str]) {
        self.operate("call", [command.len().to_string()]);
        self.operations.extend(command.iter().copied());
    }

    /// An operation of the commit script, behind the changes of records.
    pub(crate) fn operate<A: Into<Vec<u8>>>(
        &mut self,
        operation: &str,
        arguments: impl IntoIterator<Item = A>,
    ) {
        self.operations.begin(operation);
        self.operations.extend(arguments);
    }

    /// A condition of the commit.
    pub(crate) fn guard<A: Into<Vec<u8>>>(
        &mut self,
        guard: &str,
        arguments: impl IntoIterator<Item = A>,
    ) {
        self.guards.begin(guard);
        self.guards.extend(arguments);
    }

    /// Whether there is anything to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.operations.is_empty()
    }

    /// Whether the commit would look at nothing but what was read.
    pub(crate) fn has_no_guards(&self) -> bool {
        self.guards.is_empty()
    }

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

/// What is told of a new record.
fn announcement(task: &Task) -> Vec<Notice> {
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

/// The tasks whose end a task waits for.
fn edges(task: &Task) -> impl Iterator<Item = TaskId> {
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
    if task.state.phase != Phase::Finished {
        sets.push("live".into());
    }
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
    for list in [&waits, &sets, &row::words(&fields), &values, &events] {
        operations.extend([list.len().to_string()]);
        operations.extend(list.iter().cloned());
    }
    if let Some(running) = running {
        let changes = row::changes(&fields, row::fields(&running.task, 1)?);
        let event = running.event.as_ref().map(row::encode_event).transpose()?;
        operations.extend([
            row::millis(running.task.due_at()),
            notify::encode(&running.notices),
            changes.len().to_string(),
        ]);
        operations.extend(changes);
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
    let recounted = before.state.phase != after.state.phase
        || before.status(Era::Modern) != after.status(Era::Modern);
    if recounted {
        operations.begin("tally");
        operations.extend([text.clone(), "-1".to_owned()]);
    }
    let mut command = vec!["HSET".to_owned(), format!("t:{id}")];
    let fields = row::fields(after, revision)?;
    command.extend(if known.is_whole {
        row::changes(&row::fields(before, known.revision)?, fields)
    } else {
        row::words(&fields)
    });
    operations.call(&command.iter().map(String::as_str).collect::<Vec<_>>());
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
    if new == Phase::Finished && old != new {
        operations.call(&["ZREM", "live", &text]);
        if let Some(same) = &after.spec.same {
            let name = crate::same::same_name(&after.spec, &same.key);
            operations.begin("unname");
            operations.extend([name, text.clone()]);
        }
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
