//! A server started by hand: what it says, how it ends, and what keeps it from starting.

use std::io::Read;
use std::process::Stdio;

use serde_json::json;

use crate::rig::{ByHand, Place, ended_over_http, kill, over_http};

#[test]
fn a_signal_ends_it_cleanly() {
    for signal in ["-TERM", "-INT"] {
        let place = Place::new();
        let mut server = ByHand::start(place.command(&["--listen", "127.0.0.1:0"]));
        let result = over_http(
            &server.address,
            "tools/call",
            "add_inline",
            json!({"name": "add_inline", "arguments": {"a": 2, "b": 3}}),
        );
        assert_eq!(result["structuredContent"]["result"], 5);
        kill(signal, server.child.id());
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(!place.file("tasks.db.sock").exists());
        let mut said = String::new();
        server.stderr.read_to_string(&mut said).unwrap();
        assert!(said.contains("store "), "{said}");
    }
}

#[test]
fn a_task_survives_kill_9() {
    let place = Place::new();
    let mut server = ByHand::start(place.command(&["--listen", "127.0.0.1:0"]));
    let arguments = json!({"seconds": 1, "label": "x"});
    let call = json!({"name": "slow_compute", "arguments": arguments});
    let created = over_http(&server.address, "tools/call", "slow_compute", call);
    let task = created["taskId"].as_str().unwrap();
    kill("-KILL", server.child.id());
    server.child.wait().unwrap();
    let server = ByHand::start(place.command(&["--listen", "127.0.0.1:0"]));
    let ended = ended_over_http(&server.address, task);
    assert_eq!(ended["result"]["content"][0]["text"], "x: computed for 1 s");
}

#[test]
fn what_keeps_it_from_starting_is_said_with_exit_code_2() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, hint) in [
        (["--listen", taken.as_str()], "the port is in use"),
        (["--listen", "0.0.0.0:0"], "there are no users"),
        (["--listen", "nowhere"], "127.0.0.1:9876"),
        (["--store", "postgres://x"], "sqlite:PATH"),
        (["--task", "perhaps"], "forbidden, optional or required"),
        (["--unknown", "x"], "--unknown"),
    ] {
        let mut command = std::process::Command::new(&place.program);
        let output = command
            .args(arguments)
            // A program that exits at once does not clean up.
            .env("TMPDIR", place.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
    let server = ByHand::start(place.command(&["--listen", "127.0.0.1:0"]));
    let output = place
        .command(&["--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains(&format!("process {}", server.child.id())),
        "{said}"
    );
}

#[test]
fn the_environment_stands_below_the_command_line() {
    let place = Place::new();
    let mut command = place.command(&[]);
    command
        .env("OUTLAST_LISTEN", "127.0.0.1:0")
        .env("OUTLAST_TASK", "sometimes");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "the environment is read");
    let mut command = place.command(&["--task", "optional"]);
    command
        .env("OUTLAST_LISTEN", "127.0.0.1:0")
        .env("OUTLAST_TASK", "sometimes");
    let server = ByHand::start(command);
    assert!(!server.address.ends_with(":9876"));
}

#[test]
fn a_blocking_handler_does_not_hold_up_the_end() {
    let place = Place::new();
    let arguments = ["--listen", "127.0.0.1:0", "--shutdown-grace", "0s"];
    let mut server = ByHand::start(place.command(&arguments));
    let call = json!({"name": "block", "arguments": {"ms": 3_000_000}});
    let created = over_http(&server.address, "tools/call", "block", call);
    let task = created["taskId"].as_str().unwrap();
    let seen = over_http(&server.address, "tasks/get", task, json!({"taskId": task}));
    assert_eq!(seen["status"], "working");
    kill("-TERM", server.child.id());
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let server = ByHand::start(place.command(&arguments));
    let seen = over_http(&server.address, "tasks/get", task, json!({"taskId": task}));
    assert_eq!(seen["status"], "working", "it was handed back");
}
