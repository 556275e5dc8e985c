//! Copies of tasks: everything that a store keeps of one, to be written into another store.
//!
//! A copy is the task as it is, with its id, its version and its history; only its place in the order
//! of creation is given by the store that takes it. It can be made again: a record of which the other
//! store has the same version is left alone, an older one is replaced, and one that has gone on there is
//! never overwritten.

use std::sync::Arc;

use async_trait::async_trait;

use crate::blob::RecordedArtifact;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::TaskId;
use crate::journal::{JournalEntry, JournalKind, Recorded};
use crate::json::RawJson;
use crate::limit::Control;
use crate::log::{LogChunk, LogPage};
use crate::signal::Signal;
use crate::store::{Filter, Store};
use crate::task::Task;

/// How much is read at a time.
const PAGE: usize = 200;
/// How many bytes of a log or a blob are read at a time.
const BYTES: usize = 1 << 20;

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

/// A store that can be copied, and copied into.
#[async_trait]
pub trait Archive: Store {
    /// Refuses while another process works with the store.
    ///
    /// # Errors
    /// [`Error::Store`], which says who.
    async fn check_unused(&self) -> Result<()>;

    /// Writes a task in place of what there is under its id, at the end of the order of creation. What it
    /// means for other tasks was written with them, and is not worked out again.
    ///
    /// # Errors
    /// [`Error::Store`] only. A call that was cut off may leave no task under this id.
    async fn import(&self, dossier: Dossier) -> Result<()>;

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
    /// Schedules that were written.
    pub schedules: usize,
    /// Small records, such as the keys of sessions, that were written.
    pub records: usize,
}

/// Copies all that `from` keeps into `to`: small records, pauses, schedules and tasks, the earliest
/// first. Rules of limits are declared by the tools at the next start; rates begin anew. `progress`
/// hears of every task.
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
    let there = to.small_records().await?;
    for record in from.small_records().await? {
        if there.contains(&record) {
            continue;
        }
        let SmallRecord {
            space,
            key,
            value,
            expires_at,
        } = record;
        to.record_put(&space, &key, value, expires_at).await?;
        copied.records += 1;
    }
    let controls = from.controls().await?;
    let rules = controls.rules.into_iter();
    let rules = rules.map(|(name, rule)| Control::Rule(name, Some(rule)));
    let pauses = controls.paused.into_iter().map(Control::Pause);
    to.control(rules.chain(pauses).collect()).await?;
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
    for schedule in from.schedules().await? {
        let there = to.schedule_get(&schedule.spec.name).await?;
        let there = there.map(|there| there.state.version);
        if there.is_none_or(|version| version < schedule.state.version) {
            to.schedule_put(there, schedule, None).await?;
            copied.schedules += 1;
        }
    }
    Ok(copied)
}

async fn copy_task(
    from: &dyn Archive,
    to: &dyn Archive,
    task: Arc<Task>,
    copied: &mut Copied,
) -> Result<()> {
    let there = to.get(task.id()).await?;
    let there = there.map(|there| there.state.version);
    match there {
        Some(there) if there == task.state.version => copied.unchanged += 1,
        Some(there) if there > task.state.version => copied.newer_there += 1,
        _ => {
            let mut dossier = dossier(from, task).await?;
            copy_blobs(from, to, &mut dossier).await?;
            to.import(dossier).await?;
            match there {
                Some(_) => copied.changed += 1,
                None => copied.new += 1,
            }
        }
    }
    Ok(())
}

/// Everything that `store` keeps of a task.
///
/// # Errors
/// The store failed.
pub async fn dossier(store: &dyn Archive, task: Arc<Task>) -> Result<Dossier> {
    let id = task.id();
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.number);
        let page = store.events(id, after, PAGE).await?;
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    let mut signals: Vec<Signal> = Vec::new();
    for name in task.state.signals.keys() {
        let mut after = 0;
        loop {
            let page = store.signals(id, name, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            signals.extend(page);
        }
    }
    let mut log = store.log_read(id, 0, BYTES).await?;
    while log.next < log.end {
        let page = store.log_read(id, log.next, BYTES).await?;
        if page.chunks.is_empty() {
            break;
        }
        let chunks: Vec<LogChunk> = std::mem::take(&mut log.chunks);
        log = LogPage {
            chunks: chunks.into_iter().chain(page.chunks).collect(),
            ..page
        };
    }
    Ok(Dossier {
        events,
        journal: store.journal(id).await?,
        signals,
        log,
        task,
    })
}

/// Copies the blobs that the journal names, and lets it name the copies.
async fn copy_blobs(from: &dyn Archive, to: &dyn Archive, dossier: &mut Dossier) -> Result<()> {
    let id = dossier.task.id();
    for entry in &mut dossier.journal {
        if entry.kind != JournalKind::Artifact {
            continue;
        }
        let Ok(mut artifact) = entry.recorded.json().to::<RecordedArtifact>() else {
            continue;
        };
        artifact.blob = copy_blob(from, to, id, &artifact.blob).await?;
        let json = RawJson::of(&artifact).map_err(|error| {
            Error::Invalid(format!(
                "an artifact of task {id} has no JSON form: {error}"
            ))
        })?;
        entry.recorded = Recorded::Value(json);
    }
    Ok(())
}

async fn copy_blob(from: &dyn Archive, to: &dyn Archive, id: TaskId, blob: &str) -> Result<String> {
    let mut writer = to.blob_create(id).await?;
    let mut offset = 0;
    while let Some(bytes) = from.blob_read(id, blob, offset, BYTES).await? {
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        writer.write(bytes).await?;
    }
    writer.finish().await
}
