//! Where requests may come from and how large they may be, over a real socket.

use outlast_http::HttpServer;
use serde_json::{Value, json};

use crate::{discover, listening, listening_as, listening_with};

fn discovering(client: &reqwest::Client, url: String) -> reqwest::RequestBuilder {
    client
        .post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "server/discover")
        .body(discover())
}

#[tokio::test]
async fn browsers_of_allowed_origins_may_read_what_mcp_says() {
    let server = listening_with(
        |config| config.allowed_origins = vec!["https://app.example".into()],
        |http| http,
    )
    .await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/mcp", server.address);
    let preflight = |origin: &str| {
        client
            .request(reqwest::Method::OPTIONS, &url)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization, Mcp-Param-City",
            )
    };
    let answer = preflight("https://app.example").send().await.unwrap();
    assert_eq!(answer.status(), 204);
    let header = |name: &str| answer.headers()[name].to_str().unwrap();
    assert_eq!(header("access-control-allow-origin"), "https://app.example");
    assert!(header("access-control-allow-methods").contains("DELETE"));
    for name in [
        "authorization",
        "mcp-session-id",
        "last-event-id",
        "Mcp-Param-City",
    ] {
        assert!(
            header("access-control-allow-headers").contains(name),
            "{name}"
        );
    }
    let refused = preflight("https://evil.example").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );

    let answer = discovering(&client, url.clone()).header("origin", "https://app.example");
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let exposed = answer.headers()["access-control-expose-headers"]
        .to_str()
        .unwrap();
    assert!(exposed.contains("mcp-session-id") && exposed.contains("www-authenticate"));
    assert_eq!(answer.headers()["vary"], "origin");
    let evil = discovering(&client, url).header("origin", "https://evil.example");
    assert_eq!(evil.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn another_host_is_refused_on_every_route() {
    let server = listening().await;
    for path in ["mcp", "hello"] {
        let url = format!("http://{}/{path}", server.address);
        let request = reqwest::Client::new()
            .get(url)
            .header("host", "evil.example");
        assert_eq!(request.send().await.unwrap().status(), 403, "{path}");
    }
}

#[tokio::test]
async fn the_path_of_mcp_can_be_another() {
    let server = listening_as(|http: HttpServer| http.with_mcp_path("/team/mcp")).await;
    let client = reqwest::Client::new();
    for (path, status) in [("team/mcp", 200), ("team/mcp/", 200), ("mcp", 404)] {
        let url = format!("http://{}/{path}", server.address);
        let answer = discovering(&client, url).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[tokio::test]
async fn the_transport_of_2024_is_refused_with_the_way_to_go() {
    let server = listening().await;
    for path in ["sse", "messages"] {
        let answer = reqwest::get(format!("http://{}/{path}", server.address));
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 410);
        let sentence = answer.text().await.unwrap();
        assert!(
            sentence.contains("use Streamable HTTP on /mcp"),
            "{sentence}"
        );
    }
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let server = listening().await;
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.build().unwrap();
    let answer = discovering(&client, format!("http://{}/mcp", server.address));
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["result"]["serverInfo"], json!(null));
    assert!(answer["result"]["capabilities"].is_object(), "{answer}");
}

#[tokio::test]
async fn heads_and_bodies_have_a_limit() {
    let server = listening().await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/mcp", server.address);
    let long = discovering(&client, url.clone()).header("x-long", "a".repeat(100_000));
    assert_eq!(long.send().await.unwrap().status(), 431);
    let large = discovering(&client, url).body(" ".repeat(5 * 1024 * 1024));
    // The server may hang up before the client has sent it all.
    if let Ok(answer) = large.send().await {
        assert_eq!(answer.status(), 413);
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = listening_as(|http: HttpServer| http.with_connections(1)).await;
    let url = format!("http://{}/hello", server.address);
    let first = reqwest::Client::new();
    assert_eq!(first.get(&url).send().await.unwrap().status(), 200);
    // The first client keeps its connection, so the second has to wait until it goes.
    let waiting = tokio::spawn(reqwest::Client::new().get(&url).send());
    assert_eq!(first.get(&url).send().await.unwrap().status(), 200);
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
}
