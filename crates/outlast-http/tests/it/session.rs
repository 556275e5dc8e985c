//! Browsers on a server with users.

use std::sync::Arc;

use outlast_core::{Clock, Scope, SystemClock};
use outlast_http::HttpServer;
use outlast_http::auth::{Gate, GateOptions, NewToken, TokenFile, Tokens};
use outlast_mcp::Config;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::rest::{Rig, heard, problem, rig, rig_configured, rig_with, say, until};

struct Guarded {
    rig: Rig,
    token: String,
    folder: tempfile::TempDir,
}

async fn guarded() -> Guarded {
    guarded_as(|http| http).await
}

async fn guarded_as(change: impl FnOnce(HttpServer) -> HttpServer) -> Guarded {
    let (gate, token, folder) = gate();
    Guarded {
        rig: rig_with(|http| change(http.with_gate(gate))).await,
        token,
        folder,
    }
}

/// A gate that knows alice, her token, and where its file is.
fn gate() -> (Gate, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let mut tokens = Tokens::default();
    let new = NewToken {
        owner: "alice".into(),
        groups: Vec::new(),
        scope: Scope::Run,
        lifetime: None,
    };
    let token = tokens.add(new, SystemClock::new().now());
    tokens.save(&path).unwrap();
    let gate = Gate::new(
        Arc::new(TokenFile::open(&path).unwrap()),
        GateOptions::default(),
    );
    (gate, token, folder)
}

impl Guarded {
    fn origin(&self) -> String {
        format!("http://{}", self.rig.address)
    }

    async fn sign_in(&self, token: &str) -> Response {
        let request = self.rig.client.post(self.rig.url("/session"));
        let request = request.header("origin", self.origin());
        request.json(&json!({"token": token})).send().await.unwrap()
    }

    /// The cookie of a browser that is signed in, as it is sent back.
    async fn cookie(&self) -> String {
        let answer = self.sign_in(&self.token).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        let (cookie, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(
            attributes,
            "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
        );
        assert!(!cookie.contains(&self.token), "the token itself is sealed");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["owner"], "alice");
        assert_eq!(answer["scope"], "tasks:run");
        cookie.to_owned()
    }

    async fn create(&self, cookie: &str, origin: Option<&str>) -> Response {
        let mut request = self
            .rig
            .client
            .post(self.rig.url("/tasks"))
            .header("cookie", cookie);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.json(&json!({"tool": "echo"})).send().await.unwrap()
    }

