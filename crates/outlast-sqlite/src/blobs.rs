//! Blobs as files beside the database: `<db>.artifacts/<task>/<blob>`.
//!
//! A blob is written under another name, flushed, and renamed; then the folder is flushed. Its name
//! begins with a number that each opening of the store draws anew, so that what an earlier process
//! left behind is told from what is being written now: files of earlier processes that no journal
//! entry names are removed, on a thread of its own, when the store is opened. The folder of a task goes
//! when its record has gone; a process that dies in between leaves it to the next one.

use std::collections::HashSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use outlast_core::blob::RecordedArtifact;
use outlast_core::{BlobWriter, Error, Recorded, Result, TaskId};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use crate::schema::open_reader;

/// How many files are read or written at a time.
const THREADS: usize = 3;

/// The files of one store.
#[derive(Clone, Debug)]
pub(crate) struct BlobFiles {
    root: Arc<Path>,
    /// What the names begin with that this process gives.
    run: Arc<str>,
    disk: Disk,
}

impl BlobFiles {
    /// The files beside the database at `path`. Begins to remove what earlier processes left behind.
    ///
    /// # Errors
    /// The operating system gives no random numbers or no thread.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut root = path.as_os_str().to_owned();
        root.push(".artifacts");
        let files = Self {
            root: Arc::from(PathBuf::from(root)),
            run: format!("{:016x}", random()?).into(),
            disk: Disk::default(),
        };
        if files.root.exists() {
            let (files, path) = (files.clone(), path.to_owned());
            spawn(move || {
                if let Err(error) = files.sweep(&path) {
                    // Only room on the disk is at stake, and the next start tries again.
                    let _ = error;
                }
            })?;
        }
        Ok(files)
    }

    fn folder(&self, task: TaskId) -> PathBuf {
        self.root.join(task.to_string())
    }

    fn path(&self, task: TaskId, blob: &str) -> Option<PathBuf> {
        // Names are ours; one with a part of a path in it is none.
        let fits = blob
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (fits && !blob.is_empty()).then(|| self.folder(task).join(blob))
    }

    pub(crate) async fn create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>> {
        let files = self.clone();
        let disk = self.disk.clone();
        let writer = self.disk.run(move || {
            let folder = files.folder(task);
            let new = !folder.exists();
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)?;
            if new {
                sync_folder(&files.root)?;
                files.root.parent().map_or(Ok(()), sync_folder)?;
            }
            let name = format!("{}-{:016x}", files.run, random().map_err(io::Error::other)?);
            let draft = folder.join(format!(".{name}"));
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&draft)?;
            Ok(FileWriter {
                file: Some(file),
                folder,
                draft,
                name,
                disk,
            })
        });
        Ok(Box::new(writer.await?))
    }

    pub(crate) async fn read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.path(task, blob) else {
            return Ok(None);
        };
        self.disk
            .run(move || {
                let file = match File::open(&path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                };
                let left = file.metadata()?.len().saturating_sub(offset);
                let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(limit);
                let mut bytes = vec![0; wanted];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(Some(bytes))
            })
            .await
    }

    pub(crate) async fn remove(&self, task: TaskId, blob: &str) -> Result<()> {
        let Some(path) = self.path(task, blob) else {
            return Ok(());
        };
        let root = Arc::clone(&self.root);
        self.disk
            .run(move || {
                gone(std::fs::remove_file(&path))?;
                // The folder goes with its last file; the others say by their error that they stay.
                let folder = path.parent().unwrap_or(&root);
                let _ = std::fs::remove_dir(folder);
                Ok(())
            })
            .await
    }

    /// Removes the folders of tasks whose records have gone. Does not wait for the disk.
    pub(crate) fn remove_tasks(&self, tasks: impl Iterator<Item = TaskId>) {
        if !self.root.exists() {
            return;
        }
        let folders: Vec<_> = tasks
            .map(|task| self.folder(task))
            .filter(|folder| folder.exists())
            .collect();
        if !folders.is_empty() {
            // What is not removed now is at the next start.
            let _ = spawn(move || {
                for folder in folders {
                    let _ = std::fs::remove_dir_all(folder);
                }
            });
        }
    }

    /// Removes the files of earlier processes that no journal entry names.
    fn sweep(&self, database: &Path) -> io::Result<()> {
        let conn = open_reader(database).map_err(io::Error::other)?;
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            // What is not named after a task is not ours.
            let Some(task) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let files: Vec<PathBuf> = std::fs::read_dir(entry.path())?
                .map(|file| file.map(|file| file.path()))
                .collect::<io::Result<_>>()?;
            let named = named(&conn, task).map_err(io::Error::other)?;
            for file in files {
                let name = file
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or_default();
                let is_of_now = name.trim_start_matches('.').starts_with(&*self.run);
                if !is_of_now && !named.contains(name) {
                    gone(std::fs::remove_file(&file))?;
                }
            }
            // Fails where something is left, and that is right.
            let _ = std::fs::remove_dir(entry.path());
        }
        Ok(())
    }
}

