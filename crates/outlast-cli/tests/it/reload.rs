//! A configuration file that changes while it is served: what is taken over, what is said, and who is told.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{Rig, eventually, outlast};
use crate::serve::Server;

const HEAD: &str =
    "[server]\nname = \"reload\"\nlisten = \"127.0.0.1:0\"\nstore = \"sqlite:outlast.db\"\n";

const LONG: &str = r#"
[tools.long]
description = "Takes its time."
task = "optional"
shell = true
command = "echo old; while [ ! -e go ]; do sleep 0.05; done; echo ended"
"#;

const EXTRA: &str = r#"
[tools.extra]
description = "Came later."
command = ["echo", "extra"]
"#;

fn write(rig: &Rig, text: &str) {
    // In one step, as editors do.
    std::fs::write(rig.file("next"), text).unwrap();
    std::fs::rename(rig.file("next"), rig.file("outlast.toml")).unwrap();
}

fn json(rig: &Rig, arguments: &[&str]) -> Value {
    let mut command = Command::new(outlast());
    command.args(arguments).arg("--json");
    command.current_dir(rig.file(""));
    for name in ["OUTLAST_URL", "OUTLAST_STORE", "OUTLAST_CONFIG"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn tools(rig: &Rig) -> Vec<String> {
    let listed = json(rig, &["tools"]);
    let tools = listed["tools"].as_array().unwrap().iter();
    tools
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .filter(|name| !name.starts_with("task_"))
        .collect()
}

/// The last reload, as whoever watches the server sees it.
fn reloaded(server: &Server) -> Value {
    let answer = server.fetched("/health");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{head}");
    let health: Value = serde_json::from_str(body).unwrap();
    health["reload"].clone()
}

async fn says(server: &Server, part: &str) {
    eventually(part, || (!server.said(part).is_empty()).then_some(())).await;
}

#[tokio::test]
async fn sighup_takes_a_changed_file_over_and_a_bad_one_changes_nothing() {
    let rig = Rig::new();
    write(&rig, &format!("{HEAD}{LONG}"));
    let server = Server::start(&rig);
    let task = json(&rig, &["call", "long", "--no-wait"]);
    let id = task["taskId"].as_str().unwrap();
    eventually("the command runs", || {
        let page = Command::new(outlast())
            .args(["tasks", "logs", id])
            .current_dir(rig.file(""))
            .output()
            .unwrap();
        page.stdout.starts_with(b"old").then_some(())
    })
    .await;

    let changed = LONG.replace("echo old", "echo new");
    let moved = HEAD.replace("127.0.0.1:0", "127.0.0.1:1");
    write(&rig, &format!("{moved}title = \"Moved\"\n{changed}{EXTRA}"));
    server.signal(Signal::HUP);
    says(&server, "reloaded; added extra").await;
    says(&server, "title changed: needs a restart").await;
    let reload = reloaded(&server);
    assert_eq!(reload["status"], "reloaded", "{reload}");
    assert_eq!(reload["needsRestart"], json!(["title"]), "{reload}");
    // The flag stands above the file, so this is no change.
    assert_eq!(server.said("listen changed"), [""; 0]);
    assert_eq!(tools(&rig), ["extra", "long"]);

    write(&rig, &format!("{HEAD}{LONG}[tools.bad]\ncommand = 7\n"));
    server.signal(Signal::HUP);
    says(&server, "not reloaded, and nothing was changed").await;
    says(&server, "tools.bad").await;
    let reload = reloaded(&server);
    assert_eq!(reload["status"], "failed", "{reload}");
    let why = reload["error"].as_str().unwrap();
    assert!(why.contains("tools.bad"), "{why}");
    assert_eq!(tools(&rig), ["extra", "long"]);

    // The task that ran goes on with the command it has; the next one is the new command.
    std::fs::write(rig.file("go"), "").unwrap();
    let text = |document: &Value| document["result"]["content"][0]["text"].clone();
    assert_eq!(text(&json(&rig, &["tasks", "result", id])), "old\nended\n");
    let next = json(&rig, &["call", "long", "--wait"]);
    assert_eq!(text(&next), "new\nended\n");

    write(&rig, &format!("{HEAD}{LONG}"));
    server.signal(Signal::HUP);
    says(&server, "reloaded; removed extra").await;
    assert_eq!(tools(&rig), ["long"]);
}

#[tokio::test]
async fn dev_reloads_by_itself_and_tells_the_clients_of_both_eras() {
    let rig = Rig::new();
    write(&rig, &format!("{HEAD}{LONG}"));
    let server = Server::start_as(&rig, &["dev"]);
    let mut legacy = Line::connect(&rig);
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {},
                       "clientInfo": {"name": "test", "version": "1"}});
    legacy.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}));
    legacy.until(|message| message["id"] == 1);
    legacy.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    legacy.send(&json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}));
    legacy.until(|message| message["id"] == 9);
    let mut modern = Line::connect(&rig);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
                      "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                      "io.modelcontextprotocol/clientCapabilities": {}});
    let params = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true},
                        "_meta": meta});
    modern.send(
        &json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}),
    );
    modern.until(|message| message["method"] == "notifications/subscriptions/acknowledged");

    // What reads the same to clients is no news to them.
    let changed = LONG.replace("echo old", "echo new");
    write(&rig, &format!("{HEAD}{changed}"));
    says(&server, "reloaded").await;
    write(&rig, &format!("{HEAD}{changed}{EXTRA}"));
    says(&server, "reloaded; added extra").await;
    for client in [&mut legacy, &mut modern] {
        let told = client.until(|message| message.get("method").is_some());
        assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    }
    // A request and its answer: whatever else there was to tell has been told before.
    legacy.send(&json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}));
    let next = legacy.until(|_| true);
    assert_eq!(next["id"], 2, "told once: {next}");
    drop(server);
}

/// A connection to the server's socket.
struct Line {
    reader: BufReader<UnixStream>,
}

impl Line {
    fn connect(rig: &Rig) -> Self {
        let stream = UnixStream::connect(rig.file("outlast.db.sock")).unwrap();
        let patience = std::time::Duration::from_secs(60);
        stream.set_read_timeout(Some(patience)).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn send(&mut self, message: &Value) {
        let mut stream = self.reader.get_ref();
        stream.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    /// The next message that is wanted.
    fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.reader.read_line(&mut line).unwrap(), 0, "it ended");
            let message: Value = serde_json::from_str(&line).unwrap();
            if wanted(&message) {
                return message;
            }
        }
    }
}
