//! Our client answers what our server asks besides forms: its model, its roots, and URLs; in both eras,
//! in calls and in tasks.

use std::sync::{Arc, Mutex};

use outlast::client::{
    Client, ClientError, Content, Protocol, Question, Reply, Root, Sampled, Sampling, Target,
    UrlQuestion,
};
use outlast::prelude::*;
use outlast::{Answer, Ask, Sample, SampleRequest};
use serde_json::json;

use crate::rig::{PATIENCE, settings};

async fn asked(cx: &Cx) -> Result<String> {
    let Answer::Accepted(sampled) = cx.sample("model", SampleRequest::new("Hello", 9)).await?
    else {
        return Ok("refused".into());
    };
    let Answer::Accepted(roots) = cx.roots("roots").await? else {
        return Err(Error::tool("no roots"));
    };
    let paid = cx
        .ask_url("pay", "Please pay.", "https://pay.example/7")
        .await?;
    cx.url_completed("pay").await?;
    let roots: Vec<&str> = roots.iter().map(|root| root.uri.as_str()).collect();
    Ok(format!("{} {roots:?} {paid:?}", sampled.text))
}

/// Asks in a call.
#[tool]
async fn asks(cx: Cx) -> Result<String> {
    asked(&cx).await
}

/// Asks in a task.
#[tool(task)]
async fn asks_as_task(cx: Cx) -> Result<String> {
    asked(&cx).await
}

#[tokio::test]
async fn a_client_answers_for_its_model_its_roots_and_urls() {
    let folder = tempfile::tempdir().unwrap();
    let listen = Settings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..settings(&folder)
    };
    let server = Server::new("asking").tools([asks(), asks_as_task()]);
    let server = server.start(listen).await.unwrap();
    for protocol in [Protocol::Modern, Protocol::Legacy] {
        for target in [Target::from(&server), Target::url(server.url().unwrap())] {
            let name = format!("{protocol:?} over {target}");
            let opened = Arc::new(Mutex::new(Vec::new()));
            let opening = Arc::clone(&opened);
            let client = Client::builder(target)
                .protocol(protocol)
                .on_sampling(|sampling: Sampling| async move {
                    match &sampling.texts()[..] {
                        [(_, text)] => Sampled::Text {
                            model: "m".into(),
                            text: format!("{text} in {}", sampling.max_tokens),
                        },
                        _ => Sampled::Refused("too much".into()),
                    }
                })
                .on_url(move |question: UrlQuestion| {
                    opening.lock().unwrap().push(question);
                    async { Reply::accept(&json!({})).unwrap() }
                })
                .roots([Root::new("file:///a")])
                .connect()
                .await
                .unwrap();
            let called = tokio::time::timeout(PATIENCE, client.call("asks", ()).into_future());
            let called = called.await.expect(&name).unwrap();
            let expected = r#"Hello in 9 ["file:///a"] Accepted(())"#;
            assert_eq!(called.text(), expected, "{name}");
            client.set_roots([Root::new("file:///b")]).await.unwrap();
            let task = client.call_task("asks_as_task", ()).await.unwrap();
            let ended = tokio::time::timeout(PATIENCE, task.result()).await;
            let expected = expected.replace("file:///a", "file:///b");
            assert_eq!(ended.expect(&name).unwrap().text(), expected, "{name}");
            let opened = std::mem::take(&mut *opened.lock().unwrap());
            assert_eq!(opened.len(), 2, "{name}");
            assert!(
                opened
                    .iter()
                    .all(|asked| asked.url == "https://pay.example/7")
            );
            assert_eq!(opened[1].task_id.as_deref(), Some(task.id()), "{name}");
            // 2025-11-25 alone has a name for it.
            let named = opened.iter().all(|asked| asked.elicitation_id.is_some());
            assert_eq!(named, protocol == Protocol::Legacy, "{name}");
            client.close().await;
        }
    }
    server.shutdown(std::time::Duration::ZERO).await.unwrap();
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Named {
    name: String,
}

async fn told(cx: &RequestCx, key: &str) -> Result<String> {
    match cx.ask::<Named>(key, "Your name?").await? {
        Answer::Accepted(Named { name }) => Ok(name),
        _ => Ok("nobody".into()),
    }
}

