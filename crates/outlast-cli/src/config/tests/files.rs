//! Files as a whole: the sample, the reference, settings, and what is warned of.

use std::path::Path;
use std::time::Duration;

use outlast_engine::TaskSupport;

use super::super::*;
use super::{message, parse};

#[test]
fn the_sample_is_complete_and_the_repository_ships_it() {
    let config = parse(SAMPLE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.tools.len(), 3);
    let names: Vec<_> = config.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(
        names,
        ["count", "word_count", "find_files"],
        "in the order of the file"
    );
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../outlast.toml");
    // Absent where only this crate was unpacked.
    if let Ok(shipped) = std::fs::read_to_string(shipped) {
        assert_eq!(
            shipped, SAMPLE,
            "copy src/config/sample.toml to outlast.toml"
        );
    }
}

/// The reference names every key, and its examples are good.
#[test]
fn the_reference_is_true() {
    let reference = REFERENCE;
    let keys = [
        &server::KEYS[..],
        &tool::KEYS,
        &order::KEYS,
        &argument::KEYS,
        &schedule::KEYS,
    ]
    .concat();
    for key in keys {
        assert!(
            reference.contains(&format!("`{key}`")),
            "{key} is not in reference.md"
        );
    }
    let examples: Vec<&str> = reference
        .split("```toml")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 2);
    for example in examples {
        parse(example).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_sample_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    write_sample(&path).unwrap();
    FileConfig::load(&path).unwrap();
    std::fs::write(&path, "# mine").unwrap();
    assert_eq!(
        write_sample(&path).unwrap_err().kind(),
        std::io::ErrorKind::AlreadyExists
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# mine");
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let missing = FileConfig::load(&folder.path().join("none.toml"))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("none.toml: cannot be read") && missing.contains("outlast init"));
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    assert!(
        FileConfig::load(&binary)
            .unwrap_err()
            .to_string()
            .contains("UTF-8")
    );
}

#[test]
fn impossible_servers_and_files_are_named() {
    for (text, part) in [
        (
            "[server]\nlisten = \"9876\"",
            "outlast.toml:2: server.listen: \"9876\" is not an address",
        ),
        (
            "[server]\nlisten = \"localhost:99999\"",
            "is not an address",
        ),
        (
            "[server]\nstore = \"postgres://x\"",
            "allowed: sqlite:PATH or redis://HOST",
        ),
        (
            "[server]\nstore = \"sqlite::memory:\"",
            "allowed: sqlite:PATH or redis://HOST",
        ),
        ("[server]\nlease = \"1s\"", "2s to 1h"),
        ("[server]\nworker_labels = [\"a b\"]", "region=eu"),
        ("[server]\nhealth = \"9877\"", "IP:PORT"),
        ("[server]\nconcurrency = -1", "out of range"),
        (
            "[server]\nlog_level = \"verbose\"",
            "allowed: off, error, warn",
        ),
        (
            "[sever]",
            "outlast.toml:1: sever: unknown key; did you mean \"server\"?",
        ),
        (
            "tools = 1",
            "outlast.toml:1: tools: an integer where a table is needed",
        ),
        (
            "[tools]\nx = 1",
            "outlast.toml:2: tools.x: an integer where a table is needed",
        ),
        (
            "[tools.\"a b\"]\ndescription = \"d\"\ncommand = [\"p\"]",
            "not a name for a tool",
        ),
        (
            "[tools.task_wait]\ndescription = \"d\"\ncommand = [\"p\"]",
            "choose another",
        ),
        (
            "[tools.t]\ncommand = [\"p\"]",
            "outlast.toml:1: tools.t.description: missing",
        ),
        ("a = 1\na = 2", "outlast.toml:2: not TOML: duplicate key"),
        ("\n\n[server\n", "outlast.toml:3: not TOML: "),
    ] {
        let message = message(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn settings_are_read_and_paths_resolved() {
    let config = parse(
        r#"[server]
name = "team"
listen = "localhost:9876"
store = "sqlite:data/o.db"
task = "required"
retention = "2d"
concurrency = 4
synchronous = "normal"
idle_exit = "5m"
allowed_hosts = ["box.local"]
log_level = "debug"
shutdown_grace = "10s"
lease = "5s"
no_worker_timeout = "7d"
worker_labels = ["gpu", "region=eu"]
health = "127.0.0.1:9877"
health_metrics = true
"#,
    )
    .unwrap();
    let expected = ServerConfig {
        name: Some("team".into()),
        listen: Some("localhost:9876".into()),
        store: Some("sqlite:/etc/outlast/data/o.db".into()),
        task: Some(TaskSupport::Required),
        retention: Some(Duration::from_secs(2 * 86400)),
        concurrency: Some(4),
        synchronous: Some("normal"),
        idle_exit: Some(Duration::from_secs(300)),
        allowed_hosts: Some(vec!["box.local".into()]),
        log_level: Some("debug"),
        shutdown_grace: Some(Duration::from_secs(10)),
        lease: Some(Duration::from_secs(5)),
        no_worker_timeout: Some(Duration::from_secs(7 * 86400)),
        worker_labels: Some(vec!["gpu".into(), "region=eu".into()]),
        health: Some("127.0.0.1:9877".parse().unwrap()),
        health_metrics: Some(true),
        ..ServerConfig::default()
    };
    assert_eq!(config.server, expected);
    assert_eq!(parse("").unwrap().server, ServerConfig::default());
    let absolute = parse("[server]\nstore = \"sqlite:/var/o.db\"").unwrap();
    assert_eq!(absolute.server.store.as_deref(), Some("sqlite:/var/o.db"));
    parse("[server]\nlisten = \"[::1]:0\"").unwrap();
}

#[test]
fn what_users_would_find_of_one_another_is_warned_of() {
    let users = "[auth]\ntokens = \"tokens\"\n";
    let socket = "[server]\nlisten = \"unix:s\"\n";
    let tool = "[tools.t]\ndescription = \"d\"\ncommand = [\"p\"]\n";
    for (before, more, expected) in [
        (
            users,
            "artifacts = [\"out/*\"]",
            Some("tools.t.artifacts: "),
        ),
        (users, "log_file = \"app.log\"", Some("tools.t.log_file: ")),
        (socket, "log_file = \"app.log\"", Some("tools.t.log_file: ")),
        // Nobody else is there; nothing is shared; one at a time.
        ("", "log_file = \"app.log\"", None),
        (users, "", None),
        (users, "log_file = \"app.log\"\nown_folder = true", None),
        (users, "artifacts = [\"out/*\"]\nmax_running = 1", None),
        (
            users,
            "log_file = \"a\"\nmax_running = 2",
            Some("tools.t.log_file: "),
        ),
        (
            users,
            "log_file = \"a\"\nmax_running_per_owner = 1",
            Some("tools.t.log_file: "),
        ),
    ] {
        let config = parse(&format!("{before}{tool}{more}\n"));
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        match (config.warnings().as_slice(), expected) {
            ([], None) => {}
            ([warning], Some(expected)) if warning.starts_with(expected) => {}
            other => panic!("{more}: {other:?}"),
        }
    }
}
