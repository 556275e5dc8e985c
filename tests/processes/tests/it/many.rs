//! Many processes on one Redis: who takes over, and that any of them answers for any task.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_processes::{Client, Redis, Server, Signal, binary, eventually};
use serde_json::{Value, json};

const COMMON: [&str; 4] = ["--lease", "2s", "--log-level", "warn"];

/// A process on a store, in a folder of its own as on a machine of its own.
fn process(store: &str, folder: &Path, arguments: &[&str]) -> Server {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = folder.join(number.to_string());
    std::fs::create_dir(&folder).expect("a folder");
    let mut all = vec!["--store", store];
    all.extend(COMMON);
    all.extend(arguments);
    Server::new(&binary("conformance-server"), &all, &folder)
}

/// A server that is listening; `more` for its command line.
fn server(store: &str, folder: &Path, more: &[&str]) -> Server {
    let mut arguments = vec!["--listen", "127.0.0.1:{port}"];
    arguments.extend(more);
    let mut server = process(store, folder, &arguments);
    server.start();
    server
}

fn create(client: &Client, tool: &str, arguments: Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    let answer = client.modern("tools/call", params).expect("it answers");
    let id = answer.result()["taskId"].as_str();
    id.unwrap_or_else(|| panic!("no task: {}", answer.body))
        .to_owned()
}

fn get(client: &Client, id: &str) -> Value {
    let answer = client.modern("tasks/get", json!({"taskId": id}));
    answer.expect("it answers").result().clone()
}

fn ended(client: &Client, id: &str) -> Value {
    eventually("the end of the task", || {
        Some(get(client, id)).filter(|task| task["status"] != "working")
    })
}

fn lines(ledger: &Path) -> usize {
    std::fs::read_to_string(ledger).map_or(0, |text| text.lines().count())
}

#[test]
fn a_killed_worker_is_replaced_and_its_steps_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::new();
    let store = redis.address("killed");
    // The server runs nothing for long: one slot, taken by a task of its own.
    let mut first = process(&store, folder.path(), &["--worker"]);
    first.launch();
    let server = server(&store, folder.path(), &["--concurrency", "1"]);
    let client = server.client();
    let ledger = folder.path().join("ledger");
    let arguments = json!({"count": 40, "step_ms": 30, "ledger": ledger});
    let ids: Vec<_> = (0..3)
        .map(|_| create(&client, "steps", arguments.clone()))
        .collect();
    eventually("the first steps", || (lines(&ledger) >= 12).then_some(()));
    first.kill();
    let mut second = process(&store, folder.path(), &["--worker"]);
    second.launch();
    for id in &ids {
        let task = ended(&client, id);
        assert_eq!(task["status"], "completed", "{task}");
    }
    let surplus = lines(&ledger) - 3 * 40;
    assert!(
        surplus <= 3,
        "{surplus} steps were done again after one kill of three tasks"
    );
}

#[test]
fn a_clean_stop_hands_over_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::new();
    let store = redis.address("handed");
    let grace = ["--shutdown-grace", "100ms", "--lease", "1h"];
    let process = |more: &[&str]| {
        let mut arguments = vec!["--listen", "127.0.0.1:{port}", "--store", &store];
        arguments.extend(grace);
        arguments.extend(more);
        let folder = folder.path().join(more.len().to_string());
        std::fs::create_dir(&folder).expect("a folder");
        let mut server = Server::new(&binary("conformance-server"), &arguments, &folder);
        server.start();
        server
    };
    let mut first = process(&[]);
    let ledger = folder.path().join("ledger");
    let arguments = json!({"count": 60, "step_ms": 30, "ledger": ledger});
    let id = create(&first.client(), "steps", arguments);
    eventually("the first steps", || (lines(&ledger) >= 5).then_some(()));
    let second = process(&["--log-level", "warn"]);
    first.stop();
    // Its lease would hold for an hour.
    let task = ended(&second.client(), &id);
    assert_eq!(task["status"], "completed", "{task}");
    assert!(
        lines(&ledger) <= 61,
        "at most the step under way was done again"
    );
}

