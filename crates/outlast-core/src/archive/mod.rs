//! Copies of tasks: everything that a store keeps of one, to be written into another store.
//!
//! A copy is the task as it is, with its id, its version and its history; only its place in the order
//! of creation is given by the store that takes it.
//!
//! A copy can be made again. What has gone on in the other store since is never overwritten:
//! * A task is replaced by a newer version only if the last event that the other store has of it happened
//!   here too: events are numbered without gaps, so one that differs says that the task has gone its own way
//!   there. It stays, whatever the versions are.
//! * A key that means a task there goes on to mean it.
//! * Schedules, pauses and small records have no history. So the other store keeps what it got last:
//!   what it still has as it came is brought to what it is here, and what was changed or removed
//!   there stays so.

mod dossier;
mod last;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;

pub use dossier::dossier;
use last::Last;

use crate::blob::BlobWriter;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::event::Event;
use crate::id::TaskId;
use crate::journal::JournalEntry;
use crate::limit::Control;
use crate::log::LogPage;
use crate::signal::Signal;
use crate::store::{Filter, SchedulePut, Store};
use crate::task::Task;

/// How many tasks or keys are read at a time.
const PAGE: usize = 200;

/// Everything that a store keeps of one task. The bytes of its blobs are with the store that takes it.
#[derive(Clone, Debug)]
pub struct Dossier {
    /// The record.
    pub task: Arc<Task>,
    /// All its events, in order.
    pub events: Vec<Event>,
    /// Its journal, in the order of recording.
    pub journal: Vec<JournalEntry>,
    /// Its signals.
    pub signals: Vec<Signal>,
    /// Its log: the chunks that are left of it, where it ends, and its last mark.
    pub log: LogPage,
}

/// A small record, as [`crate::Side::record_put`] takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmallRecord {
    /// The space.
    pub space: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// What a key of calls is of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyOf {
    /// A caller's: of one call, however often it is made ([`crate::same::IdempotencyKey`]).
    Call,
    /// A tool's: of the same work ([`crate::same::Same`]).
    Work,
}

/// A key of calls of a task's tool and owner, which means the task: also one of a call that was joined to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedKey {
    /// The task.
    pub task: TaskId,
    /// What the key is of.
    pub of: KeyOf,
    /// The key.
    pub key: String,
    /// The digest of the arguments of the call; empty for work.
    pub digest: String,
    /// The end of the window of the call's key; of no meaning for work.
    pub until: Timestamp,
}

/// A store that can be copied, and copied into.
#[async_trait]
pub trait Archive: Store {
    /// Refuses while another process works with the store.
    ///
    /// # Errors
    /// [`crate::Error::Store`], which says who.
    async fn check_unused(&self) -> Result<()>;

    /// Writes a task in place of what there is under its id, at the end of the order of creation. What it
    /// means for other tasks was written with them, and is not worked out again. Keys that mean it come
    /// behind, by [`Archive::name`].
    ///
    /// # Errors
    /// [`crate::Error::Store`] only. A call that was cut off may leave no task under this id.
    async fn import(&self, dossier: Dossier) -> Result<()>;

    /// [`crate::Blobs::blob_create`] for a task that is to be imported, and need not be there yet.
    async fn blob_for(&self, task: &Task) -> Result<Box<dyn BlobWriter>> {
        self.blob_create(task.id()).await
    }

    /// All keys that mean a task, in no order.
    async fn keys(&self) -> Result<Vec<NamedKey>>;

    /// Lets keys mean their tasks, each unless its task is not there, it means another task (a call's key
    /// while its window lasts, a key of work while that task has not ended), or it could mean nothing any
    /// more.
    async fn name(&self, keys: &[NamedKey]) -> Result<()>;

    /// All small records that have not expired, in no order.
    async fn small_records(&self) -> Result<Vec<SmallRecord>>;
}

/// What a copy has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Copied {
    /// Tasks that were not there before.
    pub new: usize,
    /// Tasks of which an older version was there.
    pub changed: usize,
    /// Tasks that were there as they are.
    pub unchanged: usize,
    /// Tasks that have gone on in the other store, and were left alone.
    pub newer_there: usize,
    /// Schedules that were written or removed.
    pub schedules: usize,
    /// Small records, such as the keys of sessions, that were written.
    pub records: usize,
    /// Schedules and small records that were changed in the other store, and were left alone.
    pub kept_there: usize,
    /// Artifacts of copied tasks of which the bytes are not there, or not all of them.
    pub lost: usize,
}

