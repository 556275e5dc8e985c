//! A Redis that goes away under a server, and comes back: with everything, or with nothing.

use std::path::Path;

use outlast_processes::{Redis, Server, binary, eventually};
use serde_json::{Value, json};

const FILE: &str = r#"
[server]
name = "outages"

[tools.prints]
description = "Prints until it may end."
shell = true
command = 'i=0; while [ ! -e go ]; do i=$((i + 1)); echo "line $i"; echo "line $i" > told; sleep 0.02; done; echo "$i lines"'

[tools.alone]
description = "Runs alone."
max_running = 1
shell = true
command = 'while [ ! -e go ]; do sleep 0.02; done'

[schedules.daily]
tool = "alone"
cron = "0 3 * * *"
"#;

fn server(folder: &Path, redis: &Redis) -> Server {
    std::fs::write(folder.join("outlast.toml"), FILE).expect("a file");
    let store = format!("{}&volatile=true", redis.address("outages"));
    let listen = ["serve", "--listen", "127.0.0.1:{port}", "--store", &store];
    let mut server = Server::new(&binary("outlast"), &listen, folder);
    server.start();
    server
}

fn create(server: &Server, tool: &str) -> String {
    eventually("a task", || {
        let call = json!({"name": tool, "arguments": {}});
        let answer = server.client().modern("tools/call", call).ok()?;
        answer.message["result"]["taskId"]
            .as_str()
            .map(str::to_owned)
    })
}

fn get(server: &Server, id: &str) -> Option<Value> {
    server.client().get_json(&format!("/tasks/{id}")).ok()
}

#[test]
fn a_command_that_prints_goes_on_in_its_attempt_while_redis_is_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut redis = Redis::new();
    let server = server(folder.path(), &redis);
    let id = create(&server, "prints");
    let told = || std::fs::read_to_string(folder.path().join("told")).unwrap_or_default();
    eventually("it prints", || (!told().is_empty()).then_some(()));
    redis.kill();
    let before = told();
    // Until somebody has tried to store what it prints.
    eventually("it is noticed", || {
        server.log().contains("could not store").then_some(())
    });
    eventually("it goes on", || (told() != before).then_some(()));
    redis.restart_killed();
    std::fs::write(folder.path().join("go"), "").expect("written");
    let task = eventually("the end", || {
        get(&server, &id).filter(|task| task["status"] == "completed")
    });
    assert_eq!(task["attempt"], 1, "{task}");
    let message = task["statusMessage"].as_str().unwrap_or_default();
    assert!(!message.contains("store"), "{task}");
    // Each line once, whatever was repeated.
    let log = server
        .client()
        .get(&format!("/tasks/{id}/logs"), "text/plain");
    let log = log.expect("an answer");
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.starts_with("line"))
        .collect();
    let expected: Vec<_> = (1..=lines.len()).map(|i| format!("line {i}")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_store_that_was_emptied_has_its_limits_and_schedules_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::new();
    let server = server(folder.path(), &redis);
    let is_declared = || {
        let schedules = server.client().get_json("/schedules").ok()?;
        schedules.to_string().contains("daily").then_some(())
    };
    // The limits come before the schedules.
    eventually("the server has declared what it has", is_declared);
    redis.call("FLUSHALL").expect("an answer");
    eventually("it is declared again", is_declared);
    let [first, second] = [0, 1].map(|_| create(&server, "alone"));
    let phase = |id: &str, phase: &str| get(&server, id).filter(|task| task["phase"] == phase);
    eventually("the first runs", || phase(&first, "running"));
    assert!(
        phase(&second, "queued").is_some(),
        "they may not run together"
    );
    std::fs::write(folder.path().join("go"), "").expect("written");
    for id in [&first, &second] {
        eventually("the end", || phase(id, "finished"));
    }
}
