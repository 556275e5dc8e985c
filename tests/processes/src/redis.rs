//! A Redis of the test's own, which writes everything down before it answers.
//!
//! A machine without `redis-server` fails these tests: `scripts/setup redis` installs it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::server::{Signal, eventually, tell};

/// A running server with a socket in a folder of its own, killed with the test.
pub struct Redis {
    folder: tempfile::TempDir,
    options: Vec<String>,
    child: Child,
}

impl Redis {
    /// Starts a server.
    ///
    /// # Panics
    /// If there is no `redis-server`, or it never answers.
    #[expect(clippy::new_without_default, reason = "it starts a process")]
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// Starts a server with more on its command line.
    ///
    /// # Panics
    /// As [`Redis::new`].
    pub fn with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options: Vec<_> = options.iter().map(|&word| word.to_owned()).collect();
        let child = start(&folder, &options);
        let mut redis = Self {
            folder,
            options,
            child,
        };
        redis.answers();
        redis
    }

    /// The address of the store with this prefix.
    pub fn address(&self, prefix: &str) -> String {
        format!("redis+unix://{}?prefix={prefix}", self.socket().display())
    }

    /// Kills the server and starts it again on what it had written down.
    ///
    /// # Panics
    /// If it never answers.
    pub fn restart(&mut self) {
        self.kill();
        self.restart_killed();
    }

    /// Starts a server that was killed again, on what it had written down.
    ///
    /// # Panics
    /// If it never answers.
    pub fn restart_killed(&mut self) {
        self.child = start(&self.folder, &self.options);
        self.answers();
    }

    /// Kills the server.
    ///
    /// # Panics
    /// If it cannot be.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Tells the server something.
    pub fn tell(&self, signal: Signal) {
        tell(&self.child, signal);
    }

    /// Calls a command without spaces in its words, and returns the first part of the answer as it is
    /// on the wire.
    ///
    /// # Errors
    /// The server is not there.
    pub fn call(&self, command: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        write!(stream, "{command}\r\n")?;
        let mut answer = vec![0; 1 << 16];
        let read = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    }

    /// The names of all keys that never expire.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn lasting_keys(&self) -> Vec<String> {
        let script = "local all = {} \
                      for _, key in ipairs(redis.call('KEYS', '*')) do \
                        if redis.call('PTTL', key) == -1 then all[#all + 1] = key end \
                      end \
                      return cjson.encode({keys = all})";
        let mut stream = UnixStream::connect(self.socket()).expect("it is there");
        write!(
            stream,
            "*3\r\n$4\r\nEVAL\r\n${}\r\n{script}\r\n$1\r\n0\r\n*1\r\n$4\r\nQUIT\r\n",
            script.len()
        )
        .expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let mut lines = answer.lines().skip(1);
        let keys: serde_json::Value = serde_json::from_str(lines.next().unwrap_or_default())
            .unwrap_or_else(|error| panic!("no keys ({error}): {answer}"));
        let keys = keys["keys"].as_array().cloned().unwrap_or_default();
        let names = keys
            .iter()
            .filter_map(|key| key.as_str().map(ToOwned::to_owned));
        names.collect()
    }

    fn answers(&mut self) {
        eventually("redis-server answers", || {
            self.call("PING")
                .ok()
                .filter(|answer| answer == "+PONG\r\n")
        });
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(folder: &tempfile::TempDir, options: &[String]) -> Child {
    let socket = folder.path().join("redis.sock");
    let _ = std::fs::remove_file(&socket);
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--unixsocket"])
        .arg(socket)
        .arg("--dir")
        .arg(folder.path())
        .args(options)
        .stdout(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("redis-server is needed ({error}): run `scripts/setup redis`")
    })
}
