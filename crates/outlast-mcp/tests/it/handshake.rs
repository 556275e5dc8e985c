//! What a client of the older era may be sent before it has said that it is initialized: no request
//! (2025-11-25 lifecycle, "Initialization").

use serde_json::{Value, json};

use crate::lines::Client;
use crate::rig::{Rig, respond};

/// A task that asks, of nobody's session.
async fn asking(rig: &Rig) -> String {
    let id = rig.create("ask_one").await;
    rig.task(&id, |task| task["status"] == "input_required")
        .await;
    id
}

fn able() -> Value {
    json!({"elicitation": {}})
}

#[tokio::test]
async fn a_question_waits_for_the_end_of_the_handshake() {
    let rig = Rig::new().await;
    let id = asking(&rig).await;
    let session = rig.handshake("2025-11-25", able()).await;
    let mut general = session.get(None).await;
    assert_eq!(session.call("ping", json!({})).await["result"], json!({}));
    // The stream is one for notifications.
    rig.server
        .catalog()
        .change(|offer| Ok(offer.remove_tool("add")))
        .unwrap();
    loop {
        let message = general.message().await;
        assert_ne!(message["method"], "elicitation/create");
        if message["method"] == "notifications/tools/list_changed" {
            break;
        }
    }
    session.say_initialized().await;
    let question = general.method("elicitation/create").await;
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    respond(&session, &question, answer).await;
    session.until(&id, "completed").await;
}

#[tokio::test]
async fn a_request_of_its_own_shows_that_a_client_is_there() {
    let rig = Rig::new().await;
    asking(&rig).await;
    let session = rig.handshake("2025-11-25", able()).await;
    let mut general = session.get(None).await;
    session.call("tools/list", json!({})).await;
    general.method("elicitation/create").await;
}

#[tokio::test]
async fn lines_wait_for_it_too() {
    for last in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 9, "method": "tools/list"}),
    ] {
        let rig = Rig::new().await;
        asking(&rig).await;
        let mut client = Client::connect(&rig);
        client.handshake("2025-11-25", able()).await;
        let (pong, before) = client.ask(1, "ping", json!({})).await;
        assert_eq!((pong["result"].clone(), before), (json!({}), vec![]));
        // Neither is a stateless request one of the session.
        let (_, before) = client.ask_modern(2, "server/discover", json!({})).await;
        assert_eq!(before, Vec::<Value>::new());
        client.send(last).await;
        client.question().await;
        client.end().await;
    }
}
