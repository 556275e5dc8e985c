//! `--stdio`: the client goes, the work stays.

use serde_json::json;

use crate::rig::{ByHand, Pipes, Place, ended_over_http, eventually, kill};

/// A port that was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn work_goes_on_without_its_client_and_is_fetched_over_stdio_and_http() {
    let place = Place::new();
    let (ledger, address) = (place.file("ledger"), free_address());
    let bridge = || place.command(&["--stdio", "--listen", &address]);
    let mut first = Pipes::legacy(bridge());
    let arguments = json!({"count": 30, "step_ms": 20, "ledger": ledger});
    let task = first.task("steps", &arguments);
    first.kill();

    // Nobody is connected while it works.
    eventually("the last step", || {
        let text = std::fs::read_to_string(&ledger).unwrap_or_default();
        (text.lines().count() >= 30).then_some(())
    });

    let mut second = Pipes::legacy(bridge());
    let result = second.result(&task);
    assert_eq!(
        result["structuredContent"]["result"]
            .as_array()
            .unwrap()
            .len(),
        30
    );
    let over_http = ended_over_http(&address, &task);
    assert_eq!(
        over_http["result"]["structuredContent"],
        result["structuredContent"]
    );
    assert_eq!(second.close(), Some(0));
    let lines = std::fs::read_to_string(&ledger).unwrap();
    assert_eq!(lines.lines().count(), 30, "each step ran once");
}

#[test]
fn bridges_share_one_server() {
    let place = Place::new();
    // At the same time: the store's lock decides which server stays.
    let mut clients: Vec<Pipes> = (0..4)
        .map(|_| Pipes::open(place.command(&["--stdio"])))
        .collect();
    for client in &mut clients {
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        });
        client.request("initialize", hello);
    }
    let task = clients[0].task("add", &json!({"a": 1, "b": 2}));
    for client in &mut clients {
        assert_eq!(client.result(&task)["structuredContent"]["result"], 3);
    }
    let server = place.server_pid().unwrap();
    for client in clients {
        assert_eq!(client.close(), Some(0));
    }
    assert_eq!(
        place.server_pid(),
        Some(server),
        "it waits for the next client"
    );
}

#[test]
fn a_server_that_nobody_needs_ends() {
    let place = Place::new();
    let mut client = Pipes::legacy(place.command(&["--stdio", "--idle-exit", "1s"]));
    let task = client.task("slow_compute", &json!({"seconds": 2, "label": "x"}));
    let server = place.server_pid().unwrap();
    client.kill();
    eventually("the end of the server", || {
        place.server_pid().is_none().then_some(())
    });
    assert!(!place.file("tasks.db.sock").exists());
    // Not before the task had ended.
    let mut client = Pipes::legacy(place.command(&["--stdio", "--idle-exit", "1s"]));
    assert_ne!(place.server_pid(), Some(server));
    let task = client.request("tasks/get", json!({"taskId": task}));
    assert_eq!(task["status"], "completed");
}

#[test]
fn a_connection_outlives_its_server() {
    let place = Place::new();
    let ledger = place.file("ledger");
    let mut client = Pipes::legacy(place.command(&["--stdio"]));
    let arguments = json!({"count": 40, "step_ms": 20, "ledger": ledger});
    let task = client.task("steps", &arguments);
    for kills in 1..=2 {
        eventually("some steps", || {
            let text = std::fs::read_to_string(&ledger).unwrap_or_default();
            (text.lines().count() >= 10 * kills).then_some(())
        });
        let server = place.server_pid().unwrap();
        kill("-KILL", server);
        let seen = client.request("tasks/get", json!({"taskId": task}));
        assert_eq!(seen["status"], "working");
        assert_ne!(place.server_pid(), Some(server));
    }
    let result = client.result(&task);
    assert_eq!(
        result["structuredContent"]["result"]
            .as_array()
            .unwrap()
            .len(),
        40
    );
    assert_eq!(client.close(), Some(0));
    let text = std::fs::read_to_string(&ledger).unwrap();
    let lines = text.lines().count();
    assert!(
        (40..=42).contains(&lines),
        "two kills, at most two steps twice: {lines}"
    );
}

