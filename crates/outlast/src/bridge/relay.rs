//! Carries lines between the client and the server, over the deaths of the server.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Stdout};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::session::Session;
use super::{Approach, Greeted, Identity, reach};
use crate::error::StartError;

/// How long answers are still waited for after the end of the input. The server ends the connection
/// sooner, once it has answered what it was asked.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A server that ends sooner than this after it was reached has something wrong with it.
const SHORT_LIFE: Duration = Duration::from_secs(2);

/// So often in a row.
const SHORT_LIVES: u32 = 3;

/// Which side ended.
enum Ended {
    Client,
    Server,
}

/// Carries lines until the client ends its side.
///
/// # Errors
/// The server ended and cannot be reached again.
pub(super) async fn lines(
    database: &Path,
    identity: &Identity,
    first: Greeted,
) -> Result<(), StartError> {
    let mut from_client = client_lines();
    let mut stdout = tokio::io::stdout();
    let session = Mutex::new(Session::default());
    let (mut from_server, mut to_server) = first;
    let mut short_lives = 0;
    loop {
        let began = Instant::now();
        let ended = connection(
            &session,
            &mut from_client,
            &mut to_server,
            from_server,
            &mut stdout,
        )
        .await;
        if matches!(ended, Ended::Client) {
            return Ok(());
        }
        short_lives = if began.elapsed() < SHORT_LIFE {
            short_lives + 1
        } else {
            0
        };
        if short_lives >= SHORT_LIVES {
            return Err(StartError::new(
                "the server ends again and again; see its log beside the store",
            ));
        }
        (from_server, to_server) = reach(database, identity, Approach::Again).await?;
        let resumption = lock(&session).resume();
        for line in resumption.to_client {
            let _ = stdout.write_all(&line).await;
        }
        let _ = stdout.flush().await;
        for line in resumption.to_server {
            // If this one ends too, the next is told the same.
            let _ = to_server.write_all(&line).await;
        }
    }
}

/// The client's lines. The channel ends with the input.
fn client_lines() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut stdin = BufReader::new(tokio::io::stdin());
        loop {
            let mut line = Vec::new();
            match stdin.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) if sender.send(line).await.is_err() => return,
                Ok(_) => {}
            }
        }
    });
    receiver
}

/// One connection to a server, to the end of either side.
async fn connection(
    session: &Mutex<Session>,
    from_client: &mut mpsc::Receiver<Vec<u8>>,
    to_server: &mut OwnedWriteHalf,
    from_server: BufReader<OwnedReadHalf>,
    stdout: &mut Stdout,
) -> Ended {
    let down = down(session, from_server, stdout);
    tokio::pin!(down);
    let up = async {
        while let Some(mut line) = from_client.recv().await {
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            lock(session).note_client(&line);
            if to_server.write_all(&line).await.is_err() {
                return Ended::Server;
            }
        }
        Ended::Client
    };
    let ended = tokio::select! {
        ended = up => ended,
        () = &mut down => return Ended::Server,
    };
    match ended {
        Ended::Client => {
            let _ = to_server.shutdown().await;
            let _ = tokio::time::timeout(LAST_ANSWERS, down).await;
        }
        // It reads no more, and what it has answered may be on its way: to the last line, which must not
        // be cut in two either.
        Ended::Server => down.await,
    }
    ended
}

/// The server's lines, to its end.
async fn down(
    session: &Mutex<Session>,
    mut from_server: BufReader<OwnedReadHalf>,
    stdout: &mut Stdout,
) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match from_server.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            // Cut off by the end of the server: no message.
            Ok(_) if !line.ends_with(b"\n") => return,
            Ok(_) => {}
        }
        if lock(session).note_server(&line) {
            // A client that does not read any more has ended, and its input ends too.
            let _ = stdout.write_all(&line).await;
            if from_server.buffer().is_empty() {
                let _ = stdout.flush().await;
            }
        }
    }
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}
