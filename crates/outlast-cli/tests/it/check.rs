//! `check` and `doctor` refuse what `serve` refuses, in the same words, and make nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::rig::{Rig, outlast};

/// A configuration that no server starts with.
struct Bad {
    /// After `[server]`.
    server: &'static str,
    /// At the end of the file.
    more: &'static str,
    flags: &'static [&'static str],
    /// Of the sentence.
    part: &'static str,
}

const fn server(server: &'static str, part: &'static str) -> Bad {
    Bad {
        server,
        more: "",
        flags: &[],
        part,
    }
}

const fn more(more: &'static str, part: &'static str) -> Bad {
    Bad {
        server: "",
        more,
        flags: &[],
        part,
    }
}

const fn flags(flags: &'static [&'static str], part: &'static str) -> Bad {
    Bad {
        server: "",
        more: "",
        flags,
        part,
    }
}

const BAD: &[Bad] = &[
    server("listen = \"0.0.0.0:0\"", "there are no users"),
    flags(&["--listen", "[::]:0"], "there are no users"),
    flags(
        &["--listen", "192.0.2.1:0", "--allow-unauthenticated"],
        "no such address",
    ),
    flags(&["--health", "192.0.2.1:1"], "no such address"),
    flags(&["--listen", "unix:kept.txt"], "a file of another kind"),
    server("default_tool = \"nope\"", "is none of the tools"),
    server("concurrency = 0", "1 or more"),
    server("mcp_path = \"/tasks\"", "a path of the server's own"),
    server(
        "allowed_origins = [\"https://a.example/\"]",
        "write https://a.example",
    ),
    server("allowed_hosts = [\"http://a\"]", "no header Host"),
    flags(&["--store", "sqlite:kept.txt"], "kept.txt"),
    flags(
        &["--store", "sqlite:kept.txt/o.db"],
        "cannot make the folder",
    ),
    flags(&["--store", "sqlite:."], "name a file"),
    flags(&["--store", "redis://r?bogus=1"], "bogus"),
    flags(
        &["--store", "sqlite:other.db"],
        "belongs to the server \"other\"",
    ),
    flags(&["--store", "sqlite:open.db"], "chmod 600"),
    more("[auth]\ntokens = \"kept.txt\"\n", "kept.txt"),
    more(
        "[auth]\nresource = \"https://a.example/mcp\"\n",
        "no way to check one",
    ),
    more(
        "[auth]\ntokens = \"tokens.json\"\nresource = \"abc\"\n",
        "write a whole one",
    ),
    more(
        "[auth.user_info]\nprovider = \"github\"\nallow = [\"*@a.example\"]\n",
        "would let nobody in",
    ),
    more(
        "[auth.jwt]\nissuer = \"https://id.example\"\naudience = \"a\"\nowner_claim = \"\"\n",
        "owner_claim",
    ),
    more(
        "[webhooks]\nhosts = [\"a.example\"]\nsecret = \"env:OUTLAST_TEST_UNSET\"\n",
        "OUTLAST_TEST_UNSET",
    ),
    more("[tools.again]\ndescription = 7\n", "tools.again"),
];

fn run(rig: &Rig, arguments: &[&str]) -> Output {
    // A server that starts after all is ended, and found out by its code.
    Command::new("timeout")
        .arg("60")
        .arg(outlast())
        .args(arguments)
        .current_dir(rig.file("here"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", rig.file("home"))
        // What is logged on the way to the end is not what is compared.
        .env("OUTLAST_LOG_LEVEL", "off")
        .output()
        .unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    (output.status.code(), text)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn lay_out(rig: &Rig, server: &str, more: &str) {
    let text = format!(
        "[server]\nname = \"jobs\"\n{server}\n\n[tools.hello]\ndescription = \"Says hello.\"\n\
         command = [\"echo\", \"hello\"]\n\n{more}"
    );
    let file = |name: &str| rig.file("here").join(name);
    std::fs::create_dir_all(rig.file("here")).unwrap();
    std::fs::write(file("outlast.toml"), text).unwrap();
    std::fs::write(file("kept.txt"), "theirs, and no database at all\n").unwrap();
    std::fs::write(file("tokens.json"), "{\"tokens\": []}").unwrap();
    // A key that others may read.
    std::fs::write(file("open.db.key"), "").unwrap();
    let all = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(file("open.db.key"), all).unwrap();
    let options = outlast_sqlite::Options::new(file("other.db"), "other");
    drop(outlast_sqlite::SqliteStore::open(options).unwrap());
}

#[test]
fn check_and_doctor_refuse_what_serve_refuses() {
    for bad in BAD {
        let rig = Rig::new();
        lay_out(&rig, bad.server, bad.more);
        let before = names(&rig.file("here"));
        let with = |words: &[&str]| run(&rig, &[words, bad.flags].concat());
        let checked = said(&with(&["check"]));
        let what = format!("{:?} {:?} {:?}", bad.server, bad.more, bad.flags);
        assert_eq!(checked.0, Some(2), "{what}: {}", checked.1);
        assert!(checked.1.contains(bad.part), "{what}: {}", checked.1);
        let doctor = with(&["doctor", "--json"]);
        assert_eq!(doctor.status.code(), Some(1), "{what}");
        let found: Value = serde_json::from_slice(&doctor.stdout).unwrap();
        let failed = found["checks"].as_array().unwrap().iter().any(|check| {
            check["level"] == "fail" && check["said"].as_str().unwrap().contains(bad.part)
        });
        assert!(failed, "{what}: {found}");
        assert_eq!(
            names(&rig.file("here")),
            before,
            "{what}: something was made"
        );
        assert!(!rig.file("home").exists(), "{what}: something was made");
        assert_eq!(said(&with(&["serve"])), checked, "{what}");
    }
}

#[test]
fn what_only_this_machine_lacks_is_warned_of() {
    let rig = Rig::new();
    let tool = "[tools.away]\ndescription = \"d\"\ncommand = [\"echo\"]\nworking_dir = \"gone\"\n";
    lay_out(&rig, "store = \"sqlite:o.db\"", tool);
    // By its name, as `dev` and `init` take it.
    let checked = run(&rig, &["check", "outlast.toml"]);
    let (code, told) = said(&checked);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with("warning: tools.away.working_dir: there is no folder"),
        "{told}"
    );
    let doctor = run(
        &rig,
        &["doctor", "-c", "outlast.toml", "--listen", "127.0.0.1:0"],
    );
    let text = String::from_utf8(doctor.stdout).unwrap();
    assert!(
        text.contains("warn  tool") && text.contains("ok    start"),
        "{text}"
    );
}
