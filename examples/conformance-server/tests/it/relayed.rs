//! What a client behind `--stdio` has, and what it waits for, outlives the server.

use serde_json::{Value, json};

use crate::rig::{Pipes, Place, eventually, kill};

/// The two ways in which a server ends under its clients.
const ENDS: [&str; 2] = ["-KILL", "-TERM"];

fn everything() -> Value {
    json!({"roots": {}, "sampling": {}, "elicitation": {}})
}

/// Ends the server, and returns once it is gone.
fn end_server(place: &Place, signal: &str) {
    let server = place.server_pid().unwrap();
    kill(signal, server);
    eventually("the end of the server", || {
        (place.server_pid() != Some(server)).then_some(())
    });
}

/// Answers one request of the server.
fn reply(client: &mut Pipes, asked: &Value) {
    let result = match asked["method"].as_str().unwrap() {
        "elicitation/create" => json!({"action": "accept", "content": {"name": "Ann"}}),
        "sampling/createMessage" => json!({
            "role": "assistant", "model": "none", "stopReason": "endTurn",
            "content": {"type": "text", "text": "a greeting"},
        }),
        _ => json!({"roots": [{"uri": "file:///here"}]}),
    };
    client.send(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}));
}

fn is_question(message: &Value) -> bool {
    message["method"].is_string() && !message["id"].is_null()
}

fn modern_meta(capabilities: &Value) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    })
}

/// Waits until a call has been written down as a task; returns that.
fn stored(client: &mut Pipes, tool: &str) -> String {
    eventually("the record of the call", || {
        let listed = client.request("outlast/tasks", json!({"tool": tool}));
        let id = listed["tasks"][0]["taskId"].as_str();
        id.map(str::to_owned)
    })
}

#[test]
fn what_was_asked_stays_asked_and_is_withdrawn_when_it_is_done_with() {
    for signal in ENDS {
        let place = Place::new();
        let mut client = Pipes::legacy_that_can(place.command(&["--stdio"]), &everything());
        let task = client.task("ask_around", &json!({}));
        let given_up = client.task("confirm_delete", &json!({"filename": "a"}));
        let mut questions = Vec::new();
        while questions.len() < 4 {
            questions.push(client.until("a question", is_question));
        }
        end_server(&place, signal);
        // The client's next words reach the next server.
        client.request("tasks/cancel", json!({"taskId": given_up}));
        let of_given_up = |question: &Value| {
            let related = &question["params"]["_meta"]["io.modelcontextprotocol/related-task"];
            related["taskId"] == *given_up
        };
        let (withdrawn, open): (Vec<Value>, _) = questions.into_iter().partition(of_given_up);
        let [withdrawn] = &*withdrawn else {
            panic!("{withdrawn:?}");
        };
        client.until("the question is withdrawn", |message| {
            message["method"] == "notifications/cancelled"
                && message["params"]["requestId"] == withdrawn["id"]
        });
        for question in &open {
            reply(&mut client, question);
        }
        let result = client.result(&task);
        let text = result["content"][0]["text"].as_str().unwrap();
        for part in ["Ann", "a greeting", "file:///here"] {
            assert!(text.contains(part), "{signal}: {text}");
        }
        let asked_again: Vec<_> = client
            .take_early()
            .into_iter()
            .filter(is_question)
            .collect();
        assert_eq!(asked_again, [] as [Value; 0], "{signal}");
        assert_eq!(client.close(), Some(0));
    }
}

