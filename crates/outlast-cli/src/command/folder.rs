//! A run's folder: what is to run, what has been started, what it printed and how it ended.
//!
//! The folder is the only thing that a server and a shim share, and it is made so that each fact in
//! it is either wholly there or absent: files are written under another name, synced, renamed, and
//! the folder synced. [`RunFolder::state`] reads the facts in the one order in which they cannot
//! mislead. The module above, [`crate::command`], holds the argument why a command never runs twice
//! in one folder and is never lost silently.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::environment::Inherited;
use super::expand::Invocation;
use super::identity::ProcessIdentity;
use super::limits::Limits;

const SPEC: &str = "spec.json";
const LOCK: &str = "lock";
const STARTED: &str = "started.json";
const HELD: &str = "held";
const STATUS: &str = "status.json";
const CANCEL: &str = "cancel";
const NOT_RUN: &str = "not-run";
const LOG: &str = "log";
const GAP: &str = "gap";
const SHIM_LOG: &str = "shim.log";
const FILES: &str = "files";

/// How long a shim waits for the lock. A server that looks whether the lock is held holds it for an
/// instant itself.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What a shim is to run. Written before anything is started and never changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The form of this file.
    pub version: u32,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables beside the inherited ones.
    pub env: Vec<(String, String)>,
    /// The working folder.
    pub working_dir: PathBuf,
    /// The time limit.
    pub timeout_ms: Option<u64>,
    /// How long it may print nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout_ms: Option<u64>,
    /// From SIGINT to SIGTERM.
    pub interrupt_grace_ms: u64,
    /// From SIGTERM to SIGKILL.
    pub terminate_grace_ms: u64,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// What it inherits of the shim's environment. The variables that hold secrets, which come that
    /// way, are among it.
    #[serde(default)]
    pub inherited: Inherited,
    /// A file that it writes and that belongs to its log. Absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_file: Option<PathBuf>,
}

impl Spec {
    /// A run without a time limit and with the default graces.
    #[must_use]
    pub fn new(invocation: Invocation) -> Self {
        let ms = |grace: Duration| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        Self {
            version: 1,
            argv: invocation.argv,
            env: invocation.env,
            working_dir: invocation.working_dir,
            timeout_ms: None,
            idle_timeout_ms: None,
            interrupt_grace_ms: ms(crate::config::INTERRUPT_GRACE),
            terminate_grace_ms: ms(crate::config::TERMINATE_GRACE),
            limits: Limits::default(),
            inherited: Inherited::default(),
            log_file: None,
        }
    }
}

/// Who runs: recorded before the command is executed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Started {
    /// The command. Its process has this identity already before it executes the program.
    pub command: ProcessIdentity,
    /// The shim that waits for it.
    pub shim: ProcessIdentity,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// How many processes the machine had made by then since it was started. By this it is known whether
    /// the command's id can have gone to another meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forks: Option<u64>,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// What became of the command.
    pub end: End,
    /// What the shim stopped it for, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopCause>,
    /// When it began, milliseconds since 1970.
    pub started_at_ms: u64,
    /// How long it took.
    pub duration_ms: u64,
    /// Processes that the command left behind and the shim ended.
    #[serde(default)]
    pub leftovers: u32,
    /// What it used up, with everything that it started and that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// What the system says about ended processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Used {
    /// Processor time in milliseconds, of all of them.
    pub cpu_ms: u64,
    /// The most memory that one of them held, in bytes. `None` if none held more than the process that became
    /// the command had held before, for then it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// It was killed by this signal.
    Signalled(i32),
    /// It could not be run at all, for this reason.
    NotRun(String),
}

/// Why a shim stopped its command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// Somebody asked for it.
    Cancel,
    /// The time limit ran out.
    Timeout,
    /// It printed nothing for longer than it may.
    IdleTimeout,
    /// One of its processes used up the processor time that each may use. The kernel stopped it.
    CpuTime,
    /// It had more processes than it may.
    Processes,
    /// It printed more than it may.
    Output,
    /// The shim was told to end by a signal from elsewhere, as when the machine shuts down.
    Signal,
}

