//! Prompts, resources and a catalogue that changes, as an application writes them.

use outlast::prelude::*;
use outlast::{Catalog, CompletionRequest, Json, Messages};
use serde_json::{Value, json};

use crate::rig::{Rig, settings};

#[derive(serde::Deserialize, schemars::JsonSchema, Clone, Copy, Debug)]
#[serde(rename_all = "lowercase")]
enum Tone {
    Formal,
    Friendly,
}

struct Greeter {
    word: &'static str,
}

/// Greets somebody.
#[prompt(title = "Greeting", icon = "https://example.com/wave.png")]
async fn greeting(
    /// Whom.
    name: String,
    /// How.
    tone: Option<Tone>,
    #[default = 1] times: u32,
    #[complete(cities)] city: Option<String>,
    greeter: State<Greeter>,
    cx: RequestCx,
) -> Result<Vec<Message>> {
    if name == "nobody" {
        return Err(Error::protocol(-32050, "there is nobody of that name"));
    }
    let owner = cx.owner().as_str().to_owned();
    let text = format!("{} {name} {tone:?} {times} {city:?} {owner}", greeter.word);
    Ok(vec![
        Message::user(text),
        Message::assistant(Content::image("image/png", [1])),
    ])
}

async fn cities(request: CompletionRequest, _cx: RequestCx) -> Vec<String> {
    request.matching(["Paris", "Palermo", "Oslo"])
}

#[prompt]
fn blocking() -> Messages {
    Messages::new()
        .message(Message::user("one"))
        .description("described anew")
}

/// The rows of a table.
#[resource("rows://{table}{?page,size}", cache = "1m")]
async fn rows(table: String, page: Option<u32>, #[default = 20] size: u32) -> Json<Value> {
    Json(json!({"table": table, "page": page, "size": size}))
}

/// Any file.
#[resource("files:///{+path}", mime_type = "text/plain", name = "file")]
fn file(path: String) -> Result<Option<String>, String> {
    match path.as_str() {
        "broken" => Err("the disk is broken".into()),
        "missing" => Ok(None),
        path => Ok(Some(format!("the text of {path}"))),
    }
}

/// Bytes.
#[resource("bytes://fixed")]
async fn bytes() -> Bytes {
    Bytes::new("image/png", vec![1, 2])
}

/// Learns a tool, and forgets one.
#[tool]
async fn learn(catalog: State<Catalog>) -> Result<String> {
    catalog.add_tool(hello).map_err(Error::tool)?;
    let twice = catalog.add_tool(hello).unwrap_err().to_string();
    assert!(catalog.remove_tool("other") && !catalog.remove_tool("other"));
    catalog.resource_updated("bytes://fixed");
    Ok(twice)
}

#[tool(task)]
async fn hello() -> &'static str {
    "hello"
}

#[tool]
async fn other() {}

fn server() -> Server {
    Server::new("offering")
        .state(Greeter { word: "Good day" })
        .prompt(greeting)
        .prompt(blocking)
        .resource(rows)
        .resource(file)
        .resource(bytes)
        .tool(learn)
        .tool(other)
}

