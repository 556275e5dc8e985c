//! A server in this process, and a client that speaks to it in plain JSON.

use std::time::Duration;

use outlast::{RunningServer, Server, Settings, StoreUrl};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};

use crate::official::Conversation;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    pub(crate) server: RunningServer,
    input: BufReader<ReadHalf<DuplexStream>>,
    output: WriteHalf<DuplexStream>,
    last_id: u64,
    conversation: Conversation,
    pub(crate) folder: TempDir,
}

/// Settings with a store in `folder`.
pub(crate) fn settings(folder: &TempDir) -> Settings {
    Settings {
        store: Some(StoreUrl::sqlite(folder.path().join("tasks.db"))),
        ..Settings::default()
    }
}

impl Rig {
    pub(crate) async fn start(server: Server) -> Self {
        Self::with(server, Settings::default()).await
    }

    pub(crate) async fn with(server: Server, more: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = more.over(settings(&folder));
        let server = server.start(settings).await.unwrap();
        let (input, output) = tokio::io::split(server.connect());
        Self {
            server,
            input: BufReader::new(input),
            output,
            last_id: 0,
            conversation: Conversation::default(),
            folder,
        }
    }

    /// The response to a request of 2026-07-28 with the tasks extension. What `params` have in `_meta`
    /// goes along.
    pub(crate) async fn request(&mut self, method: &str, mut params: Value) -> Value {
        self.last_id += 1;
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {
                "elicitation": {},
                "extensions": {"io.modelcontextprotocol/tasks": {}}
            },
        });
        if let Some(Value::Object(more)) = params.get_mut("_meta").map(Value::take) {
            meta.as_object_mut().expect("made above").extend(more);
        }
        params["_meta"] = meta;
        self.send(method, params).await
    }

    /// The response to a request of the session that [`Rig::initialize`] opened.
    pub(crate) async fn legacy(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        self.send(method, params).await
    }

    /// Opens a session of an older version.
    pub(crate) async fn initialize(&mut self, version: &str) -> Value {
        let client = json!({"name": "rig", "version": "1"});
        let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client});
        self.legacy("initialize", params).await
    }

    async fn send(&mut self, method: &str, params: Value) -> Value {
        let request = json!({
            "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params,
        });
        let line = format!("{request}\n");
        self.conversation.sends(line.as_bytes());
        self.output.write_all(line.as_bytes()).await.unwrap();
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.input.read_line(&mut line));
            assert_ne!(
                read.await.expect("an answer").unwrap(),
                0,
                "the connection ended"
            );
            let message: Value = serde_json::from_str(&line).unwrap();
            self.conversation.receives(&message);
            if message["id"] == self.last_id {
                return message;
            }
        }
    }

    /// What a call returns at once.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        let response = self.request("tools/call", params).await;
        assert!(response["error"].is_null(), "{response}");
        response["result"].clone()
    }

    /// The task that a call became, once it has ended.
    pub(crate) async fn ended_task(&mut self, tool: &str, arguments: Value) -> Value {
        let created = self.call(tool, arguments).await;
        let id = created["taskId"].as_str().expect("a task").to_owned();
        self.ended(&id).await
    }

    /// The task with this id, once it has ended.
    pub(crate) async fn ended(&mut self, id: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let task = self.request("tasks/get", json!({"taskId": id})).await["result"].clone();
            let status = task["status"].as_str().expect("a status");
            if !matches!(status, "working" | "input_required") {
                return task;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "still not ended: {task}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The definition of a tool as it is listed.
    pub(crate) async fn listed(&mut self, tool: &str) -> Value {
        let list = self.request("tools/list", json!({})).await;
        let tools = list["result"]["tools"].as_array().expect("tools").clone();
        let found = tools.into_iter().find(|listed| listed["name"] == tool);
        found.unwrap_or_else(|| panic!("no tool {tool} in {list}"))
    }
}
