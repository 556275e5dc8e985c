//! `outlast __exec`: the small process between a server and a command, which outlives the server.
//!
//! Two programs in one file, told apart by their arguments. The *shim* (`__exec FOLDER`) takes the
//! folder's lock, makes itself a session of its own and a child subreaper, starts the second, waits
//! for everything that descends from it, goes down the kill ladder when asked to or when time is up,
//! and writes the status. The *forerunner* (`__exec --run FOLDER SHIM`) makes the command's session,
//! records who it is, and becomes the command. It exists because its process id is then known before
//! the command executes its first instruction, which a parent can not arrange without unsafe code.
//!
//! The forerunner holds the lock too, as its standard input, until the moment in which it becomes
//! the command. So a lock that nobody holds proves that no forerunner is on its way either.
//!
//! The shim needs no server: it has one thread, no timer that ticks faster than twice a second, and
//! never reads the log, of which it only takes the middle out where it grows too large.
//!
//! Once there is a command, nothing that may pass ends its shim: not a disk that is full, not a machine
//! without a file descriptor left. A look that fails is taken again, and what has to be written down is
//! tried until it is. Until then the run counts as running, since nobody can say how it ended.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};

use super::folder::{End, RunFolder, Spec, Started, Status, StopCause, Used};
use super::identity::ProcessIdentity;
use super::ladder::{Group, Ladder};
use super::log_file::LogFile;
use super::output::Output;
use super::tree;

/// The word on the command line. Hidden from the help: it is for this program's own use.
pub const SUBCOMMAND: &str = "__exec";

const FORERUNNER: &str = "--run";

/// How often the shim looks for a request to cancel that no signal announced.
const LOOK: Duration = Duration::from_millis(500);

/// How often it looks where there is something to follow or to count.
const CLOSE_LOOK: Duration = Duration::from_millis(200);

/// How soon it looks again where it could not copy all, or output comes very fast.
const SOON: Duration = Duration::from_millis(10);

/// The pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// The exit status of a shim that found the run in the hands of another, or over.
const NOT_MINE: u8 = 3;

/// Runs what `arguments`, those after [`SUBCOMMAND`], ask for.
///
/// The exit status is 0 when a status was written, 3 when the run is another shim's or has been
/// started before, and 1 with a message on standard error otherwise. What the command returned
/// stands in the folder, never here.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let result = match arguments {
        [folder] => supervise(Path::new(folder)),
        [word, folder, shim] if word == FORERUNNER => RunFolder::open(Path::new(folder))
            .and_then(|folder| become_command(&folder, &shim.to_string_lossy())),
        _ => Err(io::Error::other(format!(
            "usage: outlast {SUBCOMMAND} FOLDER"
        ))),
    };
    result.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