#[test]
fn a_task_asks_its_client_through_the_next_server() {
    let place = Place::new();
    let mut client = Pipes::legacy_that_can(place.command(&["--stdio"]), &everything());
    let pause = |paused: bool| json!({"tool": "ask_around", "paused": paused});
    client.request("outlast/pause", pause(true));
    let task = client.task("ask_around", &json!({}));
    end_server(&place, "-KILL");
    client.request("outlast/pause", pause(false));
    for _ in 0..3 {
        let question = client.until("a question", is_question);
        reply(&mut client, &question);
    }
    let result = client.result(&task);
    assert!(
        result["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("a greeting")
    );
    assert_eq!(client.close(), Some(0));
}

#[test]
fn progress_subscriptions_and_the_log_level_stay() {
    let place = Place::new();
    let mut client = Pipes::legacy(place.command(&["--stdio"]));
    client.request("logging/setLevel", json!({"level": "debug"}));
    let created = client.request(
        "tools/call",
        json!({
            "name": "slow_progress", "arguments": {"steps": 10_000, "step_ms": 10}, "task": {},
            "_meta": {"progressToken": "pt"},
        }),
    );
    let task = created["task"]["taskId"].as_str().unwrap().to_owned();
    let uri = format!("outlast://tasks/{task}");
    client.request("resources/subscribe", json!({"uri": uri}));
    for _ in 0..2 {
        end_server(&place, "-KILL");
        // Over once the first request has been answered by the next server.
        client.request("ping", json!({}));
        client.take_early();
        client.until("progress", |message| {
            message["method"] == "notifications/progress"
                && message["params"]["progressToken"] == "pt"
        });
        client.until("an update of what was subscribed to", |message| {
            message["method"] == "notifications/resources/updated"
                && message["params"]["uri"] == uri
        });
        client.until("the task's state", |message| {
            message["method"] == "notifications/tasks/status"
                && message["params"]["taskId"] == *task
        });
    }
    // A log at a level that is told only where it was asked for.
    let arguments = json!({"name": "test_tool_with_logging", "arguments": {}});
    client.request("tools/call", arguments);
    client.until("a message of the log", |message| {
        message["method"] == "notifications/message"
    });
    client.request("tasks/cancel", json!({"taskId": task}));
    assert_eq!(client.close(), Some(0));
}

#[test]
fn the_lists_may_read_differently_at_the_next_server() {
    let place = Place::new();
    let mut client = Pipes::legacy(place.command(&["--stdio"]));
    end_server(&place, "-TERM");
    for list in ["tools", "prompts", "resources"] {
        let method = format!("notifications/{list}/list_changed");
        client.until(&method, |message| message["method"] == *method);
    }
    assert_eq!(client.close(), Some(0));
}

#[test]
fn a_call_that_has_a_record_gets_its_result_from_the_next_server() {
    for signal in ENDS {
        let place = Place::new();
        let mut client = Pipes::legacy(place.command(&["--stdio"]));
        let arguments = json!({"steps": 150, "step_ms": 20});
        let params = json!({
            "name": "slow_progress", "arguments": arguments, "_meta": {"progressToken": 5},
        });
        let call = client.begin("tools/call", params);
        let id = stored(&mut client, "slow_progress");
        end_server(&place, signal);
        let answer = client.answer(call);
        assert_eq!(
            answer["result"]["content"][0]["text"], "150 steps done",
            "{signal}: {answer}"
        );
        let seen = client.request("tasks/get", json!({"taskId": id}));
        assert_eq!(seen["status"], "completed");
        let values: Vec<f64> = client
            .take_early()
            .iter()
            .filter(|message| message["method"] == "notifications/progress")
            .map(|message| message["params"]["progress"].as_f64().unwrap())
            .collect();
        assert!(
            values.is_sorted_by(|one, next| one < next),
            "{signal}: {values:?}"
        );
        assert_eq!(client.close(), Some(0));
    }
}

#[test]
fn a_call_of_the_newer_era_is_asked_and_answered_by_the_next_server() {
    let place = Place::new();
    let mut client = Pipes::open(place.command(&["--stdio"]));
    let meta = modern_meta(&json!({"elicitation": {}}));
    let arguments = json!({"seconds": 3, "label": "x"});
    let params = json!({"name": "slow_compute", "arguments": arguments, "_meta": meta});
    let call = client.begin("tools/call", params);
    eventually("the record of the call", || {
        let listed = client.request(
            "outlast/tasks",
            json!({"tool": "slow_compute", "_meta": meta}),
        );
        listed["tasks"][0]["taskId"].as_str().map(str::to_owned)
    });
    end_server(&place, "-TERM");
    let answer = client.answer(call);
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(
        answer["result"]["content"][0]["text"],
        "x: computed for 3 s"
    );
    assert_eq!(client.close(), Some(0));
}

#[test]
fn who_cancels_a_call_of_an_earlier_server_cancels_its_task() {
    let place = Place::new();
    let mut client = Pipes::legacy(place.command(&["--stdio"]));
    let arguments = json!({"steps": 1000, "step_ms": 100});
    let params = json!({"name": "slow_progress", "arguments": arguments});
    let call = client.begin("tools/call", params);
    let id = stored(&mut client, "slow_progress");
    end_server(&place, "-KILL");
    client.send(&json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call},
    }));
    eventually("the end of the task", || {
        let seen = client.request("tasks/get", json!({"taskId": id}));
        (seen["status"] == "cancelled").then_some(())
    });
    assert_eq!(client.close(), Some(0));
}

