//! Two servers on one Redis behind a balancer that knows nothing of sessions: what one client hears and says
//! at either of them.

use std::io::{Read, Write};
use std::net::TcpStream;

use outlast_processes::{Client, Redis, Server, binary, eventually};
use serde_json::{Value, json};

/// Two servers of one store.
struct Pair {
    servers: [Server; 2],
    redis: Redis,
    _folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let redis = Redis::new();
        let store = redis.address("beside");
        let servers = ["a", "b"].map(|name| {
            let folder = folder.path().join(name);
            std::fs::create_dir(&folder).expect("a folder");
            let arguments = ["--listen", "127.0.0.1:{port}", "--store", &store];
            let mut server = Server::new(&binary("conformance-server"), &arguments, &folder);
            server.start();
            server
        });
        Self {
            servers,
            redis,
            _folder: folder,
        }
    }

    fn clients(&self) -> [Client; 2] {
        self.servers.each_ref().map(Server::client)
    }
}

type Headers = Vec<(String, String)>;

/// The stream for what belongs to no request.
fn listen(client: &Client, session: &Headers) -> outlast_processes::Events {
    client.get_stream(session, "").expect("a stream")
}

/// Reads until a message is `wanted`.
fn until(
    events: &mut outlast_processes::Events,
    wanted: impl Fn(&Value) -> bool,
) -> (String, Value) {
    loop {
        let (id, message) = events.receive().expect("the message before the end");
        if wanted(&message) {
            return (id, message);
        }
    }
}

fn is_question(message: &Value) -> bool {
    message["method"] == "elicitation/create"
}

fn call(id: u32, tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": tool, "arguments": arguments}})
}

fn yes() -> Value {
    json!({"action": "accept", "content": {"confirm": true}})
}

#[test]
fn a_client_is_asked_once() {
    let pair = Pair::new();
    let [here, there] = pair.clients();
    let session = here.legacy_session_with(json!({"elicitation": {}}));
    let session = session.expect("a session");
    let mut listening = listen(&there, &session);
    // The question of a call that waits here comes on the stream of the call ...
    let first = call(1, "confirm_delete", json!({"filename": "first"}));
    let mut answered = here.post_stream(&session, &first).expect("a stream");
    let (_, asked) = until(&mut answered, is_question);
    here.respond(&session, &asked["id"], yes())
        .expect("the answer is taken");
    let (_, response) = until(&mut answered, |message| message["id"] == 1);
    assert_eq!(response["result"]["content"][0]["text"], "deleted first");
    // ... and that of a task that was begun here on the one stream that the client listens on, there.
    let arguments =
        json!({"name": "confirm_delete", "arguments": {"filename": "second"}, "task": {}});
    let made = here.legacy(&session, "tools/call", arguments);
    let made = made.expect("it answers").result()["task"]["taskId"].clone();
    let (_, asked) = until(&mut listening, is_question);
    assert_eq!(
        asked["params"]["message"], "Delete second?",
        "the first was asked twice: {asked}"
    );
    here.respond(&session, &asked["id"], yes())
        .expect("the answer is taken");
    let ended = eventually("the end of the task", || {
        let task = there.legacy(&session, "tasks/get", json!({"taskId": made}));
        let task = task.ok()?.result().clone();
        (task["status"] == "completed").then_some(task)
    });
    assert_eq!(ended["taskId"], made);
}

/// A task over REST, whose maker is nobody that could be asked.
fn create(server: &Server, tool: &str, arguments: &Value) {
    let body = json!({"tool": tool, "arguments": arguments}).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    write!(
        stream,
        "POST /tasks HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.0 202"), "{answer}");
}

#[test]
fn a_client_that_listens_is_asked_for_a_task_of_no_session() {
    let pair = Pair::new();
    let [here, _] = pair.clients();
    let session = here.legacy_session_with(json!({"elicitation": {}}));
    let mut listening = listen(&here, &session.expect("a session"));
    create(
        &pair.servers[1],
        "confirm_delete",
        &json!({"filename": "x"}),
    );
    let (_, asked) = until(&mut listening, is_question);
    assert_eq!(asked["params"]["message"], "Delete x?");
}

