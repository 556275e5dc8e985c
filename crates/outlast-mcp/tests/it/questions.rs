//! Questions of tasks, in both eras.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use crate::rig::{Events, Rig, eventually, request, respond, send_to, whole};

fn code(message: &Value) -> i64 {
    message["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("no error: {message}"))
}

async fn asking(rig: &Rig, tool: &str) -> (String, Value) {
    let id = rig.create(tool).await;
    let task = rig
        .task(&id, |task| task["status"] == "input_required")
        .await;
    (id, task)
}

#[tokio::test]
async fn a_question_is_answered_by_update() {
    let rig = Rig::new().await;
    let (id, task) = asking(&rig, "ask_one").await;
    let question = &task["inputRequests"]["sure"];
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["mode"], "form");
    let update = |responses: Value| {
        rig.modern(
            "tasks/update",
            json!({"taskId": id, "inputResponses": responses}),
        )
    };
    // Nothing of this changes anything.
    for bad in [
        json!({"sure": {"action": "accept", "content": {"confirm": "yes"}}}),
        json!({"sure": {"action": "accept"}}),
        json!({"sure": {"action": "shrug"}}),
        json!({"sure": 7}),
        json!([]),
    ] {
        let (status, message) = update(bad.clone()).await;
        assert_eq!((status, code(&message)), (200, -32602), "{bad}");
    }
    for ignored in [
        json!({}),
        json!({"zz": {"action": "accept"}}),
        json!({"zz": 7}),
    ] {
        let (_, message) = update(ignored).await;
        assert_eq!(message["result"]["resultType"], "complete");
    }
    let same = rig.task(&id, |_| true).await;
    assert_eq!(same["inputRequests"], task["inputRequests"]);
    assert_eq!(same["lastUpdatedAt"], task["lastUpdatedAt"]);
    let (_, message) =
        update(json!({"sure": {"action": "accept", "content": {"confirm": true}}})).await;
    let mut result = message["result"].as_object().unwrap().clone();
    result.remove("_meta");
    assert_eq!(Value::Object(result), json!({"resultType": "complete"}));
    let done = rig.task(&id, |task| task["status"] == "completed").await;
    let text = done["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"confirm\":true"), "{text}");
    let (_, message) = update(json!({"sure": {"action": "decline"}})).await;
    assert_eq!(
        message["result"]["resultType"], "complete",
        "late answers are acknowledged"
    );
    assert_eq!(
        rig.task(&id, |_| true).await["lastUpdatedAt"],
        done["lastUpdatedAt"]
    );
}

#[tokio::test]
async fn two_questions_are_answered_one_by_one() {
    let rig = Rig::new().await;
    let (id, task) = asking(&rig, "ask_two").await;
    assert_eq!(task["inputRequests"].as_object().unwrap().len(), 2);
    let update = |key: &str, member: &str, value: &str| {
        let responses = json!({key: {"action": "accept", "content": {member: value}}});
        rig.modern(
            "tasks/update",
            json!({"taskId": id, "inputResponses": responses}),
        )
    };
    update("one", "a", "first").await;
    let task = rig.task(&id, |_| true).await;
    assert_eq!(task["status"], "input_required");
    let keys: Vec<&String> = task["inputRequests"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["two"]);
    update("one", "a", "second").await;
    update("two", "b", "last").await;
    let task = rig.task(&id, |task| task["status"] == "completed").await;
    let text = task["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("first") && text.contains("last") && !text.contains("second"),
        "{text}"
    );
}

#[tokio::test]
async fn a_client_that_cannot_answer_is_not_asked() {
    let rig = Rig::new().await;
    let (id, _) = asking(&rig, "ask_one").await;
    let only_tasks = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let (_, message) = rig
        .modern_as(&only_tasks, "tasks/get", json!({"taskId": id}))
        .await;
    assert_eq!(message["result"]["status"], "working");
    assert!(message["result"].get("inputRequests").is_none());
    let said = message["result"]["statusMessage"].as_str().unwrap();
    assert!(
        said.contains("waits for a person to answer: \"confirm?\""),
        "{said}"
    );
}

