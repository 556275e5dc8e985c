//! Webhooks over real HTTP: from a call over REST or MCP to a receiver that checks the signature.

use std::time::Duration;

use outlast::prelude::*;
use outlast::{WebhookSettings, WebhookTo};
use outlast_engine::SigningKey;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{PATIENCE, Rig};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Says hello.
#[tool(task)]
async fn hello() -> Result<String> {
    Ok("hello".into())
}

/// Somebody who is told.
struct Receiver {
    listener: TcpListener,
    url: String,
}

/// One message.
struct Message {
    head: String,
    body: String,
}

impl Message {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    /// The message, if its signature is right.
    fn checked(&self) -> Value {
        let key: SigningKey = KEY.parse().unwrap();
        let seconds = self.header("webhook-timestamp").parse().unwrap();
        let signature = key.sign(self.header("webhook-id"), seconds, &self.body);
        assert_eq!(self.header("webhook-signature"), signature);
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn read_message(stream: &mut BufReader<TcpStream>) -> Message {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = stream.read_line(&mut head).await.unwrap();
        assert!(read > 0, "the head broke off: {head}");
    }
    let head = head.replace("\r\n", "\n");
    let message = Message {
        head,
        body: String::new(),
    };
    let mut body = vec![0; message.header("content-length").parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Message {
        body: String::from_utf8(body).unwrap(),
        ..message
    }
}

impl Receiver {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=1234", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// The next message, answered with this status and these headers.
    async fn next(&self, status: &str, headers: &str) -> Message {
        let next = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let message = read_message(&mut stream).await;
            let answer = format!(
                "HTTP/1.1 {status}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            message
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("a message")
    }
}

fn to_here() -> Settings {
    Settings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        webhooks: WebhookSettings {
            hosts: Some(vec!["127.0.0.1".into()]),
            private: Some(true),
            ..WebhookSettings::default()
        },
        ..Settings::default()
    }
}

/// The status and the body of the answer to a request over HTTP.
async fn http(rig: &Rig, line: &str, body: &Value) -> (u16, Value) {
    let address = rig.server.local_addr().expect("it listens");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// What REST says of telling, once it is as `wanted` says.
async fn deliveries(rig: &Rig, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (status, list) = http(rig, &format!("GET /tasks/{id}/webhooks"), &json!({})).await;
        assert_eq!(status, 200, "{list}");
        if list["deliveries"].get(0).is_some_and(&wanted) {
            return list;
        }
        assert!(tokio::time::Instant::now() < deadline, "never came: {list}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_call_over_rest_tells_and_tries_again() {
    let receiver = Receiver::listen().await;
    let rig = Rig::with(Server::new("told").tool(hello), to_here()).await;
    let call = json!({"tool": "hello", "webhooks": [
        {"url": receiver.url, "secret": KEY, "events": ["completed"]}]});
    let (status, task) = http(&rig, "POST /tasks", &call).await;
    assert_eq!(status, 202, "{task}");
    let id = task["taskId"].as_str().unwrap();
    let first = receiver.next("503 Busy", "retry-after: 6\r\n").await;
    let told = first.checked();
    assert_eq!(told["type"], "task.completed");
    assert_eq!(told["data"]["taskId"], id);
    let list = deliveries(&rig, id, |delivery| delivery["attempts"] == 1).await;
    let delivery = &list["deliveries"][0];
    assert_eq!(delivery["state"], "pending");
    assert_eq!(delivery["latest"][0]["status"], 503);
    assert_eq!(delivery["id"], first.header("webhook-id"));
    assert_eq!(delivery["event"], "completed");
    let origin = list["webhooks"][0]["origin"].as_str().unwrap();
    assert!(receiver.url.starts_with(origin));
    assert!(!list.to_string().contains("1234"), "{list}");
    let second = receiver.next("204 Taken", "").await;
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    second.checked();
    let list = deliveries(&rig, id, |delivery| delivery["state"] == "delivered").await;
    assert_eq!(list["deliveries"][0]["attempts"], 2);
    // What was taken may have been lost there.
    let delivery = list["deliveries"][0]["id"].as_str().unwrap();
    let again = |delivery: &str| format!("POST /tasks/{id}/webhooks/{delivery}/resend");
    let (status, list) = http(&rig, &again(delivery), &json!({})).await;
    assert_eq!(status, 202, "{list}");
    assert_eq!(list["deliveries"][0]["id"], delivery);
    let third = receiver.next("204 Taken", "").await;
    assert_eq!(third.body, first.body);
    assert_eq!(third.header("webhook-id"), first.header("webhook-id"));
    deliveries(&rig, id, |delivery| delivery["attempts"] == 3).await;
    let (status, problem) = http(&rig, &again("none"), &json!({})).await;
    assert_eq!(status, 404, "{problem}");
    assert!(
        problem["detail"].as_str().unwrap().contains("\"none\""),
        "{problem}"
    );
}

#[tokio::test]
async fn a_call_over_mcp_names_webhooks_in_its_meta() {
    let receiver = Receiver::listen().await;
    let mut rig = Rig::with(Server::new("told").tool(hello), to_here()).await;
    let hook = json!({"url": receiver.url, "secret": KEY});
    let params = json!({"name": "hello", "arguments": {}, "_meta": {"outlast/webhooks": [hook]}});
    let response = rig.request("tools/call", params).await;
    let id = response["result"]["taskId"]
        .as_str()
        .expect("a task")
        .to_owned();
    let told = receiver.next("200 OK", "").await.checked();
    assert_eq!(told["data"]["taskId"], id);
    // The address and the key are in no file of the store in the open.
    deliveries(&rig, &id, |delivery| delivery["state"] == "delivered").await;
    let database = std::fs::read(rig.folder.path().join("tasks.db")).unwrap();
    let log = std::fs::read(rig.folder.path().join("tasks.db-wal")).unwrap();
    for secret in ["token=1234", "MfKQ9r8G"] {
        let found = |bytes: &[u8]| {
            bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        };
        assert!(!found(&database) && !found(&log), "{secret}");
    }
    for (hook, why) in [
        (
            json!({"url": "https://example.com/", "secret": KEY}),
            "not among the hosts",
        ),
        (json!({"url": receiver.url}), "whsec_"),
        (json!({"url": receiver.url, "secret": "short"}), "whsec_"),
        (
            json!({"url": receiver.url, "secret": KEY, "evnts": []}),
            "evnts",
        ),
    ] {
        let params =
            json!({"name": "hello", "arguments": {}, "_meta": {"outlast/webhooks": [hook]}});
        let error = rig.request("tools/call", params).await["error"].clone();
        assert_eq!(error["code"], -32602, "{error}");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
}

#[tokio::test]
async fn the_servers_own_webhooks_hear_of_every_task_and_follow_no_redirect() {
    let receiver = Receiver::listen().await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let to = WebhookTo {
        secret: Some(outlast::auth::Secret::File(key)),
        private: true,
        ..WebhookTo::new(&receiver.url)
    };
    let settings = Settings {
        webhooks: WebhookSettings {
            to: [("ops".to_owned(), to)].into(),
            ..WebhookSettings::default()
        },
        ..to_here()
    };
    let mut rig = Rig::with(Server::new("told").tool(hello), settings).await;
    let task = rig.ended_task("hello", json!({})).await;
    let redirect = format!("location: {}\r\n", receiver.url);
    let message = receiver.next("307 Elsewhere", &redirect).await;
    assert_eq!(message.checked()["data"]["taskId"], task["taskId"]);
    let id = task["taskId"].as_str().unwrap();
    let list = deliveries(&rig, id, |delivery| delivery["attempts"] == 1).await;
    assert_eq!(list["webhooks"][0]["name"], "ops");
    assert_eq!(list["deliveries"][0]["latest"][0]["status"], 307);
    assert_eq!(list["deliveries"][0]["state"], "pending");
}

#[tokio::test]
async fn a_reload_takes_over_who_is_told() {
    let receiver = Receiver::listen().await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, KEY).unwrap();
    let listen = || Settings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..Settings::default()
    };
    let mut rig = Rig::with(Server::new("told").tool(hello), listen()).await;
    let to = WebhookTo {
        secret: Some(outlast::auth::Secret::File(key.clone())),
        private: true,
        ..WebhookTo::new(&receiver.url)
    };
    let with = |to: WebhookTo| {
        Server::new("told").tool(hello).settings(Settings {
            webhooks: WebhookSettings {
                to: [("ops".to_owned(), to)].into(),
                ..WebhookSettings::default()
            },
            ..Settings::default()
        })
    };
    // What cannot hold changes nothing.
    let wrong = WebhookTo::new("http://a.example/").clone();
    let refused = rig
        .server
        .reload(with(wrong))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("webhooks.to.ops"), "{refused}");
    let reloaded = rig.server.reload(with(to)).await.unwrap();
    assert_eq!(reloaded.needs_restart, [""; 0]);
    let task = rig.ended_task("hello", json!({})).await;
    let message = receiver.next("204 Taken", "").await;
    assert_eq!(message.checked()["data"]["taskId"], task["taskId"]);
}

#[tokio::test]
async fn a_server_that_may_not_reach_private_addresses_does_not() {
    let receiver = Receiver::listen().await;
    let url = receiver
        .url
        .replace("http://127.0.0.1", "https://localhost");
    let settings = Settings {
        webhooks: WebhookSettings {
            hosts: Some(vec!["*".into()]),
            ..WebhookSettings::default()
        },
        ..to_here()
    };
    let rig = Rig::with(Server::new("told").tool(hello), settings).await;
    let call = json!({"tool": "hello", "webhooks": [{"url": url, "secret": KEY}]});
    let (status, task) = http(&rig, "POST /tasks", &call).await;
    assert_eq!(status, 202, "a name says nothing yet: {task}");
    let id = task["taskId"].as_str().unwrap();
    let list = deliveries(&rig, id, |delivery| delivery["attempts"] == 1).await;
    let error = list["deliveries"][0]["latest"][0]["error"]
        .as_str()
        .unwrap();
    assert!(error.contains("private address"), "{error}");
    assert!(!error.contains("token"), "{error}");
    let literal = json!({"tool": "hello", "webhooks": [{"url": "https://[::1]/", "secret": KEY}]});
    let (status, problem) = http(&rig, "POST /tasks", &literal).await;
    assert_eq!(status, 400, "{problem}");
}

#[tokio::test]
async fn settings_that_cannot_hold_stop_the_start() {
    let start = async |webhooks: WebhookSettings| {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            webhooks,
            ..crate::rig::settings(&folder)
        };
        let started = Server::new("told").tool(hello).start(settings).await;
        started.err().expect("it does not start").to_string()
    };
    let hosts = WebhookSettings {
        hosts: Some(vec!["https://x".into()]),
        ..WebhookSettings::default()
    };
    assert!(start(hosts).await.contains("webhooks.hosts"));
    let unsigned = WebhookSettings {
        to: [("ops".to_owned(), WebhookTo::new("https://ops.example/"))].into(),
        ..WebhookSettings::default()
    };
    assert!(
        start(unsigned)
            .await
            .contains("webhooks.to.ops: messages are signed")
    );
}
