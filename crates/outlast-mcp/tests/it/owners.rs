//! A server that tells its users apart: what belongs to one does not exist for another.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use outlast_core::{Owner, Principal, Scope};
use outlast_mcp::http::{Body, HttpService, NeedsScope};
use serde_json::{Value, json};

use crate::rig::{Events, Rig, declaring, modern_body, modern_headers, request, send_to, whole};

/// As a layer that authenticates would have it: whoever the header names, with the scope it names.
async fn send(service: &HttpService, mut request: Request<Full<Bytes>>) -> Response<Body> {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok());
    let scope = header("x-scope").map_or(Some(Scope::Run), |scope| scope.parse().ok());
    let groups = header("x-groups").map(str::to_owned);
    let user = Owner::new(header("x-user").unwrap_or("nobody"));
    let principal = Principal::new(user).with_scope(scope).with_groups(groups);
    request.extensions_mut().insert(principal);
    send_to(service, request).await
}

async fn modern_with(rig: &Rig, who: &[(&str, &str)], method: &str, params: Value) -> (u16, Value) {
    let body = modern_body(1, &declaring(), method, params);
    let headers = modern_headers(&body);
    let mut headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    headers.extend(who);
    let request = request(Method::POST, &headers, body.to_string());
    whole(send(&rig.service, request).await).await
}

async fn modern(rig: &Rig, user: &str, method: &str, params: Value) -> Value {
    modern_with(rig, &[("x-user", user)], method, params)
        .await
        .1
}

#[tokio::test]
async fn anothers_task_cannot_be_told_from_one_that_never_was() {
    let rig = Rig::new().await;
    let call = json!({"name": "ask_one", "arguments": {}});
    let message = modern(&rig, "alice", "tools/call", call).await;
    let id = message["result"]["taskId"].as_str().unwrap();
    let unknown = "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f";
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let foreign = modern(&rig, "bob", method, json!({"taskId": id})).await;
        let never = modern(&rig, "bob", method, json!({"taskId": unknown})).await;
        let said = foreign["error"]["message"].as_str().unwrap();
        assert_eq!(
            said.replace(id, unknown),
            never["error"]["message"],
            "{method}"
        );
        assert_eq!(foreign["error"]["code"], -32602);
    }
    let message = modern(&rig, "alice", "tasks/get", json!({"taskId": id})).await;
    assert_eq!(message["result"]["taskId"], id);
    // The state of a call that asks first is no other's either.
    let call = json!({"name": "ask_first", "arguments": {}});
    let asked = modern(&rig, "alice", "tools/call", call.clone()).await;
    let mut answered = call;
    answered["requestState"] = asked["result"]["requestState"].clone();
    answered["inputResponses"] =
        json!({"user_name": {"action": "accept", "content": {"name": "x"}}});
    let message = modern(&rig, "bob", "tools/call", answered).await;
    assert_eq!(message["error"]["code"], -32602);
}

#[tokio::test]
async fn a_session_belongs_to_who_opened_it() {
    let rig = Rig::new().await;
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let opened = send(
        &rig.service,
        request(Method::POST, &[("x-user", "alice")], body.to_string()),
    )
    .await;
    let id = opened.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    for (user, status) in [("alice", 200), ("bob", 404), ("alice", 200)] {
        let headers = [("mcp-session-id", id.as_str()), ("x-user", user)];
        let response = send(&rig.service, request(Method::POST, &headers, ping.clone())).await;
        assert_eq!(response.status(), status, "{user}");
    }
    let headers = [("mcp-session-id", id.as_str()), ("x-user", "bob")];
    assert_eq!(
        send(&rig.service, request(Method::DELETE, &headers, ""))
            .await
            .status(),
        404
    );
    assert_eq!(
        send(&rig.service, request(Method::GET, &headers, ""))
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn who_is_known_may_list_its_own_tasks() {
    let rig = Rig::new().await;
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "test", "version": "0"}});
    let open = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tasks/list"}).to_string();
    let call = json!({"name": "ask_one", "arguments": {}});
    let task = modern(&rig, "alice", "tools/call", call).await["result"]["taskId"].clone();
    for (user, expected) in [("alice", json!([task])), ("bob", json!([]))] {
        let headers = [("x-user", user)];
        let opened = send(
            &rig.service,
            request(Method::POST, &headers, open.to_string()),
        )
        .await;
        let id = opened.headers()["mcp-session-id"].clone();
        let opened = whole(opened).await.1;
        let tasks = &opened["result"]["capabilities"]["tasks"];
        assert_eq!(tasks["list"], json!({}), "{user}");
        let headers = [("x-user", user), ("mcp-session-id", id.to_str().unwrap())];
        let listed = send(&rig.service, request(Method::POST, &headers, list.clone())).await;
        let listed = whole(listed).await.1;
        let tasks = listed["result"]["tasks"].as_array().unwrap();
        let ids: Vec<_> = tasks.iter().map(|task| task["taskId"].clone()).collect();
        assert_eq!(Value::from(ids), expected, "{user}");
    }
}

