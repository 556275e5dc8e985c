//! One message a line, as over standard input and output.

use std::time::Duration;

use outlast_core::Owner;
use outlast_engine::DetachAfter;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines};

use crate::official::Conversation;
use crate::rig::{Rig, declaring, eventually, modern_body};

pub(crate) struct Client {
    input: Option<DuplexStream>,
    output: Lines<BufReader<DuplexStream>>,
    conversation: Conversation,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Client {
    pub(crate) fn connect(rig: &Rig) -> Self {
        let (input, their_input) = tokio::io::duplex(64 * 1024);
        let (their_output, output) = tokio::io::duplex(64 * 1024);
        let server = rig.server.clone();
        let served = tokio::spawn(async move {
            server
                .serve_lines(Owner::local(), BufReader::new(their_input), their_output)
                .await
        });
        Self {
            input: Some(input),
            output: BufReader::new(output).lines(),
            conversation: Conversation::default(),
            served,
        }
    }

    async fn line(&mut self, bytes: &[u8]) {
        self.conversation.sends(bytes);
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).await.unwrap();
        input.write_all(b"\n").await.unwrap();
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.line(message.to_string().as_bytes()).await;
    }

    pub(crate) async fn next(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(Duration::from_secs(30), self.output.next_line());
        let line = line.await.expect("a line in time").unwrap()?;
        let message = serde_json::from_str(&line).unwrap();
        self.conversation.receives(&message);
        Some(message)
    }

    /// The response to a request, and what came before it.
    pub(crate) async fn answer(&mut self, id: u64) -> (Value, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            let message = self.next().await.expect("an answer before the end");
            if message["id"] == id && message.get("method").is_none() {
                return (message, before);
            }
            before.push(message);
        }
    }

    /// The response to this request, and what came before it.
    pub(crate) async fn ask(
        &mut self,
        id: u64,
        method: &str,
        params: Value,
    ) -> (Value, Vec<Value>) {
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        self.answer(id).await
    }

    async fn call(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.ask(id, method, params).await.0
    }

    /// The same of a stateless request.
    pub(crate) async fn ask_modern(
        &mut self,
        id: u64,
        method: &str,
        params: Value,
    ) -> (Value, Vec<Value>) {
        self.send(modern_body(id, &declaring(), method, params))
            .await;
        self.answer(id).await
    }

    async fn modern(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.ask_modern(id, method, params).await.0
    }

    pub(crate) async fn initialize(&mut self, version: &str, capabilities: Value) -> Value {
        let result = self.handshake(version, capabilities).await;
        self.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        result
    }

    /// The handshake without the notification that ends it.
    pub(crate) async fn handshake(&mut self, version: &str, capabilities: Value) -> Value {
        let params = json!({"protocolVersion": version, "capabilities": capabilities,
            "clientInfo": {"name": "test", "version": "0"}});
        self.call(0, "initialize", params).await["result"].clone()
    }

    /// The next question, past everything else.
    pub(crate) async fn question(&mut self) -> Value {
        loop {
            let message = self.next().await.expect("a question before the end");
            if message["method"] == "elicitation/create" {
                return message;
            }
        }
    }

    pub(crate) async fn end(mut self) {
        self.input = None;
        while self.next().await.is_some() {}
        self.served.await.unwrap().unwrap();
    }
}

