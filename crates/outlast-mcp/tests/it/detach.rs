//! Calls whose client knows nothing of tasks: detaching, and the helper tools.

use std::time::Duration;

use outlast_engine::DetachAfter;
use outlast_mcp::{Config, Helpers};
use serde_json::{Value, json};

use crate::rig::{Events, Rig, Session, declaring, eventually, respond, whole};

/// A client of the newer era without tasks.
fn plain() -> Value {
    json!({"elicitation": {}})
}

fn soon(config: &mut Config) {
    config.detach_after = DetachAfter::After(Duration::from_millis(50));
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text: {result}"))
}

async fn call(rig: &Rig, name: &str, arguments: Value) -> Value {
    let params = json!({"name": name, "arguments": arguments});
    let (status, message) = rig.modern_as(&plain(), "tools/call", params).await;
    assert_eq!(status, 200, "{message}");
    message["result"].clone()
}

async fn call_legacy(session: &Session<'_>, name: &str, arguments: Value) -> Value {
    let params = json!({"name": name, "arguments": arguments});
    session.call("tools/call", params).await["result"].clone()
}

/// What an answer says that has the id of a task in place of the result.
fn detached(result: &Value) -> String {
    assert_eq!(result["isError"], false, "{result}");
    let id = result["structuredContent"]["taskId"].as_str();
    let id = id.unwrap_or_else(|| panic!("not detached: {result}"));
    assert!(text(result).contains(id), "{result}");
    id.to_owned()
}

#[tokio::test]
async fn a_client_that_gives_up_gets_the_result_in_a_later_turn() {
    let rig = Rig::configured(soon).await;
    let session = rig.session("2025-11-25", json!({})).await;
    let modern = call(&rig, "gate", json!({})).await;
    assert_eq!(modern["resultType"], "complete");
    let legacy = call_legacy(&session, "gate", json!({})).await;
    for result in [&modern, &legacy] {
        let id = detached(result);
        assert_eq!(result["structuredContent"]["status"], "working");
        assert!(text(result).contains("task_wait"), "{result}");
        let looked = call(&rig, "task_wait", json!({"taskId": id, "seconds": 0})).await;
        assert_eq!(detached(&looked), id, "it still runs");
        let early = call(&rig, "task_result", json!({"taskId": id})).await;
        assert!(
            text(&early).starts_with("There is no result yet."),
            "{early}"
        );
    }
    rig.go(2);
    for result in [&modern, &legacy] {
        let id = detached(result);
        // As often as anybody likes, whichever client asks.
        for name in ["task_wait", "task_result", "task_wait"] {
            eventually("the result", async || {
                let result = call(&rig, name, json!({"taskId": id})).await;
                (text(&result) == "through the gate").then_some(())
            })
            .await;
            let result = call_legacy(&session, name, json!({"taskId": id})).await;
            assert_eq!(text(&result), "through the gate");
        }
        let status = call(&rig, "task_status", json!({"taskId": id})).await;
        assert_eq!(status["structuredContent"]["status"], "completed");
    }
}

#[tokio::test]
async fn the_caller_says_when_and_whether() {
    let rig = Rig::new().await;
    let call = async |after: Value| {
        let params = json!({"name": "gate", "arguments": {},
            "_meta": {"outlast/detachAfterMs": after}});
        rig.modern_as(&plain(), "tools/call", params).await
    };
    for after in [json!(0), json!(20)] {
        detached(&call(after).await.1["result"]);
    }
    for wrong in [json!(-1), json!("1s"), json!({})] {
        let (_, message) = call(wrong).await;
        assert_eq!(message["error"]["code"], -32602, "{message}");
    }
    rig.go(2);
    // Never, though the server would at once.
    let rig = Rig::configured(|config| {
        config.detach_after = DetachAfter::After(Duration::ZERO);
    })
    .await;
    rig.go(1);
    let params = json!({"name": "gate", "arguments": {}, "_meta": {"outlast/detachAfterMs": null}});
    let (_, message) = rig.modern_as(&plain(), "tools/call", params).await;
    assert_eq!(text(&message["result"]), "through the gate");
    let at_once = self::call(&rig, "quick", json!({})).await;
    assert!(text(&at_once).starts_with("Started."), "{at_once}");
}

#[tokio::test]
async fn a_tool_that_promises_structure_detaches_only_if_it_says_so() {
    let rig = Rig::configured(soon).await;
    let list = rig.modern_as(&plain(), "tools/list", json!({})).await.1;
    let tool = |name: &str| {
        let tools = list["result"]["tools"].as_array().unwrap();
        tools
            .iter()
            .find(|tool| tool["name"] == name)
            .unwrap()
            .clone()
    };
    assert!(tool("strict_gate").get("outputSchema").is_some());
    assert!(tool("loose_gate").get("outputSchema").is_none());
    detached(&call(&rig, "loose_gate", json!({})).await);
    let strict = call(&rig, "strict_gate", json!({}));
    let (result, ()) = tokio::join!(strict, async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        rig.go(2);
    });
    assert_eq!(result["structuredContent"], json!({"through": true}));
}

