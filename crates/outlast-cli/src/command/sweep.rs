//! The sweeper: removes the folders of runs whose task has ended, and stops commands that go on without one.
//!
//! A command is left alone in two ways. Its task has ended without it, as when that was cancelled while no
//! server ran: the command is stopped, and the folder goes. Or its task is cancelled while nobody holds it, as
//! when it waits behind a pause after its server was killed: then the task [is being stopped], and says
//! `cancelled` when the sweeper has seen that nothing of the command is left.
//!
//! Decision: the sweeper listens for changes of tasks, and looks at those that have a folder here and that
//! nobody follows. It looks at all of them when something was missed, and now and then.
//!
//! [is being stopped]: outlast_core::Task::is_stopping

use std::io;
use std::time::{Duration, Instant};

use outlast_core::machine::CancelMode;
use outlast_core::{Store, TaskId};
use outlast_engine::Handle;
use rustix::fs::FlockOperation;

use super::folder::{RunFolder, RunState};
use super::orphans;
use super::runs::{Runs, lock, locked, tasks_in};

/// After how long a run whose task is unknown to the store belongs to nobody. A call that is not
/// stored yet is followed before its folder is made; the time covers the moment at its end.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// How often the sweeper looks without being told to.
const LOOK: Duration = Duration::from_secs(60);

/// How soon it looks again while something is left.
const SOON: Duration = Duration::from_millis(500);

/// How soon after it could not look: what lost its task while the store was out of reach runs on until then.
const AGAIN: Duration = Duration::from_secs(5);

/// How soon after a change it hears of the next: a task that changes often is looked at once.
const APART: Duration = Duration::from_millis(20);

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

impl Runs {
    /// Removes the runs of tasks that have ended, and stops those that are still under way. A task that
    /// is being stopped is cancelled when its commands are gone.
    ///
    /// Repeating it is harmless. Runs that a handler of any process follows are left alone, and so are
    /// those of other tasks that have not ended.
    ///
    /// # Errors
    /// When the folder or the store cannot be read.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn sweep(&self, store: &dyn Store) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for task in tasks_in(&self.root)? {
            self.look_at(task, store, &mut swept).await?;
        }
        Ok(swept)
    }

    /// Sweeps for as long as the future is polled: when a run ends, when a task that has one changes, and
    /// from time to time.
    ///
    /// # Cancel safety
    /// Made to be dropped.
    pub async fn sweep_forever(&self, handle: Handle) {
        // Before the first look, so that no change falls between.
        let mut changes = handle.changes();
        let store = handle.side();
        drop(handle);
        let mut next = None;
        loop {
            let now = tokio::time::Instant::now();
            let at = *next.get_or_insert(now);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(at) => next = Some(self.all(&*store).await),
                () = self.poke.notified() => {
                    // What was returned is being recorded just now, and others may end too.
                    next = Some(at.min(now + Duration::from_millis(200)));
                }
                changed = changes.next() => {
                    let mut pause = LOOK;
                    if changed.missed {
                        pause = Duration::ZERO;
                    }
                    for task in changed.tasks.into_keys() {
                        if !self.task_folder(task).exists() {
                            continue;
                        }
                        let mut swept = Swept::default();
                        let looked = self.look_at(task, &*store, &mut swept).await;
                        pause = pause.min(self.pause_after(looked.map(|()| swept)));
                    }
                    next = Some(at.min(tokio::time::Instant::now() + pause));
                    tokio::time::sleep(APART).await;
                }
            }
        }
    }

    /// Looks at all runs, and says when to do so again.
    async fn all(&self, store: &dyn Store) -> tokio::time::Instant {
        let swept = self.sweep(store).await;
        tokio::time::Instant::now() + self.pause_after(swept)
    }

    fn pause_after(&self, swept: io::Result<Swept>) -> Duration {
        match swept {
            Ok(Swept { left: 0, .. }) => LOOK,
            Ok(_) => SOON,
            Err(error) => {
                tracing::warn!(%error, folder = %self.root.display(), "cannot sweep runs");
                AGAIN
            }
        }
    }

    /// Looks at the runs of one task.
    async fn look_at(&self, id: TaskId, store: &dyn Store, swept: &mut Swept) -> io::Result<()> {
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        let _alone = match locked(&self.task_folder(id), exclusive) {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                lock(&self.unknown).remove(&id);
                return Ok(());
            }
            Err(error) => {
                failed(id, &error, swept);
                return Ok(());
            }
        };
        match store.get(id).await.map_err(io::Error::other)? {
            Some(task) if task.is_stopping() => match self.stop(id).await {
                Ok(0) => {
                    let stopped = store.cancel(id, None, CancelMode::Stopped).await;
                    drop(stopped.map_err(io::Error::other)?);
                }
                Ok(left) => {
                    swept.left += left;
                    return Ok(());
                }
                Err(error) => {
                    failed(id, &error, swept);
                    swept.left += 1;
                    return Ok(());
                }
            },
            Some(task) if !task.is_finished() => return Ok(()),
            Some(_) => {}
            None if self.unknown_for(id) < UNKNOWN_FOR => {
                swept.left += 1;
                return Ok(());
            }
            None => {}
        }
        // One folder that cannot be removed must not keep the others.
        if let Err(error) = self.sweep_task(id, swept).await {
            failed(id, &error, swept);
        }
        Ok(())
    }

    fn unknown_for(&self, task: TaskId) -> Duration {
        lock(&self.unknown)
            .entry(task)
            .or_insert_with(Instant::now)
            .elapsed()
    }

    /// Stops the commands of a task and keeps their folders, for the task has not ended. Says how many are
    /// still under way.
    async fn stop(&self, task: TaskId) -> io::Result<usize> {
        let mut left = 0;
        for folder in self.of(task)?.into_values() {
            left += usize::from(!is_stopped(&folder).await?);
        }
        Ok(left)
    }

    async fn sweep_task(&self, task: TaskId, swept: &mut Swept) -> io::Result<()> {
        let mut left = 0;
        for folder in self.of(task)?.into_values() {
            if !is_stopped(&folder).await? {
                left += 1;
                continue;
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

/// Whether nothing of a run is at work any more; asks for what is to be stopped.
async fn is_stopped(folder: &RunFolder) -> io::Result<bool> {
    match folder.state()? {
        RunState::Running => {
            folder.request_cancel()?;
            return Ok(false);
        }
        RunState::Vanished(started) => {
            orphans::kill(folder, &started).await?;
        }
        RunState::Ended(_) | RunState::NotStarted => {}
    }
    Ok(true)
}

fn failed(task: TaskId, error: &io::Error, swept: &mut Swept) {
    tracing::warn!(%task, %error, "cannot sweep the runs of a task");
    swept.failed += 1;
}
