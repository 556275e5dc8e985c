//! 2026-07-28: stateless requests and the tasks extension.

use serde_json::{Value, json};

use crate::rig::{Events, Rig, declaring, modern_body, modern_headers, whole};

fn code(message: &Value) -> i64 {
    message["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("no error: {message}"))
}

#[tokio::test]
async fn discover_says_what_there_is() {
    let rig = Rig::configured(|config| config.instructions = Some("be kind".into())).await;
    let (status, message) = rig.modern("server/discover", json!({})).await;
    assert_eq!(status, 200);
    let result = &message["result"];
    assert_eq!(result["resultType"], "complete");
    assert_eq!(
        result["capabilities"]["extensions"]["io.modelcontextprotocol/tasks"],
        json!({})
    );
    assert!(result["capabilities"].get("tasks").is_none());
    assert!(result["capabilities"].get("prompts").is_none());
    assert!(result["ttlMs"].is_u64() && result["cacheScope"] == "public");
    assert_eq!(result["instructions"], "be kind");
    assert_eq!(result["supportedVersions"][0], "2026-07-28");
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "rig"
    );
}

#[tokio::test]
async fn the_list_of_tools_is_paged_and_ordered() {
    let rig = Rig::configured(|config| config.page_size = 5).await;
    let mut names: Vec<String> = Vec::new();
    let mut params = json!({});
    loop {
        let (_, message) = rig.modern("tools/list", params.clone()).await;
        let result = &message["result"];
        assert_eq!(result["resultType"], "complete");
        assert!(result["ttlMs"].is_u64() && result["cacheScope"] == "private");
        for tool in result["tools"].as_array().unwrap() {
            assert!(tool.get("execution").is_none());
            names.push(tool["name"].as_str().unwrap().to_owned());
        }
        let Some(next) = result.get("nextCursor") else {
            break;
        };
        params = json!({"cursor": next});
    }
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(names, sorted);
    assert!(names.len() > 10);
    for bad in [
        json!({"cursor": "bogus"}),
        json!({"cursor": ""}),
        json!({"cursor": 7}),
    ] {
        let (status, message) = rig.modern("tools/list", bad.clone()).await;
        assert_eq!((status, code(&message)), (200, -32602), "{bad}");
    }
}

#[tokio::test]
async fn a_forbidden_tool_runs_inline_whatever_is_declared() {
    let rig = Rig::new().await;
    for params in [
        json!({"name": "add", "arguments": {"a": 2, "b": 3}}),
        json!({"name": "add", "arguments": {"a": 2, "b": 3}, "task": {"ttl": 1000}}),
    ] {
        let (status, message) = rig.modern("tools/call", params).await;
        let result = &message["result"];
        assert_eq!((status, &result["resultType"]), (200, &json!("complete")));
        assert_eq!(result["content"][0]["text"], "5");
        assert_eq!(result["structuredContent"]["sum"], 5);
        assert_eq!(result["isError"], false);
        assert_eq!(
            result["_meta"]["io.modelcontextprotocol/serverInfo"]["version"],
            "1.2.3"
        );
    }
}

#[tokio::test]
async fn a_task_from_creation_to_its_end() {
    let rig = Rig::new().await;
    let (_, message) = rig
        .modern("tools/call", json!({"name": "gate", "arguments": {}}))
        .await;
    let task = &message["result"];
    assert_eq!(task["resultType"], "task");
    assert_eq!(task["status"], "working");
    assert_eq!(task["ttlMs"], Value::Null);
    assert!(task["pollIntervalMs"].as_u64().unwrap() <= 500);
    for absent in [
        "task",
        "ttl",
        "pollInterval",
        "requestState",
        "result",
        "content",
    ] {
        assert!(task.get(absent).is_none(), "{absent}: {task}");
    }
    let id = task["taskId"].as_str().unwrap();
    let (_, message) = rig.modern("tasks/get", json!({"taskId": id})).await;
    assert_eq!(message["result"]["resultType"], "complete");
    assert_eq!(message["result"]["taskId"], id);
    rig.go(1);
    let task = rig.task(id, |task| task["status"] == "completed").await;
    assert_eq!(task["result"]["content"][0]["text"], "through the gate");
    assert_eq!(task["result"]["resultType"], "complete");
    let day = 24 * 60 * 60 * 1000;
    assert!(task["ttlMs"].as_u64().unwrap() >= day, "{task}");
    let again = rig.task(id, |_| true).await;
    assert_eq!(task, again, "a poll changes nothing");
}