/// Copies all that `from` keeps into `to`: small records, pauses, tasks, the earliest first, the keys that
/// mean them, and schedules. Rules of limits are declared by the tools at the next start; rates begin anew.
/// `progress` hears of every task.
///
/// May be cut off and repeated.
///
/// # Errors
/// One of them is in use or failed, in which case what was copied so far is whole.
pub async fn copy(
    from: &dyn Archive,
    to: &dyn Archive,
    mut progress: impl FnMut(&Copied) + Send,
) -> Result<Copied> {
    from.check_unused().await?;
    to.check_unused().await?;
    let mut copied = Copied::default();
    let mut last = Last::of(to).await?;
    copy_records(from, to, &mut last, &mut copied).await?;
    copy_controls(from, to, &mut last).await?;
    last.note(to).await?;
    let mut cursor = None;
    let filter = Filter {
        oldest_first: true,
        ..Filter::default()
    };
    loop {
        let page = from.list(&filter, cursor, PAGE).await?;
        for task in page.tasks {
            copy_task(from, to, task, &mut copied).await?;
            progress(&copied);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    for keys in from.keys().await?.chunks(PAGE) {
        to.name(keys).await?;
    }
    copy_schedules(from, to, &mut last, &mut copied).await?;
    last.note(to).await?;
    Ok(copied)
}

async fn copy_records(
    from: &dyn Archive,
    to: &dyn Archive,
    last: &mut Last,
    copied: &mut Copied,
) -> Result<()> {
    let there = to.small_records().await?.into_iter();
    let there: HashMap<_, _> = there
        .map(|record| ((record.space.clone(), record.key.clone()), record))
        .collect();
    let earlier = std::mem::take(&mut last.records);
    for record in from.small_records().await? {
        if record.space == last::SPACE {
            continue;
        }
        let name = last::name_of(&record);
        let came = earlier.get(&name);
        let there = there.get(&(record.space.clone(), record.key.clone()));
        let writes = match there {
            // What was copied and is not there any more was removed there.
            None => came.is_none(),
            Some(there) if *there == record => false,
            // A right that was taken back here is gone there, whatever became of it there.
            Some(there) => came == Some(&last::digest(&there.value)) || record.value.is_empty(),
        };
        if writes || there == Some(&record) {
            last.records.insert(name, last::digest(&record.value));
        } else {
            copied.kept_there += usize::from(there.is_some());
            last.records.extend(came.map(|came| (name, came.clone())));
        }
        if writes {
            let SmallRecord {
                space,
                key,
                value,
                expires_at,
            } = record;
            to.record_put(&space, &key, value, expires_at).await?;
            copied.records += 1;
        }
    }
    Ok(())
}

async fn copy_controls(from: &dyn Archive, to: &dyn Archive, last: &mut Last) -> Result<()> {
    let (here, there) = (from.controls().await?, to.controls().await?);
    let rules = here.rules.into_iter();
    let rules = rules.map(|(name, rule)| Control::Rule(name, Some(rule)));
    let pauses = here.paused.difference(&last.paused).cloned();
    // They came with a copy, and are over here.
    let over = last.paused.difference(&here.paused);
    let over = over.filter(|queue| there.paused.contains(queue)).cloned();
    let changes = rules
        .chain(pauses.map(Control::Pause))
        .chain(over.map(Control::Resume));
    to.control(changes.collect()).await?;
    last.paused = here.paused;
    Ok(())
}

async fn copy_task(
    from: &dyn Archive,
    to: &dyn Archive,
    task: Arc<Task>,
    copied: &mut Copied,
) -> Result<()> {
    let id = task.id();
    let there = to.get(id).await?;
    let is_older = match &there {
        None => true,
        Some(there) if is_same(there, &task) => {
            copied.unchanged += 1;
            return Ok(());
        }
        Some(there) => {
            let version = there.state.version;
            let event = async |store: &dyn Archive| {
                let after = version.saturating_sub(1);
                store.events(id, after, 1).await
            };
            version <= task.state.version && event(from).await? == event(to).await?
        }
    };
    if !is_older {
        copied.newer_there += 1;
        return Ok(());
    }
    let mut dossier = dossier(from, task).await?;
    dossier::copy_blobs(from, to, &mut dossier, copied).await?;
    to.import(dossier).await?;
    match there {
        Some(_) => copied.changed += 1,
        None => copied.new += 1,
    }
    Ok(())
}

/// Whether two records are one but for their places in the order of creation.
fn is_same(there: &Task, here: &Task) -> bool {
    let mut state = there.state.clone();
    state.sequence = here.state.sequence;
    state == here.state && there.spec == here.spec && there.outcome == here.outcome
}

async fn copy_schedules(
    from: &dyn Archive,
    to: &dyn Archive,
    last: &mut Last,
    copied: &mut Copied,
) -> Result<()> {
    let earlier = std::mem::take(&mut last.schedules);
    let mut here = BTreeSet::new();
    for schedule in from.schedules().await? {
        let (name, version) = (schedule.spec.name.clone(), schedule.state.version);
        here.insert(name.clone());
        let came = earlier.get(&name).copied();
        let there = to.schedule_get(&name).await?;
        let as_it_came = there.as_ref().map(|there| there.state.version) == came;
        if there.as_ref() == Some(&schedule) {
            last.schedules.insert(name, version);
        } else if as_it_came {
            let expected = there.map(|there| there.state.version);
            let put = to.schedule_put(expected, schedule, None).await?;
            if matches!(put, SchedulePut::Done { .. }) {
                last.schedules.insert(name, version);
                copied.schedules += 1;
            }
        } else {
            copied.kept_there += usize::from(there.is_some());
            last.schedules.extend(came.map(|came| (name, came)));
        }
    }
    for (name, came) in earlier {
        if here.contains(&name) {
            continue;
        }
        let there = to.schedule_get(&name).await?;
        if there.is_some_and(|there| there.state.version == came) {
            to.schedule_delete(&name).await?;
            copied.schedules += 1;
        }
    }
    Ok(())
}
