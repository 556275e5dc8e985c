//! Users, over a real socket: tokens in a file, and tokens of authorization servers that are played here.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use outlast_core::{Clock, Scope, SystemClock};
use outlast_http::HttpServer;
use outlast_http::auth::{
    AnyOf, Authenticator, Gate, GateOptions, Introspection, IntrospectionSettings, Jwt,
    JwtSettings, NewToken, Provider, Secret, TokenFile, Tokens, UserInfo, UserInfoSettings,
};
use reqwest::{Response, StatusCode};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::{Listening, held, listening_as};

/// A server that lets in whom `way` knows.
async fn server(way: impl Authenticator) -> Listening {
    let options = GateOptions {
        name: Some("tasks".into()),
        ..GateOptions::default()
    };
    let gate = Gate::new(Arc::new(AnyOf::new([Arc::new(way) as _])), options);
    listening_as(|http: HttpServer| http.with_gate(gate)).await
}

async fn ask(server: &Listening, token: Option<&str>, method: &str, params: Value) -> Response {
    let mut params = params;
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities":
            {"extensions": {"io.modelcontextprotocol/tasks": {}}}});
    let asked = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let name = params["name"].as_str().or(params["taskId"].as_str());
    let mut request = reqwest::Client::new()
        .post(format!("http://{}/mcp", server.address))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method)
        .header("mcp-name", name.unwrap_or("-"))
        .body(asked.to_string());
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    let mut whole = axum::http::Response::new(Bytes::new());
    *whole.status_mut() = answer.status();
    *whole.headers_mut() = answer.headers().clone();
    *whole.body_mut() = answer.bytes().await.unwrap();
    held(&asked, whole.body());
    whole.into()
}

async fn status(server: &Listening, token: &str) -> u16 {
    let answer = ask(server, Some(token), "tools/list", json!({})).await;
    answer.status().as_u16()
}

/// The owner that a task of this token gets, seen from what it can reach.
async fn create(server: &Listening, token: &str) -> String {
    let call = json!({"name": "endless", "arguments": {}});
    let answer: Value = ask(server, Some(token), "tools/call", call)
        .await
        .json()
        .await
        .unwrap();
    answer["result"]["taskId"].as_str().unwrap().to_owned()
}

async fn sees(server: &Listening, token: &str, task: &str) -> bool {
    let answer: Value = ask(server, Some(token), "tasks/get", json!({"taskId": task}))
        .await
        .json()
        .await
        .unwrap();
    answer["result"]["taskId"] == task
}

fn header<'r>(response: &'r Response, name: &str) -> &'r str {
    response.headers()[name].to_str().unwrap()
}

fn new(owner: &str, scope: Scope) -> NewToken {
    NewToken {
        owner: owner.into(),
        groups: Vec::new(),
        scope,
        lifetime: None,
    }
}

