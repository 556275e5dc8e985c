//! 2025-11-25 and before: sessions and SEP-1686 tasks.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::rig::{Rig, request, send_to, whole};

fn code(message: &Value) -> i64 {
    message["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("no error: {message}"))
}

#[tokio::test]
async fn the_handshake_agrees_on_a_version() {
    let rig = Rig::new().await;
    for (asked, got) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1.0", "2025-11-25"),
    ] {
        let session = rig.session(asked, json!({})).await;
        assert_eq!(session.initialized["protocolVersion"], got, "{asked}");
        let tasks = &session.initialized["capabilities"]["tasks"];
        if got == "2025-11-25" {
            let expected = json!({"cancel": {}, "requests": {"tools": {"call": {}}}});
            assert_eq!(*tasks, expected, "no list over HTTP without users");
        } else {
            assert_eq!(*tasks, Value::Null, "{got}");
        }
        assert_eq!(
            session.initialized["serverInfo"],
            json!({"name": "rig", "version": "1.2.3"})
        );
        assert!(session.id.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

#[tokio::test]
async fn handshakes_that_say_too_little() {
    let rig = Rig::new().await;
    let info = json!({"name": "t", "version": "0"});
    for params in [
        Value::Null,
        json!({}),
        json!([]),
        json!({"protocolVersion": 7, "capabilities": {}, "clientInfo": info}),
        json!({"protocolVersion": "2025-11-25", "clientInfo": info}),
        json!({"protocolVersion": "2025-11-25", "capabilities": [], "clientInfo": info}),
        json!({"protocolVersion": "2025-11-25", "capabilities": {}}),
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}}),
    ] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let (_, message) = whole(rig.post(&[], body.to_string()).await).await;
        assert_eq!(code(&message), -32602, "{params}");
    }
}

#[tokio::test]
async fn a_session_is_needed_and_can_end() {
    let rig = Rig::new().await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    assert_eq!(rig.post(&[], body.clone()).await.status(), 400);
    assert_eq!(
        rig.post(&[("mcp-session-id", "made-up")], body.clone())
            .await
            .status(),
        404
    );
    let session = rig.session("2025-11-25", json!({})).await;
    let id = ("mcp-session-id", session.id.as_str());
    assert_eq!(session.call("ping", json!({})).await["result"], json!({}));
    for (version, status) in [
        ("2025-11-25", 200),
        ("2025-06-18", 200),
        ("1999-01-01", 400),
        ("garbage", 400),
    ] {
        let response = rig
            .post(&[id, ("mcp-protocol-version", version)], body.clone())
            .await;
        assert_eq!(response.status(), status, "{version}");
    }
    let ping = || request(Method::POST, &[id], body.clone());
    let instance = rig.instance().await;
    assert_eq!(
        send_to(&instance, ping()).await.status(),
        200,
        "good on another instance"
    );
    assert_eq!(
        rig.send(request(Method::DELETE, &[id], "")).await.status(),
        204
    );
    assert_eq!(rig.post(&[id], body.clone()).await.status(), 404);
    assert_eq!(
        rig.send(request(Method::DELETE, &[id], "")).await.status(),
        404
    );
    assert_eq!(
        send_to(&rig.instance().await, ping()).await.status(),
        404,
        "ended everywhere"
    );
    // The instance that has served it notices when it reads it again.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(send_to(&instance, ping()).await.status(), 404);
}

