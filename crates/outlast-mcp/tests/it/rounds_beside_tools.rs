//! Prompts and resources that ask their caller, in both eras.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_core::{Answer, InputRequest};
use outlast_engine::{BoxFuture, Result as EngineResult};
use outlast_mcp::offer::{
    CompletionRequest, Prompt, PromptArgument, PromptHandler, PromptMessages, ReadRequest,
    RequestCx, Resource, ResourceContents, ResourceHandler,
};
use serde_json::{Value, json};

use crate::rig::{Events, Rig, elicitation, respond, whole};

/// Asks two things one after the other, then says what it has heard.
struct Interview;

async fn heard(cx: &RequestCx) -> EngineResult<String> {
    let mut said = Vec::new();
    for (key, member) in [("first", "a"), ("second", "b")] {
        said.push(
            match cx.ask_raw(elicitation(key, member, "string")).await? {
                Answer::Given(answer) => answer.as_str().to_owned(),
                Answer::Expired => "nothing".to_owned(),
            },
        );
    }
    Ok(said.join(" "))
}

impl PromptHandler for Interview {
    fn get(
        &self,
        arguments: BTreeMap<String, String>,
        cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<PromptMessages>> {
        Box::pin(async move {
            let text = format!("{arguments:?} {}", heard(&cx).await?);
            let messages = json!([{"role": "user", "content": {"type": "text", "text": text}}]);
            Ok(PromptMessages {
                description: None,
                messages: messages.into(),
                meta: None,
            })
        })
    }

    fn complete(
        &self,
        _request: CompletionRequest,
        cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<Vec<String>>> {
        Box::pin(async move { Ok(vec![heard(&cx).await?]) })
    }
}

impl ResourceHandler for Interview {
    fn read(
        &self,
        _request: ReadRequest,
        cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<Option<Vec<ResourceContents>>>> {
        Box::pin(async move {
            let roots = InputRequest::new("roots", "roots/list", json!({}).into());
            let Answer::Given(roots) = cx.ask_raw(roots).await? else {
                return Ok(None);
            };
            Ok(Some(vec![ResourceContents::text(roots.as_str())]))
        })
    }
}

async fn rig() -> Rig {
    let rig = Rig::new().await;
    let change = rig.server.catalog().change(|offer| {
        let topic = PromptArgument {
            name: "topic".into(),
            ..PromptArgument::default()
        };
        offer.add_prompt(Prompt {
            arguments: vec![topic],
            completes: true,
            ..Prompt::new("interview", Arc::new(Interview))
        })?;
        offer.add_prompt(Prompt::new("other", Arc::new(Interview)))?;
        offer.add_resource(Resource::new("test://asks", "asks", Arc::new(Interview)))
    });
    change.unwrap();
    rig
}

fn able() -> Value {
    json!({"elicitation": {}, "roots": {}})
}

fn accept(content: Value) -> Value {
    json!({"action": "accept", "content": content})
}

async fn get(rig: &Rig, more: Value) -> Value {
    let mut params = json!({"name": "interview", "arguments": {"topic": "x"}});
    for (key, value) in more.as_object().unwrap() {
        params[key] = value.clone();
    }
    rig.modern_as(&able(), "prompts/get", params).await.1
}

fn asked(message: &Value) -> (Vec<&String>, &Value) {
    let result = &message["result"];
    assert_eq!(result["resultType"], "input_required", "{message}");
    let requests = result["inputRequests"].as_object().unwrap();
    (requests.keys().collect(), &result["requestState"])
}

#[tokio::test]
async fn a_prompt_asks_in_rounds() {
    let rig = rig().await;
    let message = get(&rig, json!({})).await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["first"]);
    // Nothing, or what was not asked: asked again.
    for nothing in [json!({}), json!({"zz": accept(json!({}))})] {
        let more = json!({"requestState": state, "inputResponses": nothing});
        assert_eq!(asked(&get(&rig, more).await).0, ["first"]);
    }
    let first = json!({"first": accept(json!({"a": "1"}))});
    // Another prompt, other arguments, a changed state, an answer that does not fit: refused.
    let state_text = state.as_str().unwrap();
    let mut forged = state_text.to_owned();
    forged.replace_range(20..21, if &forged[20..21] == "A" { "B" } else { "A" });
    for wrong in [
        json!({"requestState": state, "inputResponses": first, "arguments": {"topic": "y"}}),
        json!({"requestState": state, "inputResponses": first, "name": "other", "arguments": {}}),
        json!({"requestState": forged, "inputResponses": first}),
        json!({"requestState": 7, "inputResponses": first}),
        json!({"requestState": state, "inputResponses": {"first": accept(json!({"a": 1}))}}),
        json!({"requestState": state, "inputResponses": 7}),
    ] {
        let message = get(&rig, wrong.clone()).await;
        assert_eq!(message["error"]["code"], -32602, "{wrong}: {message}");
    }
    let more = json!({"requestState": state, "inputResponses": first});
    let message = get(&rig, more).await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["second"]);
    let second = json!({"second": {"action": "decline"}});
    let message = get(
        &rig,
        json!({"requestState": state, "inputResponses": second}),
    )
    .await;
    assert_eq!(message["result"]["resultType"], "complete", "{message}");
    let text = message["result"]["messages"][0]["content"]["text"]
        .as_str()
        .unwrap();
    assert!(
        text.contains(r#""a":"1""#) && text.contains("decline"),
        "{text}"
    );
    assert!(text.contains(r#""topic": "x""#), "{text}");
}

#[tokio::test]
async fn a_resource_asks_in_rounds() {
    let rig = rig().await;
    let params = json!({"uri": "test://asks"});
    let (_, message) = rig
        .modern_as(&able(), "resources/read", params.clone())
        .await;
    let (keys, state) = asked(&message);
    assert_eq!(keys, ["roots"]);
    let mut again = params;
    again["requestState"] = state.clone();
    again["inputResponses"] = json!({"roots": {"roots": [{"uri": "file:///r"}]}});
    let (_, message) = rig.modern_as(&able(), "resources/read", again).await;
    let text = message["result"]["contents"][0]["text"].as_str().unwrap();
    assert!(text.contains("file:///r"), "{message}");
}

#[tokio::test]
async fn a_session_is_asked_on_the_stream_of_the_request() {
    let rig = rig().await;
    let session = rig.session("2025-11-25", able()).await;
    let params = json!({"name": "interview"});
    let mut events = Events::of(session.response(50, "prompts/get", params).await);
    for (member, value) in [("a", "1"), ("b", "2")] {
        let question = events.method("elicitation/create").await;
        respond(&session, &question, accept(json!({member: value}))).await;
    }
    let message = events.message().await;
    let text = &message["result"]["messages"][0]["content"]["text"];
    let text = text.as_str().unwrap_or_else(|| panic!("{message}"));
    assert!(
        text.contains(r#""a":"1""#) && text.contains(r#""b":"2""#),
        "{text}"
    );
    let response = session.response(51, "resources/read", json!({"uri": "test://asks"}));
    let mut events = Events::of(response.await);
    let question = events.method("roots/list").await;
    let refusal = json!({"jsonrpc": "2.0", "id": question["id"],
        "error": {"code": -32601, "message": "no roots"}});
    whole(session.message(&refusal).await).await;
    let message = events.message().await;
    let text = message["result"]["contents"][0]["text"].as_str().unwrap();
    assert!(text.contains("no roots"), "{message}");
}

#[tokio::test]
async fn whoever_cannot_answer_is_told() {
    let rig = rig().await;
    let params = json!({"name": "interview"});
    let (status, message) = rig
        .modern_as(&json!({}), "prompts/get", params.clone())
        .await;
    let error = &message["error"];
    assert_eq!((status, &error["code"]), (400, &json!(-32021)), "{message}");
    assert_eq!(
        error["data"]["requiredCapabilities"]["elicitation"],
        json!({})
    );
    let session = rig.session("2025-11-25", json!({})).await;
    let message = session.call("prompts/get", params).await;
    assert_eq!(message["error"]["code"], -32603, "{message}");
    let told = message["error"]["message"].as_str().unwrap();
    assert!(told.contains("\"elicitation\""), "{told}");
    // A completion has no way to ask (2026-07-28 multi round-trip requests, "Supported Requests").
    let params = json!({"ref": {"type": "ref/prompt", "name": "interview"},
        "argument": {"name": "topic", "value": ""}});
    let (_, message) = rig.modern_as(&able(), "completion/complete", params).await;
    assert_eq!(message["error"]["code"], -32603, "{message}");
}
