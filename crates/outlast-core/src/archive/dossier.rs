//! Everything of one task: read from a store, with the bytes of its artifacts.

use std::sync::Arc;

use super::{Archive, Copied, Dossier};
use crate::blob::RecordedArtifact;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::journal::{JournalKind, Recorded};
use crate::json::RawJson;
use crate::log::{LogChunk, LogPage};
use crate::signal::Signal;
use crate::task::Task;

/// How much is read at a time.
const PAGE: usize = 200;
/// How many bytes of a log or a blob are read at a time.
const BYTES: usize = 1 << 20;

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

/// Copies the blobs that the journal names, and lets it name the copies. An entry whose bytes are gone, or
/// not as many as it says, stays as it is: they are not there in the copy either.
pub(super) async fn copy_blobs(
    from: &dyn Archive,
    to: &dyn Archive,
    dossier: &mut Dossier,
    copied: &mut Copied,
) -> Result<()> {
    let task = Arc::clone(&dossier.task);
    for entry in &mut dossier.journal {
        if entry.kind != JournalKind::Artifact {
            continue;
        }
        let Ok(mut artifact) = entry.recorded.json().to::<RecordedArtifact>() else {
            continue;
        };
        let Some(blob) = copy_blob(from, to, &task, &artifact).await? else {
            copied.lost += 1;
            continue;
        };
        artifact.blob = blob;
        let json = RawJson::of(&artifact).map_err(|error| {
            Error::Invalid(format!(
                "an artifact of task {} has no JSON form: {error}",
                task.id()
            ))
        })?;
        entry.recorded = Recorded::Value(json);
    }
    Ok(())
}

/// The name of the copy; `None` if the bytes of the artifact are not all there.
async fn copy_blob(
    from: &dyn Archive,
    to: &dyn Archive,
    task: &Task,
    artifact: &RecordedArtifact,
) -> Result<Option<String>> {
    let id = task.id();
    let mut writer = to.blob_for(task).await?;
    let mut offset = 0;
    loop {
        let Some(bytes) = from.blob_read(id, &artifact.blob, offset, BYTES).await? else {
            return Ok(None);
        };
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        writer.write(bytes).await?;
    }
    if offset != artifact.size {
        return Ok(None);
    }
    writer.finish().await.map(Some)
}
