//! The server as a process, and clients that speak to it in plain JSON, over pipes and over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a store, and the server's binary. What still runs at the end is ended.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) program: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            program: env!("CARGO_BIN_EXE_conformance-server").into(),
        }
    }

    /// A place with a copy of the binary, which can be "rebuilt".
    pub(crate) fn with_copy() -> Self {
        let mut place = Self::new();
        place.program = place.folder.path().join("server");
        place.rebuild();
        place
    }

    /// Puts another file with the same content in the place of the binary.
    pub(crate) fn rebuild(&self) {
        let fresh = self.folder.path().join("server.new");
        std::fs::copy(env!("CARGO_BIN_EXE_conformance-server"), &fresh).unwrap();
        std::fs::rename(&fresh, &self.program).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--store")
            .arg(format!("sqlite:{}", self.file("tasks.db").display()))
            .args(arguments);
        command
    }

    /// The process that holds the store.
    pub(crate) fn server_pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.file("tasks.db.lock")).ok()?;
        let pid: u32 = text.lines().next()?.trim().parse().ok()?;
        Path::new(&format!("/proc/{pid}/exe"))
            .read_link()
            .ok()
            .map(|_| pid)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.server_pid() {
            kill("-KILL", pid);
        }
    }
}

pub(crate) fn kill(signal: &str, pid: u32) {
    Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
}

/// Waits until `done`, for a generous while.
pub(crate) fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A client on the standard streams of a process.
pub(crate) struct Pipes {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What came before it was asked for.
    early: Vec<Value>,
    last_id: u64,
}

impl Pipes {
    pub(crate) fn open(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            early: Vec::new(),
            last_id: 0,
        }
    }

    /// A connection of the older era.
    pub(crate) fn legacy(command: Command) -> Self {
        Self::legacy_that_can(command, &json!({}))
    }

    /// A connection of the older era whose client declares these capabilities.
    pub(crate) fn legacy_that_can(command: Command, capabilities: &Value) -> Self {
        let mut pipes = Self::open(command);
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "1"},
        });
        pipes.request("initialize", hello);
        pipes.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        pipes
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{message}\n").as_bytes()).unwrap();
        input.flush().unwrap();
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        let answer = self.answer(id);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a request and returns its id.
    pub(crate) fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// The answer to a request. Every line must be a message: nothing else may reach the stream.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        let early = self.early.iter().position(|message| message["id"] == id);
        if let Some(early) = early {
            return self.early.remove(early);
        }
        loop {
            let message = self.next().expect("an answer");
            if message["id"] == id {
                return message;
            }
            self.early.push(message);
        }
    }

    /// The first message that fits, of those that nobody has asked for yet and then of those to come.
    pub(crate) fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(early) = self.early.iter().position(&fits) {
            return self.early.remove(early);
        }
        loop {
            let message = self.next().unwrap_or_else(|| panic!("never: {what}"));
            if fits(&message) {
                return message;
            }
            self.early.push(message);
        }
    }

    /// Forgets what came and nobody has asked for; returns it.
    pub(crate) fn take_early(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.early)
    }

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a message: {line:?}")))
    }

    /// Creates a task and returns its id.
    pub(crate) fn task(&mut self, tool: &str, arguments: &Value) -> String {
        let params = json!({"name": tool, "arguments": arguments, "task": {"ttl": 60000}});
        let created = self.request("tools/call", params);
        created["task"]["taskId"]
            .as_str()
            .expect("a task")
            .to_owned()
    }

    pub(crate) fn result(&mut self, task: &str) -> Value {
        self.request("tasks/result", json!({"taskId": task}))
    }

    /// Ends the input and returns the exit code.
    pub(crate) fn close(mut self) -> Option<i32> {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A server that was started by hand.
pub(crate) struct ByHand {
    pub(crate) child: Child,
    pub(crate) address: String,
    pub(crate) stderr: BufReader<std::process::ChildStderr>,
}

impl ByHand {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .unwrap_or_else(|| panic!("{line}"));
        let address = address.trim().trim_end_matches("/mcp").to_owned();
        Self {
            child,
            address,
            stderr,
        }
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The result of a request of 2026-07-28 over HTTP.
pub(crate) fn over_http(address: &str, method: &str, name: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {
            "extensions": {"io.modelcontextprotocol/tasks": {}}
        },
    });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\nMcp-Name: {name}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 200"), "{response}");
    let message: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{response}"));
    message["result"].clone()
}

/// The task over HTTP, once it has ended.
pub(crate) fn ended_over_http(address: &str, task: &str) -> Value {
    eventually("the end of the task", || {
        let seen = over_http(address, "tasks/get", task, json!({"taskId": task}));
        (seen["status"] != "working").then_some(seen)
    })
}
