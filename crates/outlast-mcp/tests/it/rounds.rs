//! Calls that ask while their caller waits for the result.

use serde_json::{Value, json};

use crate::rig::{Events, Rig, eventually, respond, whole};

/// What a client declares that answers everything and knows nothing of tasks.
fn able() -> Value {
    json!({"elicitation": {}, "sampling": {}, "roots": {}})
}

pub(crate) fn accept(content: Value) -> Value {
    json!({"action": "accept", "content": content})
}

pub(crate) fn text(message: &Value) -> &str {
    message["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text: {message}"))
}

/// A call of the newer era; `more` is added to its parameters.
pub(crate) async fn call(rig: &Rig, name: &str, more: Value) -> (u16, Value) {
    call_as(rig, &able(), name, more).await
}

async fn call_as(rig: &Rig, capabilities: &Value, name: &str, more: Value) -> (u16, Value) {
    let mut params = json!({"name": name, "arguments": {}});
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    rig.modern_as(capabilities, "tools/call", params).await
}

/// The keys and the state of an answer that asks.
pub(crate) fn asked(message: &Value) -> (Vec<String>, String) {
    let result = &message["result"];
    assert_eq!(result["resultType"], "input_required", "{message}");
    let requests = result["inputRequests"].as_object().unwrap();
    let state = result["requestState"].as_str().unwrap().to_owned();
    (requests.keys().cloned().collect(), state)
}

#[tokio::test]
async fn a_tool_that_is_never_a_task_asks_in_rounds_and_repeats_no_step() {
    let rig = Rig::new().await;
    let (_, message) = call(&rig, "interview", json!({})).await;
    let (keys, first_state) = asked(&message);
    assert_eq!(keys, ["first"]);
    let answers = json!({"first": accept(json!({"a": "x"})), "zz": accept(json!({}))});
    let more = json!({"inputResponses": answers, "requestState": first_state});
    let (_, message) = call(&rig, "interview", more.clone()).await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["second"]);
    // Nothing: asked again. What does not fit, was changed, or belongs elsewhere: refused.
    let (_, message) = call(&rig, "interview", json!({"requestState": state})).await;
    assert_eq!(asked(&message).0, ["second"]);
    let mut forged = state.clone();
    forged.replace_range(20..21, if &forged[20..21] == "A" { "B" } else { "A" });
    let second = json!({"second": accept(json!({"b": "y"}))});
    for wrong in [
        json!({"requestState": state, "inputResponses": {"second": accept(json!({"b": 7}))}}),
        json!({"requestState": forged, "inputResponses": second}),
        json!({"requestState": state, "inputResponses": second, "arguments": {"n": 1}}),
    ] {
        let (_, message) = call(&rig, "interview", wrong.clone()).await;
        assert_eq!(message["error"]["code"], -32602, "{wrong}: {message}");
    }
    let more = json!({"requestState": state, "inputResponses": second});
    let (_, message) = call(&rig, "interview", more).await;
    assert!(
        text(&message).starts_with("0 "),
        "the step ran once: {message}"
    );
    assert!(text(&message).contains("\"a\":\"x\"") && text(&message).contains("\"b\":\"y\""));
}

#[tokio::test]
async fn answers_may_come_with_the_first_call() {
    let rig = Rig::new().await;
    let answers = json!({"first": accept(json!({"a": "x"})), "second": accept(json!({"b": "y"})),
        "other": 7});
    let (_, message) = call(&rig, "interview", json!({"inputResponses": answers})).await;
    assert!(text(&message).contains("\"b\":\"y\""), "{message}");
    let (_, message) = call(&rig, "interview", json!({"inputResponses": {"first": 12}})).await;
    assert_eq!(message["error"]["code"], -32602);
    let (_, message) = call(&rig, "interview", json!({"inputResponses": null})).await;
    asked(&message);
}

#[tokio::test]
async fn answers_to_what_a_state_did_not_ask_are_ignored() {
    let rig = Rig::new().await;
    let (_, message) = call(&rig, "interview", json!({})).await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["first"]);
    let answers = json!({"first": accept(json!({"a": "x"})), "second": 12, "other": 7});
    let more = json!({"inputResponses": answers, "requestState": state});
    let (_, message) = call(&rig, "interview", more).await;
    let (keys, _) = asked(&message);
    assert_eq!(keys, ["second"]);
    let (_, message) = call(&rig, "interview", json!({"inputResponses": 12})).await;
    assert_eq!(message["error"]["code"], -32602);
}

#[tokio::test]
async fn what_the_caller_did_not_declare_is_not_asked() {
    let rig = Rig::new().await;
    for (tool, capability) in [
        ("interview", "elicitation"),
        ("sample_and_roots", "sampling"),
    ] {
        let (status, message) = call_as(&rig, &json!({}), tool, json!({})).await;
        assert_eq!(
            (status, &message["error"]["code"]),
            (400, &json!(-32021)),
            "{message}"
        );
        assert_eq!(
            message["error"]["data"]["requiredCapabilities"][capability],
            json!({})
        );
    }
    let only_sampling = json!({"sampling": {}});
    let (_, message) = call_as(&rig, &only_sampling, "sample_and_roots", json!({})).await;
    assert_eq!(
        message["error"]["data"]["requiredCapabilities"]["roots"],
        json!({})
    );
    // The older era has no such code: the model is told.
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "interview", "arguments": {}});
    let message = session.call("tools/call", params).await;
    assert_eq!(message["result"]["isError"], true);
    assert!(text(&message).contains("\"elicitation\""), "{message}");
}

