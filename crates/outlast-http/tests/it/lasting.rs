//! What ends by a clock: streams with the token that opened them, and bodies that do not come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use outlast_core::{Owner, Principal, Scope};
use outlast_http::HttpServer;
use outlast_http::auth::{Authenticator, Credentials, Denied, Gate, GateOptions};
use reqwest::{Response, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::rest::{Rig, rig_with};

/// How long a test waits for an end, on its own clock.
const LONG: Duration = Duration::from_secs(600);

/// Lets alice in until she is revoked.
#[derive(Clone, Default)]
struct Revocable(Arc<AtomicBool>);

#[async_trait]
impl Authenticator for Revocable {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, Denied> {
        credentials.token()?;
        match self.0.load(Ordering::SeqCst) {
            false => Ok(Principal::new(Owner::new("alice")).with_scope(Scope::Run)),
            true => Err(Denied::Invalid("the token was revoked".into())),
        }
    }
}

fn gate(way: &Revocable) -> Gate {
    Gate::new(Arc::new(way.clone()), GateOptions::default())
}

/// Both kinds of streams, opened by alice: the live list, and what a client of MCP listens to.
async fn streams(rig: &Rig) -> [Response; 2] {
    let live = rig.client.get(rig.url("/events")).bearer_auth("a");
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}});
    let params = json!({"_meta": meta, "notifications": {"toolsListChanged": true}});
    let listen =
        json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params});
    let listen = rig
        .client
        .post(rig.url("/mcp"))
        .bearer_auth("a")
        .json(&listen)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "subscriptions/listen");
    let streams = [live.send().await.unwrap(), listen.send().await.unwrap()];
    for stream in &streams {
        assert_eq!(stream.status(), StatusCode::OK);
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
    }
    streams
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let way = Revocable::default();
    let rig = rig_with(|http| http.with_gate(gate(&way))).await;
    for stream in streams(&rig).await {
        way.0.store(false, Ordering::SeqCst);
        let mut stream = stream.bytes_stream();
        assert!(stream.next().await.unwrap().is_ok());
        way.0.store(true, Ordering::SeqCst);
        tokio::time::pause();
        let rest = tokio::time::timeout(LONG, async { while stream.next().await.is_some() {} });
        rest.await.expect("it ends");
        tokio::time::resume();
    }
    let again = rig.client.get(rig.url("/events")).bearer_auth("a");
    let again = again.send().await.unwrap();
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn whoever_signs_in_has_half_a_minute_for_it() {
    let mut server = None;
    let keep = |http: HttpServer| {
        let http = http.with_gate(gate(&Revocable::default()));
        server.insert(http).clone()
    };
    let _rig = rig_with(keep).await;
    let http = server.unwrap();
    let (mut client, ours) = duplex(4096);
    tokio::spawn(async move { http.serve_connection(ours, None, ()).await });
    let request =
        b"POST /session HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
        content-length: 100\r\n\r\n{\"token\":";
    client.write_all(request).await.unwrap();
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LONG, client.read_to_end(&mut answer));
    read.await.expect("an answer and an end").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(begun.elapsed() >= Duration::from_secs(30));
}