#[tokio::test]
async fn a_tool_that_asks_before_it_becomes_a_task() {
    let rig = Rig::new().await;
    let call = |extra: Value| {
        let mut params = json!({"name": "ask_first", "arguments": {"x": 1, "y": 2}});
        for (key, value) in extra.as_object().unwrap() {
            params[key] = value.clone();
        }
        rig.modern("tools/call", params)
    };
    let (status, message) = call(json!({})).await;
    let first = &message["result"];
    assert_eq!(
        (status, &first["resultType"]),
        (200, &json!("input_required"))
    );
    assert!(first.get("taskId").is_none());
    let question = &first["inputRequests"]["user_name"];
    assert_eq!(question["method"], "elicitation/create");
    let state = first["requestState"].as_str().unwrap();
    let alice = json!({"user_name": {"action": "accept", "content": {"name": "Alice"}}});
    // The state belongs to this call alone, and is needed.
    let mut forged = state.to_owned();
    forged.replace_range(10..11, if &forged[10..11] == "A" { "B" } else { "A" });
    for wrong in [
        json!({"inputResponses": alice, "requestState": forged}),
        json!({"inputResponses": alice, "requestState": 7}),
        json!({"inputResponses": alice, "requestState": state, "arguments": {"x": 2}}),
        json!({"inputResponses": {"user_name": {"action": "accept", "content": {}}}, "requestState": state}),
    ] {
        let (_, message) = call(wrong.clone()).await;
        assert_eq!(code(&message), -32602, "{wrong}");
    }
    for unfinished in [
        json!({"inputResponses": alice}),
        json!({"requestState": state}),
        json!({"inputResponses": {"zz": {"action": "accept"}}, "requestState": state}),
    ] {
        let (_, message) = call(unfinished.clone()).await;
        assert_eq!(
            message["result"]["resultType"], "input_required",
            "{unfinished}"
        );
    }
    let reordered =
        json!({"inputResponses": alice, "requestState": state, "arguments": {"y": 2, "x": 1}});
    let (_, message) = call(reordered).await;
    let task = &message["result"];
    assert_eq!(task["resultType"], "task", "{message}");
    assert!(task.get("requestState").is_none() && task.get("inputRequests").is_none());
    let id = task["taskId"].as_str().unwrap();
    let task = rig.task(id, |task| task["status"] == "completed").await;
    assert!(
        task["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("Alice")
    );
    let only_tasks = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let (status, message) = rig
        .modern_as(
            &only_tasks,
            "tools/call",
            json!({"name": "ask_first", "arguments": {}}),
        )
        .await;
    assert_eq!((status, code(&message)), (400, -32021));
    assert_eq!(
        message["error"]["data"]["requiredCapabilities"]["elicitation"],
        json!({})
    );
}

fn related(message: &Value) -> &Value {
    &message["params"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"]
}

#[tokio::test]
async fn a_client_that_waits_for_the_result_is_asked_on_that_stream() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let id = session.create("ask_one").await;
    session.until(&id, "input_required").await;
    let response = session
        .response(8, "tasks/result", json!({"taskId": id}))
        .await;
    let mut events = Events::of(response);
    let question = events.method("elicitation/create").await;
    assert_eq!(related(&question), id.as_str());
    assert!(question["id"].is_string());
    assert_eq!(question["params"]["message"], "confirm?");
    respond(
        &session,
        &question,
        json!({"action": "accept", "content": {"confirm": true}}),
    )
    .await;
    let result = loop {
        let message = events.message().await;
        if message["id"] == 8 {
            break message;
        }
    };
    assert!(
        result["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("true")
    );
    assert_eq!(session.until(&id, "completed").await["taskId"], id.as_str());
}

#[tokio::test]
async fn a_question_whose_stream_died_is_asked_again() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let id = session.create("ask_one").await;
    let first = session
        .response(8, "tasks/result", json!({"taskId": id}))
        .await;
    let mut first = Events::of(first);
    let asked = first.method("elicitation/create").await;
    drop(first);
    let second = session
        .response(9, "tasks/result", json!({"taskId": id}))
        .await;
    let mut second = Events::of(second);
    let again = second.method("elicitation/create").await;
    assert_ne!(asked["id"], again["id"]);
    assert_eq!(asked["params"], again["params"]);
    respond(&session, &again, json!({"action": "decline"})).await;
    // The first answer wins, whichever id carries it.
    respond(
        &session,
        &asked,
        json!({"action": "accept", "content": {"confirm": true}}),
    )
    .await;
    let task = rig.task(&id, |task| task["status"] == "completed").await;
    assert!(
        task["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("decline")
    );
}

#[tokio::test]
async fn a_client_that_only_polls_is_asked_on_its_open_stream() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    assert!(
        events.next().await.unwrap().message.is_null(),
        "the first event only has an id"
    );
    let id = session.create("ask_one").await;
    let question = events.method("elicitation/create").await;
    assert_eq!(related(&question), id.as_str());
    respond(&session, &question, json!({"action": "cancel"})).await;
    let status = events.method("notifications/tasks/status").await;
    assert_eq!(status["params"]["taskId"], id.as_str());
    assert!(
        status["params"]
            .get("_meta")
            .is_none_or(|meta| meta.as_object().unwrap().is_empty())
    );
    session.until(&id, "completed").await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_dismisses_nothing() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    let id = session.create("ask_one").await;
    let mut ids = Vec::new();
    for misfit in [
        json!({"action": "accept", "content": {"confirm": "yes"}}),
        json!({"action": "accept"}),
        json!({}),
    ] {
        let question = events.method("elicitation/create").await;
        ids.push(question["id"].clone());
        respond(&session, &question, misfit).await;
    }
    let question = events.method("elicitation/create").await;
    assert!(!ids.contains(&question["id"]), "it comes under a new id");
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    respond(&session, &question, answer).await;
    session.until(&id, "completed").await;
    let result = session.call("tasks/result", json!({"taskId": id})).await;
    let text = result["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"confirm\":true"), "{text}");
}

