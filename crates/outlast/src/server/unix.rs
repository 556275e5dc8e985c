//! `--listen unix:PATH`: a socket for the users of one machine, each of them an owner.
//!
//! Anybody on the machine may connect as far as the folder's mode allows; the kernel says which user it
//! is, so no token is needed. The user who runs the server is [`Owner::local`] here as on the store's own
//! socket, every other one `uid:NUMBER`. What is spoken shows in the first byte: one message a line, as
//! the command line and the bridges have it, or HTTP.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::{Owner, Principal};
use outlast_http::HttpServer;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::Connections;
use super::socket::with_short_path;
use crate::error::StartError;

/// How long a connection may go on once the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How long a connection may say nothing at its beginning.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// Opens the socket, in the place of one that a dead server left.
///
/// # Errors
/// Another server answers there, something else is there, or the socket cannot be made.
pub(super) fn bind(path: &Path) -> Result<UnixListener, StartError> {
    if is_dead_socket(path)? {
        std::fs::remove_file(path).map_err(|error| cannot(path, &error))?;
    }
    let listener = with_short_path(path, |path| UnixListener::bind(path));
    let listener = listener.map_err(|error| cannot(path, &error))?;
    // Who it is decides the kernel; who may come near, the folder.
    let everybody = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(path, everybody).map_err(|error| cannot(path, &error))?;
    Ok(listener)
}

/// Tells what [`bind`] would refuse, and touches nothing. A server that answers there now is none of it.
///
/// # Errors
/// Something else is there.
pub(super) fn examine(path: &Path) -> Result<(), StartError> {
    is_socket(path).map(drop)
}

/// Whether a socket is there that nobody answers at.
fn is_dead_socket(path: &Path) -> Result<bool, StartError> {
    if !is_socket(path)? {
        return Ok(false);
    }
    let answers = with_short_path(path, |path| {
        std::os::unix::net::UnixStream::connect(path).map(drop)
    });
    match answers {
        Ok(()) => Err(cannot(path, &"another server answers there; stop it first")),
        Err(_) => Ok(true),
    }
}

fn is_socket(path: &Path) -> Result<bool, StartError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(cannot(path, &error)),
        Ok(found) if found.file_type().is_socket() => Ok(true),
        Ok(_) => Err(cannot(
            path,
            &"there is a file of another kind; name another path",
        )),
    }
}

fn cannot(path: &Path, problem: &dyn std::fmt::Display) -> StartError {
    StartError::new(format!(
        "cannot listen on unix:{}: {problem}",
        path.display()
    ))
}

/// What serving the socket needs.
pub(super) struct UnixDoor {
    pub(super) mcp: outlast_mcp::Server,
    pub(super) http: HttpServer,
    pub(super) connections: Connections,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl UnixDoor {
    /// Serves connections until the server closes.
    pub(super) async fn serve(self, listener: UnixListener) {
        let door = Arc::new(self);
        loop {
            let accepted = async { (door.http.room().await, listener.accept().await) };
            let (room, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = door.closing.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("cannot accept on the socket: {error}");
                    // Out of file descriptors, most likely: let some be closed.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(peer) = stream.peer_cred() else {
                tracing::warn!("refused a connection whose user the kernel does not tell");
                continue;
            };
            let each = Arc::clone(&door);
            door.tasks.spawn(async move {
                let connected = (each.connections.enter(), room);
                let served = each.connection(stream, principal(peer.uid()), connected);
                let ended = async {
                    each.closing.cancelled().await;
                    tokio::time::sleep(LAST_ANSWERS).await;
                };
                tokio::select! {
                    served = served => if let Err(error) = served {
                        tracing::debug!("a connection of the socket broke: {error}");
                    },
                    () = ended => {}
                }
            });
        }
    }

    async fn connection(
        &self,
        stream: UnixStream,
        principal: Principal,
        connected: impl Send + Sync + 'static,
    ) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let first = tokio::select! {
            first = tokio::time::timeout(FIRST_BYTE, stream.fill_buf()) => match first {
                Ok(first) => first?.first().copied(),
                // Room is for those who have something to say.
                Err(_) => None,
            },
            () = self.closing.cancelled() => return Ok(()),
        };
        match first {
            None => Ok(()),
            Some(b'{' | b'[' | b' ' | b'\n') => {
                let (input, output) = tokio::io::split(stream);
                let input = BufReader::new(input);
                self.mcp.serve_lines(principal, input, output).await
            }
            Some(_) => {
                self.http
                    .serve_connection(stream, Some(principal), connected)
                    .await
            }
        }
    }
}

/// Who the kernel says it is.
fn principal(uid: u32) -> Principal {
    if uid == rustix::process::geteuid().as_raw() {
        Principal::operator()
    } else {
        Owner::new(format!("uid:{uid}")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_an_owner() {
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(*principal(own).owner(), Owner::local());
        let other = principal(own + 1);
        assert_eq!(other.owner().as_str(), format!("uid:{}", own + 1));
        assert!(!other.may(outlast_core::Scope::Admin));
    }

    #[tokio::test]
    async fn what_is_there_is_not_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "mine").unwrap();
        assert!(
            bind(&path)
                .unwrap_err()
                .to_string()
                .contains("another kind")
        );
        std::fs::remove_file(&path).unwrap();
        let listener = bind(&path).unwrap();
        assert!(
            bind(&path)
                .unwrap_err()
                .to_string()
                .contains("another server")
        );
        drop(listener);
        bind(&path).unwrap();
    }
}
