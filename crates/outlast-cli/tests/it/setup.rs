//! What is done around a server: a client's configuration, an examination, completions, the manual.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::rig::{Rig, outlast};

const FILE: &str = r#"
[server]
name = "jobs"
listen = "127.0.0.1:0"
store = "sqlite:outlast.db"

[tools.hello]
description = "Says hello."
command = ["echo", "hello"]
"#;

fn run(rig: &Rig, arguments: &[&str]) -> Output {
    let mut command = Command::new(outlast());
    command.args(arguments).current_dir(rig.file(""));
    // Nothing of the user who runs the tests.
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.env("HOME", rig.file("home"));
    command.output().unwrap()
}

fn ok(rig: &Rig, arguments: &[&str]) -> String {
    let output = run(rig, arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_client_is_given_the_server_and_keeps_everything_else() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let file = rig.file("home/.cursor/mcp.json");
    let said = ok(&rig, &["install", "cursor"]);
    assert!(said.contains("\"jobs\" was written"), "{said}");
    let written: Value = serde_json::from_str(&read(&file)).unwrap();
    let entry = &written["mcpServers"]["jobs"];
    let config = std::path::absolute(rig.file("outlast.toml")).unwrap();
    assert_eq!(
        entry["command"],
        outlast().canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(
        entry["args"],
        json!(["serve", "--config", config.to_str().unwrap(), "--stdio"])
    );
    assert!(ok(&rig, &["install", "cursor"]).contains("already"));

    let theirs = "{\n  // theirs\n  \"mcpServers\": { \"other\": {\"command\": \"x\"} }\n}\n";
    std::fs::write(&file, theirs).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = ok(&rig, &["install", "cursor", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["done"], "written");
    let backup = Path::new(said["backup"].as_str().unwrap());
    assert_eq!(read(backup), theirs);
    assert!(read(&file).contains("// theirs") && read(&file).contains("\"other\""));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(ok(&rig, &["install", "cursor", "--remove"]).contains("taken out"));
    assert!(!read(&file).contains("jobs") && read(&file).contains("\"other\""));
    assert!(ok(&rig, &["install", "cursor", "--remove"]).contains("has no server"));

    // Over HTTP the token stays in the environment; a link stays a link.
    std::fs::create_dir_all(rig.file("home/.codex")).unwrap();
    std::fs::write(rig.file("dotfile"), "# mine\n").unwrap();
    let link = rig.file("home/.codex/config.toml");
    std::os::unix::fs::symlink(rig.file("dotfile"), &link).unwrap();
    let http = ["--url", "https://a/mcp", "--token-env", "JOBS_TOKEN"];
    ok(&rig, &[&["install", "codex"], &http[..]].concat());
    assert!(link.is_symlink());
    let toml = read(&rig.file("dotfile"));
    assert!(toml.starts_with("# mine\n"), "{toml}");
    assert!(
        toml.contains("bearer_token_env_var = \"JOBS_TOKEN\""),
        "{toml}"
    );

    let printed = ok(&rig, &["install", "vscode", "--print", "--name", "x"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["servers"]["x"]["type"], "stdio");
    assert!(!rig.file("home/.config/Code").exists());
    ok(&rig, &["install", "claude-code", "--project"]);
    assert!(read(&rig.file(".mcp.json")).contains("jobs"));
}

#[test]
fn what_cannot_be_installed_is_said_and_nothing_is_written() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    std::fs::create_dir_all(rig.file("home/.gemini")).unwrap();
    let broken = rig.file("home/.gemini/settings.json");
    std::fs::write(&broken, "{ no").unwrap();
    for (arguments, part) in [
        (&["install", "notepad"][..], "claude-desktop"),
        (&["install", "gemini"], "was left alone"),
        (
            &["install", "claude-desktop", "--url", "http://a/mcp"],
            "--url",
        ),
        (&["install", "cursor", "--url", "a"], "http://"),
        (&["install", "claude-desktop", "--project"], "--project"),
        (
            &["install", "cursor", "--config", "nowhere.toml"],
            "nowhere.toml",
        ),
    ] {
        let output = run(&rig, arguments);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains(part), "{arguments:?}: {err}");
    }
    assert_eq!(read(&broken), "{ no");
    assert!(!rig.file("home/.cursor").exists());
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let examine = |code: i32| -> Value {
        let output = run(&rig, &["doctor", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let level = |found: &Value, what: &str| {
        let checks = found["checks"].as_array().unwrap().iter();
        let of = checks.filter(|one| one["check"] == what);
        of.map(|one| one["level"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // A disk that is nearly full, or slow, is one that the machine of the tests may have.
    let found = examine(0);
    for what in [
        "configuration",
        "store",
        "key",
        "server",
        "address",
        "commands",
        "clients",
    ] {
        assert_eq!(level(&found, what), ["ok"], "{what}: {found}");
    }
    let key = rig.file("outlast.db.key");
    std::fs::write(&key, "").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(
        rig.file("outlast.toml"),
        FILE.replace("[\"echo\"", "[\"no-such-program\""),
    )
    .unwrap();
    let found = examine(1);
    assert_eq!(level(&found, "key"), ["fail"]);
    assert_eq!(level(&found, "tool"), ["warn"]);
    std::fs::write(rig.file("outlast.toml"), "[server]\nlisten = 7\n").unwrap();
    assert_eq!(level(&examine(1), "configuration"), ["fail"]);
    let said = run(&rig, &["doctor"]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(
        text.contains("fail  configuration") && text.contains("→ "),
        "{text}"
    );
}

#[test]
fn the_doctor_runs_nothing_that_was_laid_out_for_it() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let temp = rig.file("tmp");
    std::fs::create_dir(&temp).unwrap();
    let spec = rig.spec(&["/bin/sh", "-c", "touch was-run"]);
    let spec = serde_json::to_string(&spec).unwrap();
    std::fs::write(rig.file("spec.json"), spec).unwrap();
    // The shell has the id that the doctor has after it.
    let script = "for place in \"$TMPDIR\"/outlast-doctor-$$ .outlast-doctor-$$; do
                      mkdir $place; cp spec.json $place/; done
                  exec \"$0\" doctor";
    let said = Command::new("/bin/sh")
        .args(["-c", script])
        .arg(outlast())
        .current_dir(rig.file(""))
        .env("TMPDIR", &temp)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(text.contains("ok    commands"), "{text}");
    assert!(!rig.file("was-run").exists());
}

#[test]
fn shells_and_manuals_know_every_command() {
    let rig = Rig::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = ok(&rig, &["completions", shell]);
        assert!(
            text.contains("prune") && text.contains("outlast"),
            "{shell}"
        );
    }
    assert!(ok(&rig, &["man"]).contains(".TH outlast 1"));
    ok(&rig, &["man", "--dir", "pages"]);
    assert!(read(&rig.file("pages/outlast-tasks-prune.1")).contains("older"));
    assert!(ok(&rig, &["settings"]).contains("`OUTLAST_LISTEN`"));
    let alone = run(&rig, &[]);
    assert_eq!(alone.status.code(), Some(2));
    assert!(
        String::from_utf8(alone.stderr)
            .unwrap()
            .contains("outlast dev")
    );
}