#[tokio::test]
async fn a_question_waits_for_a_stream_and_for_a_client_that_can_answer() {
    let rig = Rig::new().await;
    let mute = rig.session("2025-11-25", json!({})).await;
    let mut silent = mute.get(None).await;
    let id = mute.create("ask_one").await;
    mute.until(&id, "input_required").await;
    let able = rig
        .session("2025-11-25", json!({"elicitation": {"form": {}}}))
        .await;
    let mut events = able.get(None).await;
    let question = events.method("elicitation/create").await;
    assert_eq!(related(&question), id.as_str());
    respond(
        &able,
        &question,
        json!({"action": "accept", "content": {"confirm": false}}),
    )
    .await;
    mute.until(&id, "completed").await;
    // The one that cannot answer was told of the states and never asked.
    loop {
        let message = silent.message().await;
        assert_ne!(message["method"], "elicitation/create");
        if message["params"]["status"] == "completed" {
            break;
        }
    }
}

#[tokio::test]
async fn an_error_dismisses_the_question() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let id = session.create("ask_one").await;
    let response = session
        .response(8, "tasks/result", json!({"taskId": id}))
        .await;
    let mut events = Events::of(response);
    let question = events.method("elicitation/create").await;
    let error = json!({"code": -1, "message": "not now"});
    let body = json!({"jsonrpc": "2.0", "id": question["id"], "error": error});
    session.message(&body).await;
    let result = events.message().await;
    let text = result["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("cancel"), "{result}");
}

#[tokio::test]
async fn ids_of_questions_cannot_be_made_up() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let id = session.create("ask_one").await;
    session.until(&id, "input_required").await;
    for made_up in [json!(1), json!("made-up"), json!(session.id)] {
        respond(
            &session,
            &json!({"id": made_up}),
            json!({"action": "decline"}),
        )
        .await;
    }
    assert_eq!(
        session.call("tasks/get", json!({"taskId": id})).await["result"]["status"],
        "input_required"
    );
}

