//! The bridge: what `--stdio` runs, so that work does not live in a process that a client ends.
//!
//! A client starts a stdio server and kills it when it likes. The process it kills is therefore only
//! a bridge, which carries lines between its standard streams and the socket of the one server of the
//! store. If there is none it starts one, detached: in a session of its own, a child of nobody, and
//! with its output in `<db>.server.log`. If two bridges do so at once, the store's lock decides.
//!
//! A server that a bridge started makes room for a bridge of another build or with other settings: it
//! stops cleanly, and the new bridge starts its successor, so that a rebuild is never served by
//! yesterday's process. A server that a person started is left alone, and the bridge says so.
//!
//! The connection outlives the server: when the server ends under a bridge, whether killed or to make
//! room, the bridge reaches its successor, whatever it is made from, and goes on with the client's session
//! and with what the client waits for (`session`).

mod fingerprint;
mod greeting;
mod launch;
mod relay;
mod session;

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::error::StartError;
use crate::say::say;
use crate::server::{connect, socket_path};

pub(crate) use fingerprint::{arguments, binary, configuration};
pub(crate) use greeting::{Greeting, Identity, Verdict, Welcome, read_greeting};

use greeting::read_welcome;
pub(crate) use launch::{STORE_IN_USE, Stage, launcher, stage};

/// How often a server of another build may be asked to make room before something is wrong.
const ROUNDS: usize = 4;

/// How long a server may take to answer a greeting: it is there, and busy at most.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a server that makes room may take.
const HANDOVER: Duration = Duration::from_secs(30);

/// How long a bridge whose server ended leaves it to others to start the next: the one that asked the
/// server to make room comes first.
const SUCCESSOR: Duration = Duration::from_secs(1);

/// A connection that was greeted.
type Greeted = (
    BufReader<tokio::net::unix::OwnedReadHalf>,
    tokio::net::unix::OwnedWriteHalf,
);

/// How a bridge comes to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Approach {
    /// For the first time: the server must be made from the same.
    First,
    /// After another one ended: any will do, or two bridges would replace each other's servers for
    /// ever.
    Again,
}

/// Connects the standard streams to the server of the store at `database` until the client ends its
/// side.
///
/// # Errors
/// There is no server and none could be started; the sentence says why.
pub(crate) async fn run(database: &Path, identity: &Identity) -> Result<(), StartError> {
    let greeted = reach(database, identity, Approach::First).await?;
    relay::lines(database, identity, greeted).await
}

async fn reach(
    database: &Path,
    identity: &Identity,
    approach: Approach,
) -> Result<Greeted, StartError> {
    let greeting = Greeting {
        identity: identity.clone(),
        again: approach == Approach::Again,
    };
    let socket = socket_path(database);
    for round in 0..ROUNDS {
        let patience = match approach {
            Approach::Again if round == 0 => SUCCESSOR,
            _ => Duration::ZERO,
        };
        let Some(stream) = connect_within(&socket, patience).await else {
            launch::server(database).await?;
            continue;
        };
        match tokio::time::timeout(ANSWER, greet(stream, &greeting)).await {
            Ok(Ok((welcome, greeted))) => {
                if !welcome.handover {
                    if let Some(note) = welcome.note {
                        say!(
                            "{note} (process {}); restart it to be served by this one",
                            welcome.pid
                        );
                    }
                    return Ok(greeted);
                }
                until_gone(greeted, welcome.pid).await?;
            }
            // It ended just now.
            Ok(Err(_)) => {}
            Err(_) => {
                return Err(StartError::new(format!(
                    "the server on {} does not answer; end it and try again",
                    socket.display()
                )));
            }
        }
    }
    Err(StartError::new(format!(
        "servers of different builds keep replacing each other on {}: use one build, or give each \
         its own --store",
        database.display()
    )))
}

/// Connects, trying for as long as `patience`.
async fn connect_within(socket: &Path, patience: Duration) -> Option<UnixStream> {
    let began = Instant::now();
    loop {
        match connect(socket).await {
            Ok(stream) => return Some(stream),
            Err(_) if began.elapsed() >= patience => return None,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn greet(stream: UnixStream, greeting: &Greeting) -> std::io::Result<(Welcome, Greeted)> {
    let (input, mut output) = stream.into_split();
    output.write_all(greeting.line().as_bytes()).await?;
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).await?;
    match read_welcome(&line) {
        Some(welcome) => Ok((welcome, (input, output))),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Waits for the end of a server that makes room, which closes the connection.
async fn until_gone((mut input, _output): Greeted, pid: u32) -> Result<(), StartError> {
    let mut rest = Vec::new();
    let closed = input.read_until(b'\0', &mut rest);
    match tokio::time::timeout(HANDOVER, closed).await {
        Ok(_) => Ok(()),
        Err(_) => Err(StartError::new(format!(
            "the server of another build (process {pid}) does not end; end it and try again"
        ))),
    }
}