/// The blobs that the journal of a task names.
fn named(conn: &Connection, task: TaskId) -> rusqlite::Result<HashSet<String>> {
    let sequence: Option<i64> = conn
        .prepare_cached("SELECT sequence FROM task WHERE id = ?1")?
        .query_row([task.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(sequence) = sequence else {
        return Ok(HashSet::new());
    };
    let mut statement =
        conn.prepare_cached("SELECT recorded FROM journal WHERE task = ?1 AND kind = 'artifact'")?;
    let mut rows = statement.query(params![sequence])?;
    let mut blobs = HashSet::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if let Ok(Recorded::Value(value)) = serde_json::from_str(&text)
            && let Ok(artifact) = value.to::<RecordedArtifact>()
        {
            blobs.insert(artifact.blob);
        }
    }
    Ok(blobs)
}

/// A blob on its way to the disk.
struct FileWriter {
    /// `None` while a call writes, and after a write that failed.
    file: Option<File>,
    folder: PathBuf,
    draft: PathBuf,
    name: String,
    disk: Disk,
}

#[async_trait]
impl BlobWriter for FileWriter {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        let mut file = self.file.take().ok_or_else(broken_off)?;
        self.file = Some(
            self.disk
                .run(move || {
                    file.write_all(&bytes)?;
                    Ok(file)
                })
                .await?,
        );
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<String> {
        let file = self.file.take().ok_or_else(broken_off)?;
        let (draft, folder, name) = (self.draft.clone(), self.folder.clone(), self.name.clone());
        self.disk
            .run(move || {
                file.sync_all()?;
                std::fs::rename(&draft, folder.join(&name))?;
                sync_folder(&folder)
            })
            .await?;
        Ok(self.name.clone())
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // Has another name by now if it was finished.
        let _ = std::fs::remove_file(&self.draft);
    }
}

fn broken_off() -> Error {
    Error::Invalid("an artifact whose writing was broken off cannot be gone on with".into())
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that wait for the disk, so that no caller's does. They start with the first blob, and end
/// with the last clone of this value.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Option<Sender<Job>>>>);

impl Disk {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // A caller that has gone needs no answer.
            let _ = reply.send(work());
        });
        self.submit(job)?;
        let done = answer.await.map_err(|_| {
            Error::broken(
                "reading or writing an artifact failed in a way that should be impossible",
            )
        })?;
        done.map_err(|error| {
            let message = format!(
                "an artifact cannot be stored or read: {error}; look at the disk of the task store"
            );
            Error::unavailable(message, error)
        })
    }

    fn submit(&self, job: Job) -> Result<()> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = match &mut *jobs {
            Some(jobs) => jobs,
            none => none.insert(start_threads()?),
        };
        jobs.send(job).map_err(|_| crate::failure::closed())
    }
}

fn start_threads() -> Result<Sender<Job>> {
    let (jobs, queue) = channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..THREADS {
        let queue = Arc::clone(&queue);
        spawn(move || {
            loop {
                let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = job else { return };
                // One job that panics drops its reply and must not take the others along.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        })?;
    }
    Ok(jobs)
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name("outlast-blobs".into())
        .spawn(work)
        .map(drop)
        .map_err(|error| Error::unavailable("cannot start a thread", error))
}

fn random() -> Result<u64> {
    getrandom::u64().map_err(|error| {
        Error::broken(format!(
            "the operating system gives no random numbers: {error}"
        ))
    })
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
