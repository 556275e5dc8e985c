//! Standard output that takes nothing: the program says so and ends, and what was to be seen once is undone.

use std::fs::File;
use std::process::{Command, Output};

use crate::rig::{Rig, outlast};

const FILE: &str = r#"
[server]
name = "full"
listen = "127.0.0.1:0"
store = "sqlite:outlast.db"

[tools.echo]
description = "Says it."
command = ["echo", "it"]
"#;

fn run(rig: &Rig, arguments: &[&str], out: Option<File>) -> Output {
    let mut command = Command::new(outlast());
    command.args(arguments).current_dir(rig.file(""));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.env("HOME", rig.file("home"));
    if let Some(out) = out {
        command.stdout(out);
    }
    command.output().unwrap()
}

#[test]
fn a_full_disk_behind_standard_output_is_told() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["init", "new.toml"],
        &["install", "cursor", "--print"],
        &["install", "cursor", "--json"],
        &["install", "cursor"],
        &["doctor"],
        &["doctor", "--json"],
        &["settings"],
        &["completions", "bash"],
        &["man"],
        &["token", "add", "alice", "--file", "tokens.json"],
        &["token", "add", "alice", "--file", "tokens.json", "--json"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = run(&rig, arguments, Some(full));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("standard output cannot be written"),
            "{arguments:?}: {said}"
        );
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
    // Nobody has seen the tokens, so there are none.
    let listed = run(&rig, &["token", "list", "--file", "tokens.json"], None);
    assert_eq!(listed.status.code(), Some(0));
    assert!(listed.stdout.is_empty(), "{listed:?}");
}
