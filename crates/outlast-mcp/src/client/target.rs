//! Where a server is: an address, a command to start, a socket, a stream.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};

use super::error::ClientError;

/// The two halves of a stream that carries one message a line.
pub(super) type Halves = (
    Box<dyn AsyncRead + Send + Unpin>,
    Box<dyn AsyncWrite + Send + Unpin>,
);

type Dialing = Pin<Box<dyn Future<Output = io::Result<Halves>> + Send>>;

/// A server to connect to.
#[derive(Clone)]
pub struct Target {
    pub(super) kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    /// Streamable HTTP.
    Http(String),
    /// A child process that speaks on its standard input and output.
    Command(CommandLine),
    /// Anything that gives a stream each time it is asked.
    Dial {
        name: String,
        dial: Arc<dyn Fn() -> Dialing + Send + Sync>,
        /// Whether asking again can lead to the same server.
        again: bool,
    },
}

#[derive(Clone)]
pub(super) struct CommandLine {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) folder: Option<PathBuf>,
}

impl Target {
    /// The server at this address, over Streamable HTTP.
    pub fn url(url: impl Into<String>) -> Self {
        Self {
            kind: Kind::Http(url.into()),
        }
    }

    /// A server to be started as a child process. It is stopped when the client is closed.
    pub fn command<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            kind: Kind::Command(CommandLine {
                program: program.as_ref().to_owned(),
                arguments: arguments
                    .into_iter()
                    .map(|one| one.as_ref().to_owned())
                    .collect(),
                environment: Vec::new(),
                folder: None,
            }),
        }
    }

    /// An environment variable for a [`Target::command`]; of no effect on others.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        if let Kind::Command(line) = &mut self.kind {
            line.environment
                .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        }
        self
    }

    /// The working folder of a [`Target::command`]; of no effect on others.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        if let Kind::Command(line) = &mut self.kind {
            line.folder = Some(folder.as_ref().to_owned());
        }
        self
    }

    /// The server behind a Unix socket, one message a line.
    #[cfg(unix)]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        Self::dial(format!("unix:{}", path.display()), move || {
            let path = path.clone();
            async move { connect_socket(&path).await }
        })
    }

    /// A server reached by a stream of the caller's making, one message a line. `dial` is called for
    /// the first connection and again whenever one was lost.
    pub fn dial<F, R, S>(name: impl Into<String>, dial: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let dial = move || -> Dialing {
            let stream = dial();
            Box::pin(async move { Ok(split(stream.await?)) })
        };
        Self {
            kind: Kind::Dial {
                name: name.into(),
                dial: Arc::new(dial),
                again: true,
            },
        }
    }

    /// The server at the other end of this stream, one message a line. There is no second try.
    pub fn stream<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let stream = Arc::new(Mutex::new(Some(split(stream))));
        let dial = move || -> Dialing {
            let halves = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            Box::pin(async move {
                halves
                    .ok_or_else(|| io::Error::other("the stream has ended and cannot be reopened"))
            })
        };
        Self {
            kind: Kind::Dial {
                name: "stream".into(),
                dial: Arc::new(dial),
                again: false,
            },
        }
    }

    /// Whether a lost connection can be made again to the same server. A command is started only
    /// once: what it kept in memory would be gone, and its tasks with it.
    pub(super) fn can_be_reached_again(&self) -> bool {
        match self.kind {
            Kind::Http(_) => true,
            Kind::Command(_) => false,
            Kind::Dial { again, .. } => again,
        }
    }
}

/// Connects to a socket. Its address holds about a hundred bytes; on Linux a longer path is reached
/// through its folder.
#[cfg(unix)]
async fn connect_socket(path: &Path) -> io::Result<tokio::net::UnixStream> {
    const LIMIT: usize = 100;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return tokio::net::UnixStream::connect(path).await;
    };
    if path.as_os_str().len() <= LIMIT || !cfg!(target_os = "linux") {
        return tokio::net::UnixStream::connect(path).await;
    }
    let folder = std::fs::File::open(folder)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder).to_string();
    let short = Path::new("/proc/self/fd").join(number).join(name);
    tokio::net::UnixStream::connect(short).await
}

fn split<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S) -> Halves {
    let (read, write) = tokio::io::split(stream);
    (Box::new(read), Box::new(write))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Http(url) => f.write_str(url),
            Kind::Command(line) => write!(f, "{}", line.program.to_string_lossy()),
            Kind::Dial { name, .. } => f.write_str(name),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl FromStr for Target {
    type Err = ClientError;

    /// Reads `http://…`, `https://…` or `unix:PATH`.
    fn from_str(text: &str) -> Result<Self, ClientError> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::url(text));
        }
        #[cfg(unix)]
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::unix(path));
        }
        Err(ClientError::Invalid(format!(
            "{text:?} is no address of a server; write http://HOST:PORT/mcp, https://… or unix:PATH"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!(
            "http://a/mcp".parse::<Target>().unwrap().to_string(),
            "http://a/mcp"
        );
        assert!(
            "unix:/tmp/x"
                .parse::<Target>()
                .unwrap()
                .can_be_reached_again()
        );
        assert!("localhost:9876".parse::<Target>().is_err());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_long_path_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        // A short link, because binding has the same limit.
        let short = folder.path().join("s");
        std::os::unix::fs::symlink(&long, &short).unwrap();
        let listener = tokio::net::UnixListener::bind(short.join("a.sock")).unwrap();
        let path = long.join("a.sock");
        let (connected, accepted) = tokio::join!(connect_socket(&path), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }

    #[tokio::test]
    async fn a_stream_is_used_once() {
        let target = Target::stream(tokio::io::duplex(10).0);
        assert!(!target.can_be_reached_again());
        let Kind::Dial { dial, .. } = target.kind else {
            panic!("a dial")
        };
        assert!(dial().await.is_ok());
        assert!(dial().await.is_err());
    }
}
