//! The socket beside the store: `<db>.sock`, for bridges and for the command line.
//!
//! It belongs to whoever holds the store's lock, so a socket file that is found is a dead one and is
//! replaced. Only processes of our own user get in: the file is 0600, and each peer's uid is asked of
//! the kernel besides. On a connection each message is a line; the first line may be a bridge's
//! greeting, which is answered and not part of the protocol.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use outlast_core::Principal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::Connections;
use super::reload::SharedIdentity;
use crate::bridge::{Verdict, Welcome, read_greeting};

/// The longest greeting; a longer first line is a message.
const GREETING_LIMIT: u64 = 16 * 1024;

/// The longest path that fits into a socket address everywhere.
const PATH_LIMIT: usize = 100;

/// Where the socket of the store at `database` is.
pub(crate) fn socket_path(database: &Path) -> PathBuf {
    beside(database, ".sock")
}

/// `path` with `suffix` after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Opens the socket, in the place of one that a dead server left.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short_path(path, |short| UnixListener::bind(short))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to the socket.
pub(crate) async fn connect(path: &Path) -> io::Result<UnixStream> {
    // Connecting to a local socket does not wait for the other side.
    let stream = with_short_path(path, |short| std::os::unix::net::UnixStream::connect(short))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// A socket address holds about a hundred bytes. A longer path is reached through its folder.
pub(super) fn with_short_path<T>(
    path: &Path,
    work: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    if path.as_os_str().len() <= PATH_LIMIT {
        return work(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return work(path);
    };
    if !cfg!(target_os = "linux") {
        return Err(io::Error::other(format!(
            "the path {} is too long for a socket; put the store into a folder with a shorter one",
            path.display()
        )));
    }
    let folder = std::fs::File::open(folder)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
    work(
        &Path::new("/proc/self/fd")
            .join(number.to_string())
            .join(name),
    )
}

/// What serving the socket needs.
pub(crate) struct Door {
    pub(crate) mcp: outlast_mcp::Server,
    pub(super) identity: SharedIdentity,
    pub(crate) connections: Connections,
    /// No new connections.
    pub(crate) closing: CancellationToken,
    /// A bridge of another build wants this server to make room.
    pub(crate) handover: CancellationToken,
    /// Whether this server makes room.
    pub(crate) yields: bool,
    pub(crate) tasks: TaskTracker,
}

impl Door {
    /// Serves connections until the server closes.
    pub(crate) async fn serve(self, listener: UnixListener) {
        let door = std::sync::Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = door.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) if is_ours(&stream) => {
                    let each = std::sync::Arc::clone(&door);
                    door.tasks.spawn(async move {
                        let _connected = each.connections.enter();
                        if let Err(error) = each.connection(stream).await {
                            tracing::debug!("a connection of the socket broke: {error}");
                        }
                    });
                }
                Ok(_) => tracing::warn!("refused another user's connection to the socket"),
                Err(error) => {
                    tracing::warn!("cannot accept on the socket: {error}");
                    // Out of file descriptors, most likely: let some be closed.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(&self, stream: UnixStream) -> io::Result<()> {
        let (input, mut output) = stream.into_split();
        let mut input = BufReader::new(input);
        let mut first = Vec::new();
        let mut beginning = (&mut input).take(GREETING_LIMIT);
        tokio::select! {
            read = beginning.read_until(b'\n', &mut first) => read?,
            () = self.closing.cancelled() => return Ok(()),
        };
        let Some(greeting) = read_greeting(&first) else {
            let input = std::io::Cursor::new(first).chain(input);
            return self
                .mcp
                .serve_lines(Principal::operator(), input, output)
                .await;
        };
        let verdict = {
            let identity = self.identity.lock();
            identity
                .unwrap_or_else(PoisonError::into_inner)
                .judge(&greeting)
        };
        let hands_over = verdict != Verdict::Same && self.yields;
        let note = match verdict {
            Verdict::Same => None,
            _ if hands_over => None,
            Verdict::OtherBinary => Some("another build of the server is running"),
            Verdict::OtherConfiguration => Some("the server is running with other settings"),
        };
        let welcome = Welcome {
            pid: std::process::id(),
            handover: hands_over,
            note: note.map(str::to_owned),
        };
        output.write_all(welcome.line().as_bytes()).await?;
        output.flush().await?;
        if !hands_over {
            return self
                .mcp
                .serve_relayed(Principal::operator(), input, output)
                .await;
        }
        tracing::info!("handing over to another build or other settings");
        self.handover.cancel();
        // Kept open to the end of the process, which does not wait for this: its closing is how the
        // bridge knows.
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop((input, output));
        });
        Ok(())
    }
}

/// Whether the peer runs as the same user.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_long_path_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        for folder in [folder.path(), &long] {
            let path = socket_path(&folder.join("a.db"));
            drop(bind(&path).unwrap());
            assert!(connect(&path).await.is_err());
            let listener = bind(&path).unwrap();
            let (one, other) = tokio::join!(connect(&path), listener.accept());
            assert!(is_ours(&one.unwrap()));
            assert!(is_ours(&other.unwrap().0));
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
