//! Reading tasks and what they have left behind.

use std::sync::Arc;

use outlast_core::store::{Filter, Page};
use outlast_core::{Error, Event, JournalEntry, LogPage, Task, TaskId};

use super::Handle;
use crate::sharing::{Asker, Right};

impl Handle {
    /// The task, as it stands now.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such task for `who`; or the store failed.
    pub async fn get<'a>(&self, who: impl Into<Asker<'a>>, id: TaskId) -> Result<Arc<Task>, Error> {
        self.permitted(who.into(), id, Right::Read).await
    }

    /// The asker's own tasks, the latest created first, below the sequence `cursor`; those that others
    /// share are found by their ids only (2025-11-25 tasks: a list holds the requestor's own).
    ///
    /// # Errors
    /// The store failed.
    pub async fn list<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        filter: Filter,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Page, Error> {
        let filter = Filter {
            owner: Some(who.into().owner().clone()),
            ..filter
        };
        self.store().list(&filter, cursor, limit).await
    }

    /// The tasks that match, whoever they belong to: for callers that have found out whether they may be
    /// seen.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list_any(
        &self,
        filter: &Filter,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.store().list(filter, cursor, limit).await
    }

    /// The children of a task, the latest or the `oldest_first`, from behind the sequence `cursor` on.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn children<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        oldest_first: bool,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.permitted(who.into(), id, Right::Read).await?;
        let filter = Filter {
            parent: Some(id),
            oldest_first,
            ..Filter::default()
        };
        self.store().list(&filter, cursor, limit).await
    }

    /// The events of a task with numbers above `after`.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn events<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        self.permitted(who.into(), id, Right::Read).await?;
        self.store().events(id, after, limit).await
    }

    /// What the task has recorded, with dots in the place of secrets.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn journal<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
    ) -> Result<Vec<JournalEntry>, Error> {
        let (entries, _) = self.journal_slice(who, id, 0, usize::MAX).await?;
        Ok(entries)
    }

    /// A part of [`Handle::journal`]: at most `limit` entries after the first `skip`, and how many there are
    /// in all.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn journal_slice<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        skip: usize,
        limit: usize,
    ) -> Result<(Vec<JournalEntry>, usize), Error> {
        let task = self.permitted(who.into(), id, Right::Read).await?;
        let entries = self.store().journal_slice(id, skip, limit).await?;
        let vault = &self.shared.vault;
        let shown = entries
            .into_iter()
            .map(|entry| vault.shown(&task.spec, entry));
        Ok((shown.collect(), task.state.journal.entries as usize))
    }

    /// The log of a task from `offset`.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn log<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        offset: u64,
        limit: usize,
    ) -> Result<LogPage, Error> {
        self.permitted(who.into(), id, Right::Read).await?;
        self.store().log_read(id, offset, limit).await
    }
}
