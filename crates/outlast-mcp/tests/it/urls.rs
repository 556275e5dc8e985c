//! Elicitation in URL mode, in both eras.

use outlast_core::{Failure, FailureReason, InputRequest, ToolResult};
use outlast_engine::{Error, TaskSupport};
use serde_json::{Value, json};

use crate::rig::{Events, Rig, elicitation, eventually, respond, tool};

const URL: &str = "https://pay.example/7";

fn able() -> Value {
    json!({"elicitation": {"url": {}, "form": {}}})
}

fn payment() -> InputRequest {
    let params = json!({"mode": "url", "message": "Please pay.", "url": URL});
    InputRequest::new("pay", "elicitation/create", params.into())
}

/// A rig with tools that send to a URL, say that it is done, and then ask once more, so that they are
/// there while the first is told.
async fn rig() -> Rig {
    let rig = Rig::new().await;
    let change = rig.server.catalog().change(|offer| {
        for (name, task) in [
            ("pay", TaskSupport::Optional),
            ("pay_inline", TaskSupport::Forbidden),
        ] {
            offer.add_tool(tool(name, task, |_, cx| async move {
                let paid = cx.ask_raw(payment()).await?;
                cx.url_completed("pay").await?;
                cx.ask_raw(elicitation("sure", "confirm", "boolean"))
                    .await?;
                Ok(ToolResult::text(format!("{paid:?}")))
            }))?;
        }
        offer.add_tool(tool("refuses", TaskSupport::Optional, |_, _| async {
            let elicitation =
                json!({"mode": "url", "message": "m", "url": URL, "elicitationId": "1"});
            Err(Error::failed(Failure {
                reason: FailureReason::Error,
                code: -32042,
                message: format!("Open {URL} and call again."),
                data: Some(json!({"elicitations": [elicitation]}).into()),
            }))
        }))
    });
    change.unwrap();
    rig
}

/// What is told of the URL, and the question that comes after it: in either order, for the one is a hint
/// and the other stands in the task.
async fn told_and_asked(events: &mut Events) -> (Value, Value) {
    let (mut told, mut asked) = (None, None);
    while told.is_none() || asked.is_none() {
        let message = events.message().await;
        match message["method"].as_str() {
            Some("notifications/elicitation/complete") => told = Some(message),
            Some("elicitation/create") => asked = Some(message),
            _ => {}
        }
    }
    (told.unwrap(), asked.unwrap())
}

#[tokio::test]
async fn a_task_sends_to_a_url_and_says_when_that_is_done() {
    let rig = rig().await;
    let session = rig.session("2025-11-25", able()).await;
    let bystander = rig.session("2025-11-25", able()).await;
    let mut events = session.get(None).await;
    let mut others = bystander.get(None).await;
    let id = session.create("pay").await;
    let question = events.method("elicitation/create").await;
    assert_eq!(question["params"]["mode"], "url");
    assert_eq!(question["params"]["url"], URL);
    let elicitation = question["params"]["elicitationId"].clone();
    assert!(elicitation.as_str().is_some_and(|text| text.contains(&id)));
    respond(&session, &question, json!({"action": "accept"})).await;
    let (told, sure) = told_and_asked(&mut events).await;
    assert_eq!(told["params"], json!({"elicitationId": elicitation}));
    assert_eq!(sure["params"]["mode"], "form");
    respond(&session, &sure, json!({"action": "decline"})).await;
    session.until(&id, "completed").await;
    // Whoever was not asked is not told: nothing of it comes before a question of its own.
    let own = bystander.create("pay").await;
    loop {
        let next = others.message().await;
        assert_ne!(next["method"], "notifications/elicitation/complete");
        if next["method"] == "elicitation/create" {
            let related = &next["params"]["_meta"]["io.modelcontextprotocol/related-task"];
            assert_eq!(related["taskId"], own.as_str(), "{next}");
            break;
        }
    }
}

