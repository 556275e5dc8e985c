//! Prompts, resources and completions in the words of both eras.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::RawJson;
use outlast_engine::{BoxFuture, Error, Result as EngineResult};
use outlast_mcp::offer::{
    CacheScope, Caching, Catalog, CompletionRequest, Prompt, PromptArgument, PromptHandler,
    PromptMessages, ReadRequest, RequestCx, Resource, ResourceContents, ResourceHandler,
    ResourceTemplate, UriTemplate,
};
use serde_json::{Value, json};

use crate::lines::Client;
use crate::rig::{Rig, declaring, modern_body};

struct Greeting;

impl PromptHandler for Greeting {
    fn get(
        &self,
        arguments: BTreeMap<String, String>,
        cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<PromptMessages>> {
        Box::pin(async move {
            let text = match arguments["name"].as_str() {
                "panic" => panic!("at the disco"),
                "refused" => return Err(Error::protocol(-32050, "not that one")),
                name => format!("Greet {name} for {}.", cx.owner().as_str()),
            };
            let messages = json!([{"role": "user", "content": {"type": "text", "text": text}}]);
            Ok(PromptMessages {
                description: None,
                messages: messages.into(),
                meta: Some(json!({"x/y": 1}).into()),
            })
        })
    }

    fn complete(
        &self,
        request: CompletionRequest,
        _cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<Vec<String>>> {
        Box::pin(async move {
            let all = (0..150).map(|number| format!("name{number}"));
            let style = request.others.get("style").cloned();
            Ok(request.matching(all.chain(style)))
        })
    }
}

struct Files;

impl ResourceHandler for Files {
    fn read(
        &self,
        request: ReadRequest,
        _cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<Option<Vec<ResourceContents>>>> {
        Box::pin(async move {
            Ok(match (request.uri.as_str(), request.variables.get("id")) {
                ("test://text", _) => Some(vec![ResourceContents::text("plain \"text\"")]),
                ("test://bytes", _) => Some(vec![
                    ResourceContents::blob([0, 159, 146, 150]).mime_type("image/png"),
                    ResourceContents::text("and a caption").at("test://bytes/caption"),
                ]),
                (_, Some(id)) if id == "missing" => None,
                (_, Some(id)) => {
                    let limit = request.variables.get("limit").map(String::as_str);
                    let limit = limit.unwrap_or("no limit");
                    Some(vec![ResourceContents::text(format!("{id} with {limit}"))])
                }
                _ => None,
            })
        })
    }
}

fn argument(name: &str, required: bool) -> PromptArgument {
    PromptArgument {
        name: name.into(),
        title: Some(name.to_uppercase()),
        description: Some(format!("The {name}.")),
        required,
    }
}

fn icons() -> Option<RawJson> {
    Some(json!([{"src": "https://example.com/icon.png", "sizes": ["48x48"]}]).into())
}

pub(crate) fn offer(catalog: &Catalog) {
    let files: Arc<dyn ResourceHandler> = Arc::new(Files);
    let change = catalog.change(|offer| {
        offer.add_prompt(Prompt {
            title: Some("Greeting".into()),
            description: Some("Greets somebody.".into()),
            arguments: vec![argument("name", true), argument("style", false)],
            icons: icons(),
            completes: true,
            ..Prompt::new("greeting", Arc::new(Greeting))
        })?;
        offer.add_resource(Resource {
            mime_type: Some("text/plain".into()),
            size: Some(12),
            annotations: Some(json!({"audience": ["user"], "priority": 0.5}).into()),
            caching: Caching {
                ttl: Duration::from_secs(60),
                scope: CacheScope::Public,
            },
            ..Resource::new("test://text", "text", Arc::clone(&files))
        })?;
        offer.add_resource(Resource::new("test://bytes", "bytes", Arc::clone(&files)))?;
        let template = UriTemplate::new("test://item/{id}{?limit}")?;
        offer.add_resource_template(ResourceTemplate {
            mime_type: Some("text/plain".into()),
            ..ResourceTemplate::new(template, "item", files)
        })
    });
    change.unwrap();
}

async fn rig() -> Rig {
    let rig = Rig::new().await;
    offer(rig.server.catalog());
    rig
}

#[tokio::test]
async fn capabilities_are_declared_once_there_is_something() {
    let rig = Rig::new().await;
    let bare = rig.session("2025-11-25", json!({})).await;
    assert_eq!(bare.initialized["capabilities"].get("prompts"), None);
    let refused = bare.call("prompts/list", json!({})).await;
    assert_eq!(refused["error"]["code"], -32601, "{refused}");
    offer(rig.server.catalog());
    let session = rig.session("2025-11-25", json!({})).await;
    let (_, discovered) = rig.modern("server/discover", json!({})).await;
    for capabilities in [
        &session.initialized["capabilities"],
        &discovered["result"]["capabilities"],
    ] {
        assert_eq!(capabilities["prompts"], json!({"listChanged": true}));
        let resources = json!({"subscribe": true, "listChanged": true});
        assert_eq!(capabilities["resources"], resources);
        assert_eq!(capabilities["completions"], json!({}));
    }
    // What has been declared stays: an empty list, and no error.
    let catalog = rig.server.catalog();
    let removed = catalog.change(|offer| Ok(offer.remove_prompt("greeting")));
    assert_eq!(removed, Ok(true));
    let list = session.call("prompts/list", json!({})).await;
    assert_eq!(list["result"]["prompts"], json!([]));
}

#[tokio::test]
async fn a_prompt_is_listed_and_got() {
    let rig = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let old = rig.session("2025-03-26", json!({})).await;
    let listed = json!({"name": "greeting", "title": "Greeting", "description": "Greets somebody.",
        "arguments": [
            {"name": "name", "title": "NAME", "description": "The name.", "required": true},
            {"name": "style", "title": "STYLE", "description": "The style.", "required": false}],
        "icons": [{"src": "https://example.com/icon.png", "sizes": ["48x48"]}]});
    let list = session.call("prompts/list", json!({})).await;
    assert_eq!(list["result"], json!({"prompts": [listed]}));
    let list = old.call("prompts/list", json!({})).await;
    assert_eq!(list["result"]["prompts"][0].get("title"), None);
    assert_eq!(list["result"]["prompts"][0].get("icons"), None);
    let (_, list) = rig.modern("prompts/list", json!({})).await;
    assert_eq!(list["result"]["prompts"], json!([listed]));
    assert_eq!(list["result"]["resultType"], "complete");
    assert_eq!(list["result"]["cacheScope"], "public");
    assert!(list["result"]["ttlMs"].is_u64());

    let params = json!({"name": "greeting", "arguments": {"name": "Ada"}});
    let messages =
        json!([{"role": "user", "content": {"type": "text", "text": "Greet Ada for local."}}]);
    let got = session.call("prompts/get", params.clone()).await;
    assert_eq!(
        got["result"],
        json!({"description": "Greets somebody.", "messages": messages, "_meta": {"x/y": 1}})
    );
    let (status, got) = rig.modern("prompts/get", params).await;
    assert_eq!((status, &got["result"]["messages"]), (200, &messages));
    assert_eq!(got["result"]["resultType"], "complete");
    assert_eq!(got["result"]["_meta"]["x/y"], 1);
    assert_eq!(
        got["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "rig"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_prompt_is_said() {
    let rig = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let cases = [
        (json!({}), -32602, "\"name\" is missing"),
        (json!({"name": 5}), -32602, "\"name\" must be a string"),
        (
            json!({"name": "nobody"}),
            -32602,
            "unknown prompt \"nobody\"",
        ),
        (
            json!({"name": "greeting"}),
            -32602,
            "needs the argument \"name\"",
        ),
        (
            json!({"name": "greeting", "arguments": {"name": "a", "nmae": "b"}}),
            -32602,
            "unknown argument \"nmae\"; allowed: name, style",
        ),
        (
            json!({"name": "greeting", "arguments": {"name": 5}}),
            -32602,
            "invalid params",
        ),
        (
            json!({"name": "greeting", "arguments": {"name": "refused"}}),
            -32050,
            "not that one",
        ),
        (
            json!({"name": "greeting", "arguments": {"name": "panic"}}),
            -32603,
            "panicked",
        ),
    ];
    for (params, code, text) in cases {
        let legacy = session.call("prompts/get", params.clone()).await;
        let (_, modern) = rig.modern("prompts/get", params.clone()).await;
        for message in [legacy, modern] {
            assert_eq!(message["error"]["code"], code, "{params} {message}");
            let said = message["error"]["message"].as_str().unwrap();
            assert!(said.contains(text), "{params} {said}");
        }
    }
}

#[tokio::test]
async fn resources_are_listed_and_read() {
    let rig = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let list = session.call("resources/list", json!({})).await;
    assert_eq!(
        list["result"]["resources"],
        json!([{"uri": "test://bytes", "name": "bytes"},
            {"uri": "test://text", "name": "text", "mimeType": "text/plain", "size": 12,
             "annotations": {"audience": ["user"], "priority": 0.5}}])
    );
    let (_, templates) = rig.modern("resources/templates/list", json!({})).await;
    let templates_listed = templates["result"]["resourceTemplates"].as_array();
    let ours = |template: &&Value| template["uriTemplate"] == "test://item/{id}{?limit}";
    assert!(
        templates_listed
            .unwrap()
            .iter()
            .any(|template| ours(&template))
    );
    assert_eq!(templates["result"]["resultType"], "complete");

    let read = async |uri: &str| {
        let legacy = session.call("resources/read", json!({"uri": uri})).await;
        let (_, modern) = rig.modern("resources/read", json!({"uri": uri})).await;
        assert_eq!(legacy["result"]["contents"], modern["result"]["contents"]);
        modern["result"].clone()
    };
    let text = read("test://text").await;
    assert_eq!(
        text["contents"],
        json!([{"uri": "test://text", "mimeType": "text/plain", "text": "plain \"text\""}])
    );
    assert_eq!(
        (&text["ttlMs"], &text["cacheScope"]),
        (&json!(60_000), &json!("public"))
    );
    let bytes = read("test://bytes").await;
    assert_eq!(
        bytes["contents"],
        json!([{"uri": "test://bytes", "mimeType": "image/png", "blob": "AJ+Slg=="},
            {"uri": "test://bytes/caption", "text": "and a caption"}])
    );
    assert_eq!(
        (&bytes["ttlMs"], &bytes["cacheScope"]),
        (&json!(0), &json!("private"))
    );
    let item = read("test://item/a%20b?limit=7").await;
    assert_eq!(item["contents"][0]["text"], "a b with 7");
    assert_eq!(item["contents"][0]["uri"], "test://item/a%20b?limit=7");
    assert_eq!(
        read("test://item/x").await["contents"][0]["text"],
        "x with no limit"
    );
}

#[tokio::test]
async fn an_unknown_resource_has_the_code_of_its_era() {
    let rig = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    for uri in ["test://nothing", "test://item/missing", "test://item/a/b"] {
        let legacy = session.call("resources/read", json!({"uri": uri})).await;
        assert_eq!(legacy["error"]["code"], -32002, "{uri}");
        assert_eq!(legacy["error"]["data"]["uri"], uri);
        let (status, modern) = rig.modern("resources/read", json!({"uri": uri})).await;
        assert_eq!(
            (status, &modern["error"]["code"]),
            (200, &json!(-32602)),
            "{uri}"
        );
        assert_eq!(modern["error"]["data"]["uri"], uri);
    }
    let wrong = json!({"uri": "test://item/x?limits=1"});
    let refused = session.call("resources/read", wrong).await;
    assert_eq!(
        refused["error"]["message"],
        "unknown query parameter \"limits\"; allowed: limit"
    );
}

#[tokio::test]
async fn values_are_suggested() {
    let rig = rig().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let complete = |reference: Value, argument: Value| {
        json!({"ref": reference, "argument": argument,
               "context": {"arguments": {"style": "name-style"}}})
    };
    let prompt = json!({"type": "ref/prompt", "name": "greeting"});
    let all = complete(prompt.clone(), json!({"name": "name", "value": "NAME"}));
    let legacy = session.call("completion/complete", all.clone()).await;
    let completion = &legacy["result"]["completion"];
    assert_eq!(completion["values"].as_array().unwrap().len(), 100);
    assert_eq!(
        (&completion["total"], &completion["hasMore"]),
        (&json!(151), &json!(true))
    );
    let (_, modern) = rig.modern("completion/complete", all).await;
    assert_eq!(modern["result"]["completion"], *completion);
    assert_eq!(modern["result"]["resultType"], "complete");
    let one = complete(prompt.clone(), json!({"name": "name", "value": "name14"}));
    let few = session.call("completion/complete", one).await;
    assert_eq!(few["result"]["completion"]["total"], 11);
    assert_eq!(few["result"]["completion"]["hasMore"], false);
    // A template without suggestions has none.
    let item = json!({"type": "ref/resource", "uri": "test://item/{id}{?limit}"});
    let none = complete(item, json!({"name": "id", "value": ""}));
    let none = session.call("completion/complete", none).await;
    assert_eq!(none["result"]["completion"]["values"], json!([]));
    for (reference, argument) in [
        (
            json!({"type": "ref/prompt", "name": "nobody"}),
            json!({"name": "a", "value": ""}),
        ),
        (
            json!({"type": "ref/other"}),
            json!({"name": "a", "value": ""}),
        ),
        (prompt.clone(), json!({"name": "unknown", "value": ""})),
        (prompt, json!({"name": "name"})),
    ] {
        let wrong = complete(reference, argument);
        let refused = session.call("completion/complete", wrong.clone()).await;
        assert_eq!(refused["error"]["code"], -32602, "{wrong} {refused}");
    }
}

#[tokio::test]
async fn lists_have_pages() {
    let rig = Rig::configured(|config| config.page_size = 1).await;
    offer(rig.server.catalog());
    let session = rig.session("2025-11-25", json!({})).await;
    let mut uris = Vec::new();
    let mut params = json!({});
    loop {
        let page = session.call("resources/list", params).await["result"].clone();
        assert_eq!(page["resources"].as_array().unwrap().len(), 1);
        uris.push(page["resources"][0]["uri"].clone());
        match page.get("nextCursor") {
            Some(next) => params = json!({"cursor": next}),
            None => break,
        }
    }
    assert_eq!(uris, ["test://bytes", "test://text"]);
    let refused = session
        .call("prompts/list", json!({"cursor": "bogus"}))
        .await;
    assert_eq!(refused["error"]["code"], -32602);
}

#[tokio::test]
async fn the_same_over_lines() {
    let rig = rig().await;
    let mut client = Client::connect(&rig);
    let read = json!({"uri": "test://text"});
    client
        .send(modern_body(1, &declaring(), "resources/read", read))
        .await;
    let (answer, _) = client.answer(1).await;
    assert_eq!(answer["result"]["contents"][0]["text"], "plain \"text\"");
    let got = json!({"name": "greeting", "arguments": {"name": "Ada"}});
    client
        .send(modern_body(2, &declaring(), "prompts/get", got))
        .await;
    let (answer, _) = client.answer(2).await;
    assert_eq!(answer["result"]["messages"][0]["role"], "user");
}