#[tokio::test]
async fn a_prompt_of_a_function() {
    let mut rig = Rig::start(server()).await;
    let list = rig.request("prompts/list", json!({})).await;
    let listed = &list["result"]["prompts"][1];
    assert_eq!(listed["title"], "Greeting");
    assert_eq!(listed["description"], "Greets somebody.");
    assert_eq!(listed["icons"][0]["src"], "https://example.com/wave.png");
    assert_eq!(
        listed["arguments"],
        json!([{"name": "name", "description": "Whom.", "required": true},
            {"name": "tone", "description": "How.", "required": false},
            {"name": "times", "required": false}, {"name": "city", "required": false}])
    );
    let arguments = json!({"name": "Ada", "tone": "formal", "times": "3"});
    let params = json!({"name": "greeting", "arguments": arguments});
    let got = rig.request("prompts/get", params).await["result"].clone();
    assert_eq!(
        got["messages"],
        json!([{"role": "user", "content": {"type": "text",
                "text": "Good day Ada Some(Formal) 3 None local"}},
            {"role": "assistant", "content":
                {"type": "image", "data": "AQ==", "mimeType": "image/png"}}])
    );
    let got = rig
        .request("prompts/get", json!({"name": "blocking"}))
        .await;
    assert_eq!(got["result"]["description"], "described anew");
    for (arguments, code, text) in [
        (
            json!({"name": "x", "tone": "rude"}),
            -32602,
            "\"tone\" cannot be \"rude\"",
        ),
        (
            json!({"name": "x", "times": "-1"}),
            -32602,
            "\"times\" cannot be \"-1\"",
        ),
        (json!({"name": "nobody"}), -32050, "nobody of that name"),
    ] {
        let params = json!({"name": "greeting", "arguments": arguments});
        let refused = rig.request("prompts/get", params).await["error"].clone();
        assert_eq!(refused["code"], code, "{refused}");
        assert!(
            refused["message"].as_str().unwrap().contains(text),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn values_are_suggested_by_a_function_and_by_an_enum() {
    let mut rig = Rig::start(server()).await;
    for (argument, value, expected) in [
        ("city", "pa", json!(["Paris", "Palermo"])),
        ("tone", "f", json!(["formal", "friendly"])),
        ("name", "", json!([])),
    ] {
        let params = json!({"ref": {"type": "ref/prompt", "name": "greeting"},
            "argument": {"name": argument, "value": value}});
        let answer = rig.request("completion/complete", params).await;
        assert_eq!(
            answer["result"]["completion"]["values"], expected,
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_resource_of_a_function() {
    let mut rig = Rig::start(server()).await;
    let mut read = async |uri: &str| rig.request("resources/read", json!({"uri": uri})).await;
    let rows = read("rows://people?size=5").await["result"].clone();
    let text = rows["contents"][0]["text"].as_str().unwrap();
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(value, json!({"table": "people", "page": null, "size": 5}));
    assert_eq!(rows["contents"][0]["mimeType"], "application/json");
    assert_eq!(
        (&rows["ttlMs"], &rows["cacheScope"]),
        (&json!(60_000), &json!("private"))
    );
    let wrong = read("rows://people?size=many").await["error"].clone();
    assert_eq!(wrong["code"], -32602, "{wrong}");
    let file = read("files:///a/b.txt").await["result"]["contents"][0].clone();
    assert_eq!(file["text"], "the text of a/b.txt");
    assert_eq!(file["mimeType"], "text/plain");
    assert_eq!(
        read("files:///missing").await["error"]["data"]["uri"],
        "files:///missing"
    );
    let broken = read("files:///broken").await["error"].clone();
    assert_eq!(
        (&broken["code"], &broken["message"]),
        (&json!(-32603), &json!("the disk is broken"))
    );
    let bytes = read("bytes://fixed").await["result"]["contents"][0].clone();
    assert_eq!(
        (&bytes["blob"], &bytes["mimeType"]),
        (&json!("AQI="), &json!("image/png"))
    );
}

#[tokio::test]
async fn a_tool_changes_what_is_offered() {
    let mut rig = Rig::start(server()).await;
    let learned = rig.call("learn", json!({})).await;
    let twice = learned["content"][0]["text"].as_str().unwrap();
    assert!(twice.contains("two tools are named \"hello\""), "{twice}");
    let task = rig.ended_task("hello", json!({})).await;
    assert_eq!(task["result"]["content"][0]["text"], "hello");
    let catalog = rig.server.catalog().clone();
    assert!(catalog.remove_resource("rows://{table}{?page,size}"));
    let list = rig.request("resources/templates/list", json!({})).await;
    let templates = list["result"]["resourceTemplates"]
        .as_array()
        .unwrap()
        .clone();
    assert!(templates.iter().all(|one| one["name"] != "rows"), "{list}");
    catalog.add_resource(rows).unwrap();
}

#[tokio::test]
async fn what_does_not_fit_together_does_not_start() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct One {
        #[expect(dead_code, reason = "only its name matters")]
        one: String,
    }
    let by_hand = |uri: &str| Resource::typed(uri, "x", |_: One, _cx| async { Ok("never read") });
    let cases = [
        (Server::new("s").prompt(greeting), "takes State<"),
        (
            Server::new("s").resource(by_hand("x://{two}")),
            "takes \"one\", which its URI",
        ),
        (
            Server::new("s").resource(by_hand("x://{?one}")),
            "\"one\" of \"x://{?one}\" may be left out",
        ),
        (
            Server::new("s").resource(by_hand("x://{one}/{two}")),
            "variable \"two\"",
        ),
        (
            Server::new("s").resource(by_hand("x://{one")),
            "without a \"}\"",
        ),
        (
            Server::new("s").prompt(blocking().complete("what", cities)),
            "suggests values for \"what\"",
        ),
        (
            Server::new("s").prompt(blocking).prompt(blocking),
            "two prompts are named",
        ),
        (
            Server::new("s").resource(bytes).resource(bytes),
            "two resources have the URI",
        ),
        (
            Server::new("s").tool(other().icon("file:///i.png")),
            "the tool \"other\": the icon \"file:///i.png\" is none that clients show",
        ),
        (
            Server::new("s").prompt(blocking().tag("")),
            "the prompt \"blocking\": a tag is empty",
        ),
        (
            Server::new("s").resource(bytes().meta(json!("x"))),
            "the resource \"bytes://fixed\": its _meta must be an object",
        ),
        (
            Server::new("s").icon("http://example.com/i.png"),
            "the server \"s\": the icon",
        ),
    ];
    for (server, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = server.start(settings(&folder)).await else {
            panic!("started, without {expected}");
        };
        assert!(error.to_string().contains(expected), "{error}");
    }
}
