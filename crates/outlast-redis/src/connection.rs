//! The way to Redis: one connection for everything that is called.
//!
//! Calls of many operations share the connection and travel together. A connection that breaks fails
//! the calls that are on their way, for nobody knows whether they were carried out, and the next call
//! makes a new one. Nothing is sent twice behind the caller's back. Whoever waits in line while a
//! connection cannot be made is told the same as the one who tried, so that no call takes longer than
//! two such trials.
//!
//! Connections are numbered. Behind a new one may stand a Redis that has lost its last writes, or the
//! replica that took its place, so nothing that was read on one is committed on another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outlast_core::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};

use crate::clock::ServerClock;
use crate::doubt::Doubt;
use crate::failure::explain;
use crate::options::Address;
use crate::pulse::{self, Pulse};
use crate::script::{self, Script};
use crate::tls;

/// How long Redis may take for an answer before the caller is told to try again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// Set for what is called beside the operations, which nobody counts.
    pub(crate) static BESIDE: ();
}

/// What operations reach Redis through.
pub(crate) struct Link {
    client: Client,
    /// The address without secrets.
    pub(crate) location: String,
    /// The name that all keys begin with, in the braces that keep them in one slot.
    pub(crate) prefix: String,
    pub(crate) server_clock: Arc<ServerClock>,
    pub(crate) pulse: Pulse,
    pub(crate) doubt: Doubt,
    connection: tokio::sync::Mutex<Slot>,
    /// The number of the latest connection.
    latest: AtomicUsize,
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
}

impl Link {
    pub(crate) fn new(address: &Address) -> Result<Self> {
        Ok(Self {
            client: tls::client(address)?,
            prefix: format!("{{{}}}", address.prefix),
            location: address.location.clone(),
            server_clock: Arc::new(ServerClock::new()),
            pulse: Pulse::default(),
            doubt: Doubt::default(),
            connection: tokio::sync::Mutex::default(),
            latest: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// How many calls have been sent for operations.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// The number of the latest connection.
    pub(crate) fn latest(&self) -> usize {
        self.latest.load(Ordering::Acquire)
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
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connected, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(PATIENCE));
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        // First something short: whoever is not let in is told so, and cut off over a long script.
        let ping = redis::cmd("PING");
        connection
            .send_packed_command(&ping)
            .await?
            .extract_error()?;
        let mut digests = Vec::new();
        for (script, source) in script::sources() {
            let load = redis::cmd("SCRIPT").arg("LOAD").arg(source).take();
            let digest = connection.send_packed_command(&load).await?;
            let digest = digest.extract_error()?;
            digests.push((script, crate::row::text(&digest)));
        }
        Ok(Connected {
            connection,
            number: self.latest.fetch_add(1, Ordering::AcqRel) + 1,
            digests: Arc::new(digests),
        })
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
        if let Err(error) = &answer
            && (error.is_io_error()
                || error.is_connection_dropped()
                || error.is_timeout()
                // After a failover the same address may lead to the new primary.
                || error.code() == Some("READONLY"))
        {
            self.doubt.arises();
            self.drop_connection(connected.number).await;
        }
        answer
    }

    /// Calls a command.
    ///
    /// # Errors
    /// What Redis says, in words.
    pub(crate) async fn command(&self, command: &Cmd) -> Result<Value> {
        let mut connected = self.connected().await.map_err(|error| self.told(error))?;
        let answer = self.send(&mut connected, command).await;
        answer.map_err(|error| self.told(error))
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
        let known = connected.digests.iter().find(|(known, _)| *known == script);
        let (_, digest) = known.expect("every script is loaded with the connection");
        let mut command = redis::cmd("EVALSHA");
        command.arg(digest).arg(1).arg(&self.prefix);
        for argument in arguments {
            command.arg(argument);
        }
        let mut answer = self.send(&mut connected, &command).await;
        if let Err(error) = &answer
            && error.code() == Some("NOSCRIPT")
        {
            // Redis has forgotten its scripts; nothing was carried out.
            self.drop_connection(connected.number).await;
            connected = self.connected().await.map_err(|error| self.told(error))?;
            if !fits(&connected) {
                return Ok(None);
            }
            answer = self.send(&mut connected, &command).await;
        }
        let answer = answer.map_err(|error| self.told(error))?;
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
        explain(&self.location, error)
    }
}