#[tokio::test]
async fn the_caller_that_does_not_declare_gets_no_task() {
    let rig = Rig::new().await;
    let none = json!({});
    let call = |tool: &str| json!({"name": tool, "arguments": {}, "task": {}});
    let (status, message) = rig.modern_as(&none, "tools/call", call("quick")).await;
    assert_eq!(
        (status, &message["result"]["content"][0]["text"]),
        (200, &json!("done"))
    );
    assert_eq!(message["result"]["resultType"], "complete");
    let (status, message) = rig.modern_as(&none, "tools/call", call("must")).await;
    assert_eq!((status, code(&message)), (400, -32021));
    let needed = &message["error"]["data"]["requiredCapabilities"]["extensions"];
    assert_eq!(needed["io.modelcontextprotocol/tasks"], json!({}));
    // Before the id is looked at, and whatever an earlier request declared.
    let id = rig.create("quick").await;
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        for id in [id.as_str(), "unknown"] {
            let (status, message) = rig.modern_as(&none, method, json!({"taskId": id})).await;
            assert_eq!((status, code(&message)), (400, -32021), "{method} {id}");
        }
    }
    // The older era's capability is none here.
    let old = json!({"tasks": {"requests": {"tools": {"call": {}}}}});
    let (_, message) = rig
        .modern_as(&old, "tasks/get", json!({"taskId": id}))
        .await;
    assert_eq!(code(&message), -32021);
}

#[tokio::test]
async fn ids_that_name_no_task() {
    let rig = Rig::new().await;
    let unknown = "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f";
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        for params in [
            json!({"taskId": unknown}),
            json!({"taskId": "nonsense"}),
            json!({"taskId": 7}),
            json!({"taskId": null}),
            json!({}),
        ] {
            let (status, message) = rig.modern(method, params.clone()).await;
            assert_eq!((status, code(&message)), (200, -32602), "{method} {params}");
        }
    }
}

#[tokio::test]
async fn bad_calls() {
    let rig = Rig::new().await;
    for params in [
        json!({}),
        json!({"name": 7}),
        json!({"name": "no such tool"}),
        json!({"name": "add", "arguments": []}),
        json!({"name": "add", "arguments": null}),
        json!({"name": "add", "arguments": "text"}),
        json!({"name": "quick", "_meta": {"progressToken": {}}}),
    ] {
        let (status, message) = rig.modern("tools/call", params.clone()).await;
        assert_eq!(
            (status, code(&message)),
            (200, -32602),
            "{params}: {message}"
        );
    }
    // Arguments that do not fit are for the model to read.
    for tool in ["add", "quick", "must"] {
        let (_, message) = rig
            .modern("tools/call", json!({"name": tool, "arguments": {"n": "x"}}))
            .await;
        assert_eq!(message["result"]["isError"], true, "{tool}: {message}");
        assert_eq!(message["result"]["resultType"], "complete");
    }
}