#[tokio::test]
async fn a_token_file_tells_people_apart_and_challenges_follow_the_rfcs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let mut tokens = Tokens::default();
    let now = SystemClock::new().now();
    let alice = tokens.add(new("alice", Scope::Run), now);
    let bob = tokens.add(new("bob", Scope::Run), now);
    let reader = tokens.add(new("alice", Scope::Read), now);
    tokens.save(&path).unwrap();
    let server = server(TokenFile::open(&path).unwrap()).await;

    let answer = ask(&server, None, "tools/list", json!({})).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let challenge = header(&answer, "www-authenticate");
    assert!(
        challenge.starts_with("Bearer scope=\"tasks:run\""),
        "{challenge}"
    );
    assert!(!challenge.contains("error"), "{challenge}");
    let metadata = format!(
        "http://{}/.well-known/oauth-protected-resource/mcp",
        server.address
    );
    assert!(challenge.contains(&metadata), "{challenge}");

    for address in [metadata.as_str(), metadata.trim_end_matches("/mcp")] {
        let document = reqwest::get(address).await.unwrap();
        assert_eq!(document.status(), 200, "{address}");
        let document: Value = document.json().await.unwrap();
        assert_eq!(
            document["resource"],
            format!("http://{}/mcp", server.address)
        );
        assert_eq!(document["scopes_supported"][1], "tasks:run");
        assert_eq!(document["resource_name"], "tasks");
        assert!(document.get("authorization_servers").is_none());
    }

    let answer = ask(&server, Some("olt_00000000_wrong"), "tools/list", json!({})).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let challenge = header(&answer, "www-authenticate");
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    let answer = ask(&server, Some("a b"), "tools/list", json!({})).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);

    let call = json!({"name": "endless", "arguments": {}});
    let answer = ask(&server, Some(&reader), "tools/call", call).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let challenge = header(&answer, "www-authenticate");
    for part in [
        "error=\"insufficient_scope\"",
        "scope=\"tasks:run\"",
        metadata.as_str(),
    ] {
        assert!(challenge.contains(part), "{challenge}");
    }

    let task = create(&server, &alice).await;
    assert!(sees(&server, &alice, &task).await);
    assert!(sees(&server, &reader, &task).await, "the same owner");
    assert!(!sees(&server, &bob, &task).await);

    // Every other route is behind the gate too.
    let hello = format!("http://{}/hello", server.address);
    assert_eq!(reqwest::get(&hello).await.unwrap().status(), 401);
    let hello = reqwest::Client::new().get(&hello).bearer_auth(&alice);
    assert_eq!(hello.send().await.unwrap().text().await.unwrap(), "hello");
}

