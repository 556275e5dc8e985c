//! What changes at run time, and who is told: lists, resources, and tasks as resources.

use std::sync::Arc;

use http::Method;
use outlast_core::{RawJson, ToolResult};
use outlast_engine::{BoxFuture, Cx, Handler, Result as EngineResult, TaskSupport, Tool};
use outlast_mcp::http::HttpService;
use outlast_mcp::offer::Catalog;
use outlast_mcp::{Config, Server};
use serde_json::{Value, json};

use crate::lines::Client;
use crate::offered::offer;
use crate::rig::{Events, Rig, declaring, eventually, modern_body, request, send_to, whole};

struct Late;

impl Handler for Late {
    fn check(&self, _arguments: &RawJson) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, _arguments: RawJson, cx: Cx) -> BoxFuture<'static, EngineResult<ToolResult>> {
        Box::pin(async move {
            cx.info("grüße");
            Ok(ToolResult::text("better late than never"))
        })
    }
}

pub(crate) fn add_tool(catalog: &Catalog) {
    let tool = Tool {
        task: TaskSupport::Optional,
        ..Tool::new("late", Arc::new(Late))
    };
    catalog.change(|offer| offer.add_tool(tool)).unwrap();
}

fn subscription(message: &Value) -> &Value {
    &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

async fn listen(rig: &Rig, notifications: Value) -> (Events, Value) {
    let params = json!({"notifications": notifications});
    let response = rig
        .modern_response(&declaring(), "subscriptions/listen", params)
        .await;
    let mut events = Events::of(response);
    let first = events.message().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(*subscription(&first), 7);
    let honoured = first["params"]["notifications"].clone();
    (events, honoured)
}

#[tokio::test]
async fn a_tool_that_comes_and_goes_is_called_as_a_task_and_told_of() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let mut general = session.get(None).await;
    let (mut listening, honoured) = listen(&rig, json!({"toolsListChanged": true})).await;
    assert_eq!(honoured, json!({"toolsListChanged": true}));
    add_tool(rig.server.catalog());
    let told = general.method("notifications/tools/list_changed").await;
    assert_eq!(told.get("id"), None);
    let told = listening.message().await;
    assert_eq!(told["method"], "notifications/tools/list_changed");
    assert_eq!(*subscription(&told), 7);
    let id = rig.create("late").await;
    let task = rig.task(&id, |task| task["status"] == "completed").await;
    assert_eq!(
        task["result"]["content"][0]["text"],
        "better late than never"
    );

    let catalog = rig.server.catalog();
    assert_eq!(
        catalog.change(|offer| Ok(offer.remove_tool("late"))),
        Ok(true)
    );
    assert_eq!(
        listening.message().await["method"],
        "notifications/tools/list_changed"
    );
    let gone = session.call("tools/call", json!({"name": "late"})).await;
    assert_eq!(gone["error"]["code"], -32602, "{gone}");
    // Its tasks stay.
    let kept = session.call("tasks/get", json!({"taskId": id})).await;
    assert_eq!(kept["result"]["status"], "completed");
    // And what is refused changes nothing.
    let refused = catalog.change(|offer| {
        offer.remove_tool("quick");
        Err::<(), _>("changed my mind".to_owned())
    });
    assert_eq!(refused, Err("changed my mind".to_owned()));
    rig.create("quick").await;
}

#[tokio::test]
async fn only_what_was_asked_for_is_told() {
    let rig = Rig::new().await;
    offer(rig.server.catalog());
    let (mut prompts, honoured) = listen(
        &rig,
        json!({"promptsListChanged": true, "toolsListChanged": false,
               "resourceSubscriptions": ["test://text", "test://nothing", "test://text"]}),
    )
    .await;
    assert_eq!(
        honoured,
        json!({"promptsListChanged": true, "resourceSubscriptions": ["test://text"]})
    );
    let catalog = rig.server.catalog();
    add_tool(rig.server.catalog());
    catalog.resource_updated("test://bytes");
    catalog.resource_updated("test://text");
    let told = prompts.message().await;
    assert_eq!(told["method"], "notifications/resources/updated", "{told}");
    assert_eq!(told["params"]["uri"], "test://text");
    assert_eq!(*subscription(&told), 7);
    catalog
        .change(|offer| Ok((offer.remove_prompt("greeting"), offer.remove_tool("late"))))
        .unwrap();
    let told = prompts.message().await;
    assert_eq!(
        told["method"], "notifications/prompts/list_changed",
        "{told}"
    );
}

