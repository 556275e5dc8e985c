//! The store for those who look at tasks, and what it keeps beside them.

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

use crate::blobs;
use crate::executor::Outcome;
use crate::failure::closed;
use crate::limit;
use crate::record::record_name;
use crate::row;
use crate::store::RedisStore;

#[async_trait]
impl Reads for RedisStore {
    async fn get(&self, task: TaskId) -> Result<Option<Arc<Task>>> {
        self.run(|executor| async move { executor.get(task).await })
            .await
    }

    async fn list(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Result<Page> {
        let filter = filter.clone();
        self.run(|executor| async move { executor.list(&filter, before, limit).await })
            .await
    }

    async fn ready_versions(&self) -> Result<BTreeSet<ToolVersion>> {
        self.run(|executor| async move { executor.ready_versions().await })
            .await
    }

    async fn ready_tasks(
        &self,
        version: &ToolVersion,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        let version = version.clone();
        self.run(|executor| async move { executor.ready_tasks(&version, skip, limit).await })
            .await
    }

    async fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.run(|executor| async move { executor.events(task, after, limit).await })
            .await
    }

    async fn journal(&self, task: TaskId) -> Result<Vec<JournalEntry>> {
        self.run(|executor| async move { executor.journal(task).await })
            .await
    }

    async fn journal_page(
        &self,
        task: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let after = after.to_owned();
        self.run(|executor| async move { executor.journal_page(task, kind, &after, limit).await })
            .await
    }

    async fn journal_get(
        &self,
        task: TaskId,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>> {
        let name = row::entry_name(kind, name);
        self.run(|executor| async move { executor.entry(task, &name).await })
            .await
    }

    async fn signals(
        &self,
        task: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>> {
        let name = name.to_owned();
        self.run(|executor| async move { executor.signals(task, &name, after, limit).await })
            .await
    }

    async fn log_read(&self, task: TaskId, offset: u64, limit: usize) -> Result<LogPage> {
        self.run(|executor| async move { executor.log_read(task, offset, limit).await })
            .await
    }

    async fn controls(&self) -> Result<Controls> {
        self.run(|executor| async move { limit::decode(&executor.controls_text().await?) })
            .await
    }

    async fn schedule_get(&self, name: &str) -> Result<Option<Schedule>> {
        let name = name.to_owned();
        self.run(|executor| async move { executor.schedule(&name).await })
            .await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.run(|executor| async move { executor.schedules().await })
            .await
    }

    async fn workers(&self) -> Result<Vec<WorkerSign>> {
        self.run(|executor| async move { executor.workers().await })
            .await
    }

    async fn stats(&self) -> Result<Stats> {
        self.run(|executor| async move { executor.stats().await })
            .await
    }
}

#[async_trait]
impl Blobs for RedisStore {
    async fn blob_create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>> {
        if self.shared.driver.is_closed() {
            return Err(closed());
        }
        Ok(Box::new(blobs::Writer::new(Arc::clone(&self.shared), task)))
    }

    async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        let blob = blob.to_owned();
        self.run(|executor| async move { executor.blob_read(task, &blob, offset, limit).await })
            .await
    }

    async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()> {
        let blob = blob.to_owned();
        self.run(|executor| async move { executor.blob_remove(task, &blob).await })
            .await
    }
}

#[async_trait]
impl Side for RedisStore {
    async fn log_append(&self, lease: &Lease, lines: Vec<LogLine>) -> Result<u64> {
        let lease = *lease;
        self.run(|executor| async move {
            let outcome = executor.run(
                |unit| {
                    unit.guard_lease(&lease);
                    Ok(unit.log_append(&lease, &lines)?)
                },
                |()| None,
            );
            match outcome.await? {
                Outcome::Done((), done) => Ok(done.numbers.first().copied().unwrap_or(0)),
                _ => Err(Error::LeaseLost(lease.task)),
            }
        })
        .await
    }

    async fn record_put(
        &self,
        space: &str,
        key: &str,
        value: Vec<u8>,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        let name = record_name(space, key);
        self.run(|executor| async move {
            executor
                .record_put(&name, &value, expires_at, None)
                .await
                .map(|_| ())
        })
        .await
    }

    async fn record_init(&self, space: &str, key: &str, value: Vec<u8>) -> Result<Vec<u8>> {
        let name = record_name(space, key);
        self.run(|executor| async move {
            loop {
                let (there, found) = executor.record_get(&name).await?;
                if let Some(found) = found {
                    return Ok(found);
                }
                if executor
                    .record_put(&name, &value, None, Some(&there))
                    .await?
                {
                    return Ok(value);
                }
            }
        })
        .await
    }

    async fn record_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let name = record_name(space, key);
        self.run(|executor| async move { Ok(executor.record_get(&name).await?.1) })
            .await
    }
}
