//! What a dashboard reads: lists, counts, and everything that a task leaves behind.

use std::time::Duration;

use outlast_core::{NewSchedule, RawJson, Store, TaskSpec};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::rest::{Rig, problem, rig};

impl Rig {
    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    /// The answer once it is as it has to become. What a process counts, it counts when it has heard of it
    /// itself, which may be after everybody else.
    async fn eventually(&self, path: &str, holds: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let wait = async {
            loop {
                last = self.get(path).await.text().await.unwrap();
                if holds(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
        assert!(
            waited.is_ok(),
            "{path} does not become what it has to:\n{last}"
        );
        last
    }

    async fn ids(&self, query: &str) -> Vec<String> {
        let page = self.json(&format!("/tasks?{query}")).await;
        let tasks = page["tasks"].as_array().unwrap().iter();
        tasks
            .map(|task| task["taskId"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A task of the tool that leaves something of every kind behind, after its end.
async fn made(rig: &Rig) -> String {
    let id = rig.create(json!({"tool": "make"})).await;
    let ended = rig.ended(&id).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    id
}

#[tokio::test]
async fn the_journal_has_steps_with_their_times_and_is_read_in_pages() {
    let rig = rig().await;
    let id = made(&rig).await;
    let journal = rig.json(&format!("/tasks/{id}/journal")).await;
    let entries = journal["entries"].as_array().unwrap();
    assert_eq!(journal["total"], entries.len());
    let step = &entries[0];
    assert_eq!(
        (&step["kind"], &step["name"]),
        (&json!("step"), &json!("measure"))
    );
    assert_eq!(
        (&step["value"], &step["failed"]),
        (&json!(7), &json!(false))
    );
    assert!(step["tookMs"].is_u64() && step["at"].is_string(), "{step}");
    let kinds: Vec<_> = entries.iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["step", "partial", "partial", "artifact", "child"]);
    let (mut joined, mut after) = (Vec::new(), json!(0));
    while !after.is_null() {
        let page = rig
            .json(&format!("/tasks/{id}/journal?limit=2&after={after}"))
            .await;
        joined.extend(page["entries"].as_array().unwrap().clone());
        after = page["next"].clone();
    }
    assert_eq!(&joined, entries);
    let (status, detail) = problem(rig.get(&format!("/tasks/{id}/journal?limit=0")).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("1 to 1000"), "{detail}");
}

#[tokio::test]
async fn attempts_say_how_they_ended() {
    let rig = rig().await;
    let id = made(&rig).await;
    let attempts = rig.json(&format!("/tasks/{id}/attempts")).await;
    let attempts = attempts["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!(attempts[0]["attempt"], 1);
    assert_eq!(attempts[0]["ended"], "error");
    assert_eq!(attempts[0]["message"], "not yet");
    assert!(attempts[0]["nextAttemptAt"].is_string());
    assert_eq!(attempts[1]["ended"], "finished");
    assert!(attempts[1]["endedAt"].is_string() && attempts[1]["message"].is_null());
    let endless = rig.create(json!({"tool": "endless"})).await;
    let running = loop {
        let attempts = rig.json(&format!("/tasks/{endless}/attempts")).await;
        if let Some(first) = attempts["attempts"].get(0) {
            break first.clone();
        }
    };
    assert!(running["startedAt"].is_string() && running["ended"].is_null());
}

#[tokio::test]
async fn children_say_who_started_them() {
    let rig = rig().await;
    let id = made(&rig).await;
    let children = rig.json(&format!("/tasks/{id}/children")).await;
    let children = children["tasks"].as_array().unwrap();
    assert_eq!(children.len(), 1);
    assert_eq!(
        (&children[0]["tool"], &children[0]["parent"]),
        (&json!("echo"), &json!(id))
    );
    let parent = rig.json(&format!("/tasks/{id}")).await;
    let counts = json!({"started": 1, "detached": 0, "ended": 1});
    assert_eq!(parent["children"], counts);
}

#[tokio::test]
async fn partial_results_are_read_on_from_a_number() {
    let rig = rig().await;
    let id = made(&rig).await;
    let first = rig.json(&format!("/tasks/{id}/partials?limit=1")).await;
    assert_eq!(first["partials"][0]["value"], json!({"part": 1}));
    assert_eq!(first["next"], 1);
    let second = rig.json(&format!("/tasks/{id}/partials?after=1")).await;
    assert_eq!(second["partials"][0]["number"], 2);
    assert!(second["next"].is_null());
    let none = rig.json(&format!("/tasks/{id}/partials?after=2")).await;
    assert_eq!(none["partials"], json!([]));
}

#[tokio::test]
async fn artifacts_are_downloaded_whole_and_in_parts_and_never_shown() {
    let rig = rig().await;
    let id = made(&rig).await;
    let list = rig.json(&format!("/tasks/{id}/artifacts")).await;
    let artifact = &list["artifacts"][0];
    assert_eq!(artifact["name"], "out/report ü.html");
    assert_eq!(artifact["mimeType"], "text/html");
    assert_eq!(artifact["size"], 100);
    let href = artifact["href"].as_str().unwrap();
    let whole = rig.client.get(href).send().await.unwrap();
    assert_eq!(whole.status(), StatusCode::OK);
    let headers = whole.headers().clone();
    assert_eq!(headers["content-type"], "text/html");
    assert_eq!(headers["content-length"], "100");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(
        headers["content-security-policy"],
        "default-src 'none'; sandbox"
    );
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"report _.html\"; filename*=UTF-8''report%20%C3%BC.html"
    );
    assert_eq!(whole.text().await.unwrap(), "0123456789".repeat(10));
    let part = rig
        .client
        .get(href)
        .header("range", "bytes=95-")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()["content-range"], "bytes 95-99/100");
    assert_eq!(part.text().await.unwrap(), "56789");
    let behind = rig
        .client
        .get(href)
        .header("range", "bytes=100-")
        .send()
        .await
        .unwrap();
    assert_eq!(behind.headers()["content-range"], "bytes */100");
    let (status, detail) = problem(behind).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert!(detail.contains("100 bytes"), "{detail}");
    let again = rig
        .client
        .get(href)
        .header("if-none-match", &headers["etag"]);
    assert_eq!(
        again.send().await.unwrap().status(),
        StatusCode::NOT_MODIFIED
    );
    let missing = rig.get(&format!("/tasks/{id}/artifacts/nothing")).await;
    let (status, detail) = problem(missing).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(detail.contains("lists them"), "{detail}");
}

#[tokio::test]
async fn lists_are_narrowed_by_every_filter() {
    let rig = rig().await;
    let red = json!({"tool": "echo", "arguments": {"prompt": "Paint"}, "labels": {"colour": "red", "size": "1"}});
    let red = rig.create(red).await;
    let blue = rig
        .create(json!({"tool": "echo", "labels": {"size": "1"}}))
        .await;
    let waits =
        json!({"tool": "echo", "delay": "1h", "priority": 5, "labels": {"note": "a, b\\c"}});
    let waits = rig.create(waits).await;
    for id in [&red, &blue] {
        rig.ended(id).await;
    }
    assert_eq!(
        rig.ids("status=completed,failed").await,
        [blue.clone(), red.clone()]
    );
    assert_eq!(rig.ids("phase=scheduled").await, [waits.as_str()]);
    assert_eq!(rig.ids("label=size=1,colour=red").await, [red.as_str()]);
    // note=a\, b\\c
    let note = rig.ids("label=note=a%5C%2C%20b%5C%5Cc").await;
    assert_eq!(note, [waits.as_str()]);
    assert_eq!(rig.ids("text=pAINT").await, [red.as_str()]);
    assert_eq!(rig.ids("order=oldest&limit=1").await, [red.as_str()]);
    assert_eq!(rig.ids("owner=local").await.len(), 3);
    assert_eq!(rig.ids("owner=*&tool=echo").await.len(), 3);
    let task = rig.json(&format!("/tasks/{blue}")).await;
    let at = task["createdAt"].as_str().unwrap();
    let before = rig.ids(&format!("created_before={at}")).await;
    assert!(
        !before.contains(&blue) && !before.contains(&waits),
        "{before:?}"
    );
    assert!(
        rig.ids(&format!("created_after={at}"))
            .await
            .contains(&blue)
    );
    assert!(
        rig.ids("updated_after=2100-01-01T00:00:00Z")
            .await
            .is_empty()
    );
    let waiting = rig.json(&format!("/tasks/{waits}")).await;
    assert_eq!(waiting["priority"], 5);
    assert!(waiting["runAt"].is_string());
    for (query, says) in [
        ("status=completed,lost", "input_required"),
        ("label=size", "KEY=VALUE"),
        ("created_after=yesterday", "offset"),
        ("text=", "1 to 200"),
        ("order=random", "oldest"),
    ] {
        let (status, detail) = problem(rig.get(&format!("/tasks?{query}")).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {detail}");
        assert!(detail.contains(says), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_repeated_call_with_its_key_is_the_same_task() {
    let rig = rig().await;
    let send = async |n: u64| {
        let request = rig
            .client
            .post(rig.url("/tasks"))
            .header("idempotency-key", "k1");
        request
            .json(&json!({"tool": "echo", "arguments": {"n": n}}))
            .send()
            .await
            .unwrap()
    };
    let first: Value = send(1).await.json().await.unwrap();
    let second: Value = send(1).await.json().await.unwrap();
    assert_eq!(first["taskId"], second["taskId"]);
    let (status, detail) = problem(send(2).await).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(detail.contains("k1"), "{detail}");
    let empty = rig
        .client
        .post(rig.url("/tasks"))
        .header("idempotency-key", "");
    let (status, _) = problem(empty.json(&json!({"tool": "echo"})).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_pause_holds_tasks_back_until_it_is_lifted() {
    let rig = rig().await;
    let paused: Value = rig
        .post("/tools/echo/pause", json!({}))
        .await
        .json()
        .await
        .unwrap();
    let echo = |queues: &Value| {
        let mut queues = queues["queues"].as_array().unwrap().iter();
        queues
            .find(|queue| queue["tool"] == "echo")
            .cloned()
            .unwrap()
    };
    assert_eq!(echo(&paused)["paused"], true);
    let id = rig.create(json!({"tool": "echo"})).await;
    let queues = rig.json("/queues").await;
    assert_eq!(echo(&queues)["queued"], 1, "{queues}");
    let stats = rig.json("/stats").await;
    assert_eq!(stats["phases"]["queued"], 1, "{stats}");
    assert_eq!(stats["oldestQueued"]["taskId"], id);
    let resumed: Value = rig
        .post("/tools/echo/resume", json!({}))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(echo(&resumed)["paused"], false);
    rig.ended(&id).await;
    let all: Value = rig
        .post("/queues/pause", json!({}))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(all["paused"], true);
    let none: Value = rig
        .post("/queues/resume", json!({}))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(none["paused"], false);
    // Whoever names tools in a body would not have everything paused.
    for path in ["/queues/pause", "/queues/resume", "/tools/echo/pause"] {
        let told = rig.post(path, json!({"tools": ["echo"]})).await;
        let (status, detail) = problem(told).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(detail.contains("takes no body"), "{detail}");
    }
    assert_eq!(rig.json("/queues").await["paused"], false);
    let (status, detail) = problem(rig.post("/tools/nope/pause", json!({})).await).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(detail.contains("echo"), "{detail}");
}

#[tokio::test]
async fn counts_and_times_follow_the_tasks() {
    let rig = rig().await;
    made(&rig).await;
    let stats = rig.json("/stats").await;
    assert_eq!(stats["total"], 2);
    assert_eq!(stats["statuses"], json!({"completed": 2}));
    let tools = json!({"echo": {"completed": 1}, "make": {"completed": 1}});
    assert_eq!(stats["tools"], tools);
    assert!(stats["oldestQueued"].is_null());
    rig.eventually("/stats", |stats| {
        let stats: Value = serde_json::from_str(stats).unwrap();
        let process = &stats["process"];
        let minutes = process["minutes"].as_array().unwrap();
        let sum = |name: &str| -> u64 {
            let minutes = minutes.iter();
            minutes.map(|minute| minute[name].as_u64().unwrap()).sum()
        };
        process["waiting"]["make"]["count"] == 1
            && process["running"]["make"]["count"] == 1
            && (sum("created"), sum("started"), sum("completed")) == (1, 2, 2)
    })
    .await;
    rig.eventually("/workers", |workers| {
        let workers: Value = serde_json::from_str(workers).unwrap();
        let worker = &workers["workers"][0];
        worker["retries"] == 1 && worker["slots"] == 64 && worker["slotsTaken"] == 0
    })
    .await;
    let (status, _) = problem(rig.get("/stats?colour=1").await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn tool_versions_that_nobody_runs_are_named() {
    let rig = rig().await;
    assert_eq!(rig.json("/workers").await["noWorker"], json!([]));
    assert_eq!(rig.json("/health").await.get("noWorker"), None);
    let spec = TaskSpec::new("gone", RawJson::empty_object());
    rig.store.create(spec, None).await.unwrap();
    let missing = json!([{ "tool": "gone", "version": "1", "requires": [] }]);
    for path in ["/workers", "/health"] {
        assert_eq!(rig.json(path).await["noWorker"], missing, "{path}");
    }
    let figures = rig.get("/metrics").await.text().await.unwrap();
    let line = r#"outlast_no_worker{tool="gone",version="1"} 1"#;
    assert!(figures.lines().any(|found| found == line), "{figures}");
}

#[tokio::test]
async fn figures_are_told_in_the_format_of_prometheus() {
    let rig = rig().await;
    made(&rig).await;
    let answer = rig.get("/metrics").await;
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let lines = [
        r#"outlast_info{name="test",version="1",store="memory"} 1"#,
        r#"outlast_tasks{tool="make",phase="finished",status="completed"} 1"#,
        r#"outlast_queue_depth{tool="make"} 0"#,
        r#"outlast_attempts_retried_total{tool="make"} 1"#,
        r#"outlast_tasks_ended_total{tool="make",outcome="completed"} 1"#,
        r#"outlast_task_waiting_seconds_count{tool="make"} 1"#,
        r#"outlast_task_running_seconds_bucket{tool="make",le="+Inf"} 1"#,
        "outlast_leases_lost_total 0",
        "outlast_slots 64",
    ];
    rig.eventually("/metrics", |text| {
        let has = |line: &str| text.lines().any(|found| found == line);
        lines.into_iter().all(has)
    })
    .await;
}

#[tokio::test]
async fn a_task_that_has_ended_is_tried_again_as_a_new_one() {
    let rig = rig().await;
    let call = json!({"tool": "echo", "arguments": {"n": 3}, "labels": {"a": "b"}, "priority": 2});
    let old = rig.create(call).await;
    rig.ended(&old).await;
    let answer = rig.post(&format!("/tasks/{old}/retry"), json!({})).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let new: Value = answer.json().await.unwrap();
    assert_eq!(new["retryOf"], old);
    assert_ne!(new["taskId"], old);
    assert_eq!(
        (&new["labels"], &new["priority"]),
        (&json!({"a": "b"}), &json!(2))
    );
    let new = new["taskId"].as_str().unwrap();
    assert!(location.ends_with(new));
    let ended = rig.ended(new).await;
    assert_eq!(ended["result"]["content"][0]["text"], r#"{"n":3}"#);
    let endless = rig.create(json!({"tool": "endless"})).await;
    let (status, detail) = problem(
        rig.post(&format!("/tasks/{endless}/retry"), json!({}))
            .await,
    )
    .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(detail.contains("has not ended"), "{detail}");
}

#[tokio::test]
async fn schedules_are_shown_stopped_and_run() {
    let rig = rig().await;
    let hourly = NewSchedule::every(Duration::from_secs(3600))
        .call("echo", &json!({"n": 1}))
        .named("hourly");
    let schedules = rig.engine.handle().schedules();
    schedules.put(hourly).await.unwrap();
    let list = rig.json("/schedules").await;
    let shown = &list["schedules"][0];
    assert_eq!(
        (&shown["name"], &shown["every"]),
        (&json!("hourly"), &json!("1h"))
    );
    assert_eq!(rig.json("/schedules/hourly/").await, *shown);
    let act = async |verb: &str| {
        rig.post(&format!("/schedules/hourly/{verb}"), json!({}))
            .await
    };
    for (verb, paused) in [("pause", true), ("pause", true), ("resume", false)] {
        let told: Value = act(verb).await.json().await.unwrap();
        assert_eq!(told["paused"], paused, "{verb}: {told}");
    }
    let run = act("run").await;
    assert_eq!(run.status(), StatusCode::ACCEPTED);
    assert!(run.headers().contains_key("location"));
    let task: Value = run.json().await.unwrap();
    assert_eq!(task["labels"]["schedule"], "hourly");
    rig.ended(task["taskId"].as_str().unwrap()).await;
    for path in ["/schedules/none", "/schedules/a%2Fb"] {
        let (status, detail) = problem(rig.get(path).await).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{detail}");
    }
    let (status, _) = problem(rig.post("/schedules/none/run", json!({})).await).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_callers_trace_is_kept_with_the_task() {
    let rig = rig().await;
    let said = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for (header, kept) in [(said, Some(said)), ("no trace", None)] {
        let call = rig
            .client
            .post(format!("http://{}/tasks", rig.address))
            .header("traceparent", header)
            .json(&json!({"tool": "echo"}));
        let task: Value = call.send().await.unwrap().json().await.unwrap();
        let id = task["taskId"].as_str().unwrap().parse().unwrap();
        let owner = outlast_core::Owner::local();
        let task = rig.engine.handle().get(&owner, id).await.unwrap();
        let meta = task.spec.request_meta.as_ref().map(|meta| meta.to_value());
        assert_eq!(meta, kept.map(|kept| json!({"traceparent": kept})));
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let rig = rig().await;
    for (path, expected) in [
        ("/nowhere", StatusCode::NOT_FOUND),
        ("/schedules/%ff", StatusCode::BAD_REQUEST),
        ("/ws", StatusCode::BAD_REQUEST),
    ] {
        let (status, detail) = problem(rig.get(path).await).await;
        assert_eq!(status, expected, "{path}: {detail}");
    }
    let (status, _) = problem(rig.post("/tools/%ff", json!({})).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

/// A cursor is the store's number of a task, whose distance from another would tell what others do.
#[tokio::test]
async fn pages_follow_one_another_and_their_cursors_say_nothing() {
    let rig = rig().await;
    for n in 0..5 {
        rig.create(json!({"tool": "echo", "arguments": {"n": n}}))
            .await;
    }
    let (mut seen, mut path) = (Vec::new(), "/tasks?limit=2".to_owned());
    loop {
        let page = rig.json(&path).await;
        let tasks = page["tasks"].as_array().unwrap().iter();
        seen.extend(tasks.map(|task| task["taskId"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        assert!(cursor.parse::<u64>().is_err(), "{cursor}");
        path = format!("/tasks?limit=2&cursor={cursor}");
    }
    assert_eq!(seen.len(), 5);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5, "none twice");
    let (status, detail) = problem(rig.get("/tasks?cursor=3").await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(detail.contains("nextCursor"), "{detail}");
}