#[tokio::test]
async fn a_subscription_outlives_the_instance_and_ends_when_asked() {
    let rig = Rig::new().await;
    offer(rig.server.catalog());
    let session = rig.session("2025-11-25", json!({})).await;
    let uri = json!({"uri": "test://text"});
    let refused = session
        .call("resources/subscribe", json!({"uri": "test://nothing"}))
        .await;
    assert_eq!(refused["error"]["code"], -32002);
    let subscribed = session.call("resources/subscribe", uri.clone()).await;
    assert_eq!(subscribed["result"], json!({}));
    let mut general = session.get(None).await;
    let catalog = rig.server.catalog();
    catalog.resource_updated("test://text");
    let told = general.method("notifications/resources/updated").await;
    assert_eq!(told["params"], json!({"uri": "test://text"}));
    drop(general);

    // Another process, which learns of the session by its id.
    let config = Config::new("rig", "1.2.3");
    let other = Server::new(rig.server.handle().clone(), config).await;
    let other = other.unwrap();
    offer(other.catalog());
    let service = HttpService::new(&other);
    let header = [("mcp-session-id", session.id.as_str())];
    let stream = send_to(&service, request(Method::GET, &header, "")).await;
    let mut general = Events::of(stream);
    other.catalog().resource_updated("test://text");
    let told = general.method("notifications/resources/updated").await;
    assert_eq!(told["params"]["uri"], "test://text");
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/unsubscribe", "params": uri});
    let (_, ended) =
        whole(send_to(&service, request(Method::POST, &header, body.to_string())).await).await;
    assert_eq!(ended["result"], json!({}));
    other.catalog().resource_updated("test://text");
    // Nothing of the resource comes before the next thing that does; the other server's own offer
    // may still be told in between.
    add_tool(other.catalog());
    loop {
        let next = general.message().await;
        assert_ne!(next["method"], "notifications/resources/updated", "{next}");
        if next["method"] == "notifications/tools/list_changed" {
            break;
        }
    }
}

#[tokio::test]
async fn a_task_is_a_resource_of_its_owner() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let id = rig.create("steps").await;
    let uri = format!("outlast://tasks/{id}");
    let result = format!("{uri}/result");
    let read = async |uri: &str| {
        let (_, answer) = rig.modern("resources/read", json!({"uri": uri})).await;
        answer
    };
    let now = read(&uri).await;
    let text = now["result"]["contents"][0]["text"].as_str().unwrap();
    let status: Value = serde_json::from_str(text).unwrap();
    assert_eq!(status["taskId"], id);
    assert_eq!(status["status"], "working");
    assert_eq!(status["tool"], "steps");
    // There is no result yet.
    assert_eq!(read(&result).await["error"]["code"], -32602);
    let legacy = session.call("resources/read", json!({"uri": result})).await;
    assert_eq!(legacy["error"]["code"], -32002);

    session
        .call("resources/subscribe", json!({"uri": uri}))
        .await;
    let mut general = session.get(None).await;
    let both = json!({"resourceSubscriptions": [uri, result]});
    let (mut listening, honoured) = listen(&rig, both.clone()).await;
    assert_eq!(honoured, both);
    rig.go(4);
    let told = general.method("notifications/resources/updated").await;
    assert_eq!(told["params"]["uri"], uri);
    let mut told = Vec::new();
    while !told.contains(&json!(result)) {
        let message = listening.method("notifications/resources/updated").await;
        told.push(message["params"]["uri"].clone());
    }
    assert!(told.contains(&json!(uri)), "{told:?}");
    let done = read(&result).await;
    let text = done["result"]["contents"][0]["text"].as_str().unwrap();
    let done: Value = serde_json::from_str(text).unwrap();
    assert_eq!(done["content"][0]["text"], "four steps");
    assert_eq!(done["isError"], false);

    let unknown = format!("outlast://tasks/{}", outlast_core::TaskId::random());
    assert_eq!(read(&unknown).await["error"]["code"], -32602);
    let (_, honoured) = listen(&rig, json!({"resourceSubscriptions": [unknown]})).await;
    assert_eq!(honoured["resourceSubscriptions"], json!([]));
}

