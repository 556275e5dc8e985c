//! The way to Redis: one connection for everything that is called.
//!
//! Calls of many operations share the connection and travel together. A connection that breaks fails
//! the calls that are on their way, for nobody knows whether they were carried out, and the next call
//! makes a new one. Nothing is sent twice behind the caller's back. Whoever waits in line while a
//! connection cannot be made is told the same as the one who tried, so that no call takes longer than
//! two such trials.
//!
//! Connections are numbered. Behind a new one may stand a Redis that has lost its last writes, or the
//! replica that took its place, so nothing that was read on one is committed on another. Where to connect is
//! looked for each time ([`crate::topology`]).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use outlast_core::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, RedisError, Value};
use tokio::sync::watch;

use crate::address::Address;
use crate::clock::ServerClock;
use crate::doubt::Doubt;
use crate::failure::{explain, unsure};
use crate::pulse::{self, Pulse};
use crate::replicas::{Replicas, Unsure};
use crate::schema::Whose;
use crate::script::{self, Script};
use crate::topology::{self, Topology};

/// How long Redis may take for an answer before the caller is told to try again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// Set for what is called beside the operations, which nobody counts.
    pub(crate) static BESIDE: ();
}

/// What operations reach Redis through.
pub(crate) struct Link {
    topology: Topology,
    /// How many replicas must have a change before it is acknowledged.
    replicas: usize,
    /// The address without secrets.
    pub(crate) location: String,
    /// The name that all keys begin with, in the braces that keep them in one slot.
    pub(crate) prefix: String,
    pub(crate) server_clock: Arc<ServerClock>,
    pub(crate) pulse: Pulse,
    pub(crate) doubt: Doubt,
    /// Set once it has been found to be this server's.
    pub(crate) whose: OnceLock<Whose>,
    connection: tokio::sync::Mutex<Slot>,
    /// The number of the latest connection.
    latest: AtomicUsize,
    /// Whether the last call was answered.
    answers: AtomicBool,
    /// The server of the latest connection.
    server: watch::Sender<Option<Client>>,
    calls: AtomicUsize,
}

/// The connection, and the last trial in vain to make one: when it ended and why.
#[derive(Default)]
struct Slot {
    connected: Option<Connected>,
    failed: Option<(Instant, RedisError)>,
}

#[derive(Clone)]
struct Connected {
    connection: MultiplexedConnection,
    number: usize,
    /// The digests by which Redis knows the scripts.
    digests: Arc<Vec<(Script, String)>>,
    /// Who is waited for, if anybody is.
    replicas: Option<Replicas>,
}

impl Connected {
    fn digest(&self, script: Script) -> &str {
        let known = self.digests.iter().find(|(known, _)| *known == script);
        let (_, digest) = known.expect("every script is loaded with the connection");
        digest
    }
}

impl Link {
    pub(crate) fn new(address: &Address) -> Result<Self> {
        Ok(Self {
            topology: Topology::new(address)?,
            replicas: address.replicas,
            prefix: format!("{{{}}}", address.prefix),
            location: address.location.clone(),
            server_clock: Arc::new(ServerClock::new()),
            pulse: Pulse::default(),
            doubt: Doubt::default(),
            whose: OnceLock::new(),
            connection: tokio::sync::Mutex::default(),
            latest: AtomicUsize::new(0),
            answers: AtomicBool::new(true),
            server: watch::Sender::default(),
            calls: AtomicUsize::new(0),
        })
    }

    /// The server that operations go to, and word of another one taking its place.
    ///
    /// # Errors
    /// It is looked for and there is none.
    pub(crate) async fn server(
        &self,
    ) -> Result<(Client, watch::Receiver<Option<Client>>), RedisError> {
        let mut server = self.server.subscribe();
        if let Topology::One(client) = &self.topology {
            return Ok((client.clone(), server));
        }
        if server.borrow_and_update().is_none() {
            self.connected().await?;
        }
        let client = server.borrow_and_update().clone();
        Ok((client.expect("there is a connection"), server))
    }

    /// How many replicas must have a change before it is acknowledged.
    pub(crate) fn replicas(&self) -> usize {
        self.replicas
    }

