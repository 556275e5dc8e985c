//! The response of a call of 2025-11-25 whose stream broke, and whose server was killed.

use outlast_processes::{Client, Server, binary, eventually};
use serde_json::{Value, json};

const RELATED: &str = "io.modelcontextprotocol/related-task";

/// Reads events until a message is `wanted`; returns it with the id of its event.
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

#[test]
fn a_response_that_nobody_was_there_for_comes_after_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["--listen", "127.0.0.1:{port}", "--store", "sqlite:tasks.db"];
    let mut server = Server::new(&binary("conformance-server"), &arguments, folder.path());
    server.start();
    let client = Client::new(server.port());
    let session = client
        .legacy_session_with(json!({"elicitation": {}}))
        .expect("a session");

    // Questions make a task of the call, so its stream can go on anywhere. The tool may be run again.
    let call = json!({"jsonrpc": "2.0", "id": 8, "method": "tools/call",
        "params": {"name": "multi_input", "arguments": {}}});
    let mut events = client.post_stream(&session, &call).expect("a stream");
    let is_question = |message: &Value| message["method"] == "elicitation/create";
    let (seen, question) = until(&mut events, is_question);
    let task = question["params"]["_meta"][RELATED]["taskId"].clone();
    drop(events);
    server.kill();

    // The stream goes on in the next process: the questions come again, under new ids.
    server.start();
    let mut events = client
        .get_stream(&session, &seen)
        .expect("the stream again");
    let (_, first) = until(&mut events, is_question);
    let (_, second) = until(&mut events, is_question);
    assert!(first["id"] != question["id"] && second["id"] != question["id"]);
    drop(events);
    for asked in [first, second] {
        let schema = &asked["params"]["requestedSchema"]["properties"];
        let names = schema.as_object().expect("the members to fill in").keys();
        let content: serde_json::Map<String, Value> =
            names.map(|name| (name.clone(), json!("Ada"))).collect();
        let answer = json!({"action": "accept", "content": content});
        client
            .respond(&session, &asked["id"], answer)
            .expect("the answer is taken");
    }
    // The response is produced while nobody listens.
    eventually("the task to end", || {
        let task = client.modern("tasks/get", json!({"taskId": task})).ok()?;
        (task.result()["status"] == "completed").then_some(())
    });
    server.kill();

    server.start();
    for _ in 0..2 {
        let mut events = client
            .get_stream(&session, &seen)
            .expect("the stream again");
        let (_, response) = until(&mut events, |message| message["id"] == 8);
        assert_eq!(
            response["result"]["content"][0]["text"], "2 answers",
            "{response}"
        );
        assert!(events.receive().is_err(), "nothing follows the response");
    }
}