#[tokio::test]
async fn a_call_sends_to_a_url_on_its_own_stream() {
    let rig = rig().await;
    let session = rig.session("2025-11-25", able()).await;
    for (id, name) in [(50, "pay_inline"), (51, "pay")] {
        let params = json!({"name": name, "arguments": {}});
        let mut events = Events::of(session.response(id, "tools/call", params).await);
        let question = events.method("elicitation/create").await;
        let elicitation = question["params"]["elicitationId"].clone();
        assert!(elicitation.is_string(), "{question}");
        respond(&session, &question, json!({"action": "accept"})).await;
        let (told, sure) = told_and_asked(&mut events).await;
        assert_eq!(told["params"]["elicitationId"], elicitation, "{name}");
        respond(&session, &sure, json!({"action": "cancel"})).await;
        let message = events.message().await;
        let text = message["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("accept"), "{message}");
    }
}

#[tokio::test]
async fn the_newer_era_asks_without_an_id_and_in_rounds() {
    let rig = rig().await;
    let mut params = json!({"name": "pay_inline", "arguments": {}});
    let (_, message) = rig.modern_as(&able(), "tools/call", params.clone()).await;
    let asked = &message["result"]["inputRequests"]["pay"];
    let expected = json!({"mode": "url", "message": "Please pay.", "url": URL});
    assert_eq!(asked["params"], expected, "{message}");
    params["requestState"] = message["result"]["requestState"].clone();
    params["inputResponses"] = json!({"pay": {"action": "accept"}});
    let (_, message) = rig.modern_as(&able(), "tools/call", params).await;
    assert!(
        message["result"]["inputRequests"]["sure"].is_object(),
        "{message}"
    );
    // As a task it stands in its state.
    let mut able = able();
    able["extensions"] = json!({"io.modelcontextprotocol/tasks": {}});
    let params = json!({"name": "pay", "arguments": {}});
    let (_, message) = rig.modern_as(&able, "tools/call", params).await;
    let id = message["result"]["taskId"].clone();
    let asks = async |key: &str| {
        eventually(key, async || {
            let params = json!({"taskId": id});
            let (_, message) = rig.modern_as(&able, "tasks/get", params).await;
            let asked = &message["result"]["inputRequests"][key];
            asked.is_object().then(|| asked.clone())
        })
        .await
    };
    assert_eq!(asks("pay").await["params"], expected);
    let answers = json!({"taskId": id, "inputResponses": {"pay": {"action": "accept"}}});
    rig.modern_as(&able, "tasks/update", answers).await;
    asks("sure").await;
}

#[tokio::test]
async fn whoever_cannot_open_a_url_is_not_asked() {
    let rig = rig().await;
    let forms = json!({"elicitation": {}});
    let params = json!({"name": "pay_inline", "arguments": {}});
    let (status, message) = rig.modern_as(&forms, "tools/call", params.clone()).await;
    assert_eq!((status, &message["error"]["code"]), (400, &json!(-32021)));
    let needed = &message["error"]["data"]["requiredCapabilities"];
    assert_eq!(needed, &json!({"elicitation": {"url": {}}}));
    let session = rig.session("2025-11-25", forms).await;
    let message = session.call("tools/call", params).await;
    assert_eq!(message["result"]["isError"], true, "{message}");
    // A task waits for somebody who can: here another session of the same owner.
    let id = session.create("pay").await;
    session.until(&id, "input_required").await;
    let able = rig.session("2025-11-25", able()).await;
    let mut events = able.get(None).await;
    let question = events.method("elicitation/create").await;
    assert_eq!(question["params"]["mode"], "url");
}

#[tokio::test]
async fn that_a_url_comes_first_is_said_in_the_words_of_each_version() {
    let rig = rig().await;
    let params = json!({"name": "refuses", "arguments": {}});
    let session = rig.session("2025-11-25", able()).await;
    let message = session.call("tools/call", params.clone()).await;
    assert_eq!(message["error"]["code"], -32042, "{message}");
    assert_eq!(message["error"]["data"]["elicitations"][0]["url"], URL);
    let older = rig.session("2025-06-18", able()).await;
    let message = older.call("tools/call", params.clone()).await;
    assert_eq!(message["error"]["code"], -32603, "{message}");
    let (_, message) = rig.modern_as(&able(), "tools/call", params).await;
    assert_eq!(message["error"]["code"], -32603, "{message}");
    assert!(message["error"]["message"].as_str().unwrap().contains(URL));
    let id = rig.create("refuses").await;
    let task = rig.task(&id, |task| task["status"] == "failed").await;
    assert_eq!(task["error"]["code"], -32603, "{task}");
}
