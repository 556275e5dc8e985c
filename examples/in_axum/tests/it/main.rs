//! The application from outside: everything on one port, and an orderly end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod app;

use std::time::Duration;

use outlast::client::{Client, Target};
use serde_json::{Value, json};

use app::App;

#[tokio::test]
async fn the_applications_routes_and_the_tasks_share_port_and_data() {
    let app = App::start();
    for item in ["a chair", "a table"] {
        let taken = app.post("/orders", &json!({"item": item})).await;
        assert_eq!(taken.status(), 201);
    }

    // Its tools see what its routes wrote.
    let client = Client::connect(Target::url(app.url("/mcp"))).await.unwrap();
    let waiting: u64 = client
        .call("waiting", json!({}))
        .await
        .unwrap()
        .data()
        .unwrap();
    assert_eq!(waiting, 2);

    // A task of REST is the same task over MCP, and its work is seen by the routes.
    let call = json!({"tool": "pack", "arguments": {"seconds": 0.0}});
    let created = app.post("/tasks", &call).await;
    assert_eq!(created.status(), 202);
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    let created: Value = created.json().await.unwrap();
    let id = created["taskId"].as_str().unwrap();
    assert_eq!(location, app.url(&format!("/tasks/{id}")));
    let packed = client.task(id).result().await.unwrap();
    assert_eq!(packed.text(), "packed 2 orders");
    let orders: Value = app.get("/orders").await.json().await.unwrap();
    assert_eq!(
        orders,
        json!([
            {"id": 1, "item": "a chair", "packed": true},
            {"id": 2, "item": "a table", "packed": true},
        ])
    );
    client.close().await;
}

#[tokio::test]
async fn every_path_has_one_owner() {
    let app = App::start();
    let page = app.get("/").await;
    assert_eq!(page.status(), 200, "the dashboard");
    assert!(page.text().await.unwrap().contains("dashboard/"));
    assert_eq!(app.get("/health/live").await.status(), 200);
    assert_eq!(app.get("/tools").await.status(), 200);
    // A path that was doubled by mounting would be found.
    for nowhere in ["/mcp/mcp", "/orders/mcp", "/nowhere"] {
        assert_eq!(app.get(nowhere).await.status(), 404, "{nowhere}");
    }
    // A page that has rebound its name to this machine gets nowhere near the tasks.
    let rebound = app
        .client
        .get(app.url("/tasks"))
        .header("host", "evil.test");
    assert_eq!(rebound.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn it_ends_while_somebody_watches_and_goes_on_at_the_next_start() {
    let mut app = App::start();
    app.post("/orders", &json!({"item": "a lamp"})).await;
    // Until it is told to end: longer than any test.
    let call = json!({"tool": "pack", "arguments": {"seconds": 86_400.0}});
    let created: Value = app.post("/tasks", &call).await.json().await.unwrap();
    let id = created["taskId"].as_str().unwrap().to_owned();
    let mut events = app.get(&format!("/tasks/{id}/events")).await;
    assert!(events.chunk().await.unwrap().is_some(), "it is watched");

    app.terminate();
    // The stream ends; it is not cut.
    while events.chunk().await.unwrap().is_some() {}
    let (code, said) = app.ended();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the shop is closed"), "{said}");

    app.restart();
    let seen: Value = app.get(&format!("/tasks/{id}")).await.json().await.unwrap();
    assert_eq!(seen["status"], "working", "{seen}");
    let url = app.url(&format!("/tasks/{id}/cancel"));
    let cancel = app.client.post(url).timeout(Duration::from_secs(60));
    assert!(cancel.send().await.unwrap().status().is_success());
}
