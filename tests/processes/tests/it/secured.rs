//! A Redis that lets in only who has a certificate, a name and a password, and lets that one touch only its
//! own keys.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outlast_processes::{Redis, Server, binary, eventually, free_port};
use serde_json::json;

/// Certificates, made for this test.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().expect("a folder"));
        this.make("ca", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        let (ca, key) = (this.path("ca.pem"), this.path("ca.key"));
        let signed = ["-CA", text(&ca), "-CAkey", text(&key)];
        let end = ["-addext", "basicConstraints=critical,CA:FALSE"];
        let name = ["-addext", "subjectAltName=IP:127.0.0.1"];
        this.make("server", &[&signed[..], &end, &name].concat());
        this.make("client", &[&signed[..], &end].concat());
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `openssl` is there wherever Redis with TLS is.
    fn make(&self, name: &str, more: &[&str]) {
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj"])
            .arg(format!("/CN={name}"))
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")))
            .arg("-out")
            .arg(self.path(&format!("{name}.pem")))
            .args(more)
            .stdin(Stdio::null());
        let made = command.output().expect("openssl is needed");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

fn server(store: &str, folder: &Path) -> Server {
    let arguments = ["--listen", "127.0.0.1:{port}", "--store", store];
    Server::new(&binary("conformance-server"), &arguments, folder)
}

/// What a server that does not start says.
fn refused(store: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = server(store, folder.path());
    server.launch();
    let status = eventually("its end", || server.ended());
    assert!(!status.success(), "{store}");
    let log = server.log();
    assert!(!log.contains("secret"), "no password is printed: {log}");
    log
}

/// What is found out about a store without starting anything.
fn doctor(store: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binary("outlast"));
    command.arg("doctor").current_dir(folder.path());
    command
        .env("OUTLAST_STORE", store)
        .env("HOME", folder.path());
    command.env_remove("XDG_STATE_HOME");
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("ecret@"), "no password is printed: {said}");
    said
}

#[test]
fn tls_a_user_and_a_prefix() {
    let files = Certificates::new();
    let port = free_port();
    let number = port.to_string();
    let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(|name| files.path(name));
    let redis = Redis::with(&[
        "--tls-port",
        &number,
        "--tls-auth-clients",
        "yes",
        "--tls-ca-cert-file",
        text(&ca),
        "--tls-cert-file",
        text(&cert),
        "--tls-key-file",
        text(&key),
    ]);
    // What an error advises is enough.
    let user = "ACL SETUSER ann on >secret ~{team}* &{team}* +@all -@dangerous +info +config|get";
    assert_eq!(redis.call(user).expect("it is there"), "+OK\r\n");
    let nobody = redis.call("ACL SETUSER default off");
    assert_eq!(nobody.expect("it is there"), "+OK\r\n");

    let [cert, key] = ["client.pem", "client.key"].map(|name| files.path(name));
    let trusted = format!("ca={}", ca.display());
    let shown = format!("cert={}&key={}", cert.display(), key.display());
    let host = format!("127.0.0.1:{port}");
    let good = format!("rediss://ann:secret@{host}?prefix=team&{trusted}&{shown}");
    for (address, reason) in [
        (good.replace(&trusted, "protocol=2"), "cannot be reached"),
        (good.replace(&shown, "protocol=2"), "cannot be reached"),
        (good.replace("rediss", "redis"), "only rediss:// uses"),
        (
            good.replace(&format!("&key={}", key.display()), ""),
            "belong together",
        ),
        (good.replace("prefix=", "db=1&prefix="), "\"db\""),
        (good.replace("ca.pem", "none.pem"), "cannot be read"),
        (
            good.replace(":secret@", ":wrong@"),
            "the user name or the password",
        ),
        (
            good.replace("prefix=team", "prefix=other"),
            "may not do what the store needs",
        ),
    ] {
        let said = refused(&address);
        assert!(said.contains(reason), "{reason}: {said}");
    }

    let found = doctor(&good.replace(":secret@", ":%73ecret@"));
    assert!(found.contains(&format!("{host} answers, ")), "{found}");
    assert!(found.contains("it keeps an append-only file"), "{found}");
    let found = doctor(&good.replace("prefix=team", "prefix=other"));
    assert!(found.contains("may not do what the store needs"), "{found}");

    let folder = tempfile::tempdir().expect("a folder");
    let mut server = server(&good, folder.path());
    server.start();
    let client = server.client();
    let ledger = folder.path().join("ledger");
    let call = json!({"name": "steps", "arguments": {"count": 3, "step_ms": 1, "ledger": ledger}});
    let made = client.modern("tools/call", call).expect("it answers");
    let id = made.result()["taskId"].clone();
    let task = eventually("the end of the task", || {
        let task = client.modern("tasks/get", json!({"taskId": id})).ok()?;
        Some(task.result().clone()).filter(|task| task["status"] != "working")
    });
    assert_eq!(task["status"], "completed", "{task}");
    // Files that Redis has open are gone after it.
    server.stop();
    drop(redis);
}
