//! `outlast serve` as a process: the sample works, and nothing is left behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Rig, eventually, outlast};

pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(rig: &Rig) -> Self {
        Self::start_at(rig, "127.0.0.1:0")
    }

    pub(crate) fn start_at(rig: &Rig, address: &str) -> Self {
        Self::start_as(rig, &["serve", "--listen", address])
    }

    pub(crate) fn start_as(rig: &Rig, arguments: &[&str]) -> Self {
        Self::start_with(rig, arguments, &[])
    }

    /// Starts it with these variables beside the inherited ones.
    fn start_with(rig: &Rig, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(outlast())
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(rig.file(""))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut lines = lines.map_while(Result::ok);
        let heard = |line: &String| said.lock().unwrap().push(line.clone());
        let url = lines
            .by_ref()
            .inspect(heard)
            .find_map(|line| {
                line.split_once("listening on ")
                    .map(|(_, url)| url.to_owned())
            })
            .expect("the server says where it listens");
        // Whatever it says later must not find a closed pipe.
        let later = Arc::clone(&said);
        std::thread::spawn(move || lines.for_each(|line| later.lock().unwrap().push(line)));
        Self { child, url, said }
    }

    /// The lines it has said so far that have `part` in them.
    pub(crate) fn said(&self, part: &str) -> Vec<String> {
        let said = self.said.lock().unwrap();
        let lines = said.iter().filter(|line| line.contains(part));
        lines.cloned().collect()
    }

    /// What the REST surface shows, with the head of the answer.
    pub(crate) fn fetched(&self, path: &str) -> String {
        let host = self.url.trim_start_matches("http://");
        let host = host.trim_end_matches("/mcp");
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whoever collects the log reads each line by itself.
#[tokio::test]
async fn every_line_of_a_json_log_is_json() {
    let rig = Rig::new();
    let file = "[server]\nstore = \"sqlite:outlast.db\"\n\
                [tools.hello]\ndescription = \"Says hello.\"\ncommand = [\"echo\", \"hello\"]\n";
    std::fs::write(rig.file("outlast.toml"), file).unwrap();
    let child = Command::new(outlast())
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .current_dir(rig.file(""))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Server {
        child,
        url: String::new(),
        said: Arc::default(),
    };
    let said = BufReader::new(server.child.stderr.take().unwrap()).lines();
    let mut said = said.map(|line| {
        let line = line.unwrap();
        let read = serde_json::from_str::<serde_json::Value>(&line);
        read.unwrap_or_else(|_| panic!("this is no JSON: {line}"))
    });
    let listening = said.find(|line| line["message"] == "listening").unwrap();
    server.url = listening["mcp"][0].as_str().unwrap().to_owned();
    for (name, scheme) in [
        ("dashboard", "http://"),
        ("rest", "http://"),
        ("websocket", "ws://"),
    ] {
        let address = listening[name].as_str().unwrap();
        assert!(address.starts_with(scheme), "{listening}");
    }
    let called = Command::new(outlast())
        .args(["call", "hello", "--wait", "--url", &server.url])
        .current_dir(rig.file(""))
        .output()
        .unwrap();
    assert!(called.status.success());
    server.signal(Signal::TERM);
    // To its end.
    said.for_each(drop);
}

#[tokio::test]
async fn the_sample_does_its_job_and_leaves_nothing() {
    let rig = Rig::new();
    assert!(
        Command::new(outlast())
            .arg("init")
            .current_dir(rig.file(""))
            .status()
            .unwrap()
            .success()
    );
    let mut server = Server::start(&rig);
    let call = |arguments: &[&str]| {
        let output = Command::new(outlast())
            .arg("call")
            .args(arguments)
            .args(["--url", &server.url])
            .current_dir(rig.file(""))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    let counted = call(&["count", "to=3", "pause=0.4"]);
    assert_eq!(counted, "counted 1 of 3\ncounted 2 of 3\ncounted 3 of 3\n");
    let counted = call(&["word_count", "file=outlast.toml"]);
    assert!(counted.trim_end().ends_with("outlast.toml"), "{counted}");
    let found = call(&["find_files", "ending:=[\"toml\", \"nothing\"]", "depth=1"]);
    assert_eq!(found, "./outlast.toml\n");

    let runs = rig.file("outlast.db.runs");
    eventually("the runs are swept up", || {
        let entries = std::fs::read_dir(&runs).unwrap();
        let mut names = entries.map(|entry| entry.unwrap().file_name());
        names.all(|name| name == "place").then_some(())
    })
    .await;
    server.signal(Signal::TERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0), "a clean stop");
}

#[test]
fn a_key_that_a_setting_names_is_not_for_commands() {
    let rig = Rig::new();
    let file = "[server]\nstore = \"sqlite:a.db\"\n[tools.env]\ndescription = \"d\"\ncommand = [\"env\"]\n";
    std::fs::write(rig.file("outlast.toml"), file).unwrap();
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let server = Server::start_with(
        &rig,
        &["serve", "--listen", "127.0.0.1:0"],
        &[
            ("OUTLAST_WEBHOOK_SECRET", "env:HOOK_KEY"),
            ("HOOK_KEY", key),
            ("OTHER", "is seen"),
        ],
    );
    let called = Command::new(outlast())
        .args(["call", "env", "--url", &server.url])
        .current_dir(rig.file(""))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&called.stdout);
    assert!(text.contains("OTHER=is seen"), "{text}");
    assert!(!text.contains("HOOK_KEY"), "{text}");
}

#[tokio::test]
async fn the_start_says_where_everything_is() {
    let rig = Rig::new();
    std::fs::write(
        rig.file("outlast.toml"),
        "[server]\nstore = \"sqlite:a.db\"\n",
    )
    .unwrap();
    let server = Server::start(&rig);
    let base = server.url.strip_suffix("/mcp").unwrap().to_owned();
    let host = base.strip_prefix("http://").unwrap();
    let file = std::path::absolute(rig.file("outlast.toml")).unwrap();
    for line in [
        format!("  dashboard  {base}/"),
        format!("  REST       {base}/tasks, described at {base}/openapi.json"),
        format!("  WebSocket  ws://{host}/ws"),
        format!(
            "  stdio      outlast serve --config {} --stdio",
            file.display()
        ),
    ] {
        eventually(&line, || (!server.said(&line).is_empty()).then_some(())).await;
    }
    eventually("the store", || {
        (!server.said("a.db").is_empty()).then_some(())
    })
    .await;
}
