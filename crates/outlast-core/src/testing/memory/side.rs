//! Logs, artifacts and records.

use async_trait::async_trait;

use super::{Inner, MemoryStore};
use crate::blob::{BlobWriter, Blobs};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::TaskId;
use crate::log::{self, LOG_LIMIT, LogChunk, LogLine};
use crate::store::{Notice, Side};
use crate::task::Lease;

impl Inner {
    pub(super) fn log_append(
        &mut self,
        lease: &Lease,
        lines: Vec<LogLine>,
        now: Timestamp,
    ) -> Result<u64> {
        let kept = self
            .tasks
            .get_mut(&lease.task)
            .filter(|kept| kept.task.holds(lease));
        let kept = kept.ok_or(Error::LeaseLost(lease.task))?;
        for line in lines {
            let LogLine {
                level,
                logger,
                text,
                mark,
            } = line;
            for piece in log::pieces(&text) {
                let offset = kept.log_end;
                kept.log_end += piece.len() as u64;
                kept.log.push(LogChunk {
                    offset,
                    at: now,
                    level,
                    logger: logger.clone(),
                    text: piece.to_vec(),
                });
            }
            kept.mark = mark.or(kept.mark);
        }
        if kept.log_end > LOG_LIMIT {
            let (head, tail) = (LOG_LIMIT / 2, kept.log_end - LOG_LIMIT / 2);
            kept.log
                .retain(|chunk| chunk.offset < head || chunk.end() > tail);
        }
        let end = kept.log_end;
        self.notices.push(Notice::Logged(lease.task));
        Ok(end)
    }
}

#[async_trait]
impl Blobs for MemoryStore {
    async fn blob_create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>> {
        self.unit(|_, _| Ok(self.blobs.create(task)))
    }

    async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        self.unit(|inner, _| {
            // Blobs go with their tasks.
            self.blobs.retain(|task, _| inner.tasks.contains_key(&task));
            Ok(self.blobs.read(task, blob, offset, limit))
        })
    }

    async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()> {
        self.unit(|_, _| {
            self.blobs.remove(task, blob);
            Ok(())
        })
    }
}

#[async_trait]
impl Side for MemoryStore {
    async fn log_append(&self, lease: &Lease, lines: Vec<LogLine>) -> Result<u64> {
        self.unit(|inner, now| inner.log_append(lease, lines, now))
    }

    async fn record_put(
        &self,
        space: &str,
        key: &str,
        value: Vec<u8>,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        self.unit(|inner, _| {
            inner
                .records
                .insert((space.into(), key.into()), (value, expires_at));
            Ok(())
        })
    }

    async fn record_init(&self, space: &str, key: &str, value: Vec<u8>) -> Result<Vec<u8>> {
        self.unit(|inner, now| {
            let key = (space.to_owned(), key.to_owned());
            let expired = |expires_at: Option<Timestamp>| expires_at.is_some_and(|at| at <= now);
            if inner
                .records
                .get(&key)
                .is_some_and(|record| expired(record.1))
            {
                inner.records.remove(&key);
            }
            Ok(inner.records.entry(key).or_insert((value, None)).0.clone())
        })
    }

    async fn record_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.unit(|inner, now| {
            let record = inner.records.get(&(space.into(), key.into()));
            Ok(record
                .filter(|(_, expires_at)| expires_at.is_none_or(|expires_at| expires_at > now))
                .map(|(value, _)| value.clone()))
        })
    }
}
