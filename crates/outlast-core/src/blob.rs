//! Blobs: the bytes of artifacts, kept beside the records of their tasks.
//!
//! A blob is written first and means nothing: nobody can find it. A journal entry of kind
//! [`crate::JournalKind::Artifact`] that names it makes it part of its task, under the lease and in the
//! unit of that entry. What was written and never named is removed when the store is opened the next
//! time, and all blobs of a task go with the task. So a store needs no transaction over files.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::TaskId;

/// The largest artifact, in bytes: 1 GiB.
pub const LARGEST_ARTIFACT: u64 = 1024 * 1024 * 1024;

/// How many artifacts a task may have.
pub const MOST_ARTIFACTS: usize = 1_000;

/// A file that a task has made, as its readers see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// Unique within its task: a relative path with `/` between its parts.
    pub name: String,
    /// What it is: a media type.
    pub mime: String,
    /// How many bytes it has.
    pub size: u64,
    /// The SHA-256 digest of its bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// When it was recorded.
    pub at: Timestamp,
}

/// What the journal keeps of an artifact: the value of its entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordedArtifact {
    /// See [`Artifact::mime`].
    pub mime: String,
    /// See [`Artifact::size`].
    pub size: u64,
    /// See [`Artifact::sha256`].
    pub sha256: String,
    /// The blob with the bytes.
    pub blob: String,
}

impl RecordedArtifact {
    /// The artifact as its readers see it.
    pub fn named(&self, name: &str, at: Timestamp) -> Artifact {
        Artifact {
            name: name.to_owned(),
            mime: self.mime.clone(),
            size: self.size,
            sha256: self.sha256.clone(),
            at,
        }
    }
}

/// Keeps blobs.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Begins a blob of a task. It costs nothing yet that a crash would leave behind for good.
    async fn blob_create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>>;

    /// Up to `limit` bytes of a blob from `offset` on; none behind its end. `None` if there is no such
    /// blob.
    async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>>;

    /// Removes a blob that no journal entry names. Without one nothing happens.
    async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()>;
}

/// A blob that is being written. Dropped before its end it leaves nothing behind.
#[async_trait]
pub trait BlobWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, bytes: Vec<u8>) -> Result<()>;

    /// Makes the blob durable, as far as the store is, and returns its name.
    async fn finish(self: Box<Self>) -> Result<String>;
}