#[tokio::test]
async fn scopes_decide_what_may_be_done() {
    let rig = Rig::new().await;
    let call = json!({"name": "ask_one", "arguments": {}});
    let id = modern(&rig, "alice", "tools/call", call.clone()).await["result"]["taskId"].clone();
    let of = json!({"taskId": id});
    let helper = |name: &str| json!({"name": name, "arguments": of});
    // An answer of whoever may only look is none, and the question is not put to them.
    let answer = json!({"sure": {"action": "accept", "content": {"confirm": true}}});
    let waits = json!({"name": "task_wait", "arguments": {"taskId": id, "seconds": 0},
        "inputResponses": answer});
    let list = json!({"name": "task_list", "arguments": {}});
    for (scope, method, params, status) in [
        ("none", "tools/list", json!({}), 403),
        ("tasks:read", "tools/list", json!({}), 200),
        ("tasks:read", "tasks/get", of.clone(), 200),
        ("tasks:read", "tools/call", call.clone(), 403),
        ("tasks:read", "tools/call", helper("task_status"), 200),
        ("tasks:read", "tools/call", helper("task_result"), 200),
        ("tasks:read", "tools/call", waits, 200),
        ("tasks:read", "tools/call", list, 200),
        ("tasks:read", "tools/call", helper("task_cancel"), 403),
        ("tasks:read", "tools/call", helper("task_answer"), 403),
        ("tasks:read", "tasks/cancel", of.clone(), 403),
        ("tasks:read", "tasks/update", of.clone(), 403),
        ("tasks:read", "no/such", json!({}), 404),
        ("tasks:admin", "tools/list", json!({}), 200),
        ("tasks:run", "tasks/cancel", of.clone(), 200),
    ] {
        let who = [("x-user", "alice"), ("x-scope", scope)];
        let (got, message) = modern_with(&rig, &who, method, params).await;
        assert_eq!(got, status, "{scope} {method}: {message}");
        let result = &message["result"];
        assert_ne!(result["resultType"], "input_required", "{scope} {method}");
        if scope == "tasks:read" && status == 200 && method == "tools/call" {
            assert_ne!(result["isError"], true, "{message}");
        }
    }
    let body = modern_body(1, &declaring(), "tools/call", call);
    let headers = modern_headers(&body);
    let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    headers.push(("x-scope", "tasks:read"));
    let refused = send(
        &rig.service,
        request(Method::POST, &headers, body.to_string()),
    )
    .await;
    let needs = refused.extensions().get::<NeedsScope>();
    assert_eq!(needs, Some(&NeedsScope(Scope::Run)));
}

#[tokio::test]
async fn an_administrator_sees_everybodys_tasks() {
    let rig = Rig::new().await;
    let call = json!({"name": "ask_one", "arguments": {}});
    let id = modern(&rig, "alice", "tools/call", call).await["result"]["taskId"].clone();
    let who = [("x-user", "root"), ("x-scope", "tasks:admin")];
    let (_, seen) = modern_with(&rig, &who, "tasks/get", json!({"taskId": id})).await;
    assert_eq!(seen["result"]["taskId"], id);
}