#[tokio::test]
async fn tools_are_listed_as_the_version_knows_them() {
    let rig = Rig::new().await;
    let listed = async |version: &str, name: &str| {
        let session = rig.session(version, json!({})).await;
        let message = session.call("tools/list", json!({})).await;
        let result = message["result"].clone();
        assert!(result.get("resultType").is_none() && result.get("ttlMs").is_none());
        let tools = result["tools"].as_array().unwrap();
        tools
            .iter()
            .find(|tool| tool["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        listed("2025-11-25", "quick").await["execution"]["taskSupport"],
        "optional"
    );
    assert_eq!(
        listed("2025-11-25", "must").await["execution"]["taskSupport"],
        "required"
    );
    assert!(listed("2025-11-25", "add").await.get("execution").is_none());
    assert!(
        listed("2025-06-18", "quick")
            .await
            .get("execution")
            .is_none()
    );
    let add = listed("2025-06-18", "add").await;
    assert_eq!(
        (&add["title"], &add["outputSchema"]),
        (&json!("Adds"), &json!({"type": "object"}))
    );
    let add = listed("2025-03-26", "add").await;
    assert!(add.get("title").is_none() && add.get("outputSchema").is_none());
    assert_eq!(add["annotations"]["readOnlyHint"], true);
}

#[tokio::test]
async fn which_calls_become_tasks() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let call = async |tool: &str, task: Option<Value>| {
        let mut params = json!({"name": tool, "arguments": {"a": 1, "b": 1}});
        if let Some(task) = task {
            params["task"] = task;
        }
        session.call("tools/call", params).await
    };
    assert_eq!(call("add", None).await["result"]["content"][0]["text"], "2");
    assert_eq!(code(&call("add", Some(json!({}))).await), -32601);
    assert_eq!(code(&call("must", None).await), -32601);
    assert_eq!(
        call("quick", None).await["result"]["content"][0]["text"],
        "done"
    );
    let message = call("quick", Some(json!({"ttl": 60000}))).await;
    let result = &message["result"];
    assert_eq!(result["task"]["status"], "working");
    assert!(result["task"].as_object().unwrap().contains_key("ttl"));
    assert!(result["task"]["createdAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(result["content"], json!([]));
    let old = &result["_meta"]["modelcontextprotocol.io/task"];
    assert_eq!(
        (&old["taskId"], &old["status"]),
        (&result["task"]["taskId"], &json!("working"))
    );
    for task in [
        json!(7),
        json!([]),
        json!({"ttl": "long"}),
        json!({"ttl": -1}),
        Value::Null,
    ] {
        assert_eq!(
            code(&call("quick", Some(task.clone())).await),
            -32602,
            "{task}"
        );
    }
    for fine in [
        json!({"ttl": null}),
        json!({"ttl": 1e300}),
        json!({"ttl": 0.5}),
        json!({"x": 1}),
    ] {
        assert!(
            call("quick", Some(fine.clone())).await["result"]["task"].is_object(),
            "{fine}"
        );
    }
    let bad = json!({"name": "quick", "arguments": {"n": "x"}, "task": {}});
    assert_eq!(
        code(&session.call("tools/call", bad).await),
        -32602,
        "nothing is stored"
    );
    // Versions without tasks know nothing of the parameter.
    let older = rig.session("2025-06-18", json!({})).await;
    let message = older
        .call(
            "tools/call",
            json!({"name": "quick", "arguments": {}, "task": {}}),
        )
        .await;
    assert_eq!(message["result"]["content"][0]["text"], "done");
    assert_eq!(
        code(&older.call("tasks/get", json!({"taskId": "x"})).await),
        -32601
    );
}

#[tokio::test]
async fn the_extension_means_nothing_here() {
    let rig = Rig::new().await;
    let declared = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let session = rig.session("2025-11-25", declared).await;
    assert!(
        session.initialized["capabilities"]
            .get("extensions")
            .is_none()
    );
    let message = session
        .call("tools/call", json!({"name": "quick", "arguments": {}}))
        .await;
    assert_eq!(message["result"]["content"][0]["text"], "done");
    assert!(message["result"].get("resultType").is_none());
}

#[tokio::test]
async fn a_task_from_creation_to_its_result() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let id = session.create("gate").await;
    let params = json!({"taskId": id, "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "other"}}});
    let task = session.call("tasks/get", params).await["result"].clone();
    assert_eq!(
        (&task["taskId"], &task["status"]),
        (&json!(id), &json!("working"))
    );
    assert_eq!(task["ttl"], Value::Null);
    assert!(task.get("task").is_none(), "{task}");
    assert!(
        task["_meta"]
            .get("io.modelcontextprotocol/related-task")
            .is_none(),
        "{task}"
    );
    let result = || session.call("tasks/result", json!({"taskId": id}));
    let (first, second, ()) = tokio::join!(result(), result(), async {
        // Both wait; polling goes on beside them.
        assert_eq!(
            session.call("tasks/get", json!({"taskId": id})).await["result"]["status"],
            "working"
        );
        rig.go(1);
    });
    assert_eq!(first["result"], second["result"]);
    assert_eq!(first["result"]["content"][0]["text"], "through the gate");
    assert_eq!(
        first["result"]["_meta"]["io.modelcontextprotocol/related-task"],
        json!({"taskId": id})
    );
    assert!(first["result"].get("resultType").is_none());
    assert_eq!(
        result().await["result"],
        first["result"],
        "as often as anybody likes"
    );
    let task = session.call("tasks/get", json!({"taskId": id})).await["result"].clone();
    assert_eq!(task["status"], "completed");
    assert!(task["ttl"].as_u64().unwrap() >= 24 * 60 * 60 * 1000);
    // Another session of the same principal.
    let other = rig.session("2025-11-25", json!({})).await;
    assert_eq!(
        other.call("tasks/result", json!({"taskId": id})).await["result"],
        first["result"]
    );
    // And the other era.
    assert_eq!(
        rig.task(&id, |_| true).await["result"]["content"],
        first["result"]["content"]
    );
}

#[tokio::test]
async fn how_tasks_fail() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let id = session.create("tool_error").await;
    let failed = session.until(&id, "failed").await;
    assert_eq!(failed["statusMessage"], "it did not work");
    let message = session.call("tasks/result", json!({"taskId": id})).await;
    assert_eq!(message["result"]["isError"], true);
    let id = session.create("rpc_error").await;
    assert_eq!(
        session.until(&id, "failed").await["statusMessage"],
        "no such host"
    );
    let message = session.call("tasks/result", json!({"taskId": id})).await;
    assert_eq!(
        (code(&message), &message["error"]["message"]),
        (-32050, &json!("no such host"))
    );
}

#[tokio::test]
async fn cancelling() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let id = session.create("endless").await;
    let task = session.call("tasks/cancel", json!({"taskId": id})).await["result"].clone();
    assert_eq!(
        (&task["taskId"], &task["status"]),
        (&json!(id), &json!("cancelled"))
    );
    let message = session.call("tasks/cancel", json!({"taskId": id})).await;
    assert_eq!(code(&message), -32602, "it had ended before");
    let message = session.call("tasks/result", json!({"taskId": id})).await;
    assert_eq!(
        message["result"]["content"][0]["text"],
        "Task was cancelled"
    );
    assert_eq!(message["result"]["isError"], true);
    assert_eq!(
        message["result"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"],
        id.as_str()
    );
}

#[tokio::test]
async fn ids_that_name_no_task() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        for params in [
            json!({"taskId": "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f"}),
            json!({"taskId": "nonsense"}),
            json!({"taskId": 7}),
            json!({}),
        ] {
            assert_eq!(
                code(&session.call(method, params.clone()).await),
                -32602,
                "{method} {params}"
            );
        }
    }
    assert_eq!(
        code(&session.call("tasks/list", json!({})).await),
        -32601,
        "not over HTTP"
    );
}

#[tokio::test]
async fn the_log_level_is_checked() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let set = |level: Value| session.call("logging/setLevel", json!({"level": level}));
    assert_eq!(set(json!("warning")).await["result"], json!({}));
    assert_eq!(code(&set(json!("loud")).await), -32602);
    assert_eq!(code(&set(Value::Null).await), -32602);
}

#[tokio::test]
async fn batches_belong_to_one_version() {
    let rig = Rig::new().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let noted = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let session = rig.session("2025-03-26", json!({})).await;
    let wrong = json!({"jsonrpc": "2.0", "id": 2, "method": "no/such"});
    let (status, message) = whole(
        session
            .message(&json!([ping, noted, wrong, {"id": 3}]))
            .await,
    )
    .await;
    assert_eq!((status, &message[0]["result"]), (200, &json!({})));
    assert_eq!((&message[1]["id"], code(&message[1])), (&json!(2), -32601));
    assert_eq!((&message[2]["id"], code(&message[2])), (&json!(3), -32600));
    assert_eq!(message.as_array().unwrap().len(), 3);
    assert_eq!(
        whole(session.message(&json!([noted])).await).await,
        (202, Value::Null)
    );
    for bad in [json!([]), json!(vec![&ping; 101])] {
        assert_eq!(session.message(&bad).await.status(), 400);
    }
    for version in ["2025-06-18", "2025-11-25"] {
        let other = rig.session(version, json!({})).await;
        let (status, message) = whole(other.message(&json!([ping])).await).await;
        assert_eq!((status, code(&message)), (400, -32600), "{version}");
    }
}
