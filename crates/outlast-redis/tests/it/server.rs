//! A Redis of the test's own: a process with a socket in a folder of its own, killed with the test.
//!
//! A machine without `redis-server` fails these tests: `scripts/setup redis` installs it.
//! `OUTLAST_REDIS_SERVER` names another program to run them on, such as Valkey's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use outlast_core::testing::{Fixture, ManualClock, Reopened, block_on, eventually};
use outlast_core::{Clock, Store};
use outlast_redis::{Options, RedisStore};

/// A running server.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    child: Child,
    options: Vec<String>,
    made: AtomicUsize,
}

impl Server {
    /// A server that keeps nothing over a restart: for thousands of short lives.
    pub(crate) fn volatile() -> Self {
        Self::with(&["--appendonly", "no"])
    }

    /// A server that is asked to write everything down.
    pub(crate) fn durable() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(crate) fn with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options: Vec<_> = options.iter().map(|&word| word.to_owned()).collect();
        let child = start(folder.path(), &options);
        Self {
            folder,
            child,
            options,
            made: AtomicUsize::new(0),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Kills the server as a loss of power would, and starts it again on what it wrote down.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = start(self.folder.path(), &self.options);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// The address of a store that nobody has opened.
    pub(crate) fn next_address(&self) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.address(&format!("test{number}"))
    }

    pub(crate) fn address(&self, prefix: &str) -> String {
        let socket = self.socket();
        format!(
            "redis+unix://{}?prefix={prefix}&volatile=true",
            socket.display()
        )
    }

    /// Every key as it is now.
    pub(crate) fn snapshot(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut connection = self.connection();
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
        let dump = |key: Vec<u8>| {
            let dumped = redis::cmd("DUMP").arg(&key).query(&mut connection).unwrap();
            (key, dumped)
        };
        keys.into_iter().map(dump).collect()
    }

    /// Puts every key back as it was, as a server does that has lost its last writes.
    pub(crate) fn restore(&self, snapshot: &[(Vec<u8>, Vec<u8>)]) {
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("FLUSHDB");
        for (key, dumped) in snapshot {
            pipe.cmd("RESTORE").arg(key).arg(0).arg(dumped);
        }
        let _: redis::Value = pipe.query(&mut self.connection()).unwrap();
    }

    fn connection(&self) -> redis::Connection {
        let url = format!("redis+unix://{}", self.socket().display());
        redis::Client::open(url).unwrap().get_connection().unwrap()
    }

    /// Calls a command, as somebody else would.
    pub(crate) fn call(&self, words: &[&str]) -> redis::Value {
        let mut connection = self.connection();
        let (command, arguments) = words.split_first().unwrap();
        redis::cmd(command)
            .arg(arguments)
            .query(&mut connection)
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server that is tested.
pub(crate) fn program() -> String {
    std::env::var("OUTLAST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

fn start(folder: &Path, options: &[String]) -> Child {
    let mut command = Command::new(program());
    let socket = folder.join("redis.sock");
    let _ = std::fs::remove_file(&socket);
    command
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(folder)
        .args(options)
        .stdout(Stdio::null());
    let child = command.spawn().unwrap_or_else(|error| {
        let program = program();
        panic!("{program} is needed ({error}): run `scripts/setup redis`")
    });
    let url = format!("redis+unix://{}", socket.display());
    let client = redis::Client::open(url).unwrap();
    block_on(eventually("the server answers", || {
        let ping = client
            .get_connection()
            .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
        std::future::ready(ping.ok().map(|_| ()))
    }));
    child
}

/// Stores on one server.
pub(crate) struct Stores(pub(crate) Arc<Server>);

pub(crate) fn open(address: &str, clock: Arc<dyn Clock>) -> RedisStore {
    let options = Options {
        clock: Some(clock),
        ..Options::new(address, "test")
    };
    RedisStore::open(options).expect("a store that opens")
}

#[async_trait]
impl Fixture for Stores {
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        Arc::new(open(&self.0.next_address(), clock))
    }

    async fn reopen(&self, store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Reopened {
        let location = store.info().location;
        let prefix = location.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(Arc::strong_count(&store), 1, "nobody else uses it");
        // The process of the test goes on; that of the store is taken to have ended.
        store.close().await.expect("it closes");
        drop(store);
        Reopened::Next(Arc::new(open(&self.0.address(&prefix), clock)))
    }
}