fn code(message: &Value) -> i64 {
    message["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("no error: {message}"))
}

#[tokio::test]
async fn bad_lines_are_answered_and_the_connection_goes_on() {
    let rig = Rig::configured(|config| config.message_limit = 2000).await;
    let mut client = Client::connect(&rig);
    let long = "x".repeat(10_000);
    for (line, expected) in [
        (&b"not json"[..], -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (br#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (long.as_bytes(), -32600),
    ] {
        client.line(line).await;
        assert_eq!(code(&client.next().await.unwrap()), expected);
    }
    // Whoever waits for the answer knows by its id which request was refused.
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    for params in [deep, format!("\"{long}\"")] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":"mine","method":"m","params":{params}}}"#);
        client.line(line.as_bytes()).await;
        let refused = client.next().await.unwrap();
        assert_eq!((code(&refused), &refused["id"]), (-32600, &json!("mine")));
    }
    client.line(b"").await;
    client
        .send(json!({"jsonrpc": "2.0", "method": "notifications/first"}))
        .await;
    assert_eq!(
        code(&client.call(2, "tools/list", json!({})).await),
        -32602,
        "before initialize"
    );
    // The one request that may come before.
    assert_eq!(client.call(4, "ping", json!({})).await["result"], json!({}));
    let result = client.modern(3, "server/discover", json!({})).await;
    assert_eq!(result["result"]["resultType"], "complete");
    client.end().await;
}

#[tokio::test]
async fn both_eras_on_one_connection_in_any_order() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    let add = json!({"name": "add", "arguments": {"a": 1, "b": 2}});
    assert_eq!(
        client.modern(1, "tools/call", add.clone()).await["result"]["resultType"],
        "complete"
    );
    let initialized = client.initialize("2025-11-25", json!({})).await;
    assert_eq!(initialized["capabilities"]["tasks"]["list"], json!({}));
    let legacy = client.call(2, "tools/call", add.clone()).await;
    assert_eq!(legacy["result"]["content"][0]["text"], "3");
    assert!(legacy["result"].get("resultType").is_none());
    assert_eq!(
        client.modern(3, "tools/call", add).await["result"]["resultType"],
        "complete"
    );
    assert_eq!(client.call(4, "ping", json!({})).await["result"], json!({}));
    let again = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}});
    assert_eq!(code(&client.call(5, "initialize", again).await), -32600);
    client.end().await;
}

#[tokio::test]
async fn the_oldest_version_is_spoken_here() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    let initialized = client.initialize("2024-11-05", json!({})).await;
    assert_eq!(initialized["protocolVersion"], "2024-11-05");
    let tools = client.call(1, "tools/list", json!({})).await;
    let tools = tools["result"]["tools"].as_array().unwrap();
    assert!(tools.iter().all(|tool| tool.get("annotations").is_none()));
    client.end().await;
}

#[tokio::test]
async fn tasks_are_listed_page_by_page() {
    let rig = Rig::configured(|config| config.page_size = 10).await;
    let mut client = Client::connect(&rig);
    client.initialize("2025-11-25", json!({})).await;
    let mut created = Vec::new();
    for number in 1..=25 {
        let params = json!({"name": "quick", "arguments": {}, "task": {}});
        let message = client.call(number, "tools/call", params).await;
        created.push(message["result"]["task"]["taskId"].clone());
    }
    let mut listed = Vec::new();
    let mut params = json!({});
    loop {
        let message = client.call(100, "tasks/list", params).await;
        let page = message["result"]["tasks"].as_array().unwrap().clone();
        assert!(page.len() <= 10);
        listed.extend(page.iter().map(|task| task["taskId"].clone()));
        let Some(next) = message["result"].get("nextCursor") else {
            break;
        };
        params = json!({"cursor": next});
    }
    listed.reverse();
    assert_eq!(listed, created);
    for bad in [json!({"cursor": "bogus"}), json!({"cursor": 7})] {
        assert_eq!(code(&client.call(101, "tasks/list", bad).await), -32602);
    }
    client.end().await;
}

#[tokio::test]
async fn questions_progress_and_status_come_on_the_one_connection() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client
        .initialize("2025-11-25", json!({"elicitation": {}}))
        .await;
    let params = json!({"name": "ask_one", "arguments": {}, "task": {}});
    let task = client.call(1, "tools/call", params).await["result"]["task"]["taskId"].clone();
    client
        .send(json!({"jsonrpc": "2.0", "id": 2, "method": "tasks/result", "params": {"taskId": task}}))
        .await;
    let question = client.question().await;
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    client
        .send(json!({"jsonrpc": "2.0", "id": question["id"], "result": answer}))
        .await;
    let (result, before) = client.answer(2).await;
    assert!(
        result["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("true")
    );
    let asked = before
        .iter()
        .filter(|message| message["method"] == "elicitation/create")
        .count();
    assert_eq!(asked, 0, "the question came once");
    client.end().await;
}