#[tokio::test]
async fn a_suspended_task_is_resumed_by_its_answer() {
    let rig = Rig::new().await;
    let (id, task) = asking(&rig, "ask_one").await;
    eventually("the task to hold no worker", async || {
        let handle = rig.server.handle();
        let task = handle
            .get(&outlast_core::Owner::local(), id.parse().unwrap())
            .await
            .unwrap();
        (task.state.phase == outlast_core::Phase::Suspended).then_some(())
    })
    .await;
    assert_eq!(
        rig.task(&id, |_| true).await["inputRequests"],
        task["inputRequests"]
    );
    let answer = json!({"sure": {"action": "accept", "content": {"confirm": true}}});
    rig.modern(
        "tasks/update",
        json!({"taskId": id, "inputResponses": answer}),
    )
    .await;
    rig.task(&id, |task| task["status"] == "completed").await;
}

#[tokio::test]
async fn a_waiting_call_asks_on_its_own_stream() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let params = json!({"name": "ask_one", "arguments": {}});
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    let question = events.method("elicitation/create").await;
    respond(
        &session,
        &question,
        json!({"action": "accept", "content": {"confirm": true}}),
    )
    .await;
    let result = events.message().await;
    assert_eq!(result["id"], 8);
    assert!(
        result["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("true"),
        "{result}"
    );
}

#[tokio::test]
async fn the_older_era_is_asked_first_on_the_stream_of_the_call() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let params = json!({"name": "ask_first", "arguments": {}, "task": {}});
    let mut events = Events::of(session.response(8, "tools/call", params.clone()).await);
    let question = events.method("elicitation/create").await;
    assert!(
        question["params"].get("_meta").is_none(),
        "there is no task yet"
    );
    let answer = json!({"action": "accept", "content": {"name": "Alice"}});
    respond(&session, &question, answer).await;
    let created = events.message().await;
    assert_eq!(created["id"], 8);
    let id = created["result"]["task"]["taskId"].as_str().unwrap();
    let task = rig.task(id, |task| task["status"] == "completed").await;
    assert!(
        task["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("Alice")
    );
    // One that cannot answer is not asked.
    let mute = rig.session("2025-11-25", json!({})).await;
    let created = mute.call("tools/call", params).await;
    let id = created["result"]["task"]["taskId"].as_str().unwrap();
    let task = rig.task(id, |task| task["status"] == "completed").await;
    assert_eq!(task["result"]["content"][0]["text"], "nobody asked");
}

#[tokio::test]
async fn a_task_that_nobody_introduced_asks_on_a_stream_that_was_open_before() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    // As by another surface: no session has anything to do with it.
    let id = rig.create("ask_one").await;
    let question = events.method("elicitation/create").await;
    assert_eq!(related(&question), id.as_str());
    respond(&session, &question, json!({"action": "decline"})).await;
    rig.task(&id, |task| task["status"] == "completed").await;
}

#[tokio::test]
async fn a_child_asks_on_the_stream_of_its_parents_client() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    let parent = session.create("has_it_asked").await;
    let question = events.method("elicitation/create").await;
    assert_ne!(related(&question), parent.as_str());
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    respond(&session, &question, answer).await;
    session.until(&parent, "completed").await;
}

#[tokio::test]
async fn a_task_of_one_instance_asks_on_a_stream_of_another() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let instance = rig.instance().await;
    let headers = [("mcp-session-id", session.id.as_str())];
    let stream = send_to(&instance, request(Method::GET, &headers, "")).await;
    let mut events = Events::of(stream);
    let id = session.create("ask_one").await;
    let question = events.method("elicitation/create").await;
    assert_eq!(related(&question), id.as_str());
    respond(&session, &question, json!({"action": "decline"})).await;
    session.until(&id, "completed").await;
}

