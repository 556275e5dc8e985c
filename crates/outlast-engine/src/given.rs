//! What a handle reads of what a task gives out: partial results and artifacts.

use outlast_core::blob::RecordedArtifact;
use outlast_core::journal::partial_name;
use outlast_core::{Artifact, Error, JournalKind, TaskId};

use crate::artifact::{self, Partial};
use crate::handle::Handle;
use crate::sharing::Asker;

/// Artifacts are listed in pages of this many; a task has at most a thousand.
const PAGE: usize = 1000;

impl Handle {
    /// The partial results of a task with numbers above `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn partials<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Partial>, Error> {
        let task = self.get(who, id).await?;
        let after = partial_name(after);
        let store = &self.shared.store;
        let entries = store.journal_page(id, JournalKind::Partial, &after, limit);
        let vault = &self.shared.vault;
        Ok(entries
            .await?
            .into_iter()
            .filter_map(|entry| artifact::partial_of(&vault.shown(&task.spec, entry)))
            .collect())
    }

    /// The artifacts of a task, in the order of their names.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn artifacts<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
    ) -> Result<Vec<Artifact>, Error> {
        self.get(who, id).await?;
        let entries = self
            .shared
            .store
            .journal_page(id, JournalKind::Artifact, "", PAGE);
        let mut artifacts = Vec::new();
        for entry in entries.await? {
            artifacts.push(recorded(&entry)?.named(&entry.name, entry.at));
        }
        Ok(artifacts)
    }

    /// An artifact of a task and up to `limit` of its bytes from `offset` on; no bytes behind its end.
    /// `None` if the task has no artifact of this name.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn artifact<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        name: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<(Artifact, Vec<u8>)>, Error> {
        self.get(who, id).await?;
        let store = &self.shared.store;
        let Some(entry) = store.journal_get(id, JournalKind::Artifact, name).await? else {
            return Ok(None);
        };
        let recorded = recorded(&entry)?;
        let bytes = store.blob_read(id, &recorded.blob, offset, limit).await?;
        let bytes = bytes.ok_or_else(|| {
            Error::broken(format!(
                "the file of artifact {name:?} of task {id} is missing beside the store: restore a \
                 backup that has it"
            ))
        })?;
        Ok(Some((recorded.named(name, entry.at), bytes)))
    }
}

fn recorded(entry: &outlast_core::JournalEntry) -> Result<RecordedArtifact, Error> {
    artifact::of(entry)
        .map_err(|error| Error::broken(format!("artifact {:?}: {error}", entry.name)))
}
