//! The test kit, used as an application would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outlast::core::{Cleanup, FailureReason, Outcome, Phase};
use outlast::prelude::*;
use outlast::testing::{Fault, TestServer};
use outlast::{Answer, Ask};
use serde_json::json;

/// Counts what really happened.
#[derive(Default)]
struct Effects {
    charged: AtomicU32,
    refunded: AtomicU32,
    stuck: AtomicU32,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Delivery {
    /// Where to?
    street: String,
}

/// Charges a card, asks where to deliver to, and delivers.
#[tool(task)]
async fn order(fails: bool, effects: State<Arc<Effects>>, cx: Cx) -> Result<String> {
    let refund = cx.undo("refund", &json!({})).await?;
    cx.step("charge", || async {
        effects.charged.fetch_add(1, Ordering::SeqCst);
        Ok(())
    })
    .await?;
    let answer = cx.ask::<Delivery>("street", "Where to?").await?;
    let Answer::Accepted(Delivery { street }) = answer else {
        return Err(Error::tool("nowhere to go"));
    };
    if fails {
        return Err(Error::protocol(-32000, "the van broke down"));
    }
    refund.discard().await?;
    Ok(format!("delivered to {street}"))
}

#[tool]
async fn refund(effects: State<Arc<Effects>>) -> Result<String> {
    effects.refunded.fetch_add(1, Ordering::SeqCst);
    Ok("refunded".into())
}

/// Never comes to the end of its second step.
#[tool(task, destructive)]
async fn wipe(effects: State<Arc<Effects>>, cx: Cx) -> Result<String> {
    cx.step("first", || async { Ok(()) }).await?;
    cx.step("second", || async {
        effects.stuck.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<()>>().await
    })
    .await?;
    Ok("wiped".into())
}

async fn shop() -> (TestServer, Arc<Effects>) {
    let effects = Arc::new(Effects::default());
    let server = Server::new("shop")
        .tool(order)
        .tool(refund)
        .tool(wipe)
        .state(Arc::clone(&effects));
    (TestServer::start(server).await.unwrap(), effects)
}

fn street() -> serde_json::Value {
    json!({"action": "accept", "content": {"street": "Elm Street"}})
}

#[tokio::test]
async fn a_crash_while_it_waits_repeats_nothing() {
    let (server, effects) = shop().await;
    let id = server
        .create("order", &json!({"fails": false}))
        .await
        .unwrap();
    server.run_until_idle().await;
    assert_eq!(server.task(id).await.state.phase, Phase::Suspended);
    let server = server.crash().await.unwrap();
    server.answer(id, "street", &street()).await.unwrap();
    server.run_until_idle().await;
    assert_eq!(server.text(id).await, "delivered to Elm Street");
    assert_eq!(effects.charged.load(Ordering::SeqCst), 1);
    assert_eq!(effects.refunded.load(Ordering::SeqCst), 0);
    let again = server.answer(id, "street", &street()).await.unwrap_err();
    assert!(again.to_string().contains("is not open"), "{again}");
}

#[tokio::test]
async fn a_failure_after_a_crash_is_undone_whatever_the_store_does() {
    for method in ["journal_put", "finish", "claim"] {
        let (server, effects) = shop().await;
        let id = server
            .create("order", &json!({"fails": true}))
            .await
            .unwrap();
        server.run_until_idle().await;
        let server = server.crash().await.unwrap();
        server.answer(id, "street", &street()).await.unwrap();
        server.faults().on_next(method, Fault::Fail);
        server.run_until_idle().await;
        let task = server.task(id).await;
        assert!(matches!(task.outcome.as_deref(), Some(Outcome::Failed(_))));
        assert_eq!(task.state.cleanup, Cleanup::Done);
        assert_eq!(effects.charged.load(Ordering::SeqCst), 1);
        assert!(effects.refunded.load(Ordering::SeqCst) >= 1);
    }
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_step_drops_it_there() {
    let (server, effects) = shop().await;
    let id = server.create("wipe", &json!({})).await.unwrap();
    server.until_recorded(id, "first").await;
    while effects.stuck.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let server = server.crash().await.unwrap();
    server.run_until_idle().await;
    let task = server.task(id).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome);
    };
    assert_eq!(failure.reason, FailureReason::Interrupted);
    assert_eq!(effects.stuck.load(Ordering::SeqCst), 1, "not run again");
}

#[tokio::test]
async fn time_passes_when_the_test_says_so() {
    let (server, _) = shop().await;
    let id = server
        .create("order", &json!({"fails": false}))
        .await
        .unwrap();
    server.run_until_idle().await;
    // Nobody answers for as long as a task may live.
    server.advance(Duration::from_secs(31 * 24 * 60 * 60)).await;
    let task = server.task(id).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{:?}", task.outcome);
    };
    assert_eq!(failure.reason, FailureReason::Expired);
    assert_eq!(task.state.cleanup, Cleanup::Done);
    let unknown = server.create("nothing", &json!({})).await.unwrap_err();
    assert!(unknown.to_string().contains("no tool \"nothing\""));
}

