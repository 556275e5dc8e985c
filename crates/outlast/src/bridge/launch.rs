//! Starts the server behind a bridge, so that it belongs to nobody.
//!
//! Two processes make one: the bridge starts a launcher, the launcher opens a session of its own,
//! starts the server in it, waits until the server's socket answers, and ends. The server's parent is
//! then gone: neither a signal to the client's process group nor a client that ends the children of
//! its children reaches it. All three run the same program with the same arguments; a variable in the
//! environment says which one it is, and names the parent, so that it means nothing to anybody who
//! inherits it by accident.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::fingerprint;
use crate::error::StartError;
use crate::say::say;
use crate::server::{beside, connect, socket_path};

const VARIABLE: &str = "OUTLAST_DETACHED";

/// How long a server may take until it answers: it may have a large store to look through.
const START: Duration = Duration::from_secs(60);

/// How long another server that has the store may take until it answers, or is gone.
const OTHER: Duration = Duration::from_secs(20);

/// The exit code of a server that did not start because another one has its store.
pub(crate) const STORE_IN_USE: i32 = 75;

/// A log that has grown longer than this is begun anew at a start.
const LOG_LIMIT: u64 = 10 * 1024 * 1024;

/// Which of the three this process is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Launcher,
    Server,
}

/// Which of the three this process is; `None` for the bridge, and for every other process.
pub(crate) fn stage() -> Option<Stage> {
    let value = std::env::var(VARIABLE).ok()?;
    let (stage, parent) = value.split_once(':')?;
    let own_parent = rustix::process::getppid()?.as_raw_nonzero().get();
    if parent.parse() != Ok(own_parent) {
        return None;
    }
    match stage {
        "launcher" => Some(Stage::Launcher),
        "server" => Some(Stage::Server),
        _ => None,
    }
}

/// Starts the server of the store at `database`, and returns when it answers.
///
/// # Errors
/// It did not start; the sentence is its own.
pub(super) async fn server(database: &Path) -> Result<(), StartError> {
    let log_path = beside(database, ".server.log");
    let (mut log, begin) = open_log(&log_path)?;
    let mut command = again("launcher")?;
    command
        .stdin(Stdio::null())
        .stdout(shared(&log, &log_path)?)
        .stderr(shared(&log, &log_path)?);
    let mut child = tokio::process::Command::from(command)
        .spawn()
        .map_err(|error| StartError::new(format!("cannot start the server: {error}")))?;
    let status = child
        .wait()
        .await
        .map_err(|error| StartError::new(format!("cannot start the server: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    let _ = log.seek(SeekFrom::Start(begin));
    let _ = log.read_to_string(&mut said);
    let reason = match said.trim() {
        "" => format!("it said nothing ({status})"),
        said => said.lines().last().unwrap_or_default().to_owned(),
    };
    Err(StartError::new(format!(
        "the server did not start; {} says: {reason}",
        log_path.display()
    )))
}

/// The launcher: opens a session, starts the server in it, waits until it answers. Returns the exit
/// code.
pub(crate) async fn launcher(database: &Path) -> i32 {
    // Fails only for the leader of a process group, which has nothing to leave.
    let _ = rustix::process::setsid();
    let socket = socket_path(database);
    let began = Instant::now();
    let mut server = None;
    while began.elapsed() < START {
        if let Ok(stream) = connect(&socket).await {
            let serving = stream.peer_cred().ok().and_then(|peer| peer.pid());
            if let Some(server) = server {
                until_settled(server, serving).await;
            }
            return 0;
        }
        let ended = match &mut server {
            None => {
                match start_server() {
                    Ok(started) => server = Some(started),
                    Err(error) => return not_started(&error),
                }
                continue;
            }
            Some(server) => server.try_wait(),
        };
        match ended {
            // Another server has the store: it answers in a moment, or it is ending.
            Ok(Some(status)) if status.code() == Some(STORE_IN_USE) => {
                if began.elapsed() > OTHER {
                    return STORE_IN_USE;
                }
                server = None;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok(Some(_)) => return 2,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    say!("the server does not answer on {}", socket.display());
    2
}

/// Waits until the server we started is the one that serves, or has found that another one does. Left
/// alone, it might find the store free only much later, when nobody expects it any more.
async fn until_settled(mut server: Child, serving: Option<i32>) {
    let ours = i32::try_from(server.id()).ok();
    let began = Instant::now();
    while serving != ours && began.elapsed() < OTHER {
        if !matches!(server.try_wait(), Ok(None)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn start_server() -> Result<Child, StartError> {
    again("server")?
        .spawn()
        .map_err(|error| StartError::new(error.to_string()))
}

fn not_started(error: &StartError) -> i32 {
    say!("cannot start the server: {error}");
    2
}

/// This program with these arguments, as `stage`.
fn again(stage: &str) -> Result<Command, StartError> {
    let program = fingerprint::program()
        .ok_or_else(|| StartError::new("cannot find the program that is running"))?;
    let mut command = Command::new(program);
    command
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, format!("{stage}:{}", std::process::id()));
    Ok(command)
}

fn open_log(path: &PathBuf) -> Result<(File, u64), StartError> {
    let cannot = |error: std::io::Error| {
        StartError::new(format!(
            "cannot write the server's log {}: {error}",
            path.display()
        ))
    };
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(cannot)?;
    let mut length = file.metadata().map_err(cannot)?.len();
    if length > LOG_LIMIT {
        file.set_len(0).map_err(cannot)?;
        length = 0;
    }
    Ok((file, length))
}

fn shared(log: &File, path: &Path) -> Result<File, StartError> {
    log.try_clone().map_err(|error| {
        StartError::new(format!(
            "cannot write the server's log {}: {error}",
            path.display()
        ))
    })
}