#[test]
fn a_question_goes_on_where_its_server_is_gone() {
    let mut pair = Pair::new();
    let [here, there] = pair.clients();
    let session = here.legacy_session_with(json!({"elicitation": {}}));
    let session = session.expect("a session");
    let mut listening = listen(&here, &session);
    let arguments = json!({"name": "confirm_delete", "arguments": {"filename": "x"}, "task": {}});
    let made = there.legacy(&session, "tools/call", arguments);
    made.expect("it answers").result();
    until(&mut listening, is_question);
    pair.servers[0].kill();
    let mut listening = listen(&there, &session);
    let (_, asked) = until(&mut listening, is_question);
    assert_eq!(asked["params"]["message"], "Delete x?");
}

#[test]
fn what_a_call_without_a_record_waits_for_may_come_to_the_other_server() {
    let pair = Pair::new();
    let [here, there] = pair.clients();
    let session = here.legacy_session_with(json!({"elicitation": {}}));
    let session = session.expect("a session");
    let asks = call(1, "test_elicitation", json!({"message": "Who are you?"}));
    let mut events = here.post_stream(&session, &asks).expect("a stream");
    let (_, asked) = until(&mut events, is_question);
    let answer = json!({"action": "accept", "content": {"username": "ann", "email": "a@b.c"}});
    let taken = there.respond(&session, &asked["id"], answer);
    assert_eq!(taken.expect("it answers").status, 202);
    let (_, response) = until(&mut events, |message| message["id"] == 1);
    let text = response["result"]["content"][0]["text"].as_str();
    assert!(text.is_some_and(|text| text.contains("ann")), "{response}");

    // The same call, cancelled there: its stream ends, and nothing is answered.
    let asks = call(2, "test_elicitation", json!({"message": "Who are you?"}));
    let mut events = here.post_stream(&session, &asks).expect("a stream");
    until(&mut events, is_question);
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 2}});
    let mut taken = there.post_stream(&session, &cancel).expect("it answers");
    assert!(
        taken.receive().is_err(),
        "nothing is said to a notification"
    );
    let end = loop {
        match events.receive() {
            Ok((_, message)) => assert_ne!(message["id"], 2, "{message}"),
            Err(end) => break end,
        }
    };
    assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof, "{end}");
}

#[test]
fn a_stream_that_lives_at_the_other_server_is_not_lost() {
    let mut pair = Pair::new();
    let [here, there] = pair.clients();
    let session = here.legacy_session_with(json!({"elicitation": {}}));
    let session = session.expect("a session");
    let asks = call(1, "test_elicitation", json!({"message": "Who are you?"}));
    let mut events = here.post_stream(&session, &asks).expect("a stream");
    let (seen, asked) = until(&mut events, is_question);
    drop(events);
    // Asked to come again, which says nothing of the response.
    let mut elsewhere = there.get_stream(&session, &seen).expect("an answer");
    assert!(elsewhere.receive().is_err());
    let answer = json!({"action": "accept", "content": {"username": "ann", "email": "a@b.c"}});
    here.respond(&session, &asked["id"], answer)
        .expect("the answer is taken");
    let mut events = here.get_stream(&session, &seen).expect("the stream");
    let (_, response) = until(&mut events, |message| message["id"] == 1);
    assert!(response["error"].is_null(), "{response}");

    // With its server it is gone, which is said as soon as that is known.
    pair.servers[0].kill();
    let lost = eventually("that the response is lost", || {
        let mut events = there.get_stream(&session, &seen).ok()?;
        events.receive().ok()
    });
    assert_eq!(lost.1["error"]["code"], -32603, "{}", lost.1);
    assert!(pair.redis.call("PING").is_ok());
}
