//! What `#[tool]` makes of functions.

use std::sync::atomic::{AtomicUsize, Ordering};

use outlast::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::rig::Rig;

#[derive(Deserialize, Serialize, schemars::JsonSchema)]
struct Point {
    x: i32,
    y: i32,
}

/// Says what it was given.
///
/// In two paragraphs.
#[tool(title = "Everything", version = "3", accepts = ["1", "2"], read_only, open_world = false)]
async fn everything(
    /// A word.
    word: String,
    number: Option<u8>,
    #[default = 7] lines: u32,
    #[default = "grey"] colour: String,
    #[serde(rename = "where")] place: Point,
    #[schemars(range(min = 1, max = 5))] stars: u8,
) -> String {
    format!(
        "{word} {number:?} {lines} {colour} {},{} {stars}",
        place.x, place.y
    )
}

#[tokio::test]
async fn the_signature_is_the_schema() {
    let mut rig = Rig::start(Server::new("t").tool(everything)).await;
    let tool = rig.listed("everything").await;
    assert_eq!(tool["title"], "Everything");
    assert_eq!(
        tool["description"],
        "Says what it was given.\n\nIn two paragraphs."
    );
    assert_eq!(
        tool["annotations"],
        json!({"readOnlyHint": true, "openWorldHint": false})
    );
    let schema = &tool["inputSchema"];
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["word"]["description"], "A word.");
    assert_eq!(schema["properties"]["lines"]["default"], 7);
    assert_eq!(schema["properties"]["colour"]["default"], "grey");
    assert_eq!(schema["properties"]["stars"]["maximum"], 5);
    assert_eq!(schema["required"], json!(["word", "where", "stars"]));
}

#[tokio::test]
async fn arguments_arrive() {
    let mut rig = Rig::start(Server::new("t").tool(everything)).await;
    let arguments = json!({"word": "a", "where": {"x": 1, "y": 2}, "stars": 5});
    let result = rig.call("everything", arguments).await;
    assert_eq!(result["content"][0]["text"], "a None 7 grey 1,2 5");
    let arguments = json!({"word": "a", "number": 3, "lines": 1, "colour": "red",
                           "where": {"x": 1, "y": 2}, "stars": 1});
    let result = rig.call("everything", arguments).await;
    assert_eq!(result["content"][0]["text"], "a Some(3) 1 red 1,2 1");
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_refused() {
    let mut rig = Rig::start(Server::new("t").tool(everything)).await;
    let good = json!({"word": "a", "where": {"x": 1, "y": 2}, "stars": 5});
    for (key, value, hint) in [
        ("word", json!(5), "argument `word`: invalid type"),
        ("number", json!(300), "argument `number`"),
        ("stars", json!(6), "argument `stars`"),
        ("where", json!({"x": 1}), "`y` is missing"),
        ("extra", json!(1), "unknown argument `extra`; allowed:"),
    ] {
        let mut arguments = good.clone();
        arguments[key] = value;
        let result = rig.call("everything", arguments).await;
        assert_eq!(result["isError"], true, "{key}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(hint), "{key}: {text}");
    }
}

#[tool]
async fn text() -> &'static str {
    "t"
}

#[tool]
async fn object() -> Point {
    Point { x: 1, y: 2 }
}

#[tool]
async fn list() -> Result<Vec<u8>> {
    Ok(vec![1, 2])
}

#[tool]
async fn nothing() {}

#[tool]
async fn picture() -> Bytes {
    Bytes::new("image/png", vec![1, 2, 3])
}

#[tool]
async fn assembled() -> Reply {
    Reply::text("a")
        .structured(&json!({"k": 1}))
        .meta("example.com/x", &5)
}

#[tokio::test]
async fn values_become_results() {
    let server = Server::new("t").tools([text, object, list, nothing, picture, assembled]);
    let mut rig = Rig::start(server).await;
    let result = rig.call("text", json!({})).await;
    assert_eq!(result["content"], json!([{"type": "text", "text": "t"}]));
    assert_eq!(result.get("structuredContent"), None);
    let result = rig.call("object", json!({})).await;
    assert_eq!(result["structuredContent"], json!({"x": 1, "y": 2}));
    assert_eq!(result["content"][0]["text"], r#"{"x":1,"y":2}"#);
    let result = rig.call("list", json!({})).await;
    assert_eq!(result["structuredContent"], json!({"result": [1, 2]}));
    assert_eq!(rig.call("nothing", json!({})).await["content"], json!([]));
    let result = rig.call("picture", json!({})).await;
    assert_eq!(
        result["content"][0],
        json!({"type": "image", "mimeType": "image/png", "data": "AQID"})
    );
    let result = rig.call("assembled", json!({})).await;
    assert_eq!(result["structuredContent"], json!({"k": 1}));
    assert_eq!(result["_meta"]["example.com/x"], 5);
}

#[derive(Debug)]
struct OddError;

impl std::fmt::Display for OddError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("odd")
    }
}

