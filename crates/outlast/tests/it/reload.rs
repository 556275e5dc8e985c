//! A server that is made anew while it runs: all of it or nothing.

use outlast::prelude::*;
use outlast::{NewSchedule, Settings};
use serde_json::{Value, json};

use crate::rig::Rig;

struct Pool(&'static str);

/// Whose the pool is.
#[tool]
async fn whose(pool: State<Pool>) -> &'static str {
    pool.0.0
}

/// Says which one it is.
#[tool(task, name = "which")]
async fn first() -> &'static str {
    "first"
}

/// Says which one it is.
#[tool(task, name = "which")]
async fn second() -> &'static str {
    "second"
}

fn text(result: &Value) -> &str {
    let text = result["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text: {result}"))
}

/// What `which` says, once it has.
async fn said(rig: &mut Rig) -> String {
    let task = rig.ended_task("which", json!({})).await;
    text(&task["result"]).to_owned()
}

#[tokio::test]
async fn what_is_offered_is_swapped_and_what_cannot_be_is_named() {
    let server = Server::new("s").state(Pool("mine")).tool(first);
    let mut rig = Rig::start(server).await;
    assert_eq!(said(&mut rig).await, "first");
    let settings = Settings {
        concurrency: Some(3),
        ..Settings::default()
    };
    let next = Server::new("s")
        .title("Of another title")
        .settings(settings)
        .tools([second(), whose()]);
    let reloaded = rig.server.reload(next).await.unwrap();
    assert_eq!(reloaded.added, ["whose"]);
    assert_eq!(reloaded.removed, [""; 0]);
    assert_eq!(reloaded.needs_restart, ["title", "concurrency"]);
    assert_eq!(said(&mut rig).await, "second");
    assert_eq!(text(&rig.call("whose", json!({})).await), "mine");
    let reloaded = rig
        .server
        .reload(Server::new("s").tool(first))
        .await
        .unwrap();
    assert_eq!(reloaded.removed, ["whose"]);
    let schedules = rig.server.handle().schedules();
    let nightly = NewSchedule::cron("0 3 * * *")
        .named("nightly")
        .call("which", &json!({}));
    let with = Server::new("s").tool(first).schedule(nightly);
    rig.server.reload(with).await.unwrap();
    assert_eq!(schedules.list().await.unwrap().len(), 1);
    rig.server
        .reload(Server::new("s").tool(first))
        .await
        .unwrap();
    assert_eq!(schedules.list().await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_is_wrong_changes_nothing() {
    let mut rig = Rig::start(Server::new("s").tool(first)).await;
    let fresh = || Server::new("s").tool(second);
    let nowhere = NewSchedule::cron("0 3 * * *").call("nothing", &json!({}));
    let lifespan = fresh().lifespan(|| async { Ok(Pool("new")) }, |_| async {});
    for (wrong, part) in [
        (fresh().tool(first), "two tools"),
        (fresh().tool(whose), "Pool"),
        (fresh().schedule(nowhere), "no tool \"nothing\""),
        (fresh().mount("m", Server::new("m")), "restart"),
        (lifespan, "restart"),
    ] {
        let error = rig.server.reload(wrong).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert_eq!(said(&mut rig).await, "first");
    }
}

#[tokio::test]
async fn what_fails_half_way_is_said_and_can_be_done_again() {
    let mut rig = Rig::start(Server::new("s").tool(first)).await;
    let nightly = || {
        NewSchedule::cron("0 3 * * *")
            .named("nightly")
            .call("which", &json!({}))
    };
    let next = || Server::new("s").tool(second).schedule(nightly());
    // A disk that fails, as far as schedules are concerned.
    let database = rusqlite::Connection::open(rig.server.database()).unwrap();
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        database.execute_batch(&sql).unwrap();
    };
    rename("schedule", "elsewhere");
    let error = rig.server.reload(next()).await.unwrap_err().to_string();
    assert!(error.contains("the tools are reloaded"), "{error}");
    assert!(error.contains("reload again"), "{error}");
    assert_eq!(said(&mut rig).await, "second");
    rename("elsewhere", "schedule");
    let reloaded = rig.server.reload(next()).await.unwrap();
    assert_eq!(reloaded.needs_restart, [""; 0]);
    let schedules = rig.server.handle().schedules();
    assert_eq!(schedules.list().await.unwrap().len(), 1);
}
