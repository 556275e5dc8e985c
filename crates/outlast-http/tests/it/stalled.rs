//! Readers that stop reading: they are cut off, keep no place, and resume where they were.

use std::time::Duration;

use futures_util::StreamExt as _;
use http_body::Body as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outlast_http::HttpServer;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use crate::rest::{Rig, rig_configured};

/// How long a test waits for an end, on its own clock.
const LONG: Duration = Duration::from_secs(600);

/// A server that takes one stream, and what serves connections of this process.
async fn rig() -> (Rig, HttpServer) {
    let mut server = None;
    let keep = |http: HttpServer| server.insert(http).clone();
    let rig = rig_configured(|config| config.max_streams = 1, keep).await;
    (rig, server.unwrap())
}

/// Asks for a stream and never reads: the client's end, and how the connection ended.
async fn unread(http: HttpServer, path: &str) -> (DuplexStream, JoinHandle<std::io::Result<()>>) {
    let (mut client, server) = duplex(4096);
    let served = tokio::spawn(async move { http.serve_connection(server, None, ()).await });
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    (client, served)
}

#[tokio::test]
async fn whoever_does_not_read_a_tasks_events_is_cut_off_and_resumes() {
    let (rig, http) = rig().await;
    let id = rig
        .create(json!({"tool": "tell", "arguments": {"n": 500}}))
        .await;
    rig.ended(&id).await;
    let path = format!("/tasks/{id}/events");
    let (mut client, served) = unread(http, &path).await;
    tokio::time::pause();
    let end = tokio::time::timeout(LONG, served).await;
    tokio::time::resume();
    assert!(end.expect("it is cut off").unwrap().is_err());
    // What was on its way is there to be read, and says where to go on.
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).await.unwrap();
    let seen = String::from_utf8_lossy(&seen).into_owned();
    let whole = seen.rfind("\n\n").map(|end| &seen[..end]).unwrap();
    let last = whole.rsplit("id: ").next().unwrap().lines().next().unwrap();
    // Its place is free.
    let request = rig.client.get(rig.url(&path)).header("last-event-id", last);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let rest = response.text().await.unwrap();
    let told: Vec<Value> = [whole, rest.as_str()]
        .iter()
        .flat_map(|part| part.split("\n\n"))
        .filter(|block| block.contains("id: "))
        .filter_map(|block| block.split("data: ").nth(1)?.lines().next())
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let numbers: Vec<u64> = told
        .iter()
        .filter_map(|told| told["seq"].as_u64())
        .collect();
    let log: String = told
        .iter()
        .filter_map(|told| told["text"].as_str())
        .collect();
    // Nothing is missing, and nothing comes twice.
    assert!(
        numbers.iter().copied().eq(1..=numbers.len() as u64),
        "{numbers:?}"
    );
    let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(log.lines().map(number).eq(1..=500), "{log}");
}

#[tokio::test]
async fn whoever_does_not_read_the_live_list_keeps_no_place() {
    let (rig, http) = rig().await;
    let (client, served) = unread(http, "/events").await;
    // Enough to fill what lies between the two.
    let id = rig
        .create(json!({"tool": "tell", "arguments": {"n": 10}}))
        .await;
    for _ in 0..50 {
        rig.create(json!({"tool": "echo", "arguments": {"prompt": "x".repeat(200)}}))
            .await;
    }
    rig.ended(&id).await;
    tokio::time::pause();
    let end = tokio::time::timeout(LONG, served).await;
    tokio::time::resume();
    assert!(end.expect("it is cut off").unwrap().is_err());
    drop(client);
    let response = rig.get("/events").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.bytes_stream().next().await.unwrap().is_ok());
}

/// What its window takes is little, and it is never opened again; everything else goes on.
#[tokio::test]
async fn a_stream_of_http2_that_is_not_read_keeps_no_place() {
    let (rig, http) = rig().await;
    let id = rig
        .create(json!({"tool": "tell", "arguments": {"n": 500}}))
        .await;
    rig.ended(&id).await;
    let path = format!("/tasks/{id}/events");
    let (client, server) = duplex(64 * 1024);
    tokio::spawn(async move { http.serve_connection(server, None, ()).await });
    let (mut requests, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1024)
        .handshake::<_, String>(TokioIo::new(client))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = |path: &str| {
        let url = format!("http://localhost{path}");
        hyper::Request::get(url).body(String::new()).unwrap()
    };
    let mut unread = requests.send_request(request(&path)).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    let taken = rig.get(&path).await;
    assert_eq!(taken.status(), StatusCode::SERVICE_UNAVAILABLE);
    tokio::time::pause();
    tokio::time::sleep(LONG).await;
    tokio::time::resume();
    let free = rig.get(&path).await;
    assert_eq!(free.status(), StatusCode::OK);
    let live = requests
        .send_request(request("/health/live"))
        .await
        .unwrap();
    assert_eq!(live.status(), StatusCode::OK, "the connection goes on");
    // Whoever comes back finds that the stream was cut, and where.
    let ended = std::future::poll_fn(|cx| {
        let mut body = std::pin::Pin::new(unread.body_mut());
        while let std::task::Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
            if !frame.as_ref().is_some_and(Result::is_ok) {
                return std::task::Poll::Ready(frame);
            }
        }
        std::task::Poll::Pending
    });
    assert!(
        ended.await.unwrap().is_err(),
        "it does not end as if it were whole"
    );
}