#[tokio::test]
async fn a_task_that_asks_is_found_behind_any_number_of_others() {
    let rig = Rig::new().await;
    let (id, _) = asking(&rig, "ask_one").await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    for _ in 0..520 {
        session.create("gate").await;
    }
    let mut events = session.get(None).await;
    let question = events.method("elicitation/create").await;
    assert_eq!(related(&question), id.as_str());
}

/// Questions by task, until every one of these tasks has one.
async fn questions_of(events: &mut Events, tasks: &[String]) -> BTreeMap<String, Value> {
    let mut questions = BTreeMap::new();
    while questions.len() < tasks.len() {
        let question = events.method("elicitation/create").await;
        let meta = &question["params"]["_meta"]["io.modelcontextprotocol/related-task"];
        let task = meta["taskId"].as_str().unwrap().to_owned();
        assert!(tasks.contains(&task), "{question}");
        questions.insert(task, question);
    }
    questions
}

#[tokio::test]
async fn a_hundred_tasks_that_ask_at_once_each_get_their_own_answer() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    let mut tasks = Vec::new();
    for _ in 0..100 {
        tasks.push(session.create("ask_one").await);
    }
    let before = questions_of(&mut events, &tasks).await;
    // The client loses its stream with all of them unanswered, and is asked again on the next.
    drop(events);
    let mut events = session.get(None).await;
    let again = questions_of(&mut events, &tasks).await;
    let answer = |number: usize| match number % 4 {
        0 => json!({"action": "decline"}),
        1 => json!({"action": "cancel"}),
        _ => json!({"action": "accept", "content": {"confirm": number % 4 == 2}}),
    };
    // In reverse order, and by whichever of the two deliveries; of two answers to one question the first
    // counts.
    for (number, task) in tasks.iter().enumerate().rev() {
        assert_ne!(before[task]["id"], again[task]["id"]);
        let (first, second) = match number % 3 {
            0 => (&before[task], &again[task]),
            _ => (&again[task], &before[task]),
        };
        respond(&session, first, answer(number)).await;
        if number % 5 == 0 {
            respond(&session, second, answer(number + 1)).await;
        }
    }
    for (number, task) in tasks.iter().enumerate() {
        session.until(task, "completed").await;
        let result = session.call("tasks/result", json!({"taskId": task})).await;
        let text = result["result"]["content"][0]["text"].as_str().unwrap();
        let given: Value = serde_json::from_str(text).unwrap();
        assert_eq!(given, answer(number), "{number}");
    }
}

/// A client of the older era that would answer everything, with its stream open.
async fn bystander(rig: &Rig) -> (crate::rig::Session<'_>, Events) {
    let able = json!({"elicitation": {}, "sampling": {}, "roots": {}});
    let session = rig.session("2025-11-25", able).await;
    let events = session.get(None).await;
    (session, events)
}