#[tokio::test]
async fn what_a_task_gives_out_is_read_as_resources() {
    let rig = Rig::new().await;
    let id = rig.create("gives_out").await;
    rig.task(&id, |task| task["status"] == "completed").await;
    let read = async |rest: &str| {
        let uri = format!("outlast://tasks/{id}/{rest}");
        let (_, answer) = rig.modern("resources/read", json!({"uri": uri})).await;
        answer
    };
    let list = read("artifacts").await["result"]["contents"][0].clone();
    let list: Value = serde_json::from_str(list["text"].as_str().unwrap()).unwrap();
    let list = list["artifacts"].as_array().unwrap().clone();
    let names: Vec<&Value> = list.iter().map(|artifact| &artifact["name"]).collect();
    assert_eq!(names, ["dir/raw data", "empty", "plot.txt"]);

    // Text in pieces of whole characters: "größer " is nine bytes.
    let mut text = String::new();
    let mut next = 0;
    loop {
        let piece = read(&format!("artifacts/plot.txt?offset={next}&limit=4")).await;
        let piece = piece["result"]["contents"][0].clone();
        assert_eq!(piece["mimeType"], "text/plain; charset=utf-8");
        assert_eq!(piece["_meta"]["outlast/size"], 27);
        text.push_str(piece["text"].as_str().unwrap());
        next = piece["_meta"]["outlast/next"].as_u64().unwrap();
        if next == 27 {
            break;
        }
    }
    assert_eq!(text, "größer größer größer ");

    // Bytes, by the URI that the list gives.
    let (_, raw) = rig
        .modern("resources/read", json!({"uri": list[0]["uri"]}))
        .await;
    let raw = &raw["result"]["contents"][0];
    assert_eq!(raw["blob"].as_str().unwrap().len(), 344);
    assert_eq!(raw["_meta"]["outlast/next"], 256);
    assert_eq!(
        read("artifacts/empty").await["result"]["contents"][0]["text"],
        ""
    );
    let behind = read("artifacts/plot.txt?offset=99").await["result"]["contents"][0].clone();
    assert_eq!(
        (&behind["text"], &behind["_meta"]["outlast/next"]),
        (&json!(""), &json!(27))
    );
    assert_eq!(read("artifacts/none").await["error"]["code"], -32602);
    let refused = read("artifacts/plot.txt?limit=all").await;
    assert_eq!(refused["error"]["code"], -32602);

    let partials = read("partials?after=1").await["result"]["contents"][0].clone();
    assert_eq!(partials["_meta"]["outlast/next"], 3);
    let partials: Value = serde_json::from_str(partials["text"].as_str().unwrap()).unwrap();
    let values = partials["partials"].as_array().unwrap().iter();
    let values: Vec<&Value> = values.map(|partial| &partial["value"]).collect();
    assert_eq!(values, [20, 30]);

    // A model that fetches the result later finds links to the artifacts.
    let session = rig.session("2025-11-25", json!({})).await;
    let params = json!({"name": "task_result", "arguments": {"taskId": id}});
    let result = session.call("tools/call", params.clone()).await["result"].clone();
    assert_eq!(result["content"][0]["text"], "three things");
    let links = result["content"].as_array().unwrap()[1..].to_vec();
    for (link, artifact) in links.iter().zip(&list) {
        assert_eq!(link["type"], "resource_link");
        for member in ["uri", "name", "mimeType", "size"] {
            assert_eq!(link[member], artifact[member]);
        }
    }
    assert_eq!(links.len(), 3);
    let older = rig.session("2025-03-26", json!({})).await;
    let result = older.call("tools/call", params).await["result"].clone();
    assert_eq!(result["content"].as_array().unwrap().len(), 1);
}