#[test]
fn a_subscription_of_the_newer_era_goes_on() {
    for signal in ENDS {
        let place = Place::new();
        let mut client = Pipes::open(place.command(&["--stdio"]));
        let meta = modern_meta(&json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}));
        let arguments = json!({"seconds": 3, "label": "x"});
        let params = json!({"name": "slow_compute", "arguments": arguments, "_meta": meta});
        let task = client.request("tools/call", params)["taskId"].clone();
        let listen = client.begin(
            "subscriptions/listen",
            json!({"notifications": {"taskIds": [task], "toolsListChanged": true}, "_meta": meta}),
        );
        client.until("the subscription", |message| {
            message["method"] == "notifications/subscriptions/acknowledged"
        });
        end_server(&place, signal);
        let of_it = |message: &Value| {
            let meta = &message["params"]["_meta"];
            meta["io.modelcontextprotocol/subscriptionId"] == listen
        };
        client.until("that the tools may be others", |message| {
            of_it(message) && message["method"] == "notifications/tools/list_changed"
        });
        client.until("the end of the task", |message| {
            of_it(message) && message["params"]["status"] == "completed"
        });
        let early = client.take_early();
        let ended = |message: &&Value| {
            message["id"] == listen || message["method"] == "notifications/cancelled"
        };
        assert_eq!(early.iter().find(ended), None, "{signal}");
        assert_eq!(client.close(), Some(0));
    }
}

#[test]
fn another_clients_settings_disturb_nobody() {
    let place = Place::new();
    let mut client = Pipes::legacy(place.command(&["--stdio"]));
    let task = client.task("slow_compute", &json!({"seconds": 4, "label": "t"}));
    let result = client.begin("tasks/result", json!({"taskId": task}));
    let wait = json!({"name": "task_wait", "arguments": {"taskId": task}});
    let wait = client.begin("tools/call", wait);
    let arguments = json!({"seconds": 4, "label": "c"});
    let params = json!({"name": "slow_compute", "arguments": arguments});
    let call = client.begin("tools/call", params);
    eventually("the record of the call", || {
        let listed = client.request("outlast/tasks", json!({"tool": "slow_compute"}));
        (listed["tasks"].as_array().unwrap().len() == 2).then_some(())
    });
    let server = place.server_pid();
    let other = Pipes::legacy(place.command(&["--stdio", "--retention", "2h"]));
    assert_ne!(place.server_pid(), server, "it was replaced");
    let text = |answer: &Value| answer["result"]["content"][0]["text"].clone();
    assert_eq!(text(&client.answer(result)), "t: computed for 4 s");
    assert_eq!(text(&client.answer(call)), "c: computed for 4 s");
    let waited = client.answer(wait);
    assert!(
        text(&waited)
            .as_str()
            .unwrap()
            .contains("t: computed for 4 s"),
        "{waited}"
    );
    assert_eq!(client.close(), Some(0));
    assert_eq!(other.close(), Some(0));
}