#[tokio::test]
async fn roots_and_samples_are_asked_of_the_caller_alone() {
    let rig = Rig::new().await;
    let (session, mut events) = bystander(&rig).await;
    // The caller of the newer era is told with its task, and nobody else is asked.
    let declared = json!({"sampling": {}, "roots": {},
        "extensions": {"io.modelcontextprotocol/tasks": {}}});
    let call = json!({"name": "roots_task", "arguments": {}});
    let (_, message) = rig.modern_as(&declared, "tools/call", call).await;
    let id = message["result"]["taskId"].as_str().unwrap().to_owned();
    let asks = eventually("the question", async || {
        let params = json!({"taskId": id});
        let (_, message) = rig.modern_as(&declared, "tasks/get", params).await;
        let asks = message["result"]["inputRequests"].clone();
        (!asks.is_null()).then_some(asks)
    })
    .await;
    assert_eq!(asks["roots"]["method"], "roots/list", "{asks}");
    // What comes to the bystander after it proves that nothing came before: a question for a person of a
    // task that another client has started and cannot answer.
    let only_tasks = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let call = json!({"name": "ask_one", "arguments": {}});
    let (_, message) = rig.modern_as(&only_tasks, "tools/call", call).await;
    let other = message["result"]["taskId"].as_str().unwrap().to_owned();
    let question = loop {
        let message = events.message().await;
        if message.get("id").is_some() {
            break message;
        }
    };
    assert_eq!(question["method"], "elicitation/create", "{question}");
    assert_eq!(related(&question), &json!(other));
    respond(&session, &question, json!({"action": "decline"})).await;
    // Nor is somebody who waits for the result: these are not its roots.
    let answered = json!({"taskId": id, "inputResponses": {
        "roots": {"roots": [{"uri": "file:///home/a"}]}}});
    let (_, message) = rig.modern_as(&declared, "tasks/update", answered).await;
    assert!(message["error"].is_null(), "{message}");
    let message = session.call("tasks/result", json!({"taskId": id})).await;
    let text = message["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("file:///home/a"), "{message}");
}

#[tokio::test]
async fn the_question_of_a_call_that_comes_back_is_asked_of_nobody_else() {
    let rig = Rig::new().await;
    let (session, mut events) = bystander(&rig).await;
    let able = json!({"elicitation": {}});
    let call = |more: Value| {
        let mut params = json!({"name": "ask_one", "arguments": {}});
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        rig.modern_as(&able, "tools/call", params)
    };
    let (_, message) = call(json!({})).await;
    assert_eq!(
        message["result"]["resultType"], "input_required",
        "{message}"
    );
    let state = message["result"]["requestState"].clone();
    // As above: this one comes, and the other has not come before it.
    let only_tasks = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let other = json!({"name": "ask_two", "arguments": {}});
    let (_, message) = rig.modern_as(&only_tasks, "tools/call", other).await;
    let other = message["result"]["taskId"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let question = loop {
            let message = events.message().await;
            if message.get("id").is_some() {
                break message;
            }
        };
        assert_eq!(related(&question), &json!(other), "{question}");
        respond(&session, &question, json!({"action": "decline"})).await;
    }
    let answers = json!({"sure": {"action": "accept", "content": {"confirm": true}}});
    let (_, message) = call(json!({"requestState": state, "inputResponses": answers})).await;
    let text = message["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"confirm\":true"), "{message}");
}

#[tokio::test]
async fn a_child_asks_for_the_roots_of_its_parents_caller() {
    let rig = Rig::new().await;
    // Was there first, and is not asked.
    let (_bystander, _events) = bystander(&rig).await;
    let session = rig.session("2025-11-25", json!({"roots": {}})).await;
    let mut events = session.get(None).await;
    let id = session.create("has_it_asked_for_roots").await;
    let question = loop {
        let message = events.message().await;
        if message["method"] == "roots/list" {
            break message;
        }
    };
    respond(
        &session,
        &question,
        json!({"roots": [{"uri": "file:///home/a"}]}),
    )
    .await;
    session.until(&id, "completed").await;
    let message = session.call("tasks/result", json!({"taskId": id})).await;
    let text = message["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("file:///home/a"), "{message}");
}

#[tokio::test]
async fn a_question_that_is_answered_elsewhere_is_withdrawn() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    let id = session.create("ask_two").await;
    let first = events.method("elicitation/create").await;
    let second = events.method("elicitation/create").await;
    // The client answers one itself; the other is answered by somebody else.
    let answer = json!({"action": "accept", "content": {"a": "x"}});
    respond(&session, &first, answer).await;
    let answers = json!({"two": {"action": "accept", "content": {"b": "y"}}});
    let params = json!({"taskId": id, "inputResponses": answers});
    assert_eq!(rig.modern("tasks/update", params).await.0, 200);
    let withdrawn = events.method("notifications/cancelled").await;
    assert_eq!(withdrawn["params"]["requestId"], second["id"]);
    assert_eq!(related(&withdrawn), id.as_str());
    session.until(&id, "completed").await;
    // So is what a task asks that is cancelled; and nothing else was withdrawn meanwhile.
    let id = session.create("ask_one").await;
    let asked = events.method("elicitation/create").await;
    session.call("tasks/cancel", json!({"taskId": id})).await;
    let withdrawn = events.method("notifications/cancelled").await;
    assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
}