#[tokio::test]
async fn a_task_says_nothing_before_the_response_that_names_it() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client
        .initialize("2025-11-25", json!({"elicitation": {}}))
        .await;
    for id in 1..=20 {
        let params = json!({"name": "ask_one", "arguments": {}, "task": {}});
        client
            .send(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
            .await;
        let (created, before) = client.answer(id).await;
        let task = &created["result"]["task"]["taskId"];
        let about = |message: &&Value| message.to_string().contains(task.as_str().unwrap());
        assert_eq!(before.iter().find(about), None);
    }
    client.end().await;
}

#[tokio::test]
async fn a_question_that_a_client_does_not_know_what_to_do_with_yet_comes_again() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client
        .initialize("2025-11-25", json!({"elicitation": {}}))
        .await;
    let params = json!({"name": "ask_one", "arguments": {}, "task": {}});
    let created = client.call(1, "tools/call", params).await;
    let task = created["result"]["task"]["taskId"].as_str().unwrap();
    let mut ids = std::collections::BTreeSet::new();
    let unknown = json!({"code": -32601, "message": "Method not found"});
    for _ in 0..3 {
        let question = client.question().await;
        client
            .send(json!({"jsonrpc": "2.0", "id": question["id"], "error": unknown}))
            .await;
        ids.insert(question["id"].as_str().unwrap().to_owned());
    }
    let question = client.question().await;
    ids.insert(question["id"].as_str().unwrap().to_owned());
    assert_eq!(ids.len(), 4, "each delivery has an id of its own");
    let answer = json!({"action": "accept", "content": {"confirm": true}});
    client
        .send(json!({"jsonrpc": "2.0", "id": question["id"], "result": answer}))
        .await;
    let done = rig.task(task, |task| task["status"] == "completed").await;
    let text = done["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("\"confirm\":true"), "{text}");
    client.end().await;
}

#[tokio::test]
async fn the_end_of_the_input_ends_no_task() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    let message = client
        .modern(1, "tools/call", json!({"name": "gate", "arguments": {}}))
        .await;
    let id = message["result"]["taskId"].as_str().unwrap().to_owned();
    client.end().await;
    rig.go(1);
    rig.task(&id, |task| task["status"] == "completed").await;
}

#[tokio::test]
async fn a_connection_ends_though_a_task_has_still_something_to_tell_it() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client
        .initialize("2025-11-25", json!({"elicitation": {}}))
        .await;
    let params = json!({"name": "ask_one", "arguments": {}, "task": {}});
    let created = client.call(1, "tools/call", params).await;
    let id = created["result"]["task"]["taskId"].clone();
    let asked = client.next().await.unwrap();
    assert!(asked["method"].is_string(), "{asked}");
    client.end().await;
    // The question finds the next client.
    let mut next = Client::connect(&rig);
    next.initialize("2025-11-25", json!({"elicitation": {}}))
        .await;
    let question = next.question().await;
    let answer = json!({"action": "decline"});
    next.send(json!({"jsonrpc": "2.0", "id": question["id"], "result": answer}))
        .await;
    rig.task(id.as_str().unwrap(), |task| task["status"] == "completed")
        .await;
    next.end().await;
}

#[tokio::test]
async fn the_last_answers_come_after_the_end_of_the_input() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client.initialize("2025-11-25", json!({})).await;
    let params = json!({"name": "gate", "arguments": {}});
    client
        .send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        .await;
    client.input = None;
    rig.go(1);
    assert_eq!(
        client.answer(1).await.0["result"]["content"][0]["text"],
        "through the gate"
    );
    client.end().await;
}

