//! A webhook whose server is killed while it is sent: the next process sends it, under the same id.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use outlast_processes::{Server, binary, eventually};
use serde_json::{Value, json};

const CONFIG: &str = r#"
[server]
store = "sqlite:tasks.db"

[webhooks]
secret = "file:key"

[webhooks.to.ops]
url = "http://127.0.0.1:{port}/"
private = true

[tools.hello]
description = "Say hello."
command = ["echo", "hello"]
task = "required"
"#;

/// The next message: its head and its body, with the connection it came on.
fn next(listener: &TcpListener) -> (String, Value, TcpStream) {
    let (stream, _) = listener.accept().expect("somebody comes");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a line") > 0, "{head}");
    }
    let mut body = vec![0; header(&head, "content-length").parse().expect("a number")];
    reader.read_exact(&mut body).expect("the body");
    let body = serde_json::from_slice(&body).expect("JSON");
    (head, body, stream)
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.expect("the header")
}

#[test]
fn a_message_that_was_on_its_way_comes_after_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let receiver = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = receiver.local_addr().expect("it is bound").port();
    let config = CONFIG.replace("{port}", &port.to_string());
    std::fs::write(folder.path().join("outlast.toml"), config).expect("it is written");
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    std::fs::write(folder.path().join("key"), key).expect("it is written");
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:{port}",
        "--log-format",
        "json",
        "--log-level",
        "debug",
    ];
    let mut server = Server::new(&binary("outlast"), &arguments, folder.path());
    server.start();
    let call = json!({"name": "hello", "arguments": {}});
    let created = server.client().modern("tools/call", call).expect("a task");
    let id = created.result()["taskId"].clone();
    let (first, told, unanswered) = next(&receiver);
    assert_eq!(told["data"]["taskId"], id);
    // The task has ended, and nobody has heard of it.
    server.kill();
    drop(unanswered);
    server.start();
    let (second, again, mut stream) = next(&receiver);
    assert_eq!(again, told);
    for name in ["webhook-id", "content-length"] {
        assert_eq!(header(&second, name), header(&first, name));
    }
    stream
        .write_all(b"HTTP/1.1 204 Taken\r\n\r\n")
        .expect("it is answered");
    // The server's own log says so, as an object a line.
    eventually("the line of the log", || {
        let log = server.log();
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.find(|line: &Value| line["message"] == "webhook delivered" && line["task"] == id)
    });
}
