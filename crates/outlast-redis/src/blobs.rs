//! Blobs: strings, one for each, that go with their tasks.
//!
//! A blob that is being written stands in the hash `blobs` with the name of the store that writes it,
//! and expires by itself; the journal entry that names it takes it out of there and keeps it. What a
//! store left behind that is open no more is removed when the next one is opened.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outlast_core::{BlobWriter, Error, Result, TaskId};
use redis::Value;

use crate::executor::Executor;
use crate::row;
use crate::store::Shared;

/// How long a blob is kept that nobody names and nobody writes on.
const UNNAMED: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest blob: the largest value of Redis, less some room.
const LARGEST: u64 = 500_000_000;

fn name(task: TaskId, blob: &str) -> String {
    format!("b:{task}:{blob}")
}

impl Executor {
    async fn blob_append(&self, task: TaskId, blob: &str, bytes: Vec<u8>) -> Result<()> {
        let key = self.link.key(&name(task, blob));
        let field = format!("{task} {blob}");
        let owned = redis::cmd("HSET")
            .arg(self.link.key("blobs"))
            .arg(field)
            .arg(&self.origin)
            .take();
        self.link.command(&owned).await?;
        let append = redis::cmd("APPEND").arg(&key).arg(bytes).take();
        self.link.command(&append).await?;
        let millis = u64::try_from(UNNAMED.as_millis()).expect("a day");
        let expire = redis::cmd("PEXPIRE").arg(&key).arg(millis).take();
        self.link.command(&expire).await.map(|_| ())
    }

    pub(crate) async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        let key = self.link.key(&name(task, blob));
        let last = offset.saturating_add(limit as u64).min(i64::MAX as u64);
        let mut bytes = Vec::new();
        if last > offset {
            let get = redis::cmd("GETRANGE")
                .arg(&key)
                .arg(offset)
                .arg(last - 1)
                .take();
            bytes = match self.link.command(&get).await? {
                Value::BulkString(bytes) => bytes,
                _ => Vec::new(),
            };
        }
        if bytes.is_empty() {
            let exists = redis::cmd("EXISTS").arg(&key).take();
            if row::int(&self.link.command(&exists).await?) == 0 {
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }

    pub(crate) async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()> {
        let unlink = redis::cmd("UNLINK")
            .arg(self.link.key(&name(task, blob)))
            .take();
        self.link.command(&unlink).await?;
        let field = format!("{task} {blob}");
        let forget = redis::cmd("HDEL")
            .arg(self.link.key("blobs"))
            .arg(field)
            .take();
        self.link.command(&forget).await.map(|_| ())
    }

    /// Removes what stores left behind that are open no more.
    pub(crate) async fn sweep_blobs(&self) -> Result<()> {
        let all = redis::cmd("HGETALL").arg(self.link.key("blobs")).take();
        let all = row::array(self.link.command(&all).await?);
        if all.is_empty() {
            return Ok(());
        }
        let processes = self.processes().await?;
        for pair in all.chunks_exact(2) {
            let (field, origin) = (row::text(&pair[0]), row::text(&pair[1]));
            if processes.is_open(&origin, self.clock.now()) {
                continue;
            }
            if let Some((task, blob)) = field.split_once(' ')
                && let Ok(task) = task.parse()
            {
                self.blob_remove(task, blob).await?;
            }
        }
        Ok(())
    }
}

/// A blob on its way.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    task: TaskId,
    blob: String,
    size: u64,
    kept: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, task: TaskId) -> Self {
        Self {
            shared,
            task,
            blob: TaskId::random().to_string(),
            size: 0,
            kept: false,
        }
    }

    async fn append(&self, bytes: Vec<u8>) -> Result<()> {
        let (task, blob) = (self.task, self.blob.clone());
        let executor = Arc::clone(&self.shared.executor);
        let append = async move { executor.blob_append(task, &blob, bytes).await };
        self.shared.driver.run(append).await
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.size += bytes.len() as u64;
        if self.size > LARGEST {
            return Err(Error::Invalid(format!(
                "an artifact may have {LARGEST} bytes in a store of this kind: keep larger files \
                 elsewhere and give out where"
            )));
        }
        self.append(bytes).await
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        if self.size == 0 {
            self.append(Vec::new()).await?;
        }
        self.kept = true;
        Ok(self.blob.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.kept || self.size == 0 {
            return;
        }
        let (task, blob) = (self.task, self.blob.clone());
        let executor = Arc::clone(&self.shared.executor);
        self.shared.driver.spawn(async move {
            // What stays behind expires by itself.
            let _ = executor.blob_remove(task, &blob).await;
        });
    }
}