#[tokio::test]
async fn nothing_is_said_on_the_stream_of_a_call_that_was_answered() {
    let rig = Rig::configured(soon).await;
    let params = json!({"name": "steps", "arguments": {}, "_meta": {"progressToken": "p"}});
    let response = rig.modern_response(&plain(), "tools/call", params).await;
    let (_, message) = whole(response).await;
    let id = detached(&message["result"]);
    rig.go(4);
    let done = call(&rig, "task_wait", json!({"taskId": id})).await;
    assert_eq!(text(&done), "four steps");
}

#[tokio::test]
async fn helpers_say_what_is_wrong_with_them_to_the_model() {
    let rig = Rig::new().await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (name, arguments, says) in [
        ("task_wait", json!({"taskId": unknown}), "there is no task"),
        (
            "task_wait",
            json!({"taskId": "x"}),
            "there is no task \"x\"",
        ),
        ("task_wait", json!({}), "missing field `taskId`"),
        (
            "task_wait",
            json!({"taskId": unknown, "seconds": 60}),
            "allowed: 0 to 25",
        ),
        ("task_status", json!({"taskId": 7}), "expected a string"),
        (
            "task_status",
            json!({"taskId": unknown, "x": 1}),
            "unknown field `x`",
        ),
        (
            "task_result",
            json!({"taskId": unknown}),
            "there is no task",
        ),
        (
            "task_cancel",
            json!({"taskId": unknown}),
            "there is no task",
        ),
        (
            "task_answer",
            json!({"taskId": unknown, "key": "k"}),
            "there is no task",
        ),
        ("task_list", json!({}), "cannot be listed here"),
        ("task_list", json!({"limit": 0}), "allowed: 1 to 100"),
    ] {
        let result = call(&rig, name, arguments.clone()).await;
        assert_eq!(result["isError"], true, "{name} {arguments}: {result}");
        assert!(text(&result).contains(says), "{name} {arguments}: {result}");
    }
}

#[tokio::test]
async fn a_model_cancels() {
    let rig = Rig::configured(soon).await;
    let id = detached(&call(&rig, "endless", json!({})).await);
    let result = call(&rig, "task_cancel", json!({"taskId": id})).await;
    assert_eq!(
        result["structuredContent"]["status"], "cancelled",
        "{result}"
    );
    let again = call(&rig, "task_cancel", json!({"taskId": id})).await;
    assert!(text(&again).contains("had ended before"), "{again}");
    let result = call(&rig, "task_result", json!({"taskId": id})).await;
    assert_eq!(result["isError"], true);
}

#[tokio::test]
async fn a_model_answers_what_is_left_to_it_and_nothing_else() {
    let rig = Rig::configured(soon).await;
    let deaf = json!({});
    let call = async |name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments});
        rig.modern_as(&deaf, "tools/call", params).await.1["result"].clone()
    };
    // Nobody can answer here, so there is nothing to wait for.
    let started = call("ask_model", json!({})).await;
    let id = detached(&started);
    assert_eq!(started["structuredContent"]["status"], "input_required");
    assert!(text(&started).contains("task_answer"), "{started}");
    let answer = |content: Value| json!({"taskId": id, "key": "pick", "content": content});
    let wrong = call("task_answer", answer(json!({"colour": 7}))).await;
    assert!(text(&wrong).contains("does not fit"), "{wrong}");
    let none = call("task_answer", json!({"taskId": id, "key": "zz"})).await;
    assert!(text(&none).contains("no open question"), "{none}");
    let right = call("task_answer", answer(json!({"colour": "red"}))).await;
    assert_eq!(right["isError"], false, "{right}");
    let done = eventually("the end", async || {
        let done = call("task_wait", json!({"taskId": id})).await;
        done["structuredContent"].is_null().then_some(done)
    })
    .await;
    assert!(text(&done).contains("red"), "{done}");

    let id = detached(&call("ask_one", json!({})).await);
    let status = call("task_status", json!({"taskId": id})).await;
    assert!(text(&status).contains("a person"), "{status}");
    let refused = call(
        "task_answer",
        json!({"taskId": id, "key": "sure", "content": {"confirm": true}}),
    )
    .await;
    assert!(text(&refused).contains("a person must answer"), "{refused}");
}

