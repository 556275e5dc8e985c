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
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use outlast_core::limit::Key;
use outlast_core::machine::{Consequence, LeaseLost};
use outlast_core::status::Phase;
use outlast_core::store::{ClaimNow, Notice};
use outlast_core::task::Lease;
use outlast_core::{Error, Event, JournalEntry, Task, TaskId, Timestamp};

use self::commit::{announcement, edges};
use crate::failure::Failure;
use crate::row::{self, Known};
use crate::script::Arguments;
use crate::seen::{Need, Relation, Seen};

mod commit;

pub(crate) use self::commit::{Commit, Running};

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
        self.operations.call(command);
    }

    /// An operation of the commit script, behind the changes of records.
    pub(crate) fn operate<A: AsRef<[u8]>>(
        &mut self,
        operation: &str,
        arguments: impl IntoIterator<Item = A>,
    ) {
        self.operations.begin(operation);
        self.operations.extend(arguments);
    }

    /// A condition of the commit.
    pub(crate) fn guard<A: AsRef<[u8]>>(
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
}
