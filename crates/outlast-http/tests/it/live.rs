//! The live list: over a socket and as a stream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::rest::{Socket, heard, problem, rig, rig_with, say, socket_at, until};

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

/// Whose a deleted task was is not known if nobody has seen it change; then it is told without its id.
#[tokio::test]
async fn a_deletion_is_told_also_of_a_task_that_nobody_has_seen() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "echo"})).await;
    rig.ended(&id).await;
    let mut socket = socket_at(&rig, "/ws").await;
    until(&mut socket, "READY").await;
    let deleted = rig.client.delete(rig.url(&format!("/tasks/{id}")));
    assert!(deleted.send().await.unwrap().status().is_success());
    let told = until(&mut socket, "TASK_DELETED").await;
    assert!(told["taskId"].is_null(), "{told}");
}

/// What the grace of a clean stop is for: whoever watches sees the tasks end.
#[tokio::test]
async fn watchers_stay_while_a_server_gives_its_tasks_time() {
    let rig = rig().await;
    let id = rig.create(json!({"tool": "endless"})).await;
    let mut all = socket_at(&rig, "/ws").await;
    let mut one = socket_at(&rig, &format!("/ws/{id}")).await;
    until(&mut all, "READY").await;
    until(&mut one, "TASK_STARTED").await;
    let handle = rig.engine.handle();
    let stopping = tokio::spawn(rig.engine.stop(Duration::from_secs(60)));
    handle.stopping().await;
    let cancel = json!({"type": "CANCEL", "taskId": id});
    say(&mut all, &cancel.to_string()).await;
    until(&mut one, "TASK_CANCELLED").await;
    assert_eq!(until(&mut all, "TASK_ENDED").await["task"]["taskId"], id);
    drop(stopping.await.unwrap());
}

/// A socket is a connection as long as it is open, for whoever counts them.
#[tokio::test]
async fn a_socket_counts_as_a_connection() {
    let open = Arc::new(());
    let each = Arc::clone(&open);
    let rig = rig_with(|http| http.with_companion(move || Arc::clone(&each))).await;
    let none = Arc::strong_count(&open);
    let mut socket = socket_at(&rig, "/ws").await;
    until(&mut socket, "READY").await;
    say(&mut socket, "{}").await;
    until(&mut socket, "ERROR").await;
    assert_eq!(Arc::strong_count(&open), none + 1);
    drop(socket);
    while Arc::strong_count(&open) > none {
        tokio::task::yield_now().await;
    }
}
