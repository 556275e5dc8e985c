//! The subcommands that need no server.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::rig::outlast;

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(outlast())
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn init_writes_a_file_that_check_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = run(folder.path(), &["init"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("outlast.toml written"), "{out}");
    let (code, out, err) = run(folder.path(), &["check"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "outlast.toml: ok; tools: count, word_count, find_files\n"
    );
    let (code, out, _) = run(folder.path(), &["check", "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &document["tools"][1]["inputSchema"]["type"]),
        (0, &"object".into())
    );

    let (code, _, err) = run(folder.path(), &["init"]);
    assert_eq!(code, 2);
    assert!(err.contains("exists and was left alone"), "{err}");
}

#[test]
fn check_tells_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = run(folder.path(), &["check"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("outlast.toml: cannot be read") && err.contains("outlast init"),
        "{err}"
    );

    let file = folder.path().join("my.toml");
    std::fs::write(
        &file,
        "[tools.t]\ndescription = \"d\"\ncommand = [\"p\"]\ntimeot = \"1s\"\n",
    )
    .unwrap();
    let (code, out, err) = run(folder.path(), &["check", "--config", "my.toml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.starts_with("my.toml:4: tools.t.timeot: unknown key; did you mean"),
        "{err}"
    );

    std::fs::write(
        &file,
        "[tools.t]\ndescription = \"d\"\ncommand = [\"no-such-program\"]\n",
    )
    .unwrap();
    let (code, _, err) = run(folder.path(), &["check", "--config", "my.toml"]);
    assert_eq!(code, 0);
    assert!(
        err.contains("no program \"no-such-program\" is found"),
        "{err}"
    );
}

#[test]
fn a_call_without_a_subcommand_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = run(folder.path(), &[]);
    assert_eq!(code, 2);
    assert!(
        err.contains("Usage: outlast") && !err.contains("__exec"),
        "{err}"
    );
    assert_eq!(run(folder.path(), &["frobnicate"]).0, 2);
}

#[test]
fn serve_starts_nothing_from_a_wrong_file() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = run(folder.path(), &["serve"]);
    assert_eq!(code, 2);
    assert!(err.contains("outlast init"), "{err}");

    let file = folder.path().join("outlast.toml");
    let serve = |text: &str, flags: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let (code, out, err) = run(folder.path(), &[&["serve"][..], flags].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(!folder.path().join("o.db").exists(), "a store was made");
        err
    };
    let err = serve(
        "[server]\nstore = \"sqlite:o.db\"\nlisten = 1\n[tool.x]\n",
        &[],
    );
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(
        err.contains("outlast.toml:3: server.listen: an integer"),
        "{err}"
    );
    assert!(
        err.contains("outlast.toml:4: tool: unknown key; did you mean \"tools\"?"),
        "{err}"
    );
    let err = serve(
        "[server]\nstore = \"sqlite:o.db\"\n",
        &["--task", "sometimes"],
    );
    assert!(err.contains("forbidden, optional or required"), "{err}");
}
