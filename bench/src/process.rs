//! A server under measurement: started, watched through `/proc`, and killed.
//!
//! What a server costs is read from outside, from the kernel's accounts of its
//! process, so that every server is measured the same way and none has to help.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Result;

/// How long a server may take until it listens. FastMCP needs seconds, and what runs under valgrind on a
/// machine with other work minutes; a server that has not begun after this never will.
const START_DEADLINE: Duration = Duration::from_secs(300);

/// A running server process. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// From the start of the process until a connection was accepted.
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts `command` and waits until `address` accepts a connection. What the
    /// server prints goes to `log`.
    ///
    /// # Errors
    /// The end of its log, when it ends or does not listen in time.
    pub(crate) fn start(mut command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let output = fs::File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let began = Instant::now();
        let mut child = command.spawn().map_err(|error| {
            format!("cannot start {}: {error}", command.get_program().display())
        })?;
        loop {
            if TcpStream::connect(address).is_ok() {
                let started_in = began.elapsed();
                return Ok(Server {
                    child,
                    address,
                    started_in,
                });
            }
            if let Some(status) = child.try_wait()? {
                return Err(format!(
                    "{} ended with {status} before it listened: {}",
                    command.get_program().display(),
                    tail(log)
                )
                .into());
            }
            if began.elapsed() > START_DEADLINE {
                child.kill()?;
                child.wait()?;
                return Err(format!(
                    "{} does not listen on {address} after {START_DEADLINE:?}: {}",
                    command.get_program().display(),
                    tail(log)
                )
                .into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// `127.0.0.1:PORT`, for the `Host` header.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// User and system time of the whole process so far.
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_of(&self.child.id().to_string())
    }

    /// The nanosecond account of the threads that live now. Finer than
    /// [`Server::cpu`], whose unit is 10 ms, but blind to threads that ended; for
    /// an idle server, where no thread ends, the one to use.
    ///
    /// # Errors
    /// If the process has ended or the kernel keeps no such account.
    pub(crate) fn cpu_of_live_threads(&self) -> Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let account = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos += account.split(' ').next().unwrap_or("0").parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Resident memory now, in MB (10^6 bytes).
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn memory_mb(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kb: f64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .ok_or("no VmRSS in /proc")?
            .parse()?;
        Ok(kb * 1024.0 / 1e6)
    }

    /// `kill -9`, and waits until the process is gone.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks the server to end (`SIGTERM`) and waits for it.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > START_DEADLINE {
                return Err("the server does not end on SIGTERM".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is all that is wanted here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of the loader itself.
///
/// # Errors
/// If `/proc` cannot be read.
pub(crate) fn own_cpu() -> Result<Duration> {
    cpu_of("self")
}

fn cpu_of(pid: &str) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may contain anything; fields are counted after it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next =
        || -> Result<u64> { Ok(fields.next().ok_or("a short /proc/PID/stat")?.parse()?) };
    let ticks = next()? + next()?;
    let hertz = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(ticks * 1_000_000_000 / hertz))
}

/// A port of the loopback interface that nobody listens on.
///
/// # Errors
/// Those of the system.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A program built beside this one, by its name.
///
/// # Errors
/// What to run, when it is not there.
pub(crate) fn sibling(name: &str, build: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} is not built; run `{build}`", path.display()).into())
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let from = text.len().saturating_sub(600);
    let from = (from..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    match text[from..].trim() {
        "" => "it printed nothing".to_owned(),
        words => words.to_owned(),
    }
}