#[test]
fn a_wait_outlives_the_server_and_a_call_without_a_record_is_not_repeated() {
    let place = Place::new();
    let can = json!({"elicitation": {}});
    let mut client = Pipes::legacy_that_can(place.command(&["--stdio"]), &can);
    let task = client.task("slow_compute", &json!({"seconds": 3, "label": "x"}));
    let waiting = client.begin("tasks/result", json!({"taskId": task}));
    let arguments = json!({"message": "Who are you?"});
    let params = json!({"name": "test_elicitation", "arguments": arguments});
    let call = client.begin("tools/call", params);
    let asked = client.until("the question of the call", |message| {
        message["method"] == "elicitation/create"
    });
    kill("-KILL", place.server_pid().unwrap());
    let told = client.answer(call);
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap()
            .contains("restarted"),
        "{told}"
    );
    client.until("that nobody waits for an answer", |message| {
        message["method"] == "notifications/cancelled"
            && message["params"]["requestId"] == asked["id"]
    });
    let result = client.answer(waiting);
    assert_eq!(
        result["result"]["content"][0]["text"],
        "x: computed for 3 s"
    );
    assert_eq!(client.close(), Some(0));
}

#[test]
fn a_rebuilt_binary_takes_over() {
    let place = Place::with_copy();
    let ledger = place.file("ledger");
    let mut client = Pipes::legacy(place.command(&["--stdio"]));
    let arguments = json!({"count": 60, "step_ms": 100, "ledger": ledger});
    let task = client.task("steps", &arguments);
    let old = place.server_pid().unwrap();
    place.rebuild();

    let later = Pipes::legacy(place.command(&["--stdio"]));
    let new = place.server_pid().unwrap();
    assert_ne!(new, old, "yesterday's process is gone");
    // The earlier client, a bridge of yesterday, is served by today's process.
    let seen = client.request("tasks/get", json!({"taskId": task}));
    assert_eq!(seen["status"], "working");
    assert_eq!(place.server_pid(), Some(new));
    assert_eq!(client.close(), Some(0));
    let mut client = later;
    let seen = client.request("tasks/get", json!({"taskId": task}));
    assert_eq!(seen["status"], "working", "the task came along");
    let result = client.result(&task);
    assert_eq!(
        result["structuredContent"]["result"]
            .as_array()
            .unwrap()
            .len(),
        60
    );
    let text = std::fs::read_to_string(&ledger).unwrap();
    let lines = text.lines().count();
    assert!(
        (60..=61).contains(&lines),
        "at most the step that was under way twice: {lines}"
    );
}

#[test]
fn other_settings_take_over_and_the_same_do_not() {
    let place = Place::new();
    let client = Pipes::legacy(place.command(&["--stdio"]));
    let first = place.server_pid().unwrap();
    client.close();
    let client = Pipes::legacy(place.command(&["--stdio"]));
    assert_eq!(place.server_pid(), Some(first));
    client.close();
    let client = Pipes::legacy(place.command(&["--stdio", "--task", "optional"]));
    assert_ne!(place.server_pid(), Some(first));
    client.close();
}

#[test]
fn a_server_started_by_hand_is_left_alone() {
    let place = Place::with_copy();
    let server = ByHand::start(place.command(&["--listen", "127.0.0.1:0"]));
    place.rebuild();
    let mut client = Pipes::legacy(place.command(&["--stdio"]));
    assert_eq!(place.server_pid(), Some(server.child.id()));
    let task = client.task("add", &json!({"a": 2, "b": 2}));
    assert_eq!(client.result(&task)["structuredContent"]["result"], 4);
    let seen = ended_over_http(&server.address, &task);
    assert_eq!(seen["status"], "completed");
    assert_eq!(client.close(), Some(0));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let place = Place::new();
    std::fs::write(
        place.file("tasks.db"),
        "not a database, but long enough to be looked at",
    )
    .unwrap();
    let output = place
        .command(&["--stdio"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is not a SQLite database"), "{said}");
}
