//! `outlast schedules` against a running server, and schedules over `kill -9`.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::rig::{Rig, eventually, outlast};
use crate::serve::Server;

const FILE: &str = r#"
[server]
name = "schedule-test"
listen = "127.0.0.1:0"
store = "sqlite:outlast.db"

[tools.tick]
description = "Notes that it ran."
shell = true
command = "echo tick >> ticks"

[schedules.often]
tool = "tick"
every = "1s"
catch_up = "all"
overlap = "allow"

[schedules.yearly]
tool = "tick"
cron = "0 0 1 1 *"
"#;

fn run(rig: &Rig, arguments: &[&str]) -> (i32, String, String) {
    let said = Command::new(outlast())
        .args(arguments)
        .current_dir(rig.file(""))
        .env_remove("OUTLAST_URL")
        .env_remove("OUTLAST_STORE")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        said.status.code().unwrap(),
        text(said.stdout),
        text(said.stderr),
    )
}

fn json(rig: &Rig, arguments: &[&str]) -> Value {
    let (code, out, err) = run(rig, arguments);
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

fn often(rig: &Rig) -> Value {
    json(rig, &["schedules", "show", "often", "--json"])
}

#[tokio::test]
async fn each_fire_time_makes_one_task_over_kill_9() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let mut fired = 0;
    for _ in 0..3 {
        // Dropping a server kills it with SIGKILL.
        let _server = Server::start(&rig);
        let more = fired + 2;
        fired = eventually("more firings", || {
            let now = often(&rig)["fired"].as_u64().unwrap();
            (now >= more).then_some(now)
        })
        .await;
    }
    let _server = Server::start(&rig);
    run(&rig, &["schedules", "pause", "often"]);
    let schedule = often(&rig);
    let page = json(
        &rig,
        &[
            "tasks",
            "list",
            "--json",
            "--limit",
            "1000",
            "--store",
            "sqlite:outlast.db",
        ],
    );
    let tasks = page["tasks"].as_array().expect("a list of tasks");
    let fired_for = tasks.iter().map(|task| {
        let id = task["taskId"].as_str().unwrap();
        let labels = json(&rig, &["tasks", "show", id, "--json"]);
        labels["_meta"]["outlast/labels"]["scheduled-for"]
            .as_str()
            .unwrap_or_else(|| panic!("{labels}"))
            .to_owned()
    });
    let fired_for: Vec<_> = fired_for.collect();
    let distinct: BTreeSet<_> = fired_for.iter().collect();
    assert_eq!(distinct.len(), fired_for.len(), "each fire time once");
    assert_eq!(schedule["fired"].as_u64(), Some(fired_for.len() as u64));
    // Without a gap: the server was away, and everything was made up for.
    let mut times: Vec<outlast_core::Timestamp> =
        distinct.iter().map(|time| time.parse().unwrap()).collect();
    times.sort_unstable();
    for pair in times.windows(2) {
        assert_eq!(pair[1].since(pair[0]), Duration::from_secs(1));
    }
}

#[tokio::test]
async fn the_shell_looks_after_schedules() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let server = Server::start(&rig);
    let (code, out, _) = run(&rig, &["schedules", "list"]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().count(), 2, "{out}");
    let (code, out, _) = run(&rig, &["schedules", "show", "yearly"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("0 0 1 1 * (UTC)") && out.matches("next").count() == 5,
        "{out}"
    );
    let (code, out, _) = run(&rig, &["schedules", "pause", "yearly"]);
    assert!(code == 0 && out.contains("paused"), "{out}");
    let task = json(&rig, &["schedules", "run", "yearly", "--json"]);
    let (code, _, err) = run(&rig, &["tasks", "watch", task["taskId"].as_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let (code, _, err) = run(&rig, &["schedules", "remove", "yearly"]);
    assert!(code == 3 && err.contains("declared by the server"), "{err}");
    let (code, _, err) = run(&rig, &["schedules", "pause", "nothing"]);
    assert!(code == 6 && err.contains("often, yearly"), "{err}");

    // What the file no longer says is gone; what was paused stays so.
    drop(server);
    let shorter: String = FILE.replace("[schedules.often]", "[schedules.seldom]");
    std::fs::write(rig.file("outlast.toml"), shorter).unwrap();
    let _server = Server::start(&rig);
    let list = json(&rig, &["schedules", "list", "--json"]);
    let names: Vec<_> = list["schedules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["seldom", "yearly"]);
    assert_eq!(list["schedules"][1]["paused"], true);
    assert_eq!(list["schedules"][1]["lastTaskId"], task["taskId"]);
}

#[test]
fn what_the_tool_refuses_refuses_the_file() {
    let rig = Rig::new();
    let wrong = FILE.replace("every = \"1s\"", "every = \"1s\"\narguments = { n = 1 }");
    std::fs::write(rig.file("outlast.toml"), wrong).unwrap();
    for command in ["check", "serve"] {
        let (code, out, err) = run(&rig, &[command]);
        assert_eq!((code, out.as_str()), (2, ""), "{command}: {err}");
        let wanted =
            "schedules.often.arguments: the tool \"tick\" refuses them: argument n is unknown";
        assert!(err.contains(wanted), "{command}: {err}");
    }
}