/// Asks where to go.
#[tool(task)]
async fn asks(cx: Cx) -> Result<String> {
    match cx.ask::<Delivery>("street", "Where to?").await? {
        Answer::Accepted(Delivery { street }) => Ok(street),
        _ => Err(Error::tool("nowhere to go")),
    }
}

#[tokio::test]
async fn rest_streams_and_sockets_are_driven_without_a_network() {
    let server = TestServer::start(Server::new("kit").tool(asks))
        .await
        .unwrap();
    let unknown = server.post("/tasks", &json!({"tool": "none"})).await;
    assert_eq!(unknown.status, 404, "{unknown:?}");
    assert_eq!(unknown.headers["content-type"], "application/problem+json");
    let mut all = server.socket("/ws").await;
    assert_eq!(all.next().await.unwrap()["type"], "READY");
    let created = server.post("/tasks", &json!({"tool": "asks"})).await;
    assert_eq!(created.status, 202, "{created:?}");
    let id = created.body["taskId"].as_str().unwrap().to_owned();
    assert_eq!(
        all.next().await.unwrap()["task"]["taskId"],
        id.as_str(),
        "told of all"
    );

    server.run_until_idle().await;
    let path = format!("/tasks/{id}/events");
    let mut events = server.events(&path).await;
    let asked = loop {
        let event = events.next().await.expect("it asks");
        if event.data["type"] == "INPUT_REQUIRED" {
            break event;
        }
    };
    let mut socket = server.socket(&format!("/ws/{id}")).await;
    assert_eq!(socket.next().await.unwrap()["type"], "TASK_STARTED");
    socket.send(&json!({"type": "nonsense"})).await;
    while socket.next().await.expect("the socket stays")["type"] != "ERROR" {}

    let answer = json!({"action": "accept", "content": {"street": "Long Lane"}});
    let answers = json!({"inputResponses": {"street": answer}});
    let answered = server.post(&format!("/tasks/{id}/input"), &answers).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    server.run_until_idle().await;
    let task = server.get(&format!("/tasks/{id}")).await;
    assert_eq!(task.body["status"], "completed", "{task:?}");

    let mut rest = server.events_after(&path, asked.id.as_deref()).await;
    let mut expected = asked.data["seq"].as_u64().unwrap();
    loop {
        let event = rest.next().await.expect("what came after, and its end");
        if event.name.as_deref() == Some("end") {
            break;
        }
        expected += 1;
        assert_eq!(event.data["seq"], expected, "{event:?}");
    }
    assert_eq!(rest.next().await, None);
}

#[tokio::test]
async fn a_crash_ends_streams_which_go_on_at_the_successor() {
    let server = TestServer::start(Server::new("kit").tool(asks))
        .await
        .unwrap();
    let created = server.post("/tasks", &json!({"tool": "asks"})).await;
    let id = created.body["taskId"].as_str().unwrap().to_owned();
    server.run_until_idle().await;
    let path = format!("/tasks/{id}/events");
    let mut events = server.events(&path).await;
    let first = events.next().await.expect("an event");
    let server = server.crash().await.unwrap();
    while let Some(event) = events.next().await {
        assert_ne!(event.name.as_deref(), Some("end"), "the task has not ended");
    }
    let mut events = server.events_after(&path, first.id.as_deref()).await;
    assert_eq!(events.next().await.expect("an event").data["seq"], 2);
}

/// Gives out a partial result for each signal, until it is told to stop.
#[tool(task)]
async fn counts(cx: Cx) -> Result<String> {
    let mut words = cx.signals::<serde_json::Value>("word");
    let mut heard = 0;
    while words.next().await? != "stop" {
        heard += 1;
        cx.partial(&heard).await?;
    }
    Ok(format!("heard {heard}"))
}

#[tokio::test]
async fn a_hundred_events_at_once_are_numbered_without_gaps() {
    let server = TestServer::start(Server::new("kit").tool(counts))
        .await
        .unwrap();
    let created = server.post("/tasks", &json!({"tool": "counts"})).await;
    let id = created.body["taskId"].as_str().unwrap().to_owned();
    let path = format!("/tasks/{id}/signals/word");
    let words = (0..100).map(|word| {
        let (server, path) = (&server, &path);
        async move {
            let sent = server.post(path, &json!(word)).await;
            assert_eq!(sent.status, 202, "{sent:?}");
        }
    });
    futures_util::future::join_all(words).await;
    server.post(&path, &json!("stop")).await;
    server.run_until_idle().await;
    let task = id.parse().unwrap();
    assert_eq!(server.text(task).await, "heard 100");
    let mut socket = server.socket(&format!("/ws/{id}")).await;
    let (mut number, mut words, mut partials) = (0, 0, 0);
    while let Some(event) = socket.next().await {
        if event["type"] == "LOG" {
            continue;
        }
        number += 1;
        assert_eq!(event["seq"], number, "{event}");
        match event["type"].as_str().unwrap() {
            "SIGNAL_RECEIVED" => words += 1,
            "PARTIAL" => partials += 1,
            "TASK_COMPLETED" => break,
            _ => {}
        }
    }
    assert_eq!((words, partials), (101, 100));
}

