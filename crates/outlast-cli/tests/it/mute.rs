//! A server whose log cannot be written: on a full disk, or into a pipe that nobody reads any more.

use std::fs::File;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Rig, eventually, outlast};

const FILE: &str = r#"
[server]
name = "mute"
listen = "127.0.0.1:0"
store = "sqlite:outlast.db"
log_level = "debug"

[tools.echo]
description = "Says it again."
command = ["echo", "{word}"]
task = "optional"
arguments.word = { type = "string", description = "What to say." }
"#;

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut server = Command::new(outlast())
        .arg("serve")
        .current_dir(rig.file(""))
        .stdin(Stdio::null())
        .stderr(full)
        .spawn()
        .unwrap();
    let call = |delay: &[&str]| {
        let called = Command::new(outlast())
            .args(["call", "echo", "word=heard", "--wait"])
            .args(delay)
            .current_dir(rig.file(""))
            .env_remove("OUTLAST_URL")
            .env_remove("OUTLAST_STORE")
            .output()
            .unwrap();
        (called.status.code() == Some(0)).then(|| String::from_utf8(called.stdout).unwrap())
    };
    let out = eventually("it serves", || call(&[])).await;
    assert_eq!(out, "heard\n");
    // Reads the file anew, and says so.
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    // What is due is done by a thread that logs as well.
    let out = eventually("what is due is done", || call(&["--delay", "100ms"])).await;
    assert_eq!(out, "heard\n");
    assert!(server.try_wait().unwrap().is_none(), "it goes on");
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0), "a clean end");
}
