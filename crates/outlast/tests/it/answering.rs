//! Our client answers what our server asks besides forms: its model, its roots, and URLs; in both eras,
//! in calls and in tasks.

use std::sync::{Arc, Mutex};

use outlast::client::{Client, Protocol, Reply, Root, Sampled, Sampling, Target, UrlQuestion};
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