#[tokio::test]
async fn a_listener_is_told_until_it_cancels_and_others_are_not_disturbed() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    let message = client
        .modern(1, "tools/call", json!({"name": "gate", "arguments": {}}))
        .await;
    let id = message["result"]["taskId"].clone();
    let listen = json!({"notifications": {"taskIds": [id]}});
    client
        .send(modern_body(9, &declaring(), "subscriptions/listen", listen))
        .await;
    assert_eq!(
        client.next().await.unwrap()["method"],
        "notifications/subscriptions/acknowledged"
    );
    assert_eq!(client.next().await.unwrap()["params"]["status"], "working");
    client
        .send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}))
        .await;
    // Answered after the notification was taken, because lines are taken in order.
    client.modern(10, "server/discover", json!({})).await;
    rig.go(1);
    rig.task(id.as_str().unwrap(), |task| task["status"] == "completed")
        .await;
    let (_, before) = {
        client
            .send(modern_body(11, &declaring(), "server/discover", json!({})))
            .await;
        client.answer(11).await
    };
    let told = before.iter().filter(|message| {
        message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == 9
            && message["params"]["status"] == "completed"
    });
    assert_eq!(told.count(), 0);
    client.end().await;
}

#[tokio::test]
async fn two_requests_with_one_id_are_not_served_at_once() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client.initialize("2025-11-25", json!({})).await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "gate", "arguments": {}}});
    client.send(call.clone()).await;
    client.send(call).await;
    assert_eq!(code(&client.answer(1).await.0), -32600);
    rig.go(1);
    assert_eq!(
        client.answer(1).await.0["result"]["content"][0]["text"],
        "through the gate"
    );
    client.end().await;
}

#[tokio::test]
async fn a_batch_is_answered_as_one() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client.initialize("2025-03-26", json!({})).await;
    let ping = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    client
        .send(json!([ping(1), {"jsonrpc": "2.0", "method": "notifications/x"}, ping(2)]))
        .await;
    let answer = client.next().await.unwrap();
    assert_eq!(answer[0]["id"], 1);
    assert_eq!(answer[1]["id"], 2);
    assert_eq!(answer.as_array().unwrap().len(), 2);
    client.end().await;
}

#[tokio::test]
async fn a_call_detaches_and_the_model_goes_on_with_the_helpers() {
    let rig = Rig::configured(|config| {
        config.detach_after = DetachAfter::After(Duration::from_millis(50));
    })
    .await;
    let mut client = Client::connect(&rig);
    client.initialize("2025-06-18", json!({})).await;
    let list = client.call(1, "tools/list", json!({})).await.to_string();
    assert!(list.contains("\"task_list\""), "the owner is known here");
    let params = json!({"name": "gate", "arguments": {}, "_meta": {"progressToken": 2}});
    let detached = client.call(2, "tools/call", params).await;
    let id = detached["result"]["structuredContent"]["taskId"].clone();
    let listed = json!({"name": "task_list", "arguments": {"unfinished": true}});
    let listed = client.call(3, "tools/call", listed).await;
    assert_eq!(
        listed["result"]["structuredContent"]["tasks"][0]["taskId"],
        id
    );
    rig.go(1);
    // The newer era on the same connection.
    let params = json!({"name": "task_wait", "arguments": {"taskId": id}});
    client
        .send(modern_body(4, &json!({}), "tools/call", params))
        .await;
    let (done, before) = client.answer(4).await;
    assert_eq!(done["result"]["content"][0]["text"], "through the gate");
    assert!(
        before.is_empty(),
        "no progress of an answered call: {before:?}"
    );
    client.end().await;
}

