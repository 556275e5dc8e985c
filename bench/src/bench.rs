//! One run: what was asked for, where it happens, and the rows so far.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    Arguments, Result,
    load::{Pace, Pool, Until, Work},
    machine::{self, Machine},
    process::{Server, free_address, sibling},
    report::{Report, Row},
    wire::Request,
};

/// The settings of a run and the rows it has produced.
pub(crate) struct Bench {
    pub(crate) pairs: usize,
    pub(crate) window: Duration,
    pub(crate) connections: usize,
    pub(crate) tasks: u64,
    pub(crate) peers: bool,
    /// A run that only has to show that everything works.
    pub(crate) quick: bool,
    server: PathBuf,
    scratch: TempDir,
    rows: Vec<Row>,
    left_out: Vec<String>,
    machine: Machine,
}

impl Bench {
    /// Prepares a run.
    ///
    /// # Errors
    /// If the server is not built or the folder cannot be written to.
    pub(crate) fn new(arguments: &Arguments, quick: bool) -> Result<Self> {
        let server = match &arguments.server {
            Some(path) if path.is_file() => path.clone(),
            Some(path) => return Err(format!("--server {}: no such file", path.display()).into()),
            None => sibling(
                "conformance-server",
                "cargo build --release -p conformance-server",
            )?,
        };
        let parent = match &arguments.folder {
            Some(folder) => folder.clone(),
            None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bench"),
        };
        fs::create_dir_all(&parent)
            .map_err(|error| format!("--folder {}: {error}", parent.display()))?;
        if machine::in_memory(&parent) {
            return Err(format!(
                "{} lies in memory, where a flush costs nothing; give a folder on a disk with --folder",
                parent.display()
            )
            .into());
        }
        let scratch = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(parent.canonicalize()?)?;
        Ok(Bench {
            pairs: usize::from(arguments.pairs),
            window: Duration::from_secs_f64(arguments.seconds),
            connections: usize::from(arguments.connections),
            tasks: u64::from(arguments.tasks),
            peers: arguments.peers,
            quick,
            server,
            machine: Machine::read(scratch.path()),
            scratch,
            rows: Vec::new(),
            left_out: Vec::new(),
        })
    }

    /// A folder on the measured disk that is removed at the end.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Starts Outlast's server on the store `outlast.db` in `folder`.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn outlast(&self, folder: &Path) -> Result<Server> {
        self.outlast_with(folder, &[])
    }

    /// [`Bench::outlast`] with these settings besides.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn outlast_with(
        &self,
        folder: &Path,
        settings: &[(&str, &OsStr)],
    ) -> Result<Server> {
        let address = free_address()?;
        let mut command = self.outlast_command(folder, address);
        for (name, value) in settings {
            command.arg(name).arg(value);
        }
        Server::start(command, address, &folder.join("server.log"))
    }

    /// What starts Outlast's server on this address and the store `outlast.db` in `folder`.
    pub(crate) fn outlast_command(&self, folder: &Path, address: SocketAddr) -> Command {
        let store = format!("sqlite:{}", folder.join("outlast.db").display());
        self.command(address, &store)
    }

    fn command(&self, address: SocketAddr, store: &str) -> Command {
        let mut command = Command::new(&self.server);
        command
            .arg("--listen")
            .arg(address.to_string())
            .args(["--store", store]);
        command
    }

    /// Starts Outlast's server on a store that is shared, which runs at most so many tasks at a time.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn server_on(&self, store: &str, concurrency: usize) -> Result<Server> {
        let address = free_address()?;
        let mut command = self.command(address, store);
        command.args(["--concurrency", &concurrency.to_string()]);
        let log = self.folder("shared")?.join("server.log");
        Server::start(command, address, &log)
    }

    /// Starts a worker on a store that is shared, and waits until it answers probes.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn worker_on(&self, store: &str, concurrency: usize) -> Result<Server> {
        let address = free_address()?;
        let mut command = Command::new(&self.server);
        command
            .args(["--worker", "--store", store, "--health"])
            .arg(address.to_string())
            .args(["--concurrency", &concurrency.to_string()]);
        let log = self.folder("shared")?.join("worker.log");
        Server::start(command, address, &log)
    }

    /// Adds a row and prints it to standard error, for who is waiting.
    pub(crate) fn row(&mut self, row: Row) {
        eprintln!(
            "  {} | {} | {} | {}",
            row.what, row.outlast, row.beside, row.ratio
        );
        self.rows.push(row);
    }

    /// Says what was not measured, and why.
    pub(crate) fn leave_out(&mut self, what: impl Into<String>) {
        self.left_out.push(what.into());
    }

    /// The report of all rows.
    pub(crate) fn finish(self) -> Report {
        let method = format!(
            "{} keep-alive connections; {} interleaved pairs of {:.0} s; each figure is the median \
             (lowest–highest window).",
            self.connections,
            self.pairs,
            self.window.as_secs_f64()
        );
        Report {
            machine: self.machine,
            method,
            rows: self.rows,
            left_out: self.left_out,
        }
    }
}

/// The work of creating tasks with the quick tool and polling each to its end.
pub(crate) fn lifecycles(host: &str, pace: Pace) -> Work {
    Work::Lifecycles {
        create: Request::call(host, "add", json!({"a": 2, "b": 3}), true),
        host: host.to_owned(),
        header: None,
        pace,
    }
}

/// Brings at least `count` tasks to their end and returns their ids.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn finished_tasks(
    pool: &mut Pool,
    server: &Server,
    count: u64,
) -> Result<Vec<String>> {
    let work = lifecycles(&server.host(), Pace::Hot);
    Ok(pool.run(&work, Until::Done(count)).await?.tasks)
}