fn supervise(folder: &Path) -> io::Result<ExitCode> {
    close_inherited()?;
    let folder = RunFolder::open(folder)?;
    // Refused where the process leads a group already, as when a shell runs it in the foreground.
    let _ = rustix::process::setsid();
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // No folder is kept busy by a process that may live for days.
    std::env::set_current_dir("/")?;

    let Some(lock) = folder.lock()? else {
        return Ok(ExitCode::from(NOT_MINE));
    };
    // Under the lock nothing of this changes any more.
    if folder.started()?.is_some() || folder.status()?.is_some() {
        return Ok(ExitCode::from(NOT_MINE));
    }
    // What the forerunner of a shim that died at this point may have said about itself.
    folder.forget_not_run()?;
    if folder.cancel_requested() {
        let reason = "cancelled before it was started".to_owned();
        folder.write_status(&not_run(reason, Some(StopCause::Cancel), now_ms()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let spec = folder.spec()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let status = runtime.block_on(Watch::over(&folder, &spec, &lock))?;
    // The status promises that the log is complete.
    patiently(|| folder.log_for_writing()?.sync_all())?;
    patiently(|| folder.write_status(&status))?;
    // Not before: a lock that is free while there is no status means that the run has vanished.
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// Tries until it succeeds. What a command of hours has done must not be lost because the disk was full
/// when it ended, which its own output may be the reason for.
///
/// # Errors
/// The folder is gone: nobody will ever read what would be written.
fn patiently(mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut complained = false;
    loop {
        match work() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                if !std::mem::replace(&mut complained, true) {
                    complain(&error);
                }
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// Says on standard error what is wrong. That is a file too, which may be on the disk that is full.
fn complain(error: &io::Error) {
    let _ = writeln!(io::stderr(), "outlast {SUBCOMMAND}: {error}");
}

/// Closes every file that this process was born with, beside the three streams.
///
/// Whoever started the server may have left pipes open in it by mistake. A command of hours would
/// hold them, and keep somebody waiting for their end.
fn close_inherited() -> io::Result<()> {
    let table = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    let descriptors: Vec<i32> = std::fs::read_dir(table)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    for descriptor in descriptors {
        // One of them was the table itself, which is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// A command that is being waited for.
struct Watch<'a> {
    folder: &'a RunFolder,
    spec: &'a Spec,
    command: Pid,
    /// How the command itself ended.
    ended: Option<(WaitStatus, Duration)>,
    ladder: Option<Ladder>,
    stopped: Option<StopCause>,
    leftovers: u32,
    /// Something failed that is tried again, and has been complained about.
    troubled: bool,
}

impl<'a> Watch<'a> {
    /// Starts the command and stays until it and all its descendants have ended.
    async fn over(
        folder: &'a RunFolder,
        spec: &'a Spec,
        lock: &std::fs::File,
    ) -> io::Result<Status> {
        // Before the first child, so that no end can be missed.
        let mut child = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Caught and ignored. The command does not inherit that, as it would an ignored signal.
        let _hangup = signal(SignalKind::hangup())?;

        // Before the command too: what it writes is told from what was there.
        let mut log_file = match &spec.log_file {
            Some(path) => Some(LogFile::follow(path, folder.log_for_writing()?)),
            None => None,
        };
        let (started_at_ms, begin) = (now_ms(), Instant::now());
        let idle_limit = spec.idle_timeout_ms.map(Duration::from_millis);
        let mut output = Output::begin(folder, idle_limit, begin)?;
        let command = match start_forerunner(folder, lock.try_clone()?) {
            Ok(command) => command,
            // Nothing was started and nothing will be: that is the run's end.
            Err(error) => return Ok(not_run(error.to_string(), None, started_at_ms)),
        };
        let deadline = spec.timeout_ms.map(|ms| begin + Duration::from_millis(ms));
        let is_close = spec.log_file.is_some() || spec.limits.processes.is_some();
        let look = if is_close { CLOSE_LOOK } else { LOOK };
        let mut watch = Self {
            folder,
            spec,
            command,
            ended: None,
            ladder: None,
            stopped: None,
            leftovers: 0,
            troubled: false,
        };
        loop {
            watch.reap(begin);
            let over = watch.is_over();
            let is_over = watch.tried(over) == Some(true);
            let copied = log_file.as_mut().map(LogFile::copy);
            let more = copied.and_then(|copied| watch.tried(copied)) == Some(true);
            let now = Instant::now();
            let looked = output.look(folder, now);
            watch.tried(looked);
            if is_over {
                break;
            }
            if watch.stopped.is_none() && watch.ended.is_none() {
                if folder.cancel_requested() {
                    watch.stop(StopCause::Cancel);
                } else if deadline.is_some_and(|deadline| now >= deadline) {
                    watch.stop(StopCause::Timeout);
                } else if output.is_silent(now) {
                    watch.stop(StopCause::IdleTimeout);
                } else if output.exceeds(spec.limits.output) {
                    watch.stop(StopCause::Output);
                } else {
                    let counted = watch.has_too_many_processes();
                    if watch.tried(counted) == Some(true) {
                        watch.stop(StopCause::Processes);
                    }
                }
            }
            let group = watch.group();
            let advanced = watch
                .ladder
                .as_mut()
                .map(|ladder| ladder.advance(now, group));
            let soon = more || output.grows_fast();
            let mut wake = now + if soon { SOON } else { look };
            if advanced.is_none_or(|advanced| watch.tried(advanced).is_some()) {
                wake = wake.min(watch.ladder.as_ref().map_or(wake, Ladder::due));
            }
            if watch.stopped.is_none() {
                wake = wake.min(deadline.unwrap_or(wake));
                wake = wake.min(output.silence_ends().unwrap_or(wake));
            }
            let signalled = tokio::select! {
                _ = child.recv() => false,
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                () = tokio::time::sleep_until(wake.into()) => false,
            };
            // With a request in the folder the signal only announces it.
            if signalled && !folder.cancel_requested() {
                watch.stop(StopCause::Signal);
            }
        }
        if let Some(file) = &mut log_file {
            let mut more = true;
            while more {
                patiently(|| {
                    more = file.copy()?;
                    Ok(())
                })?;
                let looked = output.look(folder, Instant::now());
                watch.tried(looked);
            }
        }
        Ok(watch.status(started_at_ms, begin))
    }

    /// What came of something that will be tried again; `None` if it failed this time.
    fn tried<T>(&mut self, result: io::Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if !std::mem::replace(&mut self.troubled, true) {
            complain(&error);
        }
        None
    }

    fn group(&self) -> Group {
        Group {
            shim: rustix::process::getpid().as_raw_nonzero().get(),
            command: self.command.as_raw_nonzero().get(),
            unreaped: self.ended.is_none(),
        }
    }

    /// Takes in every child that has ended: the command, and descendants that were inherited.
    fn reap(&mut self, begin: Instant) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.command => {
                    self.ended = Some((status, begin.elapsed()));
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                // Nobody, or nobody any more.
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Whether the command has ended and nothing of it is left. Sweeps up what it left behind.
    fn is_over(&mut self) -> io::Result<bool> {
        if self.ended.is_none() {
            return Ok(false);
        }
        let left = self.group().left()?;
        if left.is_empty() {
            return Ok(true);
        }
        let now = Instant::now();
        match &self.ladder {
            Some(ladder) => Ok(ladder.gave_up(now)),
            None => {
                self.leftovers = u32::try_from(left.len()).unwrap_or(u32::MAX);
                let grace = Duration::from_millis(self.spec.terminate_grace_ms);
                self.ladder = Some(Ladder::sweep(now, grace));
                Ok(false)
            }
        }
    }

    fn stop(&mut self, cause: StopCause) {
        if self.stopped.is_some() || self.ended.is_some() {
            return;
        }
        self.stopped = Some(cause);
        let (interrupt, terminate) = match cause {
            // What multiplies is not waited for.
            StopCause::Processes => (0, 0),
            _ => (self.spec.interrupt_grace_ms, self.spec.terminate_grace_ms),
        };
        self.ladder = Some(Ladder::stop(
            Instant::now(),
            Duration::from_millis(interrupt),
            Duration::from_millis(terminate),
        ));
    }

    fn has_too_many_processes(&self) -> io::Result<bool> {
        let Some(most) = self.spec.limits.processes else {
            return Ok(false);
        };
        let processes = tree::descendants(self.group().shim)?.len();
        Ok(u32::try_from(processes).unwrap_or(u32::MAX) > most)
    }

    fn status(&self, started_at_ms: u64, begin: Instant) -> Status {
        let (end, took) = match (self.folder.not_run(), self.ended) {
            (Some(reason), _) => (End::NotRun(reason), Duration::ZERO),
            // The status is that of the process which was to become the command.
            (None, Some(_)) if matches!(self.folder.started(), Ok(None)) => {
                let reason = "what was to start it ended before that";
                (End::NotRun(reason.into()), Duration::ZERO)
            }
            (None, Some((status, took))) => (end_of(status), took),
            (None, None) => (End::NotRun("it was never seen".into()), begin.elapsed()),
        };
        let used = used(self.folder.held());
        let (exit, signal) = match end {
            End::Exited(code) => (Some(code), None),
            End::Signalled(signal) => (None, Some(signal)),
            End::NotRun(_) => (None, None),
        };
        let cpu_ms = used.map_or(0, |used| used.cpu_ms);
        let cpu_used_up = self.spec.limits.cpu_used_up(exit, signal, cpu_ms);
        Status {
            end,
            stopped: self.stopped.or(cpu_used_up.then_some(StopCause::CpuTime)),
            started_at_ms,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            leftovers: self.leftovers,
            used,
        }
    }
}

/// What all children that have ended used up. The shim has no others than those of its command. A process
/// keeps its peak when it becomes another program, so one that is not above what it `held` before says nothing.
fn used(held: Option<u64>) -> Option<Used> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let peak = peak(&usage);
    Some(Used {
        cpu_ms: u64::try_from(micros / 1000).ok()?,
        peak_memory: Some(peak).filter(|peak| held.is_some_and(|held| *peak > held + LAST_STEPS)),
    })
}

/// What the process that becomes the command may come to hold after it has written down how much it held.
const LAST_STEPS: u64 = 1024 * 1024;

fn peak(usage: &Usage) -> u64 {
    // Linux counts in kibibytes, macOS in bytes.
    let unit = if cfg!(target_os = "linux") { 1024 } else { 1 };
    u64::try_from(usage.max_rss()).unwrap_or(0) * unit
}

fn not_run(reason: String, stopped: Option<StopCause>, started_at_ms: u64) -> Status {
    Status {
        end: End::NotRun(reason),
        stopped,
        started_at_ms,
        duration_ms: 0,
        leftovers: 0,
        used: None,
    }
}

fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signalled(signal),
        (None, None) => End::NotRun(format!("it ended with the unknown status {status:?}")),
    }
}

/// Starts the process that becomes the command.
fn start_forerunner(folder: &RunFolder, lock: std::fs::File) -> io::Result<Pid> {
    let log = folder.log_for_writing()?;
    let child = Command::new(this_program()?)
        .arg0("outlast")
        .args([SUBCOMMAND, FORERUNNER])
        .arg(folder.path())
        .arg(std::process::id().to_string())
        .stdin(Stdio::from(lock))
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start: {error}")))?;
    // The child is waited for together with all that it leaves behind.
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("the system gave an impossible process id"))
}

/// The program that runs now, also when its file has been replaced or removed meanwhile.
pub(super) fn this_program() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        Ok(PathBuf::from("/proc/self/exe"))
    } else {
        std::env::current_exe()
    }
}

/// Becomes the command. Returns only if it cannot, with the reason in the folder.
fn become_command(folder: &RunFolder, shim: &str) -> io::Result<ExitCode> {
    let error = match prepare(folder, shim) {
        Ok((program, mut command)) => {
            // Standard input becomes nothing in the same step, and with it the lock is let go of.
            let error = command.stdin(Stdio::null()).exec();
            io::Error::new(error.kind(), format!("{program} cannot be run: {error}"))
        }
        Err(error) => error,
    };
    patiently(|| folder.write_not_run(&error.to_string()))?;
    Ok(ExitCode::from(127))
}

/// Gets everything ready and records who this process is.
fn prepare(folder: &RunFolder, shim: &str) -> io::Result<(String, Command)> {
    let shim: i32 = shim
        .parse()
        .map_err(|_| io::Error::other("the shim's id is not a number"))?;
    // Once this is set, no command goes on whose shim has died. The look at the parent covers the
    // time before.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get());
    if parent != Some(shim) {
        return Err(io::Error::other("the shim has died"));
    }
    let _ = rustix::process::setsid();

    let spec = folder.spec()?;
    let Some((program, arguments)) = spec.argv.split_first() else {
        return Err(io::Error::other("the command is empty"));
    };
    if !spec.working_dir.is_dir() {
        let name = spec.working_dir.display();
        return Err(io::Error::other(format!(
            "the working folder {name} does not exist"
        )));
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&spec.working_dir);
    for (name, _) in std::env::vars_os() {
        if !spec.inherited.takes(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));

    let identity = |pid| {
        ProcessIdentity::of(pid)?.ok_or_else(|| io::Error::other(format!("no process {pid}")))
    };
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let started = Started {
        command: identity(me)?,
        shim: identity(shim)?,
        at_ms: now_ms(),
        forks: tree::forks(),
    };
    // From here on a run without a status is one that vanished.
    patiently(|| folder.write_started(&started))?;
    // Without it nobody says what the command held.
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let _ = folder.write_held(peak(&usage));
    }
    // Last: they hold for this process too.
    let grace = Duration::from_millis(spec.terminate_grace_ms);
    spec.limits.apply(grace)?;
    Ok((program.clone(), command))
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