/// Where a run is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RunState {
    /// Nothing was executed, and nothing will be unless somebody launches a shim.
    NotStarted,
    /// A shim looks after it.
    Running,
    /// It ended, and the log is complete.
    Ended(Status),
    /// The command was executed, or was about to be, and its shim is gone without a word.
    Vanished(Started),
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Records the intention to run: makes the folder with `spec` in it, durably and all at once.
    /// A folder that is there already is kept as it is, with the spec that it has.
    ///
    /// # Errors
    /// Whatever kept the folder from being made.
    pub fn create(path: &Path, spec: &Spec) -> io::Result<Self> {
        let folder = Self {
            path: std::path::absolute(path)?,
        };
        let parent = folder.path.parent().unwrap_or(Path::new("/")).to_owned();
        if folder.path.join(SPEC).exists() {
            return Ok(folder);
        }
        make_task_folder(&parent)?;
        let name = folder
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let draft = parent.join(format!(".{name}.{}", std::process::id()));
        // A draft of ours with this name is from a process that died with our id.
        let _ = std::fs::remove_dir_all(&draft);
        make_private(&draft)?;
        if spec.working_dir == Self::files(&folder.path) {
            make_private(&draft.join(FILES))?;
        }
        write_durably(&draft, SPEC, &serde_json::to_vec(spec)?)?;
        match std::fs::rename(&draft, &folder.path) {
            Ok(()) => sync_folder(&parent)?,
            // Somebody was faster; theirs stands.
            Err(_) if folder.path.join(SPEC).exists() => {
                let _ = std::fs::remove_dir_all(&draft);
            }
            Err(error) => return Err(error),
        }
        Ok(folder)
    }

    /// The working folder of the run's own in the folder at `path`. A run whose spec names it gets it, empty.
    #[must_use]
    pub fn files(path: &Path) -> PathBuf {
        path.join(FILES)
    }

    /// The folder at `path`, which must have been made by [`create`](Self::create).
    ///
    /// # Errors
    /// `NotFound` when there is no run.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = Self {
            path: std::path::absolute(path)?,
        };
        std::fs::metadata(folder.path.join(SPEC))?;
        Ok(folder)
    }

    /// Where it is. Absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with what the command printed, both streams in the order of arrival. Of very much the
    /// middle is gone and reads as zeros.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// What is to run.
    ///
    /// # Errors
    /// When the file cannot be read or was not written by us.
    pub fn spec(&self) -> io::Result<Spec> {
        self.read(SPEC)?
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where the run is now.
    ///
    /// # Errors
    /// When a file of the folder cannot be read or does not make sense.
    pub fn state(&self) -> io::Result<RunState> {
        if let Some(status) = self.status()? {
            return Ok(RunState::Ended(status));
        }
        if self.is_locked()? {
            return Ok(RunState::Running);
        }
        // Nobody holds the lock, so nobody can be about to write. What is on the disk now is all
        // there will be; the status may have come between the first look and the lock.
        if let Some(status) = self.status()? {
            return Ok(RunState::Ended(status));
        }
        Ok(self
            .started()?
            .map_or(RunState::NotStarted, RunState::Vanished))
    }

    /// How the run ended, if it has.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn status(&self) -> io::Result<Option<Status>> {
        self.read(STATUS)
    }

    /// Who runs, if a command was started.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn started(&self) -> io::Result<Option<Started>> {
        self.read(STARTED)
    }

    /// Asks for the command to be stopped. The request stands until the command has ended, whether
    /// or not a shim has been started yet.
    ///
    /// # Errors
    /// Whatever kept the request from being written.
    pub fn request_cancel(&self) -> io::Result<()> {
        if !self.cancel_requested() {
            write_durably(&self.path, CANCEL, b"")?;
        }
        // The file is the request, and the shim looks for it from time to time. The signal only
        // makes it look now.
        if let Some(started) = self.started()? {
            started.shim.signal(rustix::process::Signal::TERM)?;
        }
        Ok(())
    }

    /// Whether somebody asked for the command to be stopped.
    #[must_use]
    pub fn cancel_requested(&self) -> bool {
        self.path.join(CANCEL).exists()
    }

    /// What the shim itself had to say, for a message about a launch that failed.
    #[must_use]
    pub fn shim_says(&self) -> String {
        let mut text = Vec::new();
        if let Ok(file) = File::open(self.path.join(SHIM_LOG)) {
            let _ = file.take(4096).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// Removes the folder with everything in it.
    ///
    /// # Errors
    /// Whatever kept it from being removed; a folder that is gone already is no error.
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// The file that the shim's own words go to.
    pub(super) fn shim_log(&self) -> io::Result<File> {
        append(&self.path.join(SHIM_LOG))
    }

    /// The log, to be written.
    pub(super) fn log_for_writing(&self) -> io::Result<File> {
        append(&self.log_path())
    }

    /// Where the end of the log's gap is written, little-endian, at the beginning of the file.
    pub(super) fn gap_for_writing(&self) -> io::Result<File> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.join(GAP))
    }

    /// Where the gap of the log ends, which begins behind the first half of what is kept; 0 if there is
    /// none.
    pub(super) fn gap_end(&self) -> io::Result<u64> {
        let mut end = [0; 8];
        match File::open(self.path.join(GAP)).and_then(|file| file.read_at(&mut end, 0)) {
            Ok(8) => Ok(u64::from_le_bytes(end)),
            // Made, and nothing written yet.
            Ok(_) => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock for good; `None` if another shim has it.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let file = append(&self.path.join(LOCK))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a shim holds the lock. Takes it for an instant, shared, so that two that look do not
    /// see each other.
    fn is_locked(&self) -> io::Result<bool> {
        let file = match File::open(self.path.join(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes how much memory, in bytes, the process held that becomes the command. The system counts that as the
    /// command's.
    pub(super) fn write_held(&self, bytes: u64) -> io::Result<()> {
        std::fs::write(self.path.join(HELD), bytes.to_string())
    }

    /// What [`RunFolder::write_held`] has noted, if it has.
    pub(super) fn held(&self) -> Option<u64> {
        std::fs::read_to_string(self.path.join(HELD))
            .ok()?
            .parse()
            .ok()
    }

    pub(super) fn write_started(&self, started: &Started) -> io::Result<()> {
        write_durably(&self.path, STARTED, &serde_json::to_vec(started)?)
    }

    pub(super) fn write_status(&self, status: &Status) -> io::Result<()> {
        write_durably(&self.path, STATUS, &serde_json::to_vec(status)?)
    }

    /// The process that was to become the command says why it could not.
    pub(super) fn write_not_run(&self, reason: &str) -> io::Result<()> {
        write_durably(&self.path, NOT_RUN, reason.as_bytes())
    }

    pub(super) fn forget_not_run(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(NOT_RUN)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    pub(super) fn not_run(&self) -> Option<String> {
        std::fs::read_to_string(self.path.join(NOT_RUN)).ok()
    }

    /// Reads a file of ours; `None` if it is not there.
    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let path = self.path.join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let message = format!(
                "{} was not written by this program: {error}",
                path.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }
}

/// Makes the folder for the runs of a task, unless it is there.
pub(super) fn make_task_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_private(path)?;
    // Else a power failure could take a run away together with its task's folder.
    sync_folder(path.parent().unwrap_or(Path::new("/")))
}

/// Makes a folder that only its owner may look into, with its parents.
fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(super) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Writes a file so that it is there wholly or not at all, also after a power failure.
fn write_durably(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!("{name}.{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, folder.join(name))?;
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(word: &str) -> Spec {
        Spec::new(Invocation {
            argv: vec![word.to_owned()],
            env: vec![],
            secret_env: vec![],
            working_dir: "/".into(),
        })
    }

    fn identity(pid: i32) -> ProcessIdentity {
        ProcessIdentity {
            pid,
            start_time: "1".into(),
            boot_id: "b".into(),
        }
    }

    #[test]
    fn the_first_intention_stands() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("task/1");
        assert!(RunFolder::open(&path).is_err());
        RunFolder::create(&path, &spec("a")).unwrap();
        let again = RunFolder::create(&path, &spec("b")).unwrap();
        assert_eq!(again.spec().unwrap().argv, ["a"]);
        let names: Vec<_> = std::fs::read_dir(dir.path().join("task"))
            .unwrap()
            .collect();
        assert_eq!(names.len(), 1, "no draft is left");
    }

    #[test]
    fn the_state_follows_from_lock_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&dir.path().join("1"), &spec("a")).unwrap();
        assert_eq!(folder.state().unwrap(), RunState::NotStarted);
        let lock = folder.lock().unwrap().unwrap();
        assert_eq!(folder.state().unwrap(), RunState::Running);
        assert!(folder.lock().unwrap().is_none(), "a second shim is refused");
        let started = Started {
            command: identity(1),
            shim: identity(2),
            at_ms: 3,
            forks: None,
        };
        folder.write_started(&started).unwrap();
        assert_eq!(folder.state().unwrap(), RunState::Running);
        drop(lock);
        assert_eq!(folder.state().unwrap(), RunState::Vanished(started));
        let status = Status {
            end: End::Exited(3),
            stopped: Some(StopCause::Timeout),
            started_at_ms: 1,
            duration_ms: 2,
            leftovers: 0,
            used: None,
        };
        folder.write_status(&status).unwrap();
        assert_eq!(folder.state().unwrap(), RunState::Ended(status));
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert!(!folder.path().exists());
    }

    #[test]
    fn a_foreign_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&dir.path().join("1"), &spec("a")).unwrap();
        std::fs::write(folder.path().join(STATUS), "{").unwrap();
        assert!(
            folder
                .state()
                .unwrap_err()
                .to_string()
                .contains("status.json was not written")
        );
    }

    #[test]
    fn the_lock_dies_with_its_last_holder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&dir.path().join("1"), &spec("a")).unwrap();
        let lock = folder.lock().unwrap().unwrap();
        // As between the shim and the process that becomes the command.
        let copy = lock.try_clone().unwrap();
        drop(lock);
        assert_eq!(folder.state().unwrap(), RunState::Running);
        drop(copy);
        assert_eq!(folder.state().unwrap(), RunState::NotStarted);
    }
}