#[tool]
async fn tool_error() -> Result<String, OddError> {
    Err(OddError)
}

#[tool]
async fn io_error() -> std::io::Result<String> {
    Err(std::io::Error::other("disk on fire"))
}

#[tool(task)]
async fn protocol_error() -> Result<String> {
    Err(Error::protocol(-32001, "no such host"))
}

#[tool(task)]
async fn panics() -> String {
    panic!("at the disco")
}

/// Keys of JSON are strings.
#[tool(task)]
async fn pairs() -> std::collections::BTreeMap<(u8, u8), u8> {
    [((1, 2), 3)].into()
}

#[tokio::test]
async fn errors_are_told_apart() {
    let tools = [tool_error, io_error, protocol_error, panics, pairs];
    let server = Server::new("t").tools(tools);
    let mut rig = Rig::start(server).await;
    for (tool, text) in [("tool_error", "odd"), ("io_error", "disk on fire")] {
        let result = rig.call(tool, json!({})).await;
        assert_eq!(result["isError"], true);
        assert_eq!(result["content"][0]["text"], text);
    }
    let task = rig.ended_task("protocol_error", json!({})).await;
    assert_eq!(task["status"], "failed");
    assert_eq!(task["error"]["code"], -32001);
    let task = rig.ended_task("panics", json!({})).await;
    assert_eq!(task["status"], "failed");
    assert!(
        task["error"]["message"]
            .as_str()
            .unwrap()
            .contains("at the disco"),
        "{task}"
    );
    let task = rig.ended_task("pairs", json!({})).await;
    assert_eq!(task["status"], "failed");
    let message = task["error"]["message"].as_str().unwrap();
    assert!(message.contains("has no JSON form"), "{task}");
    assert_eq!(
        rig.call("tool_error", json!({})).await["isError"],
        true,
        "the server goes on"
    );
}

struct Counter {
    calls: AtomicUsize,
}

/// The context and the state in odd places.
#[tool(task)]
async fn contexts(cx: Cx, a: u32, State(counter): State<Counter>, b: u32) -> Result<u32> {
    counter.calls.fetch_add(1, Ordering::Relaxed);
    cx.step("sum", || async move { Ok(a + b) }).await
}

/// Blocks, off the threads that serve.
#[tool(task)]
fn blocks(counter: State<Counter>, n: u32, cx: BlockingCx) -> Result<String> {
    counter.calls.fetch_add(1, Ordering::Relaxed);
    let doubled: u32 = cx.step("double", || Ok(n * 2))?;
    cx.progress().total(1).inc(1);
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    Ok(format!("{doubled} on {name}"))
}

