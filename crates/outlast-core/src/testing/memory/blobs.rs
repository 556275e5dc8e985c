//! The blobs of the memory store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use crate::blob::BlobWriter;
use crate::error::Result;
use crate::id::TaskId;

type Kept = HashMap<(TaskId, String), Vec<u8>>;

/// Blobs by task and name. Cheap to clone; every clone has the same ones.
#[derive(Clone, Default)]
pub(super) struct MemoryBlobs(Arc<Mutex<Kept>>);

impl MemoryBlobs {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no holder panics")
    }

    pub(super) fn create(&self, task: TaskId) -> Box<dyn BlobWriter> {
        Box::new(Writer {
            blobs: self.clone(),
            task,
            bytes: Vec::new(),
        })
    }

    pub(super) fn read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Option<Vec<u8>> {
        let kept = self.lock();
        let bytes = kept.get(&(task, blob.to_owned()))?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let from = from.min(bytes.len());
        Some(bytes[from..].iter().take(limit).copied().collect())
    }

    pub(super) fn remove(&self, task: TaskId, blob: &str) {
        self.lock().remove(&(task, blob.to_owned()));
    }

    /// Forgets what `keep` does not want.
    pub(super) fn retain(&self, keep: impl Fn(TaskId, &str) -> bool) {
        self.lock().retain(|(task, blob), _| keep(*task, blob));
    }

    /// The same blobs for the next process.
    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }
}

struct Writer {
    blobs: MemoryBlobs,
    task: TaskId,
    bytes: Vec<u8>,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.bytes.extend(bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<String> {
        let name = TaskId::random().to_string();
        let key = (self.task, name.clone());
        self.blobs.lock().insert(key, self.bytes);
        Ok(name)
    }
}
