//! The way to Redis: one connection for everything that is called, on a thread of its own.
//!
//! The thread has a small runtime. Every operation runs there to its end, whatever becomes of the one
//! who asked for it, so that a dropped call happens as a whole or not at all, and leases are renewed
//! while handlers block every thread of the application. Calls of many operations share the connection
//! and travel together.
//!
//! A connection that breaks fails the calls that are on their way, for nobody knows whether they were
//! carried out, and the next call makes a new one. Nothing is sent twice behind the caller's back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use outlast_core::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};
use tokio::sync::{Notify, oneshot};

use crate::clock::ServerClock;
use crate::failure::{self, closed, explain};
use crate::script::{self, Script};

/// How long Redis may take for an answer before the caller is told to try again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What operations reach Redis through.
pub(crate) struct Link {
    client: Client,
    /// The address without secrets.
    pub(crate) location: String,
    /// The name that all keys begin with, in the braces that keep them in one slot.
    pub(crate) prefix: String,
    pub(crate) server_clock: Arc<ServerClock>,
    connection: tokio::sync::Mutex<Option<Connected>>,
    made: AtomicUsize,
    calls: AtomicUsize,
}

#[derive(Clone)]
struct Connected {
    connection: MultiplexedConnection,
    number: usize,
    /// The digests by which Redis knows the scripts.
    digests: Arc<Vec<(Script, String)>>,
}

impl Link {
    pub(crate) fn new(address: &str, location: String, name: &str) -> Result<Self> {
        let client = Client::open(address).map_err(|error| explain(&location, error))?;
        Ok(Self {
            client,
            prefix: format!("{{{name}}}"),
            location,
            server_clock: Arc::new(ServerClock::new()),
            connection: tokio::sync::Mutex::new(None),
            made: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// How many calls have been sent.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// A key of ours.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    async fn connected(&self) -> Result<Connected, RedisError> {
        let mut slot = self.connection.lock().await;
        if let Some(connected) = &*slot {
            return Ok(connected.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(PATIENCE));
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        // First something short: whoever is not let in is told so, and cut off over a long script.
        set_clock(&mut connection, &self.server_clock).await?;
        let mut digests = Vec::new();
        for (script, source) in script::sources() {
            let load = redis::cmd("SCRIPT").arg("LOAD").arg(source).take();
            let digest = connection.send_packed_command(&load).await?;
            let digest = digest.extract_error()?;
            digests.push((script, crate::row::text(&digest)));
        }
        let connected = Connected {
            connection,
            number: self.made.fetch_add(1, Ordering::Relaxed),
            digests: Arc::new(digests),
        };
        *slot = Some(connected.clone());
        Ok(connected)
    }

    /// Gives up a connection that a call has failed on.
    async fn drop_connection(&self, number: usize) {
        let mut slot = self.connection.lock().await;
        if slot
            .as_ref()
            .is_some_and(|connected| connected.number == number)
        {
            *slot = None;
        }
    }

    async fn send(&self, connected: &mut Connected, command: &Cmd) -> Result<Value, RedisError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let sent = connected.connection.send_packed_command(command).await;
        let answer = sent.and_then(Value::extract_error);
        if let Err(error) = &answer
            && (error.is_io_error() || error.is_connection_dropped() || error.is_timeout())
        {
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
        let mut connected = self.connected().await.map_err(|error| self.told(error))?;
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
            answer = self.send(&mut connected, &command).await;
        }
        answer.map_err(|error| self.told(error))
    }

    /// Asks for the server's time.
    pub(crate) async fn set_clock(&self) -> Result<()> {
        let mut connected = self.connected().await.map_err(|error| self.told(error))?;
        let set = set_clock(&mut connected.connection, &self.server_clock).await;
        if set.is_err() {
            self.drop_connection(connected.number).await;
        }
        set.map_err(|error| self.told(error))
    }

    pub(crate) fn told(&self, error: RedisError) -> Error {
        explain(&self.location, error)
    }
}

async fn set_clock(
    connection: &mut MultiplexedConnection,
    clock: &ServerClock,
) -> Result<(), RedisError> {
    let asked = Instant::now();
    let answer = connection.send_packed_command(&redis::cmd("TIME")).await?;
    let answer = answer.extract_error()?;
    let trip = asked.elapsed();
    let parts = crate::row::array(answer);
    if let [seconds, micros] = parts.as_slice() {
        let time = Duration::from_secs(crate::row::int(seconds))
            + Duration::from_micros(crate::row::int(micros));
        clock.set(time, trip);
    }
    Ok(())
}

/// The thread that operations run on.
pub(crate) struct Driver {
    handle: tokio::runtime::Handle,
    running: Arc<Running>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What runs on the thread.
#[derive(Default)]
struct Running {
    closed: AtomicBool,
    operations: AtomicUsize,
    /// The last operation of a closed store has ended.
    idle: Notify,
    stop: Notify,
}

impl Driver {
    pub(crate) fn start() -> Result<Self> {
        let cannot = |error| Error::unavailable("cannot start the thread of the task store", error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot)?;
        let handle = runtime.handle().clone();
        let running = Arc::new(Running::default());
        let runs = Arc::clone(&running);
        let thread = std::thread::Builder::new()
            .name("outlast-redis".into())
            .spawn(move || runtime.block_on(runs.stop.notified()))
            .map_err(cannot)?;
        Ok(Self {
            handle,
            running,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.running.closed.load(Ordering::SeqCst)
    }

    /// Runs something beside the operations until the store ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }

    /// Runs an operation to its end and hands over what came of it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.running.operations.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket(Arc::clone(&self.running));
        if self.is_closed() {
            return Err(closed());
        }
        let (reply, answer) = oneshot::channel();
        self.handle.spawn(async move {
            let _ticket = ticket;
            // A caller who has gone leaves what came of it here, and it is dropped.
            let _ = reply.send(operation.await);
        });
        answer.await.map_err(|_| closed())?
    }

    /// Runs an operation on this thread's time: for opening and dropping a store.
    pub(crate) fn block_on<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = std::sync::mpsc::channel();
        self.handle.spawn(async move {
            let _ = reply.send(operation.await);
        });
        answer.recv().map_err(|_| failure::closed())?
    }

    /// Takes no more operations and waits for those that run.
    pub(crate) async fn close(&self) {
        self.running.closed.store(true, Ordering::SeqCst);
        loop {
            let idle = self.running.idle.notified();
            if self.running.operations.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Ends the thread; what runs on it is dropped.
    pub(crate) fn stop(&self) {
        self.running.closed.store(true, Ordering::SeqCst);
        self.running.stop.notify_one();
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

/// One running operation.
struct Ticket(Arc<Running>);

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.operations.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
