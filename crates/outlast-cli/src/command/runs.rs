//! All runs of one server: where their folders are, which are being followed, and what is swept up.
//!
//! The folders stand beside the store, `<store>.runs/<task>/<number>`. A folder is removed only when
//! its task has ended in the store, never by the code that saw the command end: that code may die
//! before what it returned is recorded, and the next attempt must then find the run and not start
//! another: see [`super::sweep`].
//!
//! Where the store is shared, several processes of one machine share the folders, and each of them
//! sweeps. So whoever follows the runs of a task says it where all of them see it: a file in the task's
//! folder is locked, by the follower shared and by a sweeper alone. The kernel frees the lock with its
//! process, in whatever way that ends.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use outlast_core::TaskId;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::folder::{RunFolder, RunState, append, make_task_folder};
use super::launch::Launcher;

/// The file in a task's folder that is locked by whoever follows its runs.
const FOLLOWED: &str = "followed";

/// The file in the root that names it: see [`Runs::place`].
const PLACE: &str = "place";

/// How long a follower waits for a sweeper that looks at the task's runs.
const TURN: Duration = Duration::from_millis(10);

/// The runs beside one store.
#[derive(Debug)]
pub struct Runs {
    pub(super) root: PathBuf,
    launcher: Launcher,
    place: OnceLock<String>,
    pub(super) unknown: Mutex<HashMap<TaskId, Instant>>,
    pub(super) poke: Notify,
}

/// The folder for runs beside a database: `outlast.db` has `outlast.db.runs`.
#[must_use]
pub fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".runs");
    PathBuf::from(name)
}

/// The tasks of which a command is under way in the folder for runs `root`, or has ended and may not have
/// been taken in: their folders go when a server finds that the task has ended.
///
/// # Errors
/// When the folder or one of its runs cannot be read.
pub fn unsettled(root: &Path) -> io::Result<Vec<TaskId>> {
    let mut unsettled = Vec::new();
    for task in tasks_in(root)? {
        for run in runs_in(&root.join(task.to_string()))?.values() {
            if matches!(run.state()?, RunState::Running | RunState::Ended(_)) {
                unsettled.push(task);
                break;
            }
        }
    }
    Ok(unsettled)
}

pub(super) fn tasks_in(root: &Path) -> io::Result<Vec<TaskId>> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut tasks = Vec::new();
    for entry in entries {
        // What is not named after a task is not ours.
        let name = entry?.file_name();
        tasks.extend(name.to_str().and_then(|name| name.parse::<TaskId>().ok()));
    }
    Ok(tasks)
}

impl Runs {
    /// The runs in the folder `root`, which is made when the first run is.
    #[must_use]
    pub fn new(root: PathBuf, launcher: Launcher) -> Arc<Self> {
        Arc::new(Self {
            root,
            launcher,
            place: OnceLock::new(),
            unknown: Mutex::default(),
            poke: Notify::new(),
        })
    }

    pub(super) fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    /// The name of this place: the machine's, and a random word, for machines may have equal names and
    /// a folder may be lost. Written into the root once and for good.
    ///
    /// # Errors
    /// When it can neither be read nor be written.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn place(self: &Arc<Self>) -> io::Result<String> {
        if let Some(known) = self.place.get() {
            return Ok(known.clone());
        }
        let runs = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let place = place_in(&runs.root)?;
            Ok(runs.place.get_or_init(|| place).clone())
        })
        .await?
    }

    /// Where a task's run with this number is.
    pub(super) fn path(&self, task: TaskId, number: u64) -> PathBuf {
        self.task_folder(task).join(number.to_string())
    }

    /// The task's runs by number, the oldest first.
    pub(super) fn of(&self, task: TaskId) -> io::Result<BTreeMap<u64, RunFolder>> {
        runs_in(&self.task_folder(task))
    }

    /// Marks the task's runs as followed, for every process of the machine, until the returned value is
    /// dropped.
    ///
    /// # Errors
    /// When the task's folder cannot be made or the file not be locked.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn follow(self: &Arc<Self>, task: TaskId) -> io::Result<Following> {
        loop {
            let folder = self.task_folder(task);
            // It may wait for the disk.
            let locked = tokio::task::spawn_blocking(move || {
                make_task_folder(&folder)?;
                locked(&folder, FlockOperation::NonBlockingLockShared)
            });
            if let Some(lock) = locked.await?? {
                return Ok(Following {
                    runs: Arc::clone(self),
                    lock: Some(lock),
                });
            }
            tokio::time::sleep(TURN).await;
        }
    }

    pub(super) fn task_folder(&self, task: TaskId) -> PathBuf {
        self.root.join(task.to_string())
    }
}

fn place_in(root: &Path) -> io::Result<String> {
    make_task_folder(root)?;
    let mut file = File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(root.join(PLACE))?;
    // Several processes may begin at once; the first names it.
    flock(&file, FlockOperation::LockExclusive)?;
    let mut place = String::new();
    file.read_to_string(&mut place)?;
    if place.is_empty() {
        let random = RandomState::new().build_hasher().finish();
        place = format!("{} {random:016x}", machine());
        file.write_all(place.as_bytes())?;
        file.sync_all()?;
    }
    Ok(place)
}

fn machine() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Locks the file of a task's folder that says who is at work there; `None` if another's lock does not
/// go with this one, or if the folder was removed just now.
pub(super) fn locked(folder: &Path, operation: FlockOperation) -> io::Result<Option<Locked>> {
    let path = folder.join(FOLLOWED);
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let file = match append(&path) {
        Ok(file) => file,
        Err(error) if gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let file = match flock(&file, operation) {
        Ok(()) => Locked(file),
        Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A sweeper may have removed the file between its opening and its locking: then the lock is on
    // something that nobody else will ever see.
    match std::fs::metadata(&path) {
        Ok(there) if there.ino() == file.0.metadata()?.ino() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn runs_in(folder: &Path) -> io::Result<BTreeMap<u64, RunFolder>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut runs = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        // Drafts of folders have other names.
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        match RunFolder::open(&entry.path()) {
            Ok(folder) => drop(runs.insert(number, folder)),
            // Half removed when a server died.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(runs)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}

/// A handler follows runs of a task.
pub(super) struct Following {
    runs: Arc<Runs>,
    /// `Some` until it is dropped.
    lock: Option<Locked>,
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.lock.take());
        self.runs.poke.notify_one();
    }
}

/// A file that is locked until this is dropped.
pub(super) struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // To close the file is not enough: a process that is being started just now has a copy of it.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