#[tokio::test]
async fn a_call_asks_and_takes_its_question_back_when_it_is_ended() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    client
        .initialize("2025-06-18", json!({"elicitation": {}}))
        .await;
    let call = |id: u64| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "interview", "arguments": {}}})
    };
    client.send(call(1)).await;
    for key in ["a", "b"] {
        let question = client.next().await.unwrap();
        assert_eq!(question["method"], "elicitation/create");
        let result = json!({"action": "accept", "content": {key: "x"}});
        client
            .send(json!({"jsonrpc": "2.0", "id": question["id"], "result": result}))
            .await;
    }
    let done = client.answer(1).await.0;
    assert_eq!(done["result"]["isError"], false, "{done}");
    client.send(call(2)).await;
    let question = client.next().await.unwrap();
    client
        .send(
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": 2}}),
        )
        .await;
    let withdrawn = client.next().await.unwrap();
    assert_eq!(withdrawn["method"], "notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    // The newer era asks in rounds.
    let able = json!({"elicitation": {}});
    let mut params = json!({"name": "interview", "arguments": {}});
    for (id, key, member) in [(3, "first", "a"), (4, "second", "b")] {
        client
            .send(modern_body(id, &able, "tools/call", params.clone()))
            .await;
        let asked = client.answer(id).await.0["result"].clone();
        assert!(asked["inputRequests"].get(key).is_some(), "{asked}");
        params["requestState"] = asked["requestState"].clone();
        params["inputResponses"] = json!({key: {"action": "accept", "content": {member: "x"}}});
    }
    client
        .send(modern_body(5, &able, "tools/call", params))
        .await;
    let done = client.answer(5).await.0;
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    client.end().await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_asked_in_the_end() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    let able = json!({"elicitation": {}});
    client.initialize("2025-11-25", able).await;
    client
        .send(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "chatters", "arguments": {}}}))
        .await;
    let id = rig.create("ask_one").await;
    rig.task(&id, |task| task["status"] == "input_required")
        .await;
    // The question is tried, over and over, while there is no room for it.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(10)).await;
    tokio::time::resume();
    let question = client.question().await;
    let related = &question["params"]["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(related["taskId"], id.as_str());
    rig.go(1);
    client.end().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_read_without_end() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {
        "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}});
    let line = ping.to_string();
    // As much as a careless server would take without a word.
    let writes = async {
        for _ in 0..20_000 {
            client.line(line.as_bytes()).await;
        }
    };
    // Idle time passes at once: this is over as soon as nothing more is read.
    tokio::time::pause();
    let all = tokio::time::timeout(Duration::from_secs(60), writes).await;
    tokio::time::resume();
    assert!(all.is_err(), "every line was read, and no answer");
}

#[tokio::test]
async fn a_subscription_that_cannot_tell_the_end_of_a_task_ends() {
    let rig = Rig::new().await;
    let mut client = Client::connect(&rig);
    let id = rig.create("endless").await;
    let params = json!({"notifications": {"taskIds": [id]}});
    client
        .send(modern_body(1, &declaring(), "subscriptions/listen", params))
        .await;
    loop {
        let told = client.next().await.unwrap();
        if told["method"] == "notifications/tasks" {
            break;
        }
    }
    let meta = json!({"io.modelcontextprotocol/logLevel": "info"});
    let chatters = json!({"name": "chatters", "arguments": {}, "_meta": meta});
    client
        .send(modern_body(2, &declaring(), "tools/call", chatters))
        .await;
    // It waits at the gate when it has said everything, and nothing of it has been read.
    rig.go(1);
    eventually("the tool to have said everything", async || {
        (rig.steps_left() == 0).then_some(())
    })
    .await;
    rig.modern("tasks/cancel", json!({"taskId": id})).await;
    rig.task(&id, |task| task["status"] == "cancelled").await;
    let mut told = false;
    let answer = loop {
        let message = client.next().await.expect("the end of the subscription");
        told |= message["params"]["status"] == "cancelled";
        if message["id"] == 1 {
            break Some(message);
        }
        if told {
            break None;
        }
    };
    // It was told, or the subscriber knows that it has to listen again.
    assert!(told || code(&answer.unwrap()) == -32603);
}