#[tokio::test]
async fn sampling_and_roots_are_asked_at_once_in_both_eras() {
    let rig = Rig::new().await;
    let sampled =
        json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "Paris"}});
    let roots = json!({"roots": [{"uri": "file:///r"}]});
    let (_, message) = call(&rig, "sample_and_roots", json!({})).await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["capital", "roots"]);
    let requests = &message["result"]["inputRequests"];
    assert_eq!(requests["capital"]["method"], "sampling/createMessage");
    assert_eq!(requests["roots"]["method"], "roots/list");
    let more = json!({"requestState": state, "inputResponses": {"capital": sampled}});
    let (_, message) = call(&rig, "sample_and_roots", more).await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["roots"], "an answer that was given is kept");
    let more = json!({"requestState": state, "inputResponses": {"roots": roots}});
    let (_, message) = call(&rig, "sample_and_roots", more).await;
    assert!(text(&message).contains("Paris") && text(&message).contains("file:///r"));

    let session = rig.session("2025-11-25", able()).await;
    let params = json!({"name": "sample_and_roots", "arguments": {}});
    let mut events = Events::of(session.response(50, "tools/call", params).await);
    for _ in 0..2 {
        let question = events.message().await;
        let answer = match question["method"].as_str().unwrap() {
            "sampling/createMessage" => sampled.clone(),
            "roots/list" => roots.clone(),
            other => panic!("{other}"),
        };
        respond(&session, &question, answer).await;
    }
    let message = events.message().await;
    assert!(text(&message).contains("Paris") && text(&message).contains("file:///r"));
}

#[tokio::test]
async fn a_call_that_is_never_a_task_asks_on_its_own_stream() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", able()).await;
    let params = json!({"name": "interview", "arguments": {}});
    let mut events = Events::of(session.response(50, "tools/call", params).await);
    let question = events.method("elicitation/create").await;
    assert!(
        question["params"].get("_meta").is_none(),
        "there is no task: {question}"
    );
    // What does not fit is asked for again, under another id.
    respond(&session, &question, accept(json!({"a": 7}))).await;
    let again = events.method("elicitation/create").await;
    assert_eq!(again["params"], question["params"]);
    assert_ne!(again["id"], question["id"]);
    respond(&session, &again, accept(json!({"a": "x"}))).await;
    let question = events.method("elicitation/create").await;
    // A client that errs has dismissed the question.
    let refusal =
        json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no"}});
    whole(session.message(&refusal).await).await;
    let message = events.message().await;
    assert!(
        text(&message).contains("\"action\":\"cancel\""),
        "{message}"
    );
}

#[tokio::test]
async fn a_stored_run_waits_for_the_retry() {
    let rig = Rig::new().await;
    let (_, message) = call(&rig, "ask_two", json!({})).await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["one", "two"]);
    let more = json!({"requestState": state, "inputResponses": {"one": accept(json!({"a": "1"}))}});
    let (_, message) = call(&rig, "ask_two", more).await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["two"]);
    let bad = json!({"requestState": state, "inputResponses": {"two": {"action": "accept"}}});
    let (_, message) = call(&rig, "ask_two", bad).await;
    assert_eq!(message["error"]["code"], -32602);
    let more = json!({"requestState": state, "inputResponses": {"two": {"action": "decline"}}});
    // Another instance goes on with it as well as this one; and a repeated retry finds the result.
    for _ in 0..2 {
        let (_, message) = call(&rig, "ask_two", more.clone()).await;
        assert!(text(&message).contains("decline"), "{message}");
    }
}

#[tokio::test]
async fn a_stored_run_whose_caller_is_gone_is_cancelled() {
    let rig = Rig::new().await;
    let (_, message) = call(&rig, "ask_then_gate", json!({})).await;
    let (_, state) = asked(&message);
    let params = json!({"name": "ask_then_gate", "arguments": {}, "requestState": state,
        "inputResponses": {"sure": accept(json!({"confirm": true}))}});
    // The retry waits at the gate; its caller leaves.
    let able = able();
    let retry = rig.modern_response(&able, "tools/call", params);
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(200), retry)
            .await
            .is_err()
    );
    let handle = rig.server.handle();
    let owner = outlast_core::Owner::local();
    eventually("the task to be cancelled", async || {
        let page = handle
            .list(&owner, Default::default(), None, 10)
            .await
            .unwrap();
        let outcome = page.tasks[0].outcome.clone()?;
        assert!(
            matches!(*outcome, outlast_core::Outcome::Cancelled { .. }),
            "{outcome:?}"
        );
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_state_too_long_to_travel_says_what_to_do() {
    let rig = Rig::new().await;
    let (_, message) = call(&rig, "hoards", json!({})).await;
    let told = message["error"]["message"].as_str().unwrap();
    assert!(
        told.contains("16384") && told.contains("#[tool(task)]"),
        "{told}"
    );
}