#[test]
fn any_server_answers_for_any_task() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::new();
    let store = redis.address("any");
    let a = server(&store, folder.path(), &[]);
    let b = server(&store, folder.path(), &[]);
    let (here, there) = (a.client(), b.client());
    let ledger = folder.path().join("ledger");
    let short = json!({"count": 3, "step_ms": 1, "ledger": ledger});
    let endless = json!({"count": 100_000, "step_ms": 20, "ledger": ledger});

    // The newer era: made here, polled and cancelled there.
    let id = create(&here, "steps", short.clone());
    assert_eq!(ended(&there, &id)["status"], "completed");
    assert_eq!(get(&here, &id), get(&there, &id), "both say the same");
    let id = create(&here, "steps", endless.clone());
    eventually("the first step", || (lines(&ledger) > 3).then_some(()));
    there
        .modern("tasks/cancel", json!({"taskId": id}))
        .expect("it answers")
        .result();
    assert_eq!(ended(&here, &id)["status"], "cancelled");

    // The older era: a session that was opened here is good there, and so are its tasks.
    let session = here.legacy_session().expect("it answers");
    let call = json!({"name": "steps", "arguments": short, "task": {}});
    let made = there
        .legacy(&session, "tools/call", call)
        .expect("it answers");
    let id = made.result()["task"]["taskId"].clone();
    let result = here.legacy(&session, "tasks/result", json!({"taskId": id}));
    let result = result.expect("it answers");
    assert_eq!(
        result.result()["structuredContent"]["result"],
        json!([1, 2, 3])
    );
    let call = json!({"name": "steps", "arguments": endless, "task": {}});
    let made = here
        .legacy(&session, "tools/call", call)
        .expect("it answers");
    let id = made.result()["task"]["taskId"].clone();
    // One waits there while the other cancels here.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let result = there.legacy(&session, "tasks/result", json!({"taskId": id}));
            result.expect("it answers")
        });
        here.legacy(&session, "tasks/cancel", json!({"taskId": id}))
            .expect("it answers")
            .result();
        let waited = waits.join().expect("it waits");
        assert!(
            !waited.body.is_empty(),
            "who waits is told: {}",
            waited.body
        );
    });
    let status = there.legacy(&session, "tasks/get", json!({"taskId": id}));
    assert_eq!(status.expect("it answers").result()["status"], "cancelled");
}

/// What fills in a question's form.
fn filled_in(question: &Value) -> Value {
    let schema = &question["requestedSchema"]["properties"];
    let names = schema.as_object().expect("the members to fill in").keys();
    let content: serde_json::Map<String, Value> =
        names.map(|name| (name.clone(), json!("Ada"))).collect();
    json!({"action": "accept", "content": content})
}

#[test]
fn a_question_is_answered_through_a_server_that_did_not_ask() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::new();
    let store = redis.address("asked");
    let a = server(&store, folder.path(), &[]);
    let b = server(&store, folder.path(), &["--concurrency", "0"]);
    let (here, there) = (a.client(), b.client());

    // The newer era: the questions stand in the task, wherever it is read.
    let able = json!({"io.modelcontextprotocol/clientCapabilities": {
        "elicitation": {"form": {}}, "extensions": {"io.modelcontextprotocol/tasks": {}}}});
    let call = json!({"name": "multi_input", "arguments": {}});
    let made = here.modern_with("tools/call", call.clone(), able.clone());
    let id = made.expect("it answers").result()["taskId"].clone();
    let asked = eventually("the questions", || {
        let task = there.modern_with("tasks/get", json!({"taskId": id}), able.clone());
        let task = task.ok()?.result().clone();
        (task["status"] == "input_required").then_some(task)
    });
    let questions = asked["inputRequests"].as_object().expect("questions");
    let answers: serde_json::Map<String, Value> = questions
        .iter()
        .map(|(key, question)| (key.clone(), filled_in(&question["params"])))
        .collect();
    let update = json!({"taskId": id, "inputResponses": answers});
    let updated = there.modern_with("tasks/update", update, able);
    updated.expect("it answers").result();
    let id = id.as_str().expect("an id");
    let task = ended(&here, id);
    assert_eq!(task["result"]["content"][0]["text"], "2 answers", "{task}");

    // The older era: they are heard where somebody waits for the result, and answered anywhere.
    let session = here.legacy_session_with(json!({"elicitation": {}}));
    let session = session.expect("it answers");
    let mut call = call;
    call["task"] = json!({});
    let made = here.legacy(&session, "tools/call", call);
    let id = made.expect("it answers").result()["task"]["taskId"].clone();
    let wait =
        json!({"jsonrpc": "2.0", "id": 9, "method": "tasks/result", "params": {"taskId": id}});
    let mut waits = there.post_stream(&session, &wait).expect("a stream");
    loop {
        let (_, message) = waits.receive().expect("a message before the end");
        if message["method"] == "elicitation/create" {
            let answer = filled_in(&message["params"]);
            here.respond(&session, &message["id"], answer)
                .expect("the answer is taken");
        } else if message["id"] == 9 {
            let text = &message["result"]["content"][0]["text"];
            assert_eq!(text, "2 answers", "{message}");
            break;
        }
    }
}

#[test]
fn a_redis_that_stands_still_for_longer_than_a_lease_costs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::new();
    let store = redis.address("paused");
    let server = server(&store, folder.path(), &[]);
    let mut worker = process(&store, folder.path(), &["--worker"]);
    worker.launch();
    let client = server.client();
    let ledger = folder.path().join("ledger");
    let arguments = json!({"count": 40, "step_ms": 50, "ledger": ledger});
    let ids: Vec<_> = (0..4)
        .map(|_| create(&client, "steps", arguments.clone()))
        .collect();
    eventually("the first steps", || (lines(&ledger) >= 8).then_some(()));
    redis.tell(Signal::Stop);
    // The pause itself is what is tried: twice a lease, and longer than the silence that makes an
    // outage.
    std::thread::sleep(std::time::Duration::from_secs(5));
    redis.tell(Signal::Continue);
    for id in &ids {
        let task = ended(&client, id);
        assert_eq!(task["status"], "completed", "{task}");
    }
    assert_eq!(lines(&ledger), 4 * 40, "no step was done twice");
}