#[tokio::test]
async fn how_tasks_fail() {
    let rig = Rig::new().await;
    let id = rig.create("tool_error").await;
    let task = rig.task(&id, |task| task["status"] != "working").await;
    assert_eq!(task["status"], "completed");
    assert_eq!(task["result"]["isError"], true);
    assert!(task.get("error").is_none());
    let id = rig.create("rpc_error").await;
    let task = rig.task(&id, |task| task["status"] != "working").await;
    assert_eq!(
        (&task["status"], &task["error"]["code"]),
        (&json!("failed"), &json!(-32050))
    );
    assert_eq!(task["statusMessage"], "no such host");
    assert!(task.get("result").is_none());
    let id = rig.create("panics").await;
    let task = rig.task(&id, |task| task["status"] != "working").await;
    assert_eq!(
        (&task["status"], &task["error"]["code"]),
        (&json!("failed"), &json!(-32603))
    );
    // The same of a call whose caller waits.
    let none = json!({});
    let call = |tool: &str| json!({"name": tool, "arguments": {}});
    let (status, message) = rig.modern_as(&none, "tools/call", call("rpc_error")).await;
    assert_eq!((status, code(&message)), (200, -32050));
    let (_, message) = rig.modern_as(&none, "tools/call", call("panics")).await;
    assert_eq!(code(&message), -32603);
}

#[tokio::test]
async fn cancelling_is_acknowledged_always() {
    let rig = Rig::new().await;
    let id = rig.create("endless").await;
    let task = rig
        .task(&id, |task| task["statusMessage"].is_string())
        .await;
    assert_eq!(task["statusMessage"], "30 % · 3 of 10 · on and on");
    let figures = &task["_meta"]["outlast/progress"];
    assert_eq!(
        figures,
        &json!({"done": 3, "total": 10, "percent": 30, "message": "on and on"})
    );
    let acknowledged = async || {
        let (status, message) = rig.modern("tasks/cancel", json!({"taskId": id})).await;
        assert_eq!(status, 200);
        let mut result = message["result"].as_object().unwrap().clone();
        result.remove("_meta");
        assert_eq!(Value::Object(result), json!({"resultType": "complete"}));
    };
    acknowledged().await;
    let task = rig.task(&id, |task| task["status"] != "working").await;
    assert_eq!(task["status"], "cancelled");
    for absent in ["result", "error", "inputRequests"] {
        assert!(task.get(absent).is_none(), "{absent}");
    }
    acknowledged().await;
}

#[tokio::test]
async fn the_name_header_of_a_task_may_be_absent_but_not_wrong() {
    let rig = Rig::new().await;
    let id = rig.create("quick").await;
    let body = modern_body(1, &declaring(), "tasks/get", json!({"taskId": id}));
    let mut headers = modern_headers(&body);
    headers.pop();
    let send = async |name: Option<String>| {
        let mut headers = headers.clone();
        headers.extend(name.map(|name| ("mcp-name", name)));
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        whole(rig.post(&headers, body.to_string()).await).await.0
    };
    assert_eq!(send(None).await, 200);
    assert_eq!(send(Some(id.clone())).await, 200);
    assert_eq!(send(Some("other".into())).await, 400);
}

