//! Real servers, started and killed.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Client;

/// How long anything may take before a test gives up: far beyond what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// A loopback port that was free a moment ago.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
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
        eventually("the server listens", || {
            let child = self.child.as_mut().expect("just started");
            if let Some(status) = child.try_wait().expect("it can be waited for") {
                panic!("the server ended with {status}: {}", self.log());
            }
            TcpStream::connect(("127.0.0.1", self.port)).ok().map(drop)
        });
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
