//! Real servers, started and killed.

use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::{Client, Random};

/// How long anything may take before a test gives up: far beyond what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Below it services of the machine listen.
const LOWEST_PORT: u16 = 10_000;

/// The binary `name` beside this test's own, where `cargo build --workspace` puts it.
///
/// # Panics
/// If it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("a test has a path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let path = folder.join(name);
    assert!(
        path.exists(),
        "{name} is missing: run `cargo build --workspace` first"
    );
    path
}

/// A loopback port for this process alone, as long as it lives: a server that is killed and started
/// again finds it free.
///
/// It lies below those that the kernel gives to connections, and is reserved among the tests of this
/// machine by a socket of its name, which ends with the process.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = range.ok().and_then(|range| {
        let first = range.split_whitespace().next()?;
        first.parse().ok()
    });
    let below: u16 = first.unwrap_or(32_768);
    let ports = u64::from(below.saturating_sub(LOWEST_PORT).max(1));
    let mut random = Random::new(u64::from(std::process::id()));
    for _ in 0..10_000 {
        let port = LOWEST_PORT + u16::try_from(random.below(ports)).expect("a port");
        let name = format!("outlast-test-port-{port}");
        let name = SocketAddr::from_abstract_name(name).expect("it is short");
        let Ok(reserved) = UnixListener::bind_addr(&name) else {
            continue;
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            let mut all = RESERVED.lock().expect("nothing panics under this lock");
            all.push(reserved);
            return port;
        }
    }
    panic!("every port from {LOWEST_PORT} to {below} is taken");
}

/// Waits until `check` gives a value.
///
/// # Panics
/// If it never does; `what` says what was waited for.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a process is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// End cleanly.
    Term,
    /// Stand still.
    Stop,
    /// Go on.
    Continue,
}

/// Sends a signal to a child that has not been waited for.
pub(crate) fn tell(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    let pid = rustix::process::Pid::from_raw(pid).expect("not zero");
    let signal = match signal {
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Stop => rustix::process::Signal::STOP,
        Signal::Continue => rustix::process::Signal::CONT,
    };
    rustix::process::kill_process(pid, signal).expect("it has not been waited for");
}

/// A server process over one store, which can be killed and started again.
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Prepares `program` with these arguments; `{port}` stands for the port.
    pub fn new(program: &Path, arguments: &[&str], folder: &Path) -> Self {
        let port = free_port();
        let arguments = arguments
            .iter()
            .map(|word| word.replace("{port}", &port.to_string()))
            .collect();
        let program = program.to_owned();
        Self {
            program,
            arguments,
            folder: folder.to_owned(),
            port,
            child: None,
        }
    }

    /// Starts the process and waits until it listens.
    ///
    /// # Panics
    /// If it exits or never listens; its output stands in `server.log`.
    pub fn start(&mut self) {
        self.launch();
        eventually("the server listens", || {
            if let Some(status) = self.ended() {
                panic!("the server ended with {status}: {}", self.log());
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok().map(drop)
        });
    }

    /// Starts the process and does not wait for anything.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn launch(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("server.log"))
            .expect("a log file");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        self.child = Some(child);
    }

    /// How the process ended, if it has by itself.
    ///
    /// # Panics
    /// If it was never started.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("it can be waited for")
    }

    /// Tells the process something.
    ///
    /// # Panics
    /// If it is not running.
    pub fn tell(&self, signal: Signal) {
        tell(self.child.as_ref().expect("it runs"), signal);
    }

    /// Stops the process cleanly and waits for its end.
    ///
    /// # Panics
    /// If it is not running, or does not end.
    pub fn stop(&mut self) {
        self.tell(Signal::Term);
        let status = eventually("the end of the server", || self.ended());
        self.child = None;
        assert!(status.success(), "it ended with {status}: {}", self.log());
    }

    /// Kills the process with `kill -9` and waits until it is gone.
    ///
    /// # Panics
    /// If it is not running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// The process id.
    ///
    /// # Panics
    /// If it is not running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the server's output ---\n{}", self.log());
        }
    }
}