/// A client that knows only the protocol must not take a piece for the whole.
#[tokio::test]
async fn what_is_read_without_an_offset_is_whole_or_refused() {
    let rig = Rig::new().await;
    let id = rig.create("gives_out_much").await;
    rig.task(&id, |task| task["status"] == "completed").await;
    let read = async |rest: &str| {
        let uri = format!("outlast://tasks/{id}/{rest}");
        let (_, answer) = rig.modern("resources/read", json!({"uri": uri})).await;
        answer
    };
    let four = read("artifacts/four").await["result"]["contents"][0].clone();
    assert_eq!(
        four["blob"].as_str().unwrap().len(),
        (4_usize << 20).div_ceil(3) * 4
    );
    let five = read("artifacts/five").await;
    assert_eq!(five["error"]["code"], -32602, "{five}");
    let told = five["error"]["message"].as_str().unwrap();
    assert!(
        told.contains("5242880 bytes") && told.contains("?offset=0&limit="),
        "{told}"
    );
    let piece = read("artifacts/five?offset=5242879").await["result"]["contents"][0].clone();
    assert_eq!(
        (&piece["blob"], &piece["_meta"]["outlast/next"]),
        (&json!("IQ=="), &json!(5 << 20))
    );

    let log = eventually("all of the log", async || {
        let log = read("log").await["result"]["contents"][0].clone();
        (log["_meta"]["outlast/end"] == 700 * 1024).then_some(log)
    })
    .await;
    assert_eq!(log["text"].as_str().unwrap().len(), 700 * 1024);
    assert_eq!(log["_meta"]["outlast/next"], 700 * 1024);
    let piece = read("log?offset=0").await["result"]["contents"][0].clone();
    assert!(piece["text"].as_str().unwrap().len() < 300 * 1024);
}

#[tokio::test]
async fn a_log_is_read_from_an_offset() {
    let rig = Rig::new().await;
    add_tool(rig.server.catalog());
    let id = rig.create("late").await;
    rig.task(&id, |task| task["status"] == "completed").await;
    let read = async |query: &str| {
        let uri = format!("outlast://tasks/{id}/log{query}");
        let (_, answer) = rig.modern("resources/read", json!({"uri": uri})).await;
        answer
    };
    let whole = eventually("the log", async || {
        let contents = read("").await["result"]["contents"][0].clone();
        (contents["_meta"]["outlast/end"] != 0).then_some(contents)
    })
    .await;
    assert_eq!(whole["text"], "grüße\n");
    assert_eq!(
        whole["_meta"]["outlast/next"],
        whole["_meta"]["outlast/end"]
    );
    let rest = read("?offset=2").await["result"]["contents"][0].clone();
    assert_eq!(rest["text"], "üße\n");
    let refused = read("?offset=two").await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
}

#[tokio::test]
async fn a_connection_hears_of_changes_too() {
    let rig = Rig::new().await;
    offer(rig.server.catalog());
    let mut client = Client::connect(&rig);
    let params = json!({"notifications": {"resourcesListChanged": true}});
    client
        .send(modern_body(1, &declaring(), "subscriptions/listen", params))
        .await;
    let first = client.next().await.unwrap();
    assert_eq!(
        first["params"]["notifications"],
        json!({"resourcesListChanged": true})
    );
    client
        .send(
            json!({"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"}}}),
        )
        .await;
    client.answer(2).await;
    let subscribe = json!({"uri": "test://text"});
    client
        .send(
            json!({"jsonrpc": "2.0", "id": 3, "method": "resources/subscribe",
            "params": subscribe}),
        )
        .await;
    client.answer(3).await;
    rig.server.catalog().resource_updated("test://text");
    let told = client.next().await.unwrap();
    assert_eq!(told["method"], "notifications/resources/updated");
    let catalog = rig.server.catalog();
    catalog
        .change(|offer| Ok(offer.remove_resource("test://text")))
        .unwrap();
    let mut told = [client.next().await.unwrap(), client.next().await.unwrap()];
    told.sort_by_key(|message| subscription(message).is_null());
    for message in &told {
        assert_eq!(message["method"], "notifications/resources/list_changed");
    }
    assert_eq!(*subscription(&told[0]), 1);
}

#[tokio::test]
async fn whoever_follows_a_part_of_a_task_is_told_of_its_changes() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let id = rig.create("steps").await;
    let uris = [
        "",
        "/log?offset=0",
        "/artifacts",
        "/artifacts/x.txt",
        "/partials?after=1",
    ]
    .map(|rest| format!("outlast://tasks/{id}{rest}"));
    for uri in &uris {
        let subscribed = session.call("resources/subscribe", json!({"uri": uri}));
        assert_eq!(subscribed.await["result"], json!({}), "{uri}");
    }
    let mut general = session.get(None).await;
    let (mut listening, honoured) = listen(&rig, json!({"resourceSubscriptions": uris})).await;
    assert_eq!(honoured["resourceSubscriptions"], json!(uris));
    rig.go(4);
    for events in [&mut general, &mut listening] {
        let mut missing: Vec<String> = uris.to_vec();
        while !missing.is_empty() {
            let message = events.method("notifications/resources/updated").await;
            missing.retain(|uri| message["params"]["uri"] != uri.as_str());
        }
    }
}