#[tokio::test]
async fn a_thousand_watchers_see_every_event_in_order() {
    let server = TestServer::start(Server::new("kit").tool(counts))
        .await
        .unwrap();
    let created = server.post("/tasks", &json!({"tool": "counts"})).await;
    let id = created.body["taskId"].as_str().unwrap().to_owned();
    let mut watchers = Vec::new();
    for _ in 0..1_000 {
        let mut socket = server.socket(&format!("/ws/{id}")).await;
        assert_eq!(socket.next().await.unwrap()["type"], "TASK_STARTED");
        watchers.push(socket);
    }
    let watching = watchers.into_iter().map(|mut socket| async move {
        let mut number = 1;
        while let Some(event) = socket.next().await {
            if event["type"] == "LOG" {
                continue;
            }
            number += 1;
            assert_eq!(event["seq"], number, "{event}");
            if event["type"] == "TASK_COMPLETED" {
                return number;
            }
        }
        panic!("cut off after {number}");
    });
    let path = format!("/tasks/{id}/signals/word");
    let speaking = async {
        for word in ["a", "b", "c", "d", "stop"] {
            server.post(&path, &json!(word)).await;
        }
    };
    let (seen, ()) = tokio::join!(futures_util::future::join_all(watching), speaking);
    let all = server.task(id.parse().unwrap()).await.state.version;
    assert!(
        seen.iter().all(|number| *number == all),
        "{seen:?} of {all}"
    );
}

/// Calls that pass what others must wait for.
#[tool(task, rate = "1/h")]
async fn hourly() -> Result<String> {
    Ok("done".into())
}

#[tool(task, max_running = 1, hold_while_suspended)]
async fn one_by_one(cx: Cx) -> Result<String> {
    let answer = cx.ask::<Delivery>("street", "Where to?").await?;
    Ok(format!("{}", matches!(answer, Answer::Accepted(_))))
}

#[tokio::test]
async fn what_waits_for_room_is_idle() {
    let server = Server::new("kit").tool(hourly).tool(one_by_one);
    let server = TestServer::start(server).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(server.create("hourly", &json!({})).await.unwrap());
    }
    server.run_until_idle().await;
    let mut done = Vec::new();
    for _ in 0..3 {
        let mut finished = 0;
        for id in &ids {
            finished += usize::from(server.task(*id).await.is_finished());
        }
        done.push(finished);
        server.advance(Duration::from_secs(3600)).await;
    }
    assert_eq!(done, [1, 2, 3]);

    let first = server.create("one_by_one", &json!({})).await.unwrap();
    let second = server.create("one_by_one", &json!({})).await.unwrap();
    server.run_until_idle().await;
    assert_eq!(server.task(second).await.state.phase, Phase::Queued);
    server.answer(first, "street", &street()).await.unwrap();
    server.run_until_idle().await;
    assert_eq!(server.text(first).await, "true");
    assert_eq!(server.task(second).await.state.phase, Phase::Suspended);
}

/// Runs by itself, and only where it may.
#[tool(task)]
async fn sync() -> Result<String> {
    Ok("synchronized".into())
}

/// Never ends by itself.
#[tool(task, timeout = "1m", retries = 0)]
async fn stuck() -> Result<String> {
    std::future::pending().await
}

#[tokio::test]
async fn schedules_labels_and_limits_are_those_of_the_server() {
    let hour = Duration::from_secs(3600);
    let every_hour = outlast::NewSchedule::every(hour).call("sync", &json!({}));
    let server = Server::new("kit")
        .tool(sync().requires("gpu"))
        .tool(stuck)
        .schedule(every_hour);
    let server = TestServer::start(server).await.unwrap();
    server.advance(hour).await;
    let listed = server.get("/tasks").await;
    assert_eq!(listed.body["tasks"][0]["tool"], "sync", "{listed:?}");
    assert_eq!(listed.body["tasks"][0]["status"], "completed");

    let id = server.create("stuck", &json!({})).await.unwrap();
    server.advance(Duration::from_secs(61)).await;
    let task = server.task(id).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("{task:?}");
    };
    assert_eq!(failure.reason, FailureReason::Timeout);
}

/// Signs in after a minute.
#[tool(task)]
async fn sign_in(
    #[schemars(extend("format" = "password"))] token: String,
    cx: Cx,
) -> Result<usize> {
    cx.sleep("a minute", Duration::from_secs(60)).await?;
    Ok(token.len())
}

#[tokio::test]
async fn secrets_outlive_a_crash() {
    let server = TestServer::start(Server::new("kit").tool(sign_in))
        .await
        .unwrap();
    let id = server
        .create("sign_in", &json!({"token": "s3cr3t"}))
        .await
        .unwrap();
    server.run_until_idle().await;
    let server = server.crash().await.unwrap();
    server.advance(Duration::from_secs(60)).await;
    assert_eq!(server.text(id).await, "6");
}
