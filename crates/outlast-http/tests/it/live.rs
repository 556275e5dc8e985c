//! The live list: over a socket and as a stream.

use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::rest::{Socket, heard, problem, rig, say, socket_at, until};

/// The next message about this task.
async fn about(socket: &mut Socket, id: &str) -> Value {
    loop {
        let message = heard(socket).await.unwrap();
        if message["task"]["taskId"] == id || message["taskId"] == id {
            return message;
        }
    }
}

#[tokio::test]
async fn every_task_is_told_of_from_its_creation_to_its_deletion() {
    let rig = rig().await;
    let mut socket = socket_at(&rig, "/ws").await;
    let ready = heard(&mut socket).await.unwrap();
    assert_eq!(
        (&ready["type"], &ready["resumed"]),
        (&json!("READY"), &json!(false))
    );
    let id = rig
        .create(json!({"tool": "endless", "labels": {"a": "b"}}))
        .await;
    let first = about(&mut socket, &id).await;
    assert_eq!(first["type"], "TASK_CREATED");
    assert_eq!(first["task"]["labels"], json!({"a": "b"}));
    assert_eq!(first["task"]["links"]["self"], format!("/tasks/{id}"));
    assert!(
        first["task"]["arguments"].is_null(),
        "a summary has no arguments"
    );
    rig.post(&format!("/tasks/{id}/cancel"), json!({})).await;
    let ended = loop {
        let message = about(&mut socket, &id).await;
        if message["type"] == "TASK_ENDED" {
            break message;
        }
    };
    assert_eq!(ended["task"]["status"], "cancelled");
    rig.client
        .delete(rig.url(&format!("/tasks/{id}")))
        .send()
        .await
        .unwrap();
    assert_eq!(about(&mut socket, &id).await["type"], "TASK_DELETED");
}

#[tokio::test]
async fn a_watcher_goes_on_where_it_was_or_is_told_that_it_cannot() {
    let rig = rig().await;
    let mut socket = socket_at(&rig, "/ws").await;
    let place = heard(&mut socket).await.unwrap()["id"].clone();
    let place = place.as_str().unwrap();
    let id = rig.create(json!({"tool": "echo"})).await;
    rig.ended(&id).await;
    let last = loop {
        let message = about(&mut socket, &id).await;
        if message["type"] == "TASK_ENDED" {
            break message;
        }
    };
    drop(socket);
    let mut again = socket_at(&rig, &format!("/ws?after={place}")).await;
    assert_eq!(heard(&mut again).await.unwrap()["resumed"], true);
    let told = loop {
        let message = about(&mut again, &id).await;
        if message["type"] == "TASK_ENDED" {
            break message;
        }
    };
    assert_eq!(told, last, "the same message under the same place");
    let mut lost = socket_at(&rig, "/ws?after=0.7").await;
    assert_eq!(heard(&mut lost).await.unwrap()["resumed"], false);
    let (status, detail) = problem(rig.get("/events?after=x").await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("as it came"), "{detail}");
}

#[tokio::test]
async fn the_stream_tells_the_same() {
    let rig = rig().await;
    let response = rig.get("/events").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut bytes = response.bytes_stream();
    let mut text = String::new();
    let mut id = None;
    while !text.contains("TASK_ENDED") {
        let piece = bytes.next().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&piece).unwrap());
        if id.is_none() && text.contains("READY") {
            id = Some(rig.create(json!({"tool": "echo"})).await);
        }
    }
    assert!(text.contains(&id.unwrap()), "{text}");
    let places: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert!(
        places.len() >= 2 && places.windows(2).all(|two| two[0] != two[1]),
        "{places:?}"
    );
}

#[tokio::test]
async fn the_socket_takes_orders_for_each_task_and_stays_when_it_does_not_understand() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "obey"})).await;
    let mut socket = socket_at(&rig, "/ws").await;
    say(&mut socket, r#"{"type": "DANCE"}"#).await;
    let error = until(&mut socket, "ERROR").await;
    assert!(
        error["message"].as_str().unwrap().contains("taskId"),
        "{error}"
    );
    say(
        &mut socket,
        &json!({"type": "DANCE", "taskId": id}).to_string(),
    )
    .await;
    let error = until(&mut socket, "ERROR").await;
    assert!(
        error["message"].as_str().unwrap().contains("INTERVENTION"),
        "{error}"
    );
    say(&mut socket, "nonsense").await;
    until(&mut socket, "ERROR").await;
    let stop = json!({"type": "INTERVENTION", "taskId": id, "guidance": "stop"});
    say(&mut socket, &stop.to_string()).await;
    until(&mut socket, "SIGNALLED").await;
    rig.ended(&id).await;
}
