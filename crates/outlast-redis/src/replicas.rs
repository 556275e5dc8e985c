//! Commits that are acknowledged only when replicas have them (`wait_replicas=NUMBER`).
//!
//! Replicas receive what the primary wrote in its order. So one more write behind a commit, and `WAIT` for
//! that, says of everything before it that it has arrived. It is asked on a connection of its own, for who
//! waits there holds up whatever else is sent on the same one: reads, renewals and signs of life go on while a
//! replica is away. Whoever comes while somebody asks waits for the next question, and all of them share its
//! answer: one extra command a commit at most, and less under load.
//!
//! What did not arrive in time has been written all the same, and may be lost in a failover or not. The caller is
//! told to try again, and what he finds done then is asked about again before he hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError};

use crate::row;
use crate::topology;

/// How long replicas may take before the caller is told that it is not sure.
const WAIT: Duration = Duration::from_secs(2);
/// How long the connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// Why it is not known to be replicated.
#[derive(Clone)]
pub(crate) enum Unsure {
    /// Only so many replicas have it.
    Missing(usize),
    /// It could not be asked.
    Broken(RedisError),
}

/// Asks on one connection to one server.
#[derive(Clone)]
pub(crate) struct Replicas {
    wanted: usize,
    /// The name that all keys begin with, and the digest of the script.
    prefix: String,
    digest: String,
    shared: Arc<Shared>,
}

struct Shared {
    connection: MultiplexedConnection,
    /// How many questions have begun.
    begun: AtomicU64,
    /// The number of the latest question, and its answer.
    line: tokio::sync::Mutex<(u64, Result<(), Unsure>)>,
}

impl Replicas {
    /// Connects to the server behind `beside`, which `client` leads to.
    ///
    /// # Errors
    /// It cannot be reached, or another server is there by now.
    pub(crate) async fn new(
        wanted: usize,
        prefix: &str,
        digest: String,
        client: &Client,
        beside: &mut MultiplexedConnection,
    ) -> Result<Self, RedisError> {
        let mut connection = topology::connect(client, CONNECT).await?;
        let (here, there) = (run_id(beside).await?, run_id(&mut connection).await?);
        if here != there {
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into());
        }
        Ok(Self {
            wanted,
            prefix: prefix.to_owned(),
            digest,
            shared: Arc::new(Shared {
                connection,
                begun: AtomicU64::new(0),
                line: tokio::sync::Mutex::new((0, Ok(()))),
            }),
        })
    }

    pub(crate) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Waits until the replicas have everything that was written before this call.
    pub(crate) async fn have_all(&self) -> Result<(), Unsure> {
        let before = self.shared.begun.load(Ordering::SeqCst);
        let mut line = self.shared.line.lock().await;
        let (latest, answer) = &*line;
        // One that began after this call says enough.
        if *latest > before {
            return answer.clone();
        }
        let number = self.shared.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = self.ask().await;
        *line = (number, answer.clone());
        answer
    }

    async fn ask(&self) -> Result<(), Unsure> {
        let mut pipe = redis::pipe();
        pipe.cmd("EVALSHA")
            .arg(&self.digest)
            .arg(1)
            .arg(&self.prefix);
        pipe.cmd("WAIT")
            .arg(self.wanted)
            .arg(u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX));
        let mut connection = self.shared.connection.clone();
        let answers = connection.send_packed_commands(&pipe, 0, 2).await;
        let answers = answers.and_then(|answers| {
            let answers = answers.into_iter().map(redis::Value::extract_error);
            answers.collect::<Result<Vec<_>, _>>()
        });
        let answers = answers.map_err(Unsure::Broken)?;
        let have = usize::try_from(answers.get(1).map_or(0, row::int)).unwrap_or(0);
        if have < self.wanted {
            return Err(Unsure::Missing(have));
        }
        Ok(())
    }
}

/// What tells this run of a server from all others.
async fn run_id(connection: &mut MultiplexedConnection) -> Result<String, RedisError> {
    let info = redis::cmd("INFO").arg("server").take();
    let info = connection
        .send_packed_command(&info)
        .await?
        .extract_error()?;
    Ok(row::field(&row::verbatim(&info), "run_id").to_owned())
}