    async fn socket(&self, cookie: &str, origin: Option<&str>) -> Result<(), StatusCode> {
        let url = format!("ws://{}/ws", self.rig.address);
        let mut request = url.into_client_request().unwrap();
        request
            .headers_mut()
            .insert("cookie", cookie.parse().unwrap());
        if let Some(origin) = origin {
            request
                .headers_mut()
                .insert("origin", origin.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok(_) => Ok(()),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                Err(StatusCode::from_u16(answer.status().as_u16()).unwrap())
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_token_is_traded_for_a_cookie_that_only_own_pages_can_use() {
    let guarded = guarded().await;
    let cookie = guarded.cookie().await;
    let own = guarded.origin();
    let list = guarded.rig.client.get(guarded.rig.url("/tasks"));
    let list = list.header("cookie", &cookie).send().await.unwrap();
    assert_eq!(list.status(), StatusCode::OK);
    let created = guarded.create(&cookie, Some(&own)).await;
    assert_eq!(created.status(), StatusCode::ACCEPTED);
    // A page on another port of this machine is an allowed origin for scripts with a token of their
    // own, and still no page of this server.
    for origin in [None, Some("http://localhost:1")] {
        let (status, detail) = problem(guarded.create(&cookie, origin).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(detail.contains("Origin"), "{detail}");
        let socket = guarded.socket(&cookie, origin).await;
        assert_eq!(socket, Err(StatusCode::FORBIDDEN));
    }
    let list = guarded.rig.client.get(guarded.rig.url("/tasks"));
    let list = list
        .header("cookie", &cookie)
        .header("origin", "http://localhost:1");
    let (status, _) = problem(list.send().await.unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "reading, too");
    assert_eq!(guarded.socket(&cookie, Some(&own)).await, Ok(()));
    let mcp = guarded.rig.client.post(guarded.rig.url("/mcp"));
    let mcp = mcp.header("cookie", &cookie).header("origin", &own);
    let mcp = mcp.json(&json!({})).send().await.unwrap();
    assert_eq!(
        mcp.status(),
        StatusCode::UNAUTHORIZED,
        "MCP takes no cookie"
    );
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_with_a_sign_out() {
    let guarded = guarded().await;
    let cookie = guarded.cookie().await;
    let signed_in = async |cookie: &str| {
        let request = guarded.rig.client.get(guarded.rig.url("/session/"));
        let answer = request.header("cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["users"], true);
        answer["signedIn"].as_bool().unwrap()
    };
    assert!(signed_in(&cookie).await);
    assert!(!signed_in("outlast_session=nonsense").await);
    assert!(!signed_in("other=1").await);
    let out = guarded.rig.client.delete(guarded.rig.url("/session"));
    let out = out
        .header("origin", guarded.origin())
        .header("cookie", &cookie);
    let out = out.send().await.unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    let gone = out.headers()["set-cookie"].to_str().unwrap();
    assert!(
        gone.starts_with("outlast_session=; ") && gone.contains("Max-Age=0"),
        "{gone}"
    );
    // A copy of the cookie lets nobody in, and another session of the same user goes on.
    assert!(!signed_in(&cookie).await);
    let list = guarded.rig.client.get(guarded.rig.url("/tasks"));
    let list = list.header("cookie", &cookie).send().await.unwrap();
    assert_eq!(list.status(), StatusCode::UNAUTHORIZED);
    let cookie = guarded.cookie().await;
    assert!(signed_in(&cookie).await);
    Tokens::default()
        .save(&guarded.folder.path().join("tokens.json"))
        .unwrap();
    // The file is read again when it has changed; how soon is the file system's clock's to say.
    while signed_in(&cookie).await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_cannot_sign_in_is_told_why() {
    let guarded = guarded().await;
    let wrong = guarded.sign_in("wrong").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers().contains_key("set-cookie"));
    let request = guarded.rig.client.post(guarded.rig.url("/session"));
    let foreign = request.header("origin", "http://localhost:1");
    let foreign = foreign
        .json(&json!({"token": guarded.token}))
        .send()
        .await
        .unwrap();
    assert_eq!(problem(foreign).await.0, StatusCode::FORBIDDEN);
    let request = guarded.rig.client.post(guarded.rig.url("/session"));
    let empty = request.json(&json!({"key": 1})).send().await.unwrap();
    let (status, detail) = problem(empty).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("token"), "{detail}");
    let large = json!({"token": "x".repeat(40_000)});
    let request = guarded.rig.client.post(guarded.rig.url("/session"));
    let large = request.json(&large).send().await.unwrap();
    assert_eq!(problem(large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let put = guarded.rig.client.put(guarded.rig.url("/session"));
    let put = put.send().await.unwrap();
    assert_eq!(put.headers()["allow"], "GET, POST, DELETE");
    assert_eq!(problem(put).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_server_without_users_needs_no_session() {
    let rig = rig().await;
    let shown: Value = rig.get("/session").await.json().await.unwrap();
    let expected =
        json!({"users": false, "signedIn": true, "owner": "local", "scope": "tasks:run"});
    assert_eq!(shown, expected);
    let (status, detail) = problem(rig.post("/session", json!({"token": "x"})).await).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(detail.contains("no users"), "{detail}");
}

/// Wherever MCP is, and whatever is public otherwise there.
#[tokio::test]
async fn no_path_of_mcp_is_open_to_everybody() {
    for path in ["/dashboard/mcp", "/health/live", "/session"] {
        let guarded = guarded_as(|http| http.with_mcp_path(path)).await;
        for path in [path.to_owned(), format!("{path}/")] {
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
            let answer = guarded.rig.post(&path, body).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
    }
}

#[tokio::test]
async fn probes_need_no_token_and_hear_no_more_than_that() {
    let guarded = guarded().await;
    for path in [
        "/health/live",
        "/health/live/",
        "/health/ready",
        "/health/ready/",
    ] {
        let answer = guarded.rig.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let said: Value = answer.json().await.unwrap();
        assert_eq!(said.as_object().unwrap().len(), 1, "{said}");
    }
    let answer = guarded.rig.get("/health").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

/// What a socket says counts as long as a request of the same token would.
#[tokio::test]
async fn a_socket_ends_with_its_token() {
    let guarded = guarded().await;
    let url = format!("ws://{}/ws", guarded.rig.address);
    let mut request = url.into_client_request().unwrap();
    let bearer = format!("Bearer {}", guarded.token).parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    until(&mut socket, "READY").await;
    say(&mut socket, "{}").await;
    until(&mut socket, "ERROR").await;
    Tokens::default()
        .save(&guarded.folder.path().join("tokens.json"))
        .unwrap();
    // The file is looked at again within a second.
    let code = loop {
        say(&mut socket, "{}").await;
        if let Err(code) = heard(&mut socket).await {
            break code;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(code, 1008);
}

/// A page of this server is no foreign one, under whatever allowed name it was reached.
#[tokio::test]
async fn a_teammate_signs_in_from_another_machine() {
    let config = |config: &mut Config| {
        config.allow_address_hosts = true;
        config.allowed_hosts = vec!["tasks.example".into()];
    };
    let (gate, token, _folder) = gate();
    let rig = rig_configured(config, |http| http.with_gate(gate)).await;
    let sign_in = async |host: &str, origin: &str| {
        let request = rig.client.post(rig.url("/session"));
        let request = request.header("host", host).header("origin", origin);
        let answer = request.json(&json!({"token": token})).send().await;
        answer.unwrap().status()
    };
    let address = ("10.0.0.7:9876", "http://10.0.0.7:9876");
    let name = ("tasks.example", "https://tasks.example");
    for (host, origin) in [address, name] {
        assert_eq!(sign_in(host, origin).await, StatusCode::OK, "{origin}");
    }
    // Another page is, and so is one that has rebound its own name to this machine.
    for (host, origin) in [
        ("10.0.0.7:9876", "http://10.0.0.8:9876"),
        ("evil.example", "http://evil.example"),
    ] {
        assert_eq!(
            sign_in(host, origin).await,
            StatusCode::FORBIDDEN,
            "{origin}"
        );
    }
}
