//! Reads: of one task in its shard, of one owner's tasks in theirs, and of all in all.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use outlast_core::limit::Controls;
use outlast_core::store::{Filter, Page, Reads, Side, Stats, ToolVersion};
use outlast_core::task::Lease;
use outlast_core::worker::WorkerSign;
use outlast_core::{
    BlobWriter, Blobs, Error, Event, JournalEntry, JournalKind, LogLine, LogPage, Result, Schedule,
    Signal, Task, TaskId, Timestamp,
};

use super::{Sharded, merge, slot};

/// Nothing was found.
fn none<T>(answer: &Result<Option<T>>) -> bool {
    matches!(answer, Ok(None))
}

/// Nothing of it was found.
fn empty<T>(answer: &Result<Vec<T>>) -> bool {
    matches!(answer, Ok(found) if found.is_empty())
}

#[async_trait]
impl Reads for Sharded {
    async fn get(&self, task: TaskId) -> Result<Option<Arc<Task>>> {
        self.at(task, |shard| shard.get(task), none).await
    }

    async fn list(&self, filter: &Filter, cursor: Option<u64>, limit: usize) -> Result<Page> {
        let one = match (filter.parent, &filter.owner) {
            (Some(parent), _) => Some(self.locate(parent).await?),
            (None, Some(owner)) => Some(self.of_owner(owner)),
            (None, None) => None,
        };
        if let Some(shard) = one {
            return self.shards[shard].list(filter, cursor, limit).await;
        }
        let pages = self.all(|shard| shard.list(filter, cursor, limit)).await?;
        Ok(merge::pages(pages, limit, filter.oldest_first))
    }

    async fn ready_versions(&self) -> Result<BTreeSet<ToolVersion>> {
        let versions = self.all(Reads::ready_versions).await?;
        Ok(versions.into_iter().flatten().collect())
    }

    async fn ready_tasks(
        &self,
        version: &ToolVersion,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        let (mut skip, mut ready) = (skip, Vec::new());
        // One shard's after the other's.
        for (number, shard) in self.shards.iter().enumerate() {
            let left = limit - ready.len();
            let more = shard.ready_tasks(version, skip, left).await?;
            if more.is_empty() && skip > 0 {
                skip -= shard.ready_tasks(version, 0, skip).await?.len();
                continue;
            }
            skip = 0;
            for id in more {
                self.note(id, number);
                ready.push(id);
            }
            if ready.len() == limit {
                break;
            }
        }
        Ok(ready)
    }

    async fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.at(task, |shard| shard.events(task, after, limit), empty)
            .await
    }

    async fn journal(&self, task: TaskId) -> Result<Vec<JournalEntry>> {
        self.at(task, |shard| shard.journal(task), empty).await
    }

    async fn journal_page(
        &self,
        task: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        self.at(
            task,
            |shard| shard.journal_page(task, kind, after, limit),
            empty,
        )
        .await
    }

    async fn journal_get(
        &self,
        task: TaskId,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>> {
        self.at(task, |shard| shard.journal_get(task, kind, name), none)
            .await
    }

    async fn signals(
        &self,
        task: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>> {
        self.at(task, |shard| shard.signals(task, name, after, limit), empty)
            .await
    }

    async fn log_read(&self, task: TaskId, offset: u64, limit: usize) -> Result<LogPage> {
        self.at(
            task,
            |shard| shard.log_read(task, offset, limit),
            |page| matches!(page, Ok(page) if page.end == 0),
        )
        .await
    }

    async fn controls(&self) -> Result<Controls> {
        self.controls_of_any().await
    }

    async fn schedule_get(&self, name: &str) -> Result<Option<Schedule>> {
        let found = self.find_schedule(name).await?;
        Ok(found.map(|(_, schedule)| schedule))
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.all_schedules().await
    }

    async fn workers(&self) -> Result<Vec<WorkerSign>> {
        let mut failed = None;
        for shard in self.answering(0) {
            match self.shards[shard].workers().await {
                Ok(workers) => return Ok(workers),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.expect("there are shards"))
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(merge::stats(self.all(Reads::stats).await?))
    }
}

#[async_trait]
impl Blobs for Sharded {
    async fn blob_create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>> {
        let shard = self.locate(task).await?;
        self.shards[shard].blob_create(task).await
    }

    async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        self.at(
            task,
            |shard| shard.blob_read(task, blob, offset, limit),
            none,
        )
        .await
    }

    async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()> {
        let shard = self.locate(task).await?;
        self.shards[shard].blob_remove(task, blob).await
    }
}

#[async_trait]
impl Side for Sharded {
    async fn log_append(&self, lease: &Lease, lines: Vec<LogLine>) -> Result<u64> {
        let lines = &lines;
        self.at(
            lease.task,
            |shard| shard.log_append(lease, lines.clone()),
            |end| matches!(end, Err(Error::LeaseLost(_))),
        )
        .await
    }

    async fn record_put(
        &self,
        space: &str,
        key: &str,
        value: Vec<u8>,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        let shard = slot::of_record(space, key, self.shards.len());
        self.shards[shard]
            .record_put(space, key, value, expires_at)
            .await
    }

    async fn record_init(&self, space: &str, key: &str, value: Vec<u8>) -> Result<Vec<u8>> {
        let shard = slot::of_record(space, key, self.shards.len());
        self.shards[shard].record_init(space, key, value).await
    }

    async fn record_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let shard = slot::of_record(space, key, self.shards.len());
        self.shards[shard].record_get(space, key).await
    }
}