#[tokio::test]
async fn listening_tells_every_state_and_only_what_was_asked_for() {
    let rig = Rig::new().await;
    let (listened, other) = (rig.create("gate").await, rig.create("endless").await);
    let ids = json!([
        listened,
        "nonsense",
        "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f",
        listened
    ]);
    let params = json!({"notifications": {"taskIds": ids, "toolsListChanged": true}});
    let response = rig
        .modern_response(&declaring(), "subscriptions/listen", params)
        .await;
    let mut events = Events::of(response);
    let first = events.message().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["notifications"],
        json!({"taskIds": [listened], "toolsListChanged": true})
    );
    let tag = |message: &Value| {
        message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].clone()
    };
    assert_eq!(tag(&first), 7);
    let state = events.message().await;
    assert_eq!(state["method"], "notifications/tasks");
    assert_eq!(
        (&state["params"]["taskId"], &state["params"]["status"]),
        (&json!(listened), &json!("working"))
    );
    rig.modern("tasks/cancel", json!({"taskId": other})).await;
    rig.task(&other, |task| task["status"] == "cancelled").await;
    rig.go(1);
    let last = loop {
        let message = events.message().await;
        assert_eq!(message["method"], "notifications/tasks");
        assert_eq!(
            (tag(&message), &message["params"]["taskId"]),
            (json!(7), &json!(listened))
        );
        if message["params"]["status"] != "working" {
            break message;
        }
    };
    let mut task = rig.task(&listened, |_| true).await;
    let mut told = last["params"].clone();
    for value in [&mut task, &mut told] {
        let object = value.as_object_mut().unwrap();
        object.remove("_meta");
        object.remove("resultType");
    }
    assert_eq!(told, task);
    rig.server.stop();
    let end = events.message().await;
    assert_eq!(
        (&end["id"], &end["result"]["resultType"]),
        (&json!(7), &json!("complete"))
    );
    assert_eq!(
        end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        7
    );
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn listening_needs_the_extension_and_a_filter() {
    let rig = Rig::new().await;
    let params = json!({"notifications": {"taskIds": []}});
    let (status, message) = rig
        .modern_as(&json!({}), "subscriptions/listen", params)
        .await;
    assert_eq!((status, code(&message)), (400, -32021));
    for params in [
        json!({}),
        json!({"notifications": []}),
        json!({"notifications": {"taskIds": "x"}}),
        json!({"notifications": {"taskIds": [7]}}),
    ] {
        let (_, message) = rig.modern("subscriptions/listen", params.clone()).await;
        assert_eq!(code(&message), -32602, "{params}");
    }
}

#[tokio::test]
async fn progress_of_a_waiting_call_goes_to_its_own_stream() {
    let rig = Rig::new().await;
    let params = json!({"name": "steps", "arguments": {}, "_meta": {"progressToken": "p"}});
    rig.go(4);
    let response = rig.modern_response(&json!({}), "tools/call", params).await;
    let mut events = Events::of(response);
    let mut last = -1.0;
    let result = loop {
        let event = events.next().await.unwrap();
        assert_eq!(event.id, None, "this era has no resumption");
        if event.message["method"] != "notifications/progress" {
            break event.message;
        }
        assert_eq!(event.message["params"]["progressToken"], "p");
        let value = event.message["params"]["progress"].as_f64().unwrap();
        assert!(value > last);
        last = value;
    };
    assert_eq!(last, 4.0);
    assert_eq!(result["result"]["content"][0]["text"], "four steps");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn log_messages_come_only_where_they_are_asked_for() {
    let rig = Rig::new().await;
    let params = |meta: Value| json!({"name": "speaks", "arguments": {}, "_meta": meta});
    let (_, message) = rig.modern("tools/call", params(json!({}))).await;
    assert_eq!(message["result"]["content"][0]["text"], "spoken");
    let level = "io.modelcontextprotocol/logLevel";
    let response = rig
        .modern_response(&declaring(), "tools/call", params(json!({level: "info"})))
        .await;
    let mut events = Events::of(response);
    let message = events.message().await;
    assert_eq!(message["method"], "notifications/message");
    assert_eq!(
        (&message["params"]["level"], &message["params"]["data"]),
        (&json!("info"), &json!("hello"))
    );
    assert_eq!(events.message().await["id"], 7);
    let (_, message) = rig
        .modern("tools/call", params(json!({level: "loud"})))
        .await;
    assert_eq!(code(&message), -32602);
}

#[tokio::test]
async fn leaving_ends_the_call_but_no_task() {
    let rig = Rig::new().await;
    let id = rig.create("gate").await;
    // A call that waits, given up by its caller.
    let params = json!({"name": "endless", "arguments": {}, "_meta": {"progressToken": 1}});
    let response = rig.modern_response(&json!({}), "tools/call", params).await;
    let mut events = Events::of(response);
    assert_eq!(events.message().await["method"], "notifications/progress");
    drop(events);
    rig.go(1);
    let task = rig.task(&id, |task| task["status"] == "completed").await;
    assert_eq!(task["result"]["content"][0]["text"], "through the gate");
}
