//! A planted secret: given to a command that tells it to everybody, and then looked for everywhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::rig::{Rig, eventually, outlast};
use crate::serve::Server;

const SECRET: &str = "hunter2-correct-horse";

const FILE: &str = r#"
[server]
store = "sqlite:outlast.db"
task = "optional"

[tools.login]
description = "Logs in, and talks too much."
shell = true
command = '''
test "$ARG_PASSWORD" = "$EXPECTED" || exit 3
echo "100 of 100 logged in with $ARG_PASSWORD"
printf 'in pieces: hunter2-'; sleep 0.4; echo 'correct-horse'
echo "{\"password\": \"$ARG_PASSWORD\"}" >&2
'''
env = { EXPECTED = "{password}" }
progress = ['(?P<done>\d+) of (?P<total>\d+) (?P<message>.*)']

[tools.login.arguments.user]
type = "string"

[tools.login.arguments.password]
type = "string"
secret = true
"#;

fn run(rig: &Rig, words: &[&str]) -> Output {
    let output = Command::new(outlast())
        .args(words)
        .current_dir(rig.file(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(
        !holds(&told),
        "{words:?}: {}",
        String::from_utf8_lossy(&told)
    );
    output
}

fn holds(bytes: &[u8]) -> bool {
    bytes
        .windows(SECRET.len())
        .any(|window| window == SECRET.as_bytes())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn a_secret_is_found_nowhere() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let server = Server::start(&rig);
    let url = ["--url", server.url.as_str()];
    let ask = |words: &[&str]| run(&rig, &[words, &url].concat());
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let password = format!("password={SECRET}");
    for mode in ["--wait", "--task", ""] {
        let mut words = vec!["call", "login", "user=alice", &password];
        words.extend([mode].iter().filter(|mode| !mode.is_empty()));
        let called = ask(&words);
        assert!(
            called.status.success(),
            "{}",
            String::from_utf8_lossy(&called.stderr)
        );
    }
    // What a surface shows in its place is no secret: nothing is started with it.
    for mode in ["--wait", "--task", ""] {
        let mut words = vec!["call", "login", "user=alice", "password=•••"];
        words.extend([mode].iter().filter(|mode| !mode.is_empty()));
        let refused = ask(&words);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && told.contains("/password"),
            "{told}"
        );
    }
    let listed = server.fetched("/tasks");
    assert!(!holds(listed.as_bytes()), "{listed}");
    let ids: Vec<&str> = listed
        .split('"')
        .filter(|word| word.len() == 36 && word.matches('-').count() == 4)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    assert!(!ids.is_empty(), "{listed}");
    for id in ids {
        let result = ask(&["tasks", "result", id]);
        assert!(result.status.success());
        let result = text(&result);
        assert!(result.contains("logged in with"), "{result}");
        let log = text(&ask(&["tasks", "logs", id]));
        assert!(log.contains("logged in with •••"), "{log}");
        assert!(log.contains("in pieces: •••"), "{log}");
        ask(&["tasks", "show", id]);
        let shown = server.fetched(&format!("/tasks/{id}"));
        assert!(shown.contains("alice") && shown.contains("•••"), "{shown}");
        assert!(!holds(shown.as_bytes()), "{shown}");
    }
    for path in files(&rig.file("")) {
        match std::fs::read(&path) {
            Ok(bytes) => assert!(!holds(&bytes), "{}", path.display()),
            // What is left of a run goes when the server has taken it in.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
    }
    let key = std::fs::metadata(rig.file("outlast.db.key")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&key) & 0o777, 0o600);
}

#[tokio::test]
async fn a_running_command_is_adopted_whatever_its_file_says_of_arguments_by_now() {
    let rig = Rig::new();
    let file = r#"
[server]
store = "sqlite:outlast.db"

[tools.work]
description = "Works with a secret."
shell = true
command = 'echo begun > begun; while ! [ -e go ]; do sleep 0.01; done; echo "it is ${#ARG_TOKEN} long"'
arguments.token = { type = "string", secret = true }
"#;
    std::fs::write(rig.file("outlast.toml"), file).unwrap();
    let mut server = Server::start(&rig);
    let token = format!("token={SECRET}");
    let words = ["call", "work", &token, "--no-wait", "--url", &server.url];
    let called = String::from_utf8(run(&rig, &words).stdout).unwrap();
    let id = called.trim();
    eventually("the command runs", || {
        rig.file("begun").exists().then_some(())
    })
    .await;
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let more = format!("{file}arguments.region = {{ type = \"string\" }}\n");
    std::fs::write(rig.file("outlast.toml"), more).unwrap();
    let server = Server::start(&rig);
    std::fs::write(rig.file("go"), "").unwrap();
    let result = run(&rig, &["tasks", "result", id, "--url", &server.url]);
    let text = String::from_utf8(result.stdout).unwrap();
    assert_eq!(text, format!("it is {} long\n", SECRET.len()));
}

/// A server starts on a copied store and opens what was sealed in the first one.
#[tokio::test]
async fn secrets_go_on_in_a_copied_store() {
    let rig = Rig::new();
    let file = r#"
[server]
store = "sqlite:outlast.db"

[tools.work]
description = "Works with a secret."
shell = true
command = 'echo "it is ${#ARG_TOKEN} long"'
arguments.token = { type = "string", secret = true }
"#;
    std::fs::write(rig.file("outlast.toml"), file).unwrap();
    let mut server = Server::start(&rig);
    // By its socket, where whoever has the store may do everything.
    let paused = run(&rig, &["pause", "work"]);
    assert!(paused.status.success(), "{paused:?}");
    let token = format!("token={SECRET}");
    let words = ["call", "work", &token, "--no-wait", "--url", &server.url];
    let called = String::from_utf8(run(&rig, &words).stdout).unwrap();
    let id = called.trim();
    server.child.kill().unwrap();
    server.child.wait().unwrap();

    let copy = ["store", "copy", "sqlite:outlast.db", "sqlite:moved/two.db"];
    let copied = run(&rig, &copy);
    let said = String::from_utf8(copied.stdout).unwrap();
    assert!(
        copied.status.success() && said.contains("two.db.key"),
        "{said}"
    );
    let json = run(&rig, &[&copy[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let key = json["key"]["file"].as_str().unwrap();
    assert!(key.ends_with("moved/two.db.key"), "{json}");

    let file = file.replace("sqlite:outlast.db", "sqlite:moved/two.db");
    std::fs::write(rig.file("outlast.toml"), file).unwrap();
    let server = Server::start(&rig);
    let resumed = run(&rig, &["resume", "work"]);
    assert!(resumed.status.success(), "{resumed:?}");
    let result = run(&rig, &["tasks", "result", id, "--url", &server.url]);
    let text = String::from_utf8_lossy(&result.stdout);
    let said = String::from_utf8_lossy(&result.stderr);
    assert_eq!(text, format!("it is {} long\n", SECRET.len()), "{said}");
}

#[test]
fn a_secret_in_the_words_of_a_command_is_refused() {
    let rig = Rig::new();
    let file = r#"
[tools.login]
description = "Logs in."
command = ["login", "{password}"]
[tools.login.arguments.password]
type = "string"
secret = true
"#;
    std::fs::write(rig.file("outlast.toml"), file).unwrap();
    let checked = run(&rig, &["check"]);
    assert_eq!(checked.status.code(), Some(2));
    let sentence = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(sentence.contains("give it by env"), "{sentence}");
}
