//! A server with users, as people meet it: `outlast token`, `outlast serve`, and what each of them sees.

use std::process::{Command, Output, Stdio};

use crate::rig::{Rig, eventually, outlast};
use crate::serve::Server;

const FILE: &str = r#"
[server]
store = "sqlite:outlast.db"

[auth]
tokens = "tokens.json"

[tools.wait]
description = "Waits."
command = ["sleep", "600"]
"#;

fn run(rig: &Rig, token: Option<&str>, words: &[&str]) -> Output {
    let mut command = Command::new(outlast());
    command
        .args(words)
        .current_dir(rig.file(""))
        .stdin(Stdio::null())
        .env_remove("OUTLAST_TOKEN");
    if let Some(token) = token {
        command.env("OUTLAST_TOKEN", token);
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .trim()
        .to_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn each_sees_its_own_and_what_is_shared() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let token = |name: &str| {
        let output = run(&rig, None, &["token", "add", name, "--group", "ops"]);
        assert!(output.status.success(), "{}", complained(&output));
        said(&output)
    };
    let (alice, bob) = (token("alice"), token("bob"));
    let stored = std::fs::read_to_string(rig.file("tokens.json")).unwrap();
    assert!(!stored.contains(&alice));
    let listed = said(&run(&rig, None, &["token", "list"]));
    assert!(listed.contains("alice  tasks:run  in ops"), "{listed}");

    let server = Server::start(&rig);
    let ask = |token: Option<&str>, words: &[&str]| {
        let words = [words, &["--url", server.url.as_str()]].concat();
        run(&rig, token, &words)
    };
    let nobody = ask(None, &["tools"]);
    assert_eq!(nobody.status.code(), Some(5), "{}", complained(&nobody));

    let made = ask(Some(&alice), &["call", "wait", "--task"]);
    let id = said(&made);
    assert_eq!(id.len(), 36, "{}", complained(&made));
    let show = |token: &str| ask(Some(token), &["tasks", "show", &id]).status.code();
    assert_eq!(show(&alice), Some(0));
    assert_eq!(show(&bob), Some(6));
    assert!(said(&ask(Some(&alice), &["tasks", "list"])).contains(&id));
    assert!(!said(&ask(Some(&bob), &["tasks", "list"])).contains(&id));

    let shared = ask(
        Some(&alice),
        &["tasks", "share", &id, "--with", "group:ops"],
    );
    assert_eq!(said(&shared), format!("{id}  group:ops may read"));
    assert_eq!(show(&bob), Some(0));
    let back = ask(
        Some(&alice),
        &["tasks", "share", &id, "--with", "group:ops", "--revoke"],
    );
    assert!(back.status.success(), "{}", complained(&back));
    assert_eq!(show(&bob), Some(6));

    // Whoever runs the server sees all of it, by the store's socket.
    let socket = format!("unix:{}", rig.file("outlast.db.sock").display());
    let operator = run(&rig, None, &["tasks", "show", &id, "--url", &socket]);
    assert!(operator.status.success(), "{}", complained(&operator));

    let cancelled = ask(Some(&alice), &["tasks", "cancel", &id]);
    assert!(cancelled.status.success(), "{}", complained(&cancelled));
    assert!(
        run(&rig, None, &["token", "revoke", "alice"])
            .status
            .success()
    );
    eventually("the token is refused", || {
        (show(&alice) == Some(5)).then_some(())
    })
    .await;
    assert_eq!(show(&bob), Some(6), "and the others are not");
}

#[test]
fn nothing_listens_to_other_machines_without_users() {
    let rig = Rig::new();
    let file = FILE.replace("tokens = \"tokens.json\"", "");
    std::fs::write(rig.file("outlast.toml"), file).unwrap();
    let refused = run(&rig, None, &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status.code(), Some(2));
    let sentence = complained(&refused);
    assert!(
        sentence.contains("will not listen on 0.0.0.0:0"),
        "{sentence}"
    );
    assert!(sentence.contains("--auth-tokens"), "{sentence}");
}

#[test]
fn a_token_file_that_is_broken_starts_nothing() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    std::fs::write(rig.file("tokens.json"), "{").unwrap();
    let refused = run(&rig, None, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2));
    let sentence = complained(&refused);
    assert!(
        sentence.contains("auth.tokens: the token file"),
        "{sentence}"
    );
}

#[tokio::test]
async fn a_socket_knows_its_users_and_speaks_both_ways() {
    let rig = Rig::new();
    std::fs::write(rig.file("outlast.toml"), FILE).unwrap();
    let address = format!("unix:{}", rig.file("all.sock").display());
    let server = Server::start_at(&rig, &address);
    assert_eq!(server.url, address);
    let listed = run(&rig, None, &["tools", "--url", &address]);
    assert!(said(&listed).contains("wait"), "{}", complained(&listed));
    let stream = std::os::unix::net::UnixStream::connect(rig.file("all.sock")).unwrap();
    let mut stream = &stream;
    std::io::Write::write_all(&mut stream, b"GET /sse HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 410"), "{answer}");
}
