//! The application as a process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use reqwest::Response;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct App {
    folder: TempDir,
    child: Child,
    address: String,
    pub(crate) client: reqwest::Client,
}

impl App {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, address) = start(&folder);
        Self {
            folder,
            child,
            address,
            client: reqwest::Client::new(),
        }
    }

    /// Starts it again over the same data, after it has ended.
    pub(crate) fn restart(&mut self) {
        (self.child, self.address) = start(&self.folder);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self.client.post(self.url(path)).json(body);
        request.send().await.unwrap()
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end: the exit code, and what it said on standard error.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

fn start(folder: &TempDir) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_in_axum"))
        .args(["--listen", "127.0.0.1:0", "--folder"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ");
    let address = address.unwrap_or_else(|| panic!("{line:?}"));
    (child, address.to_owned())
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