#[tokio::test]
async fn a_client_that_resumes_its_stream_is_asked_once() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    let primed = events.next().await.unwrap();
    let id = session.create("ask_one").await;
    let asked = loop {
        let event = events.next().await.unwrap();
        if event.message["method"] == "elicitation/create" {
            break event;
        }
    };
    drop(events);
    // It has the question: nothing comes but what is said next.
    let mut events = session.get(asked.id.as_deref()).await;
    session.call("tasks/cancel", json!({"taskId": id})).await;
    let mut said = Vec::new();
    while said
        .last()
        .is_none_or(|method| method != "notifications/cancelled")
    {
        let message = events.message().await;
        said.push(message["method"].as_str().unwrap().to_owned());
    }
    assert!(!said.contains(&"elicitation/create".to_owned()), "{said:?}");
    drop(events);
    // One that has missed everything gets the question once, under its own id, and its end.
    let mut events = session.get(primed.id.as_deref()).await;
    let mut asked_again = Vec::new();
    loop {
        let message = events.message().await;
        match message["method"].as_str() {
            Some("elicitation/create") => asked_again.push(message["id"].clone()),
            Some("notifications/cancelled") => break,
            _ => {}
        }
    }
    assert_eq!(asked_again, [asked.message["id"].clone()]);
}

#[tokio::test]
async fn a_client_that_opens_another_stream_is_asked_there_and_the_first_question_is_withdrawn() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({"elicitation": {}})).await;
    let mut events = session.get(None).await;
    let id = session.create("ask_one").await;
    let first = events.method("elicitation/create").await;
    drop(events);
    let mut events = session.get(None).await;
    let withdrawn = events.method("notifications/cancelled").await;
    assert_eq!(withdrawn["params"]["requestId"], first["id"]);
    let second = events.method("elicitation/create").await;
    assert_ne!(first["id"], second["id"]);
    // That the client has let go of the first one is no answer.
    let gone = json!({"code": 0, "message": "Request cancelled"});
    for error in [gone, json!({"code": -32603, "message": "aborted"})] {
        let body = json!({"jsonrpc": "2.0", "id": first["id"], "error": error});
        let (status, _) = whole(session.message(&body).await).await;
        assert_eq!(status, 202);
    }
    assert_eq!(
        session.call("tasks/get", json!({"taskId": id})).await["result"]["status"],
        "input_required"
    );
    respond(&session, &second, json!({"action": "decline"})).await;
    let task = rig.task(&id, |task| task["status"] == "completed").await;
    let text = task["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("decline"), "{text}");
}

#[tokio::test]
async fn a_caller_that_waits_and_cannot_answer_is_told_what_the_call_waits_for() {
    let rig = Rig::new().await;
    let session = rig.session("2025-11-25", json!({})).await;
    let meta = json!({"progressToken": "p", "outlast/detachAfterMs": null});
    let params = json!({"name": "ask_one", "arguments": {}, "_meta": meta});
    let mut events = Events::of(session.response(8, "tools/call", params).await);
    let told = loop {
        let message = events.method("notifications/progress").await;
        let text = message["params"]["message"].as_str().map(str::to_owned);
        if let Some(text) = text.filter(|text| text.contains(outlast_mcp::WAITS_FOR_A_PERSON)) {
            break text;
        }
    };
    assert!(told.contains("confirm?"), "{told}");
    let id = crate::stops::stored(&rig).await;
    let answers = json!({"sure": {"action": "decline"}});
    let params = json!({"taskId": id, "inputResponses": answers});
    assert_eq!(rig.modern("tasks/update", params).await.0, 200);
    let ended = loop {
        let message = events.message().await;
        if message["id"] == 8 {
            break message;
        }
    };
    let text = ended["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("decline"), "{text}");
}
