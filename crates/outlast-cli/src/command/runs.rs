//! All runs of one server: where their folders are, which are being followed, and what is swept up.
//!
//! The folders stand beside the store, `<store>.runs/<task>/<number>`. A folder is removed only when
//! its task has ended in the store, never by the code that saw the command end: that code may die
//! before what it returned is recorded, and the next attempt must then find the run and not start
//! another. The sweeper also stops commands whose task has ended without them, as when a task was
//! cancelled while no server ran.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outlast_core::{Store, TaskId};
use tokio::sync::Notify;

use super::folder::{RunFolder, RunState};
use super::launch::Launcher;
use super::orphans;

/// After how long a run whose task is unknown to the store belongs to nobody. A call that is not
/// stored yet is entered here before its folder is made; the time covers the moment at its end.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// How often the sweeper looks without being told to.
const LOOK: Duration = Duration::from_secs(60);

/// How soon it looks again while something is left.
const SOON: Duration = Duration::from_millis(500);

/// The runs beside one store.
#[derive(Debug)]
pub struct Runs {
    root: PathBuf,
    launcher: Launcher,
    /// How many handlers of this process follow runs of the task.
    active: Mutex<HashMap<TaskId, usize>>,
    unknown: Mutex<HashMap<TaskId, Instant>>,
    poke: Notify,
}

/// What a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Runs whose folder was removed.
    pub removed: usize,
    /// Commands that are being stopped, and runs that nobody may own: look again soon.
    pub left: usize,
    /// Tasks whose runs could not be looked at or removed; the log says why.
    pub failed: usize,
}

/// The folder for runs beside a database: `outlast.db` has `outlast.db.runs`.
#[must_use]
pub fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".runs");
    PathBuf::from(name)
}

impl Runs {
    /// The runs in the folder `root`, which is made when the first run is.
    #[must_use]
    pub fn new(root: PathBuf, launcher: Launcher) -> Arc<Self> {
        Arc::new(Self {
            root,
            launcher,
            active: Mutex::default(),
            unknown: Mutex::default(),
            poke: Notify::new(),
        })
    }

    pub(super) fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    /// Where a task's run with this number is.
    pub(super) fn path(&self, task: TaskId, number: u64) -> PathBuf {
        self.task_folder(task).join(number.to_string())
    }

    /// The task's runs by number, the oldest first.
    pub(super) fn of(&self, task: TaskId) -> io::Result<BTreeMap<u64, RunFolder>> {
        runs_in(&self.task_folder(task))
    }

    /// Marks the task's runs as followed until the returned value is dropped.
    pub(super) fn follow(self: &Arc<Self>, task: TaskId) -> Following {
        *lock(&self.active).entry(task).or_default() += 1;
        Following {
            runs: Arc::clone(self),
            task,
        }
    }

    fn task_folder(&self, task: TaskId) -> PathBuf {
        self.root.join(task.to_string())
    }

    /// Removes the runs of tasks that have ended, and stops those that are still under way.
    ///
    /// Repeating it is harmless. Runs that a handler of this process follows are left alone, and so
    /// are those of tasks that have not ended.
    ///
    /// # Errors
    /// When the folder or the store cannot be read.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn sweep(&self, store: &dyn Store) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for task in self.tasks()? {
            if self.is_active(task) {
                continue;
            }
            match store.get(task).await.map_err(io::Error::other)? {
                Some(task) if !task.is_finished() => continue,
                Some(_) => {}
                None if self.unknown_for(task) < UNKNOWN_FOR => {
                    swept.left += 1;
                    continue;
                }
                None => {}
            }
            // One folder that cannot be removed must not keep the others.
            if let Err(error) = self.sweep_task(task, &mut swept).await {
                tracing::warn!(%task, %error, "cannot sweep the runs of a task");
                swept.failed += 1;
            }
        }
        Ok(swept)
    }

    /// Sweeps for as long as the future is polled: when a run ends, and from time to time.
    ///
    /// # Cancel safety
    /// Made to be dropped.
    pub async fn sweep_forever(&self, store: Arc<dyn Store>) {
        loop {
            let pause = match self.sweep(&*store).await {
                Ok(Swept { left: 0, .. }) => LOOK,
                Ok(_) => SOON,
                Err(error) => {
                    tracing::warn!(%error, folder = %self.root.display(), "cannot sweep runs");
                    LOOK
                }
            };
            tokio::select! {
                () = self.poke.notified() => {
                    // What was returned is being recorded just now, and others may end too.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn tasks(&self) -> io::Result<Vec<TaskId>> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut tasks = Vec::new();
        for entry in entries {
            // What is not named after a task is not ours.
            tasks.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<TaskId>().ok()),
            );
        }
        Ok(tasks)
    }

    fn is_active(&self, task: TaskId) -> bool {
        let active = lock(&self.active).contains_key(&task);
        if active {
            lock(&self.unknown).remove(&task);
        }
        active
    }

    fn unknown_for(&self, task: TaskId) -> Duration {
        lock(&self.unknown)
            .entry(task)
            .or_insert_with(Instant::now)
            .elapsed()
    }

    async fn sweep_task(&self, task: TaskId, swept: &mut Swept) -> io::Result<()> {
        let mut left = 0;
        for folder in self.of(task)?.into_values() {
            match folder.state()? {
                RunState::Running => {
                    folder.request_cancel()?;
                    left += 1;
                    continue;
                }
                RunState::Vanished(started) => {
                    orphans::kill(&folder, &started).await?;
                }
                RunState::Ended(_) | RunState::NotStarted => {}
            }
            // A long log takes the file system its time.
            tokio::task::spawn_blocking(move || folder.remove()).await??;
            swept.removed += 1;
        }
        swept.left += left;
        if left == 0 {
            lock(&self.unknown).remove(&task);
            let folder = self.task_folder(task);
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(())
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}

/// A handler follows runs of a task.
pub(super) struct Following {
    runs: Arc<Runs>,
    task: TaskId,
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut active = lock(&self.runs.active);
        if let Some(count) = active.get_mut(&self.task) {
            *count -= 1;
            if *count == 0 {
                active.remove(&self.task);
            }
        }
        drop(active);
        self.runs.poke.notify_one();
    }
}