#[tokio::test]
async fn a_task_is_shared_for_reading_or_for_acting_and_no_longer() {
    let rig = Rig::new().await;
    let call = json!({"name": "ask_one", "arguments": {}});
    let id = modern(&rig, "alice", "tools/call", call).await["result"]["taskId"].clone();
    let of = json!({"taskId": id});
    let bob = [("x-user", "bob"), ("x-groups", "ops")];
    let share = |with: &str, may: Value| json!({"taskId": id, "with": with, "may": may});
    let code = async |method: &str| {
        let (_, message) = modern_with(&rig, &bob, method, of.clone()).await;
        message["error"]["code"].as_i64()
    };
    assert_eq!(code("tasks/get").await, Some(-32602));
    // It is not bob's to share.
    let (_, refused) = modern_with(&rig, &bob, "outlast/share", share("bob", json!("run"))).await;
    assert!(
        refused["error"]["message"]
            .to_string()
            .contains("not found")
    );

    let shared = modern(
        &rig,
        "alice",
        "outlast/share",
        share("group:ops", json!("read")),
    )
    .await;
    assert!(shared["error"].is_null(), "{shared}");
    assert_eq!(code("tasks/get").await, None);
    assert_eq!(code("tasks/cancel").await, Some(-32602));
    assert_eq!(
        modern(&rig, "carol", "tasks/get", of.clone()).await["error"]["code"],
        -32602
    );
    let (_, refused) =
        modern_with(&rig, &bob, "outlast/share", share("carol", json!("read"))).await;
    assert!(
        refused["error"]["message"]
            .to_string()
            .contains("only its owner")
    );

    modern(&rig, "alice", "outlast/share", share("bob", json!("run"))).await;
    assert_eq!(code("tasks/cancel").await, None);

    modern(&rig, "alice", "outlast/share", share("bob", Value::Null)).await;
    assert_eq!(code("tasks/get").await, None, "the group still may");
    modern(
        &rig,
        "alice",
        "outlast/share",
        share("group:ops", Value::Null),
    )
    .await;
    assert_eq!(code("tasks/get").await, Some(-32602));
    for wrong in [share("", json!("run")), share("bob", json!("write"))] {
        let refused = modern(&rig, "alice", "outlast/share", wrong).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
}

/// A session of the older era, of one user.
struct Opened<'r> {
    rig: &'r Rig,
    who: &'r [(&'r str, &'r str)],
    id: String,
}

async fn open<'r>(rig: &'r Rig, who: &'r [(&'r str, &'r str)]) -> Opened<'r> {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "test", "version": "0"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let request = request(Method::POST, who, body.to_string());
    let opened = send(&rig.service, request).await;
    let id = opened.headers()["mcp-session-id"].to_str().unwrap();
    let id = id.to_owned();
    let opened = Opened { rig, who, id };
    let noted = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let noted = opened.send(Method::POST, noted.to_string()).await;
    assert_eq!(noted.status(), 202);
    opened
}

impl Opened<'_> {
    async fn send(&self, method: Method, body: String) -> Response<Body> {
        let mut headers = self.who.to_vec();
        headers.push(("mcp-session-id", &self.id));
        send(&self.rig.service, request(method, &headers, body)).await
    }

    async fn request(&self, method: &str, params: Value) -> Response<Body> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send(Method::POST, body.to_string()).await
    }

    async fn create(&self, tool: &str) -> String {
        let params = json!({"name": tool, "arguments": {}, "task": {}});
        let (_, message) = whole(self.request("tools/call", params).await).await;
        let id = message["result"]["task"]["taskId"].as_str();
        id.unwrap_or_else(|| panic!("{message}")).to_owned()
    }

    async fn answer(&self, question: &Value) -> u16 {
        let answer = json!({"action": "accept", "content": {"confirm": true}});
        let body = json!({"jsonrpc": "2.0", "id": question["id"], "result": answer});
        let answered = self.send(Method::POST, body.to_string()).await;
        answered.status().as_u16()
    }
}

async fn share(rig: &Rig, id: &str, with: &str, may: &str) {
    let params = json!({"taskId": id, "with": with, "may": may});
    let shared = modern(rig, "alice", "outlast/share", params).await;
    assert!(shared["error"].is_null(), "{shared}");
}