#[tokio::test]
async fn waiting_brings_the_questions_of_a_task_to_a_client_that_answers() {
    let rig = Rig::new().await;
    let id = rig.create("ask_one").await;
    rig.task(&id, |task| task["status"] == "input_required")
        .await;
    // The newer era: the wait ends with the question, and its retry brings the answer.
    let asked = call(&rig, "task_wait", json!({"taskId": id})).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    assert_eq!(
        asked["inputRequests"]["sure"]["method"],
        "elicitation/create"
    );
    let params = json!({"name": "task_wait", "arguments": {"taskId": id},
        "inputResponses": {"sure": {"action": "accept", "content": {"confirm": true}}}});
    let (_, message) = rig.modern_as(&plain(), "tools/call", params).await;
    assert!(text(&message["result"]).contains("true"), "{message}");
    // The older: it is a request on the stream of the wait.
    let id = rig.create("ask_one").await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let params = json!({"name": "task_wait", "arguments": {"taskId": id}});
    let response = session.response(50, "tools/call", params).await;
    let mut events = Events::of(response);
    let question = events.method("elicitation/create").await;
    respond(
        &session,
        &question,
        json!({"action": "accept", "content": {"confirm": false}}),
    )
    .await;
    let done = events.message().await;
    assert!(text(&done["result"]).contains("false"), "{done}");
}

async fn names(rig: &Rig, capabilities: &Value) -> (Vec<String>, Value) {
    let (_, message) = rig.modern_as(capabilities, "tools/list", json!({})).await;
    let tools = message["result"]["tools"].as_array().unwrap();
    let names = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned());
    (names.collect(), message["result"].clone())
}

#[tokio::test]
async fn helpers_are_listed_for_those_who_need_them() {
    let rig = Rig::new().await;
    let (shown, list) = names(&rig, &plain()).await;
    assert!(shown.contains(&"task_wait".to_owned()));
    assert!(
        !shown.contains(&"task_list".to_owned()),
        "nobody is told apart here"
    );
    assert_eq!(list["cacheScope"], "private");
    let (native, list) = names(&rig, &declaring()).await;
    assert!(
        !native.iter().any(|name| name.starts_with("task_")),
        "{native:?}"
    );
    assert_eq!(list["cacheScope"], "private");
    let session = rig.session("2025-11-25", json!({})).await;
    let legacy = session.call("tools/list", json!({})).await;
    assert!(legacy.to_string().contains("\"task_wait\""));

    let never = Rig::configured(|config| config.helpers = Helpers::Never).await;
    assert!(
        !names(&never, &plain())
            .await
            .0
            .contains(&"task_wait".to_owned())
    );
    let params = json!({"name": "task_wait", "arguments": {"taskId": "x"}});
    let (_, message) = never.modern_as(&plain(), "tools/call", params).await;
    assert_eq!(message["error"]["code"], -32602);
    let always = Rig::configured(|config| config.helpers = Helpers::Always).await;
    assert!(
        names(&always, &declaring())
            .await
            .0
            .contains(&"task_wait".to_owned())
    );
}

#[tokio::test]
async fn a_description_says_how_the_tool_runs_for_this_client() {
    let rig = Rig::new().await;
    let description = async |capabilities: &Value, name: &str| {
        let (_, list) = names(&rig, capabilities).await;
        let tools = list["tools"].as_array().unwrap().clone();
        let tool = tools.into_iter().find(|tool| tool["name"] == name).unwrap();
        tool["description"].as_str().unwrap_or_default().to_owned()
    };
    let told = description(&plain(), "gate").await;
    assert!(
        told.contains("longer than 45 s") && told.contains("task_wait"),
        "{told}"
    );
    let told = description(&declaring(), "gate").await;
    assert!(told.contains("your client"), "{told}");
    assert_eq!(description(&plain(), "add").await, "Adds two numbers.");
    let told = description(&plain(), "must").await;
    assert!(told.contains("as a task only"), "{told}");
}

#[tokio::test]
async fn a_tool_with_the_name_of_a_helper_is_refused_at_the_start() {
    let refused = Rig::with_tool("task_wait", Helpers::Auto)
        .await
        .err()
        .unwrap();
    let refused = refused.to_string();
    assert!(
        refused.contains("\"task_wait\"") && refused.contains("rename"),
        "{refused}"
    );
    assert!(Rig::with_tool("task_wait", Helpers::Never).await.is_ok());
}

#[tokio::test]
async fn a_call_that_runs_says_so() {
    let rig = Rig::configured(|config| config.heartbeat = Duration::from_millis(20)).await;
    let params = json!({"name": "endless", "arguments": {}, "_meta": {"progressToken": 9}});
    let response = rig.modern_response(&plain(), "tools/call", params).await;
    let mut events = Events::of(response);
    let mut last = f64::NEG_INFINITY;
    let mut alive = 0;
    while alive < 3 {
        let told = events.method("notifications/progress").await;
        let value = told["params"]["progress"].as_f64().unwrap();
        assert!(value > last && value < 10.0, "{told}");
        last = value;
        let message = told["params"]["message"].as_str().unwrap_or_default();
        // The time it has taken, and the last thing it said.
        alive += usize::from(message.ends_with("s · on and on"));
    }
}
