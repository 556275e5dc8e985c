//! Artifacts and partial results: what a task gives out while it runs.
//!
//! Both are journal entries: a replay finds them and neither writes nor announces them again. Each has
//! an event of its own. Partial results are numbered from 1 in the order of the calls; artifacts have
//! names.

use std::path::{Path, PathBuf};
use std::pin::Pin;

use outlast_core::blob::{LARGEST_ARTIFACT, MOST_ARTIFACTS, RecordedArtifact};
use outlast_core::journal::partial_name;
use outlast_core::{Artifact, BlobWriter, JournalEntry, JournalKind, RawJson, Recorded, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::blocking::BlockingCx;
use crate::context::Cx;
use crate::error::{Error, ErrorKind, Result, from_store};
use crate::step::{self, InFlight};

/// The largest partial result, in bytes of JSON: 1 MiB.
pub const LARGEST_PARTIAL: usize = 1024 * 1024;
/// How many bytes of JSON the partial results of a task may have together: 16 MiB.
pub const LARGEST_PARTIALS: usize = 16 * 1024 * 1024;
/// How many partial results a task may have.
pub const MOST_PARTIALS: u64 = 10_000;

/// The longest name of an artifact, in bytes.
const LONGEST_NAME: usize = 255;
/// What is read of a source at a time.
const PIECE: usize = 256 * 1024;

/// Part of a result, given out before the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Partial {
    /// 1, 2, 3 …
    pub number: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What it is.
    pub value: RawJson,
}

/// Where the bytes of an artifact come from: bytes, text, the path of a file, or a reader.
pub enum ArtifactSource {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The content of this file.
    File(PathBuf),
    /// All that this reader gives.
    Reader(Pin<Box<dyn AsyncRead + Send>>),
}

impl ArtifactSource {
    /// All that `reader` gives.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::Reader(Box::pin(reader))
    }
}

impl From<Vec<u8>> for ArtifactSource {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for ArtifactSource {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_owned())
    }
}