#[tokio::test]
async fn whoever_may_only_read_a_task_is_not_asked_in_its_owners_place() {
    let rig = Rig::new().await;
    let alice = open(&rig, &[("x-user", "alice")]).await;
    let id = alice.create("ask_one").await;
    share(&rig, &id, "bob", "read").await;
    let bob = open(&rig, &[("x-user", "bob")]).await;
    let of = json!({"taskId": id});
    let waits = async { whole(bob.request("tasks/result", of.clone()).await).await };
    let (waited, ()) = tokio::join!(waits, async {
        let mut events = Events::of(alice.send(Method::GET, String::new()).await);
        let question = events.method("elicitation/create").await;
        // Not bob's to answer, were it shown to him.
        assert_eq!(bob.answer(&question).await, 403);
        let again = events.method("elicitation/create").await;
        assert_eq!(alice.answer(&again).await, 202);
    });
    let text = waited.1["result"]["content"][0]["text"].as_str();
    assert!(text.is_some_and(|text| text.contains("true")), "{waited:?}");
}

#[tokio::test]
async fn whoever_may_act_on_a_task_is_asked_while_waiting_for_it() {
    let rig = Rig::new().await;
    let alice = open(&rig, &[("x-user", "alice")]).await;
    for who in [
        &[("x-user", "bob"), ("x-groups", "ops")],
        &[("x-user", "root"), ("x-scope", "tasks:admin")],
    ] {
        let id = alice.create("ask_one").await;
        share(&rig, &id, "group:ops", "run").await;
        let session = open(&rig, who).await;
        let waits = session.request("tasks/result", json!({"taskId": id})).await;
        let mut events = Events::of(waits);
        let question = events.method("elicitation/create").await;
        assert_eq!(session.answer(&question).await, 202);
        let ended = loop {
            let message = events.message().await;
            if message["id"] == 1 {
                break message;
            }
        };
        let text = ended["result"]["content"][0]["text"].as_str();
        assert!(text.is_some_and(|text| text.contains("true")), "{ended}");
    }
}

#[tokio::test]
async fn a_stream_of_credentials_that_may_only_read_is_asked_nothing() {
    let rig = Rig::new().await;
    let alice = open(&rig, &[("x-user", "alice")]).await;
    let reader = [("x-user", "alice"), ("x-scope", "tasks:read")];
    let reader = Opened {
        who: &reader,
        id: alice.id.clone(),
        ..alice
    };
    let id = alice.create("ask_one").await;
    let _read = Events::of(reader.send(Method::GET, String::new()).await);
    let other = open(&rig, &[("x-user", "alice")]).await;
    let mut events = Events::of(other.send(Method::GET, String::new()).await);
    let question = events.method("elicitation/create").await;
    let related = &question["params"]["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(related["taskId"], id.as_str());
    assert_eq!(other.answer(&question).await, 202);
}

#[tokio::test]
async fn whoever_may_see_a_task_no_more_hears_no_more_of_it() {
    let rig = Rig::new().await;
    let call = json!({"name": "steps", "arguments": {}});
    let id = modern(&rig, "alice", "tools/call", call).await["result"]["taskId"].clone();
    let share = |may: Value| json!({"taskId": id, "with": "bob", "may": may});
    let shared = modern(&rig, "alice", "outlast/share", share(json!("read"))).await;
    assert_eq!(shared["result"]["resultType"], "complete", "{shared}");
    let uri = format!("outlast://tasks/{}", id.as_str().unwrap());
    let listens = async |user: &'static str| {
        let kinds = json!({"resourceSubscriptions": [uri], "toolsListChanged": true});
        let params = json!({"notifications": kinds});
        let body = modern_body(1, &declaring(), "subscriptions/listen", params);
        let headers = modern_headers(&body);
        let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        headers.push(("x-user", user));
        let request = request(Method::POST, &headers, body.to_string());
        let mut events = Events::of(send(&rig.service, request).await);
        let honoured = events.message().await["params"]["notifications"].clone();
        assert_eq!(honoured["resourceSubscriptions"], json!([uri]), "{user}");
        events
    };
    let (mut alice, mut bob) = (listens("alice").await, listens("bob").await);
    modern(&rig, "alice", "outlast/share", share(Value::Null)).await;
    rig.go(1);
    let told = alice.method("notifications/resources/updated").await;
    assert_eq!(told["params"]["uri"], uri);
    crate::changes::add_tool(rig.server.catalog());
    let told = bob.message().await;
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
}