#[tokio::test]
async fn whoever_guesses_waits_and_whoever_is_known_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let mut tokens = Tokens::default();
    let alice = tokens.add(new("alice", Scope::Run), SystemClock::new().now());
    tokens.save(&path).unwrap();
    let server = server(TokenFile::open(&path).unwrap()).await;
    let mut last = ask(&server, Some("olt_1"), "tools/list", json!({})).await;
    // One comes back each second, so a slow machine needs more.
    for _ in 0..200 {
        if last.status() == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        last = ask(&server, Some("olt_1"), "tools/list", json!({})).await;
    }
    assert_eq!(last.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header(&last, "retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(status(&server, &alice).await, 200);
}

/// An authorization server.
struct Issuer {
    address: SocketAddr,
    keys: Mutex<Vec<(String, Vec<u8>)>>,
    asked: AtomicUsize,
}

impl Issuer {
    async fn new() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            keys: Mutex::default(),
            asked: AtomicUsize::new(0),
        });
        issuer.rotate("one");
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/introspect", post(introspect))
            .route("/userinfo", get(user_info))
            .with_state(Arc::clone(&issuer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        issuer
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a new key in the place of all others.
    fn rotate(&self, kid: &str) {
        let random = ring::rand::SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        *self.keys.lock().unwrap() = vec![(kid.into(), pkcs8.as_ref().to_vec())];
    }

    fn token(&self, claims: Value) -> String {
        let (kid, pkcs8) = self.keys.lock().unwrap()[0].clone();
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid);
        encode(&header, &claims, &EncodingKey::from_ed_der(&pkcs8)).unwrap()
    }

    fn claims(&self, subject: &str) -> Value {
        json!({"iss": self.url(), "sub": subject, "aud": ["me"], "exp": now() + 600,
            "scope": "openid tasks:run"})
    }

    fn settings(&self) -> JwtSettings {
        serde_json::from_value(json!({"issuer": self.url(), "audience": "me"})).unwrap()
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

async fn metadata(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let keys = format!("{}/keys", issuer.url());
    Json(json!({"issuer": issuer.url(), "jwks_uri": keys}))
}

async fn keys(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    issuer.asked.fetch_add(1, Ordering::SeqCst);
    let keys = issuer.keys.lock().unwrap();
    let key = |(kid, pkcs8): &(String, Vec<u8>)| {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"})
    };
    let mut keys: Vec<Value> = keys.iter().map(key).collect();
    keys.push(json!({"kty": "of tomorrow", "kid": "odd"}));
    Json(json!({"keys": keys}))
}

async fn introspect(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    issuer.asked.fetch_add(1, Ordering::SeqCst);
    // outlast:hunter2
    if headers["authorization"] != "Basic b3V0bGFzdDpodW50ZXIy" {
        return (StatusCode::UNAUTHORIZED, Json(json!({})));
    }
    let token = body
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
        .unwrap();
    let answer = match token {
        "alice" => json!({"active": true, "sub": "alice", "aud": "me", "scope": "tasks:run",
            "exp": now() + 600}),
        "elsewhere" => json!({"active": true, "sub": "alice", "aud": "you"}),
        "anywhere" => json!({"active": true, "sub": "alice"}),
        "over" => json!({"active": true, "sub": "alice", "aud": "me", "exp": now() - 1}),
        "other" => json!({"active": true, "sub": "a", "aud": "me", "iss": "https://other"}),
        "refresh" => json!({"active": true, "sub": "alice", "aud": "me",
            "token_type": "Bearer", "token_use": "refresh_token"}),
        "bound" => json!({"active": true, "sub": "alice", "aud": "me", "cnf": {"jkt": "x"}}),
        "down" => return (StatusCode::BAD_GATEWAY, Json(json!({}))),
        _ => json!({"active": false}),
    };
    (StatusCode::OK, Json(answer))
}

async fn user_info(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
) -> axum::response::Response {
    let asked = issuer.asked.fetch_add(1, Ordering::SeqCst);
    assert!(
        headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("outlast/")
    );
    let user = match headers["authorization"].to_str().unwrap() {
        "Bearer google-alice" => json!({"sub": "110", "email": "alice@team.example",
            "email_verified": true, "hd": "team.example"}),
        "Bearer google-unverified" => json!({"sub": "111", "email": "alice@team.example",
            "email_verified": false, "hd": "team.example"}),
        "Bearer google-silent" => json!({"sub": "113", "email": "alice@team.example",
            "hd": "team.example"}),
        // An account of one's own under an address that one had when one worked there.
        "Bearer google-former" => {
            json!({"sub": "114", "email": "alice@team.example", "email_verified": true})
        }
        "Bearer google-mallory" => json!({"sub": "112", "email": "mallory@evil.example",
            "email_verified": true, "hd": "evil.example"}),
        "Bearer github-alice" => json!({"id": 42, "login": "Alice"}),
        // Whose login is the number of somebody else, or the login that somebody else gave up.
        "Bearer github-42" => json!({"id": 43, "login": "42"}),
        "Bearer github-new-alice" => json!({"id": 44, "login": "alice"}),
        "Bearer azure-alice" => json!({"id": "AAA", "userPrincipalName": "alice@team.example"}),
        // The administrator of any organisation writes what they like here.
        "Bearer azure-mallory" => json!({"id": "BBB", "sub": "BBB", "email": "alice@team.example",
            "mail": "alice@team.example", "userPrincipalName": "mallory@evil.example"}),
        // Of a team that has asked too much for a while.
        "Bearer github-busy" if asked == 0 => {
            let limit = [("x-ratelimit-remaining", "0"), ("retry-after", "17")];
            return (StatusCode::FORBIDDEN, limit, Json(json!({}))).into_response();
        }
        "Bearer github-busy" => json!({"id": 42, "login": "alice"}),
        _ => return (StatusCode::UNAUTHORIZED, Json(json!({}))).into_response(),
    };
    Json(user).into_response()
}

#[tokio::test]
async fn a_provider_that_is_asked_too_often_says_nothing_about_the_token() {
    let issuer = Issuer::new().await;
    let way = UserInfo::new(UserInfoSettings {
        provider: Provider::Github,
        allow: vec!["alice".into()],
        scope: None,
        url: Some(format!("{}/userinfo", issuer.url())),
    });
    let server = server(way.unwrap()).await;
    let response = ask(&server, Some("github-busy"), "server/discover", json!({})).await;
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(header(&response, "retry-after"), "17");
    // Nothing is remembered of it.
    assert_eq!(status(&server, "github-busy").await, 200);
}

#[tokio::test]
async fn json_web_tokens_are_checked_in_everything_they_say() {
    let issuer = Issuer::new().await;
    let server = server(Jwt::new(issuer.settings()).unwrap()).await;
    let alice = issuer.token(issuer.claims("alice"));
    let task = create(&server, &alice).await;
    assert!(sees(&server, &issuer.token(issuer.claims("alice")), &task).await);
    assert!(!sees(&server, &issuer.token(issuer.claims("bob")), &task).await);
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "the keys are kept");

    let change = |name: &str, value: Value| {
        let mut claims = issuer.claims("alice");
        claims[name] = value;
        issuer.token(claims)
    };
    for (what, token, expected) in [
        ("another audience", change("aud", json!("you")), 401),
        ("no audience", change("aud", Value::Null), 401),
        ("another issuer", change("iss", json!("https://other")), 401),
        ("long over", change("exp", json!(now() - 120)), 401),
        (
            "over by less than clocks differ",
            change("exp", json!(now() - 20)),
            200,
        ),
        ("not yet", change("nbf", json!(now() + 600)), 401),
        ("nobody's", change("sub", json!("")), 401),
        (
            "without a scope of ours",
            change("scope", json!("openid")),
            403,
        ),
        (
            "scopes as a list",
            change("scope", json!(["tasks:read"])),
            200,
        ),
    ] {
        assert_eq!(status(&server, &token).await, expected, "{what}");
    }
    let [head, body, signature] = alice.split('.').collect::<Vec<_>>()[..] else {
        panic!("a token has three parts");
    };
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let forged = issuer.claims("root").to_string();
    let forged = URL_SAFE_NO_PAD.encode(forged);
    let shared = EncodingKey::from_secret(b"public key as a secret");
    let mut symmetric = Header::new(Algorithm::HS256);
    symmetric.kid = Some("one".into());
    let symmetric = encode(&symmetric, &issuer.claims("root"), &shared).unwrap();
    for bad in [
        format!("{none}.{body}."),
        format!("{head}.{forged}.{signature}"),
        symmetric,
    ] {
        assert_eq!(status(&server, &bad).await, 401, "{bad}");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_no_wrong_token() {
    let issuer = Issuer::new().await;
    let token = issuer.token(issuer.claims("alice"));
    let settings = JwtSettings {
        jwks_url: Some(format!("{}/nowhere", issuer.url())),
        ..issuer.settings()
    };
    let server = server(Jwt::new(settings).unwrap()).await;
    let answer = ask(&server, Some(&token), "tools/list", json!({})).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn opaque_tokens_are_asked_about_once() {
    let issuer = Issuer::new().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let settings = |url: &str| IntrospectionSettings {
        url: format!("{}/{url}", issuer.url()),
        issuer: issuer.url(),
        client_id: "outlast".into(),
        client_secret: Secret::File(secret.clone()),
        audience: vec!["me".into()],
        believed_s: None,
        owner_claim: None,
        groups_claim: None,
        scope_prefix: None,
        default_scope: None,
    };
    let server = server(Introspection::new(settings("introspect")).unwrap()).await;
    for _ in 0..3 {
        assert_eq!(status(&server, "alice").await, 200);
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    for bad in [
        "elsewhere",
        "anywhere",
        "over",
        "other",
        "refresh",
        "bound",
        "unknown",
        "unknown",
    ] {
        assert_eq!(status(&server, bad).await, 401, "{bad}");
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 8, "also what is bad");
    assert_eq!(status(&server, "down").await, 503);
    let metadata = format!(
        "http://{}/.well-known/oauth-protected-resource",
        server.address
    );
    let document: Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
    assert_eq!(document["authorization_servers"], json!([issuer.url()]));
}

#[tokio::test]
async fn a_providers_users_come_in_if_they_are_listed() {
    let issuer = Issuer::new().await;
    let cases: [(Provider, &str, &str, &[&str]); 6] = [
        (
            Provider::Google,
            "*@team.example",
            "google-alice",
            &[
                "google-unverified",
                "google-silent",
                "google-former",
                "google-mallory",
            ],
        ),
        (
            Provider::Google,
            "Alice@team.example",
            "google-former",
            &["google-unverified", "google-silent", "google-mallory"],
        ),
        (
            Provider::Github,
            "alice",
            "github-alice",
            &["google-alice", "github-42", "x"],
        ),
        (
            Provider::Github,
            "id:42",
            "github-alice",
            &["github-42", "github-new-alice"],
        ),
        (
            Provider::Azure,
            "alice@team.example",
            "azure-alice",
            &["azure-mallory", "github-alice", "x"],
        ),
        (
            Provider::Azure,
            "*@team.example",
            "azure-alice",
            &["azure-mallory"],
        ),
    ];
    for (provider, allow, good, bad) in cases {
        let way = UserInfo::new(UserInfoSettings {
            provider,
            allow: vec![allow.into()],
            scope: None,
            url: Some(format!("{}/userinfo", issuer.url())),
        });
        let server = server(way.unwrap()).await;
        assert_eq!(status(&server, good).await, 200, "{provider:?}");
        for bad in bad {
            assert_ne!(status(&server, bad).await, 200, "{provider:?} {bad}");
        }
    }
}

#[test]
fn settings_that_would_let_too_many_in_are_refused() {
    let sentence = |error: Result<(), String>| error.unwrap_err();
    let jwt = |change: fn(&mut JwtSettings)| {
        let mut settings: JwtSettings =
            serde_json::from_value(json!({"issuer": "https://id.example", "audience": "me"}))
                .unwrap();
        change(&mut settings);
        sentence(Jwt::new(settings).map(drop))
    };
    assert!(jwt(|s| s.audience.clear()).contains("audience"));
    assert!(jwt(|s| s.issuer = "http://id.example".into()).contains("https"));
    assert!(jwt(|s| s.algorithms = Some(vec!["HS256".into()])).contains("HS256"));
    assert!(jwt(|s| s.algorithms = Some(vec!["none".into()])).contains("allowed: RS256"));
    assert!(jwt(|s| s.audience.push(String::new())).contains("audience"));
    assert!(jwt(|s| s.clock_skew_s = Some(3600)).contains("at most 600"));
    for allow in [
        vec![],
        vec!["*".into()],
        vec!["*@*".into()],
        vec!["id:".into()],
    ] {
        let way = UserInfo::new(UserInfoSettings {
            provider: Provider::Google,
            allow,
            scope: None,
            url: None,
        });
        assert!(sentence(way.map(drop)).contains("allow"));
    }
}

#[tokio::test]
async fn a_new_key_is_found_when_a_token_names_it() {
    let issuer = Issuer::new().await;
    let way = Jwt::new(issuer.settings())
        .unwrap()
        .looking_again_after(Duration::ZERO);
    let server = server(way).await;
    let old = issuer.token(issuer.claims("alice"));
    for _ in 0..3 {
        assert_eq!(status(&server, &old).await, 200);
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "the keys are kept");
    issuer.rotate("two");
    assert_eq!(status(&server, &old).await, 200, "nobody has told us");
    let new = issuer.token(issuer.claims("alice"));
    assert_eq!(status(&server, &new).await, 200);
    assert_eq!(status(&server, &old).await, 401, "the old key is gone");
}