/// Asks twice, one question after the other.
#[prompt]
async fn interview(topic: String, cx: RequestCx) -> Result<String> {
    let (first, second) = (told(&cx, "first").await?, told(&cx, "second").await?);
    Ok(format!("{first} and {second} on {topic}"))
}

/// Asks once.
#[resource("diary://{day}{?line}", mime_type = "text/plain")]
async fn diary(day: String, line: Option<u32>, cx: RequestCx) -> Result<String> {
    Ok(format!("{} on {day}, {line:?}", told(&cx, "who").await?))
}

#[resource("bytes://two", title = "Two bytes")]
async fn two_bytes() -> Bytes {
    Bytes::new("application/x-two", vec![0, 255])
}

#[tokio::test]
async fn a_client_gets_prompts_and_reads_resources_that_ask() {
    let folder = tempfile::tempdir().unwrap();
    let listen = Settings {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        ..settings(&folder)
    };
    let server = Server::new("asking").prompt(interview).resource(diary);
    let server = server.resource(two_bytes).start(listen).await.unwrap();
    for protocol in [Protocol::Modern, Protocol::Legacy] {
        for target in [Target::from(&server), Target::url(server.url().unwrap())] {
            let name = format!("{protocol:?} over {target}");
            let asked = Arc::new(Mutex::new(0));
            let counting = Arc::clone(&asked);
            let builder = Client::builder(target).protocol(protocol);
            let client = builder.on_question(move |_: Question| {
                let mut asked = counting.lock().unwrap();
                *asked += 1;
                let name = format!("person {asked}");
                async move { Reply::accept(&json!({"name": name})).unwrap() }
            });
            let client = client.connect().await.unwrap();
            let prompts = client.list_prompts().await.unwrap();
            assert_eq!(prompts[0].arguments[0].name, "topic", "{name}");
            assert!(prompts[0].arguments[0].required && prompts[0].raw.as_str().contains("Asks"));
            let got = client.get_prompt("interview", json!({"topic": "tea"}));
            let got = tokio::time::timeout(PATIENCE, got)
                .await
                .expect(&name)
                .unwrap();
            assert_eq!(got.messages[0].role, "user", "{name}");
            let text = Content::Text("person 1 and person 2 on tea".into());
            assert_eq!(got.messages[0].content, text, "{name}");
            let templates = client.list_resource_templates().await.unwrap();
            let diary = templates.iter().find(|one| one.name == "diary").unwrap();
            assert_eq!(diary.uri, "diary://{day}{?line}", "{name}");
            let read = client.read_resource("diary://today?line=7");
            let read = tokio::time::timeout(PATIENCE, read)
                .await
                .expect(&name)
                .unwrap();
            assert_eq!(read[0].text(), Some("person 3 on today, Some(7)"), "{name}");
            assert_eq!(read[0].mime_type.as_deref(), Some("text/plain"), "{name}");
            let resources = client.list_resources().await.unwrap();
            assert_eq!(resources[0].title.as_deref(), Some("Two bytes"), "{name}");
            let read = client.read_resource(&resources[0].uri).await.unwrap();
            assert_eq!(
                (&*read[0].bytes, read[0].text()),
                (&[0, 255][..], None),
                "{name}"
            );
            // What there is not, and what nobody answers, are errors.
            for wrong in ["nothing://here", "diary://today?line=x"] {
                let error = client.read_resource(wrong).await.unwrap_err();
                assert!(
                    matches!(error, ClientError::Refused { .. }),
                    "{name}: {error}"
                );
            }
            let missing = client.get_prompt("interview", ()).await.unwrap_err();
            assert!(missing.to_string().contains("topic"), "{name}: {missing}");
            client.close().await;
        }
        let silent = Client::builder(Target::url(server.url().unwrap()));
        let silent = silent.protocol(protocol).connect().await.unwrap();
        let refused = silent.read_resource("diary://today").await.unwrap_err();
        assert!(refused.to_string().contains("elicitation"), "{refused}");
    }
    server.shutdown(std::time::Duration::ZERO).await.unwrap();
}