#[tokio::test]
async fn contexts_are_filled_in() {
    let counter = Counter {
        calls: AtomicUsize::new(0),
    };
    let server = Server::new("t").state(counter).tools([contexts, blocks]);
    let mut rig = Rig::start(server).await;
    let task = rig.ended_task("contexts", json!({"a": 1, "b": 2})).await;
    assert_eq!(
        task["result"]["structuredContent"],
        json!({"result": 3}),
        "{task}"
    );
    let task = rig.ended_task("blocks", json!({"n": 4})).await;
    let text = task["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("8 on "), "{text}");
    let listed = rig.listed("contexts").await;
    let arguments = listed["inputSchema"]["properties"].as_object().unwrap();
    assert_eq!(arguments.keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn the_function_stays_callable() {
    let place = Point { x: 0, y: 0 };
    let said = call_everything("w".into(), None, 1, "c".into(), place, 2).await;
    assert_eq!(said, "w None 1 c 0,0 2");
}

#[test]
fn a_name_of_a_tool_is_free_for_variables() {
    let text = 5;
    let everything = |list: u32| list + text;
    assert_eq!(everything(1), 6);
}

mod one_per_file {
    use outlast::prelude::*;

    #[tool(name = "other-name", description = "Said here.")]
    pub(crate) async fn one_per_file() {}
}
use one_per_file::one_per_file;

#[tokio::test]
async fn a_module_may_have_the_name_of_its_tool() {
    let mut rig = Rig::start(Server::new("t").tool(one_per_file)).await;
    assert_eq!(rig.listed("other-name").await["description"], "Said here.");
}

#[tokio::test]
async fn a_tool_by_hand() {
    #[derive(Deserialize, schemars::JsonSchema)]
    struct Sum {
        a: i64,
        b: i64,
    }
    let typed = Tool::typed("typed", |Sum { a, b }, _cx| async move {
        outlast::reply::of(a + b)
    });
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}});
    let untyped = Tool::untyped("untyped", &schema, |arguments, _cx| async move {
        outlast::reply::of(arguments.as_str().to_owned())
    });
    let mut rig = Rig::start(Server::new("t").tools([typed, untyped.unwrap()])).await;
    let result = rig.call("typed", json!({"a": 1, "b": 2})).await;
    assert_eq!(result["structuredContent"], json!({"result": 3}));
    assert_eq!(rig.listed("untyped").await["inputSchema"], schema);
    let result = rig.call("untyped", json!({"n": 3})).await;
    assert_eq!(result["content"][0]["text"], r#"{"n":3}"#);
    let result = rig.call("untyped", json!({"n": 2})).await;
    assert_eq!(result["isError"], true);
}

#[tool(task)]
async fn asks(cx: Cx) -> Result<String> {
    use outlast::{Answer, Ask};
    Ok(match cx.ask::<Point>("where", "Where to?").await? {
        Answer::Accepted(Point { x, y }) => format!("to {x},{y}"),
        other => format!("nowhere: {}", matches!(other, Answer::Declined)),
    })
}

#[tokio::test]
async fn a_question_is_answered() {
    let mut rig = Rig::start(Server::new("t").tool(asks)).await;
    let id = rig.call("asks", json!({})).await["taskId"]
        .as_str()
        .unwrap()
        .to_owned();
    let deadline = tokio::time::Instant::now() + crate::rig::PATIENCE;
    let open = loop {
        let task = rig.request("tasks/get", json!({"taskId": id})).await["result"].clone();
        if task["status"] == "input_required" {
            break task["inputRequests"].clone();
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "never asked: {task}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let (key, question) = open.as_object().unwrap().iter().next().unwrap();
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(
        question["params"]["requestedSchema"]["required"],
        json!(["x", "y"])
    );
    let answer = json!({"action": "accept", "content": {"x": 3, "y": 4}});
    let update = json!({"taskId": id, "inputResponses": {key.clone(): answer}});
    let updated = rig.request("tasks/update", update).await;
    assert!(updated["error"].is_null(), "{updated}");
    let task = rig.ended(&id).await;
    assert_eq!(task["result"]["content"][0]["text"], "to 3,4");
}

/// 2025-11-25 and 2026-07-28 tools, "Output Schema": what was promised, or an error that keeps the rest.
#[tokio::test]
async fn a_result_that_breaks_the_promise_is_an_error_that_keeps_it() {
    #[derive(Deserialize, schemars::JsonSchema)]
    struct Nothing {}
    let returned = json!({"x": "three", "y": 4});
    let breaks = |name: &str, task| {
        let value = returned.clone();
        Tool::typed(name, move |Nothing {}, _cx| {
            let value = value.clone();
            async move { outlast::reply::of(value) }
        })
        .output::<Point>()
        .task(task)
    };
    let server = Server::new("t").tools([
        breaks("as_task", TaskSupport::Optional),
        breaks("at_once", TaskSupport::Forbidden),
    ]);
    let mut rig = Rig::start(server).await;
    let schema = rig.listed("as_task").await["outputSchema"].clone();
    assert_eq!(schema["properties"]["x"]["type"], "integer", "{schema}");
    let task = rig.ended_task("as_task", json!({})).await;
    assert_eq!(task["status"], "completed");
    for result in [&task["result"], &rig.call("at_once", json!({})).await] {
        assert_eq!(result["isError"], true, "{result}");
        assert!(result.get("structuredContent").is_none(), "{result}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(
            text.contains("does not fit") && text.contains("/x"),
            "{text}"
        );
        assert_eq!(result["_meta"]["outlast/rejectedResult"], returned);
    }
    // It is in the record, not only in the first answer.
    let id = task["taskId"].as_str().unwrap();
    assert_eq!(rig.ended(id).await["result"], task["result"]);
}