    /// Whether the keys are looked for in a cluster.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.topology.is_cluster()
    }

    /// Where the keys are, in words; nothing before the first connection.
    pub(crate) fn server_name(&self) -> String {
        let server = self.server.borrow();
        server.as_ref().map(topology::name).unwrap_or_default()
    }

    /// How many calls have been sent for operations.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// The number of the latest connection.
    pub(crate) fn latest(&self) -> usize {
        self.latest.load(Ordering::Acquire)
    }

    /// Whether Redis has answered the last time that it was asked, which is every second at least.
    pub(crate) fn answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// A key of ours.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    async fn connected(&self) -> Result<Connected, RedisError> {
        let asked = Instant::now();
        let mut slot = self.connection.lock().await;
        if let Some(connected) = &slot.connected {
            return Ok(connected.clone());
        }
        if let Some((ended, error)) = &slot.failed
            && *ended >= asked
        {
            return Err(error.clone());
        }
        let made = tokio::time::timeout(PATIENCE, self.connect()).await;
        let made = made.unwrap_or_else(|_| {
            let elapsed = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Err(RedisError::from(elapsed))
        });
        match made {
            Ok(connected) => {
                slot.connected = Some(connected.clone());
                slot.failed = None;
                Ok(connected)
            }
            Err(error) => {
                self.answers.store(false, Ordering::Relaxed);
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connected, RedisError> {
        let reached = self.topology.connect(&self.prefix).await?;
        let mut connection = reached.connection;
        let mut digests = Vec::new();
        for (script, source) in script::sources() {
            let load = redis::cmd("SCRIPT").arg("LOAD").arg(source).take();
            let digest = connection.send_packed_command(&load).await?;
            let digest = digest.extract_error()?;
            digests.push((script, crate::row::text(&digest)));
        }
        let mut connected = Connected {
            connection,
            number: 0,
            digests: Arc::new(digests),
            replicas: None,
        };
        if self.replicas > 0 {
            let digest = connected.digest(Script::Replicated).to_owned();
            let beside = &mut connected.connection;
            let replicas =
                Replicas::new(self.replicas, &self.prefix, digest, &reached.client, beside);
            connected.replicas = Some(replicas.await?);
        }
        connected.number = self.latest.fetch_add(1, Ordering::AcqRel) + 1;
        self.server.send_if_modified(|server| {
            let before = server.replace(reached.client.clone());
            before.is_none_or(|before| topology::name(&before) != topology::name(&reached.client))
        });
        Ok(connected)
    }

    /// Gives up a connection that a call has failed on.
    async fn drop_connection(&self, number: usize) {
        let mut slot = self.connection.lock().await;
        let current = slot.connected.as_ref();
        if current.is_some_and(|connected| connected.number == number) {
            slot.connected = None;
        }
    }

    async fn send(&self, connected: &mut Connected, command: &Cmd) -> Result<Value, RedisError> {
        if BESIDE.try_with(|()| ()).is_err() {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
        let sent = connected.connection.send_packed_command(command).await;
        let answer = sent.and_then(Value::extract_error);
        match &answer {
            Ok(_) => self.answers.store(true, Ordering::Relaxed),
            Err(error) => self.heed(error, connected.number).await,
        }
        answer
    }

    /// Gives up a connection on which nothing, or nothing of use, is answered any more.
    async fn heed(&self, error: &RedisError, number: usize) {
        let unanswered = error.is_io_error() || error.is_connection_dropped() || error.is_timeout();
        self.answers.store(!unanswered, Ordering::Relaxed);
        if unanswered {
            self.doubt.arises();
        }
        if unanswered || self.topology.says_elsewhere(error) {
            self.drop_connection(number).await;
        }
    }

    /// Calls a command.
    ///
    /// # Errors
    /// What Redis says, in words.
    pub(crate) async fn command(&self, command: &Cmd) -> Result<Value> {
        let mut connected = self.connected().await.map_err(|error| self.told(error))?;
        let mut answer = self.send(&mut connected, command).await;
        if answer.as_ref().is_err_and(is_elsewhere) {
            connected = self.connected().await.map_err(|error| self.told(error))?;
            answer = self.send(&mut connected, command).await;
        }
        answer.map_err(|error| self.told(error))
    }

    /// Waits until as many replicas as the operator asks for have everything that was written before this
    /// call on the connection `number`; at once if he asks for none. `false` if there is another connection by
    /// now.
    ///
    /// # Errors
    /// They do not have it in time, or it is not known.
    pub(crate) async fn replicated(&self, number: usize) -> Result<bool> {
        if self.replicas == 0 {
            return Ok(true);
        }
        let connected = self.connected().await.map_err(|error| self.told(error))?;
        if connected.number != number {
            return Ok(false);
        }
        self.wait_for_replicas(&connected).await.map(|()| true)
    }

    async fn wait_for_replicas(&self, connected: &Connected) -> Result<()> {
        let Some(replicas) = &connected.replicas else {
            return Ok(());
        };
        let Err(error) = replicas.have_all().await else {
            return Ok(());
        };
        // It has been done, and this process is told of it like the others.
        self.doubt.arises();
        Err(match error {
            Unsure::Missing(have) => unsure(&self.location, replicas.wanted(), have),
            Unsure::Broken(error) => {
                self.drop_connection(connected.number).await;
                let told = self.told(error);
                // Whatever kept it from being asked, the change itself was made.
                if told.is_retryable() {
                    told
                } else {
                    unsure(&self.location, replicas.wanted(), 0)
                }
            }
        })
    }

    /// Calls a script.
    ///
    /// # Errors
    /// What Redis says, in words.
    pub(crate) async fn script<A: redis::ToRedisArgs>(
        &self,
        script: Script,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Value> {
        let called = self.script_on(None, script, arguments).await?;
        Ok(called.expect("any connection will do").0)
    }

    /// Calls a script on the connection `only`, if one is named; `None` if there is another by now.
    /// Returns the number of the connection, too.
    ///
    /// # Errors
    /// What Redis says, in words.
    pub(crate) async fn script_on<A: redis::ToRedisArgs>(
        &self,
        only: Option<usize>,
        script: Script,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Option<(Value, usize)>> {
        let mut connected = self.connected().await.map_err(|error| self.told(error))?;
        let fits = |connected: &Connected| only.is_none_or(|only| only == connected.number);
        if !fits(&connected) {
            return Ok(None);
        }
        let mut command = redis::cmd("EVALSHA");
        command
            .arg(connected.digest(script))
            .arg(1)
            .arg(&self.prefix);
        for argument in arguments {
            command.arg(argument);
        }
        let mut answer = self.send(&mut connected, &command).await;
        // Redis has forgotten its scripts, or has none of our keys any more; nothing was carried out.
        let forgotten = |error: &RedisError| error.code() == Some("NOSCRIPT");
        if answer
            .as_ref()
            .is_err_and(|error| forgotten(error) || is_elsewhere(error))
        {
            self.drop_connection(connected.number).await;
            connected = self.connected().await.map_err(|error| self.told(error))?;
            if !fits(&connected) {
                return Ok(None);
            }
            answer = self.send(&mut connected, &command).await;
        }
        let answer = answer.map_err(|error| self.told(error))?;
        if script.is_relied_on() {
            self.wait_for_replicas(&connected).await?;
        }
        Ok(Some((answer, connected.number)))
    }

    /// Shows a sign of life and asks for the time: [`crate::pulse`].
    ///
    /// # Errors
    /// What Redis says, in words.
    pub(crate) async fn beat(&self) -> Result<()> {
        let asked = Instant::now();
        let arguments = pulse::arguments(&self.server_clock);
        let answer = self.script(Script::Pulse, arguments).await?;
        pulse::note(&self.pulse, &self.server_clock, answer, asked.elapsed());
        Ok(())
    }

    pub(crate) fn told(&self, error: RedisError) -> Error {
        explain(&self.location, self.is_in_cluster(), error)
    }
}

/// Whether a node of a cluster says that another one has the keys. Nothing was carried out.
fn is_elsewhere(error: &RedisError) -> bool {
    error.code() == Some("MOVED")
}