impl From<String> for ArtifactSource {
    /// The text itself, not a path.
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<&str> for ArtifactSource {
    /// The text itself, not a path.
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<PathBuf> for ArtifactSource {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for ArtifactSource {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl Cx {
    /// Gives out part of the result before the end, and returns its number: 1, 2, 3 … It is durable
    /// when this returns; whoever watches the task reads it from a number on. A later run of the
    /// handler that comes here again gets the same number, and nothing is recorded a second time: the
    /// calls must come in the same order in every run.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn search(_: &str) -> Result<Vec<String>> { Ok(Vec::new()) }
    /// # async fn handler(cx: Cx, sources: Vec<String>) -> Result<String> {
    /// for source in &sources {
    ///     let found: Vec<String> = cx.step(format!("search {source}"), || search(source)).await?;
    ///     cx.partial(&found).await?;
    /// }
    /// # Ok(String::new()) }
    /// ```
    ///
    /// # Errors
    /// The value has no JSON form or is larger than [`LARGEST_PARTIAL`]; the task has
    /// [`MOST_PARTIALS`] of them, or of [`LARGEST_PARTIALS`] bytes, already; inside a step; the run is
    /// not a task; a lost lease; a store that failed.
    ///
    /// # Cancel safety
    /// A dropped call has recorded the value as a whole or not at all, and has used its number up.
    pub async fn partial(&self, value: impl Serialize) -> Result<u64> {
        step::outside_step("partial")?;
        // Held over the write: the order of the numbers is the order of the events.
        let mut given = self.run.partials.lock().await;
        given.count += 1;
        let number = given.count;
        let name = partial_name(number);
        if let Some(entry) = self.run.take_name(JournalKind::Partial, &name)? {
            given.bytes += length(&entry);
            return Ok(number);
        }
        let value = RawJson::of(&value).map_err(|error| {
            refused(format!("partial result {number} has no JSON form: {error}"))
        })?;
        let size = value.as_str().len();
        if size > LARGEST_PARTIAL {
            return Err(refused(format!(
                "partial result {number} has {size} bytes; at most {LARGEST_PARTIAL} are allowed, \
                 larger things are artifacts"
            )));
        }
        if number > MOST_PARTIALS || given.bytes + size > LARGEST_PARTIALS {
            return Err(refused(format!(
                "partial result {number} is one too many: a task has at most {MOST_PARTIALS} of \
                 them, of {LARGEST_PARTIALS} bytes together"
            )));
        }
        let _in_flight = InFlight::begin(&self.run);
        let recorded = Recorded::Value(value);
        step::record(&self.run, JournalKind::Partial, &name, None, recorded).await?;
        given.bytes += size;
        Ok(number)
    }

    /// Keeps a file with the task: bytes, a text, the path of a file, or a reader, under a name and
    /// with a media type. It is durable when this returns, can be read while the task runs and after
    /// it, and is deleted with the task. A later run of the handler finds it and reads no source.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn handler(cx: Cx) -> Result<String> {
    /// cx.artifact("report.csv", "text/csv", "name,size\na,1\n").await?;
    /// let film = cx.artifact("film.mp4", "video/mp4", std::path::Path::new("out/film.mp4")).await?;
    /// # Ok(film.sha256) }
    /// ```
    ///
    /// # Errors
    /// The name or the media type is none; the source cannot be read or has more than
    /// [`LARGEST_ARTIFACT`] bytes; the task has [`MOST_ARTIFACTS`] already; a name used twice; inside
    /// a step; the run is not a task; a lost lease; a store that failed.
    ///
    /// # Cancel safety
    /// A dropped call has kept the file as a whole or not at all.
    pub async fn artifact(
        &self,
        name: impl Into<String>,
        mime: impl Into<String>,
        source: impl Into<ArtifactSource>,
    ) -> Result<Artifact> {
        step::outside_step("artifact")?;
        let (name, mime) = (name.into(), mime.into());
        check_name(&name).map_err(refused)?;
        check_mime(&mime).map_err(refused)?;
        if let Some(entry) = self.run.take_name(JournalKind::Artifact, &name)? {
            return read(&entry);
        }
        if self.run.recorded_of(JournalKind::Artifact) >= MOST_ARTIFACTS {
            return Err(refused(format!(
                "artifact {name:?} is one too many: a task has at most {MOST_ARTIFACTS}"
            )));
        }
        let run = &self.run;
        run.must_persist("artifact").await?;
        let _in_flight = InFlight::begin(run);
        let (store, task) = (run.store(), self.task_id());
        let writer = run.insist(|| store.blob_create(task)).await?;
        let artifact = self.copy(&name, mime, source.into(), writer).await?;
        let value = Recorded::Value(RawJson::of(&artifact)?);
        let recorded = step::record(run, JournalKind::Artifact, &name, None, value).await;
        let kept = match &recorded {
            Ok(entry) => of(entry)?.blob == artifact.blob,
            // It may have been recorded and the reply lost: then the blob must stay. If not, it is
            // swept up at the next start of the server.
            Err(error) => !matches!(error.kind(), ErrorKind::LeaseLost),
        };
        if !kept {
            let _ = store.blob_remove(task, &artifact.blob).await;
        }
        read(&recorded?)
    }

    /// Writes all of a source into a blob.
    async fn copy(
        &self,
        name: &str,
        mime: String,
        source: ArtifactSource,
        mut writer: Box<dyn BlobWriter>,
    ) -> Result<RecordedArtifact> {
        let mut reader: Pin<Box<dyn AsyncRead + Send>> = match source {
            ArtifactSource::Bytes(bytes) => Box::pin(std::io::Cursor::new(bytes)),
            ArtifactSource::Reader(reader) => reader,
            ArtifactSource::File(path) => {
                let unreadable =
                    |error| refused(format!("artifact {name:?}: {}: {error}", path.display()));
                let file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
                if !file.metadata().await.map_err(unreadable)?.is_file() {
                    return Err(refused(format!(
                        "artifact {name:?}: {} is no regular file",
                        path.display()
                    )));
                }
                Box::pin(file)
            }
        };
        let mut digest = Sha256::new();
        let mut size = 0;
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let limited = &mut (&mut reader).take(PIECE as u64);
            let read = limited
                .read_to_end(&mut piece)
                .await
                .map_err(|error| refused(format!("artifact {name:?} cannot be read: {error}")))?;
            if read == 0 {
                break;
            }
            size += read as u64;
            if size > LARGEST_ARTIFACT {
                return Err(refused(format!(
                    "artifact {name:?} has more than {LARGEST_ARTIFACT} bytes, which is the most \
                     that is kept"
                )));
            }
            digest.update(&piece);
            writer.write(piece).await.map_err(from_store)?;
            self.run.sign_of_life();
        }
        let blob = writer.finish().await.map_err(from_store)?;
        let sha256 = digest
            .finalize()
            .iter()
            .fold(String::new(), |mut hex, byte| {
                use std::fmt::Write as _;
                let _ = write!(hex, "{byte:02x}");
                hex
            });
        Ok(RecordedArtifact {
            mime,
            size,
            sha256,
            blob,
        })
    }
}

impl BlockingCx {
    /// [`Cx::partial`].
    ///
    /// # Errors
    /// As [`Cx::partial`].
    pub fn partial(&self, value: impl Serialize) -> Result<u64> {
        self.block_on(Cx::partial(self, value))
    }

    /// [`Cx::artifact`].
    ///
    /// # Errors
    /// As [`Cx::artifact`].
    pub fn artifact(
        &self,
        name: impl Into<String>,
        mime: impl Into<String>,
        source: impl Into<ArtifactSource>,
    ) -> Result<Artifact> {
        self.block_on(Cx::artifact(self, name, mime, source))
    }
}

/// The partial result that an entry records.
pub(crate) fn partial_of(entry: &JournalEntry) -> Option<Partial> {
    match &entry.recorded {
        Recorded::Value(value) => Some(Partial {
            number: entry.name.parse().ok()?,
            at: entry.at,
            value: value.clone(),
        }),
        Recorded::Error(_) => None,
    }
}

/// What an entry of kind artifact records.
pub(crate) fn of(entry: &JournalEntry) -> Result<RecordedArtifact> {
    step::recorded_value(&entry.name, entry)
}

fn read(entry: &JournalEntry) -> Result<Artifact> {
    Ok(of(entry)?.named(&entry.name, entry.at))
}

fn length(entry: &JournalEntry) -> usize {
    match &entry.recorded {
        Recorded::Value(json) | Recorded::Error(json) => json.as_str().len(),
    }
}

fn refused(message: String) -> Error {
    Error::tool(message).never_retry()
}

/// A name is a relative path that stays below wherever somebody saves it.
fn check_name(name: &str) -> Result<(), String> {
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let fits = name.len() <= LONGEST_NAME
        && name.split('/').all(part)
        && !name.contains(|c: char| c.is_control() || c == '\\');
    if fits {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name for an artifact; allowed: a relative path of at most {LONGEST_NAME} \
         bytes, without `..`, backslashes and control characters"
    ))
}

fn check_mime(mime: &str) -> Result<(), String> {
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let kind = mime.split(';').next().unwrap_or_default().trim_end();
    let fits = mime.len() <= 255
        && mime.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && kind
            .split_once('/')
            .is_some_and(|(a, b)| token(a) && token(b));
    if fits {
        return Ok(());
    }
    Err(format!(
        "{mime:?} is no media type; write one such as \"text/csv\" or \"application/octet-stream\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below() {
        for name in ["a", "out/a.csv", "Übersicht 1.pdf", "..a"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let long = "x".repeat(256);
        for name in [
            "", "/a", "a/", "a//b", "../a", "a/..", ".", "a\nb", "a\\b", &long,
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn media_types_are_types() {
        for mime in ["text/csv", "text/plain; charset=utf-8", "image/svg+xml"] {
            assert_eq!(check_mime(mime), Ok(()), "{mime}");
        }
        for mime in ["", "text", "text/", "te xt/a", "text/csv\r\nX: y"] {
            assert!(check_mime(mime).is_err(), "{mime:?}");
        }
    }
}
