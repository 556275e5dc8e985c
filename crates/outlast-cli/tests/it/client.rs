//! `outlast call`, `tools` and `tasks` against a running server: what they print, and with which
//! exit code they end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::rig::{Rig, eventually, outlast};
use crate::serve::Server;

const TOOLS: &str = r#"
[server]
name = "client-test"
listen = "127.0.0.1:0"
store = "sqlite:outlast.db"
task = "optional"

[tools.echo]
description = "Says it again."
command = ["printf", "%s %s\n", "{word}", "{times}"]
arguments.word = { type = "string", description = "What to say." }
arguments.times = { type = "integer", description = "How often.", default = 1, minimum = 1 }

[tools.fail]
description = "Fails."
command = ["sh", "-c", "echo reason >&2; exit 7"]

[tools.bytes]
description = "Prints what is no text."
command = ["printf", '\377\376\n']

# It ends with its folder, for a server that is killed leaves it running.
[tools.long]
description = "Takes its time."
shell = true
command = "echo begun; while [ -e outlast.toml ] && [ ! -e go ]; do sleep 0.05; done; echo ended"
"#;

const CAREFUL: &str = r#"
[tools.careful]
description = "Asks first."
command = ["echo", "done"]
confirm = true
"#;

struct World {
    rig: Rig,
    _server: Server,
    url: String,
}

impl World {
    fn new() -> Self {
        let rig = Rig::new();
        std::fs::write(rig.file("outlast.toml"), format!("{TOOLS}{CAREFUL}")).unwrap();
        let server = Server::start(&rig);
        let url = server.url.clone();
        Self {
            rig,
            _server: server,
            url,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(outlast());
        command
            .args(arguments)
            .current_dir(self.rig.file(""))
            .env_remove("OUTLAST_URL")
            .env_remove("OUTLAST_STORE");
        command
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        said(self.command(arguments).output().unwrap())
    }

    /// Standard output as JSON.
    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, out, err) = self.run(arguments);
        let document = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        (code, document)
    }
}

fn said(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn calls_and_their_exit_codes() {
    let world = World::new();
    // Found through the store of the configuration file in this folder.
    let (code, out, err) = world.run(&["call", "echo", "word=01", "times=2"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "01 2\n", ""));
    let (code, out, _) = world.run(&[
        "call",
        "echo",
        "--json-args",
        r#"{"word":"x","times":5}"#,
        "times:=3",
    ]);
    assert_eq!((code, out.as_str()), (0, "x 3\n"));
    let (code, document) = world.json(&["call", "echo", "word=x", "--json", "--url", &world.url]);
    assert_eq!((code, &document["status"]), (0, &json!("completed")));
    assert_eq!(document["result"]["structuredContent"]["exit_code"], 0);

    for (arguments, wanted, part) in [
        (&["call", "fail"][..], 1, "reason"),
        (&["call", "fail", "--wait"], 1, "reason"),
        (&["call", "echo", "word"], 2, "key=value"),
        (&["call", "echo", "wort=x"], 2, "it takes"),
        (
            &["call", "echo", "word=x", "times=many"],
            2,
            "not an integer",
        ),
        (&["call", "echo"], 2, "missing: word"),
        (
            &["call", "echo", "--json-args", "[]"],
            2,
            "not a JSON object",
        ),
        (&["call", "echo", "--header", "x"], 2, "Name: value"),
        (&["call", "echo", "--url", "localhost"], 2, "http://"),
        (&["call", "ecko"], 6, "bytes, careful, echo, fail, long"),
        (&["tasks", "show", "nothing"], 6, "nothing"),
        (
            &["tasks", "result", "00000000-0000-4000-8000-000000000000"],
            6,
            "not found",
        ),
        (&["tasks", "cancel", "nothing"], 6, "nothing"),
        (&["tasks", "logs", "nothing"], 6, "not found"),
        (
            &["tasks", "list", "--url", &world.url],
            3,
            "does not list tasks",
        ),
        (
            &["tools", "--url", "http://127.0.0.1:1/mcp"],
            5,
            "cannot connect",
        ),
        (
            &["tools", "--store", "sqlite:/nowhere.db"],
            5,
            "cannot connect",
        ),
        (&["tools", "--command", "false"], 5, "ended"),
        (&["tools", "nothing"], 6, "nothing"),
    ] {
        let (code, out, err) = world.run(arguments);
        assert_eq!((code, out.as_str()), (wanted, ""), "{arguments:?}: {err}");
        assert!(err.contains(part), "{arguments:?}: {err}");
    }
}

#[test]
fn arguments_can_come_from_standard_input() {
    let world = World::new();
    let mut child = world
        .command(&["call", "echo", "--json-args", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(br#"{"word":"in"}"#)
        .unwrap();
    assert_eq!(said(child.wait_with_output().unwrap()).1, "in 1\n");
}

#[test]
fn the_tools_are_listed() {
    let world = World::new();
    let (code, out, _) = world.run(&["tools"]);
    assert_eq!(code, 0);
    assert!(out.contains("echo\n    Says it again.\n"), "{out}");
    assert!(
        out.contains("times=integer [default: 1]  How often."),
        "{out}"
    );
    let (_, document) = world.json(&["tools", "long", "--json"]);
    assert_eq!(document["tools"][0]["name"], "long");
    assert_eq!(document["tools"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_life_of_a_task_from_the_shell() {
    let world = World::new();
    let (code, id, _) = world.run(&["call", "long", "--task"]);
    let id = id.trim();
    assert_eq!((code, id.len()), (0, 36));

    let (_, shown) = world.json(&["tasks", "show", id, "--json"]);
    assert_eq!(shown["status"], "working");
    let (_, listed) = world.json(&["tasks", "list", "--json"]);
    assert_eq!(listed["tasks"][0]["taskId"], id);
    assert_eq!(listed["tasks"][0]["_meta"]["outlast/tool"], "long");
    let (_, none) = world.json(&["tasks", "list", "--status", "failed", "--json"]);
    assert_eq!(none["tasks"], json!([]));
    eventually("the command has begun", || {
        world
            .run(&["tasks", "logs", id])
            .1
            .contains("begun")
            .then_some(())
    })
    .await;

    // Everybody who waits is told of the end.
    let waiting: Vec<_> = [
        &["tasks", "watch", id][..],
        &["tasks", "result", id],
        &["tasks", "logs", "-f", id],
    ]
    .into_iter()
    .map(|arguments| {
        let mut command = world.command(arguments);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    })
    .collect();
    std::fs::write(world.rig.file("go"), "").unwrap();
    let ends: Vec<_> = waiting
        .into_iter()
        .map(|child| said(child.wait_with_output().unwrap()))
        .collect();
    let [watched, result, logs] = &ends[..] else {
        panic!("three")
    };
    assert!(
        watched.0 == 0 && watched.1.contains("completed"),
        "{watched:?}"
    );
    assert_eq!((result.0, result.1.as_str()), (0, "begun\nended\n"));
    assert_eq!((logs.0, logs.1.as_str()), (0, "begun\nended\n"));
    // As often as wanted, in either era, over either way.
    for extra in [
        &["--url", &world.url][..],
        &["--protocol", "2025-11-25"],
        &[],
    ] {
        let arguments = [&["tasks", "result", id], extra].concat();
        assert_eq!(world.run(&arguments).1, "begun\nended\n", "{extra:?}");
    }
    let (code, out, _) = world.run(&["tasks", "cancel", id]);
    assert!(code == 0 && out.contains("had completed"), "{out}");
    assert_eq!(
        world.run(&["tasks", "logs", id, "--offset", "6"]).1,
        "ended\n"
    );
}

#[test]
fn a_log_is_printed_to_the_byte() {
    let world = World::new();
    let id = world.run(&["call", "bytes", "--task"]).1;
    let logs = ["tasks", "logs", id.trim(), "--follow"];
    for protocol in ["2026-07-28", "2025-11-25"] {
        let arguments = [&logs[..], &["--protocol", protocol]].concat();
        let printed = world.command(&arguments).output().unwrap();
        assert_eq!(printed.stdout, b"\xff\xfe\n", "{protocol}");
    }
}

#[tokio::test]
async fn a_cancelled_task_says_so() {
    let world = World::new();
    let (_, created) = world.json(&["call", "long", "--no-wait", "--json"]);
    let id = created["taskId"].as_str().unwrap();
    let (code, out, _) = world.run(&["tasks", "cancel", id]);
    assert!(code == 0 && out.contains("cancelled"), "{out}");
    let (code, document) = world.json(&["tasks", "result", id, "--json"]);
    assert_eq!((code, &document["status"]), (4, &json!("cancelled")));
    assert_eq!(world.run(&["tasks", "result", id]).0, 4);
    assert_eq!(world.run(&["tasks", "watch", id]).0, 4);
}

#[tokio::test]
async fn an_interrupt_ends_the_waiting_and_not_the_task() {
    let world = World::new();
    let child = world
        .command(&["call", "long", "--wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = eventually("there is a task", || {
        let (_, listed) = world.json(&["tasks", "list", "--json"]);
        listed["tasks"][0]["taskId"].as_str().map(str::to_owned)
    })
    .await;
    // Sent until it is heard: the program may not listen for it yet when its task exists.
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    eventually("the program listens for interrupts", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:\t"))
            .unwrap();
        let caught = u64::from_str_radix(caught, 16).unwrap();
        (caught & (1 << (Signal::INT.as_raw() - 1)) != 0).then_some(())
    })
    .await;
    kill_process(pid, Signal::INT).unwrap();
    let (code, out, err) = said(child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (130, ""));
    assert!(err.contains(&format!("outlast tasks watch {id}")), "{err}");
    assert_eq!(
        world.json(&["tasks", "show", &id, "--json"]).1["status"],
        "working"
    );
    std::fs::write(world.rig.file("go"), "").unwrap();
    assert_eq!(world.run(&["tasks", "result", &id]).1, "begun\nended\n");
}

#[tokio::test]
async fn tasks_come_after_others_and_are_found_by_labels() {
    let world = World::new();
    let (code, first) = world.json(&["call", "fail", "--no-wait", "--json"]);
    assert_eq!(code, 0);
    let first = first["taskId"].as_str().unwrap();
    let second = |on_failure: &str| {
        let (code, said) = world.json(&[
            "call",
            "echo",
            "word=x",
            "--after",
            first,
            "--on-failure",
            on_failure,
            "--label",
            "team=a b",
            "--priority",
            "-5",
            "--delay",
            "10ms",
            "--wait",
            "--json",
        ]);
        (code, said["taskId"].as_str().unwrap().to_owned())
    };
    let (code, ran) = second("run");
    assert_eq!(code, 0);
    assert_eq!(second("fail").0, 3, "its dependency failed");
    let (_, shown, _) = world.run(&["tasks", "show", &ran]);
    assert!(shown.contains("team=a b"), "{shown}");

    let (code, again) = world.json(&["tasks", "retry", &ran, "--json"]);
    assert_eq!(code, 0);
    let again = again["taskId"].as_str().unwrap();
    let (code, out, _) = world.run(&["tasks", "result", again]);
    assert_eq!((code, out.as_str()), (0, "x 1\n"));
    let (_, shown, _) = world.run(&["tasks", "show", again]);
    assert!(
        shown.contains(&ran) && shown.contains("team=a b"),
        "{shown}"
    );
    let (code, ..) = world.run(&["tasks", "retry", "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f"]);
    assert_eq!(code, 6);

    for (wrong, part) in [
        (
            &["--after", "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f"][..],
            "no such task",
        ),
        (&["--priority", "101"], "out of range"),
        (&["--label", "=x"], "label key"),
    ] {
        let call = [&["call", "echo", "word=x"], wrong].concat();
        let (code, _, err) = world.run(&call);
        assert!(code == 3 && err.contains(part), "{code} {err}");
    }
    let (code, ..) = world.run(&["call", "echo", "word=x", "--at", "tomorrow"]);
    assert_eq!(code, 2);
}

#[tokio::test]
async fn a_signal_is_stored_once() {
    let world = World::new();
    let (_, task) = world.json(&["call", "long", "--no-wait", "--json"]);
    let id = task["taskId"].as_str().unwrap();
    let send = |key: &str| {
        world.json(&[
            "tasks",
            "signal",
            id,
            "wish",
            "{\"n\":1}",
            "--idempotency-key",
            key,
            "--json",
        ])
    };
    assert_eq!(send("a"), (0, json!({"number": 1, "repeated": false})));
    assert_eq!(send("a"), (0, json!({"number": 1, "repeated": true})));
    assert_eq!(send("b"), (0, json!({"number": 2, "repeated": false})));
    let (code, _, err) = world.run(&["tasks", "signal", id, "wish", "{"]);
    assert!(code == 2 && err.contains("not JSON"), "{err}");
    let (code, ..) = world.run(&[
        "tasks",
        "signal",
        "7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f",
        "wish",
    ]);
    assert_eq!(code, 6);
    std::fs::write(world.rig.file("go"), "").unwrap();
    assert_eq!(world.run(&["tasks", "result", id]).0, 0);
    assert_eq!(
        world.run(&["tasks", "signal", id, "wish"]).0,
        3,
        "it has ended"
    );
}

#[tokio::test]
async fn tasks_are_found_by_what_they_are_and_pruned() {
    let world = World::new();
    for word in ["one", "two"] {
        let (code, ..) = world.run(&[
            "call",
            "echo",
            &format!("word={word}"),
            "--label",
            &format!("which={word}"),
            "--wait",
        ]);
        assert_eq!(code, 0);
    }
    let (_, long) = world.json(&["call", "long", "--no-wait", "--json"]);
    let long = long["taskId"].as_str().unwrap();
    let listed = |filter: &[&str]| {
        let (_, listed) = world.json(&[&["tasks", "list", "--json"], filter].concat());
        let tasks = listed["tasks"].as_array().unwrap().clone();
        let ids = tasks.into_iter().map(|task| task["taskId"].clone());
        (ids.collect::<Vec<_>>(), listed["more"] == true)
    };
    assert_eq!(listed(&["--tool", "long"]), (vec![json!(long)], false));
    assert_eq!(listed(&["--phase", "finished"]).0.len(), 2);
    assert_eq!(listed(&["--status", "completed,failed"]).0.len(), 2);
    let one = listed(&["--label", "which=one"]).0;
    assert_eq!(one.len(), 1);
    assert_eq!(listed(&["--text", "TWO"]).0.len(), 1);
    let (two, more) = listed(&["-n", "2"]);
    assert!(two.len() == 2 && more, "there is a third");
    assert!(!listed(&["-n", "3"]).1);

    let (code, out, err) = world.run(&["tasks", "prune"]);
    assert!(
        code == 2 && out.is_empty() && err.contains("--yes"),
        "{err}"
    );
    let (code, _, err) = world.run(&["tasks", "prune", "--status", "working", "--yes"]);
    assert!(code == 2 && err.contains("have ended"), "{err}");
    let prune = |filter: &[&str]| {
        let (code, said) = world.json(&[&["tasks", "prune", "--json"], filter].concat());
        assert_eq!(code, 0);
        said["tasks"].as_array().unwrap().clone()
    };
    assert_eq!(prune(&["--older-than", "1h", "--yes"]), [""; 0]);
    assert_eq!(prune(&["--dry-run"]).len(), 2);
    assert_eq!(prune(&["--label", "which=one", "--yes"]), one);
    let (code, out, _) = world.run(&["tasks", "prune", "--yes"]);
    assert_eq!((code, out.as_str()), (0, "1 task deleted\n"));
    assert_eq!(listed(&[]).0, [json!(long)], "what runs is not touched");
}

/// A call that only waits is heard of as one that is a task, and ends with its caller.
#[tokio::test]
async fn a_plain_call_without_a_terminal_says_what_it_waits_for() {
    let world = World::new();
    for answered in [true, false] {
        let mut calling = world
            .command(&["call", "careful"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(calling.stderr.take().unwrap()).lines();
        let asks = told.next().unwrap().unwrap();
        assert!(asks.contains("waits for a person to answer"), "{asks}");
        let how = told.next().unwrap().unwrap();
        let id = how.trim().strip_prefix("outlast tasks answer ").unwrap();
        if answered {
            let (code, _, err) = world.run(&["tasks", "answer", id, "confirm=true"]);
            assert_eq!(code, 0, "{err}");
            let (code, out, _) = said(calling.wait_with_output().unwrap());
            assert_eq!((code, out.as_str()), (0, "done\n"));
        } else {
            let pid = Pid::from_raw(i32::try_from(calling.id()).unwrap()).unwrap();
            kill_process(pid, Signal::INT).unwrap();
            assert_eq!(calling.wait().unwrap().code(), Some(130));
            eventually("it is cancelled", || {
                let (_, shown) = world.json(&["tasks", "show", id, "--json"]);
                (shown["status"] == "cancelled").then_some(())
            })
            .await;
        }
    }
}

/// A command that failed is `completed` with its own error in the store.
#[tokio::test]
async fn tasks_are_found_and_pruned_by_the_status_that_they_are_shown_with() {
    let world = World::new();
    assert_eq!(world.run(&["call", "fail", "--wait"]).0, 1);
    assert_eq!(world.run(&["call", "echo", "word=x", "--wait"]).0, 0);
    for (status, tool) in [("failed", "fail"), ("completed", "echo")] {
        let (_, listed) = world.json(&["tasks", "list", "--status", status, "--json"]);
        let tasks = listed["tasks"].as_array().unwrap();
        assert_eq!(tasks.len(), 1, "{listed}");
        let (_, out, _) = world.run(&["tasks", "list", "--status", status]);
        assert!(out.contains(&format!("{status:14}  {tool}")), "{out}");
        let prune = ["tasks", "prune", "--status", status, "--dry-run", "--json"];
        let (_, pruned) = world.json(&prune);
        assert_eq!(pruned["tasks"], json!([tasks[0]["taskId"]]), "{pruned}");
    }
    let (code, out, _) = world.run(&["tasks", "prune", "--status", "completed", "--yes"]);
    assert_eq!((code, out.as_str()), (0, "1 task deleted\n"));
    let (_, listed) = world.json(&["tasks", "list", "--json"]);
    assert_eq!(
        listed["tasks"].as_array().unwrap().len(),
        1,
        "what failed is kept"
    );
}

#[tokio::test]
async fn whoever_waits_without_a_terminal_hears_that_a_person_is_needed() {
    let world = World::new();
    let (_, task) = world.json(&["call", "careful", "--no-wait", "--json"]);
    let id = task["taskId"].as_str().unwrap().to_owned();
    let mut waiting = world
        .command(&["tasks", "result", &id])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let told = told.map_while(Result::ok);
    let how = format!("outlast tasks answer {id}");
    let asks = told.skip_while(|line| !line.contains("waits for a person to answer"));
    assert_eq!(
        asks.skip(1).map(|line| line.trim().to_owned()).next(),
        Some(how)
    );
    let (_, document) = world.json(&["tasks", "show", &id, "--json"]);
    let requests = document["inputRequests"].as_object().unwrap();
    let request = requests.values().next().unwrap();
    let fields = request["params"]["requestedSchema"]["properties"].as_object();
    let field = fields.unwrap().keys().next().unwrap();
    let (code, _, err) = world.run(&["tasks", "answer", &id, &format!("{field}=true")]);
    assert_eq!(code, 0, "{err}");
    assert!(waiting.wait().unwrap().success());
}

#[tokio::test]
async fn a_question_is_answered_from_the_shell() {
    let world = World::new();
    let ask = async || {
        let (_, task) = world.json(&["call", "careful", "--no-wait", "--json"]);
        let id = task["taskId"].as_str().unwrap().to_owned();
        eventually("it asks", || {
            let (_, shown) = world.json(&["tasks", "show", &id, "--json"]);
            (shown["status"] == "input_required").then_some(())
        })
        .await;
        id
    };
    let id = ask().await;
    let (code, shown, _) = world.run(&["tasks", "show", &id]);
    assert_eq!(code, 0);
    assert!(shown.contains("input_required"), "{shown}");
    assert!(shown.contains("asks      "), "{shown}");
    let (_, document) = world.json(&["tasks", "show", &id, "--json"]);
    let requests = document["inputRequests"].as_object().unwrap();
    let key = requests.keys().next().unwrap();
    let schema = &requests[key]["params"]["requestedSchema"];
    let field = schema["properties"].as_object().unwrap();
    let field = field.keys().next().unwrap();

    let (code, _, err) = world.run(&["tasks", "answer", &id]);
    assert!(code == 2 && err.contains(field.as_str()), "{err}");
    let (code, _, err) = world.run(&["tasks", "answer", &id, &format!("{field}=perhaps")]);
    assert!(code == 2 && err.contains("true or false"), "{err}");
    let (code, _, err) = world.run(&["tasks", "answer", &id, "--question", "other", "--decline"]);
    assert!(code == 3 && err.contains(key.as_str()), "{err}");
    let wrong = format!("{{\"{field}\": 7}}");
    let (code, _, err) = world.run(&["tasks", "answer", &id, "--content", &wrong]);
    assert!(code == 3 && err.contains("the answer to"), "{code} {err}");
    let (code, said) = world.json(&["tasks", "answer", &id, &format!("{field}=true"), "--json"]);
    assert_eq!(code, 0);
    assert_eq!(
        said,
        json!({"taskId": id, "answered": [{"question": key, "action": "accept"}]})
    );
    assert_eq!(world.run(&["tasks", "result", &id]).1, "done\n");
    let (code, _, err) = world.run(&["tasks", "answer", &id, "--decline"]);
    assert!(code == 3 && err.contains("asks nothing"), "{err}");

    let id = ask().await;
    let (code, out, _) = world.run(&["tasks", "answer", &id, "--decline"]);
    assert!(code == 0 && out.contains("decline"), "{out}");
    assert_ne!(world.run(&["tasks", "result", &id]).0, 0);
    let answer = [
        "tasks",
        "answer",
        &id,
        "--decline",
        "--protocol",
        "2025-11-25",
    ];
    let (code, _, err) = world.run(&answer);
    assert!(code == 3 && err.contains("2025-11-25"), "{err}");
}

#[test]
fn a_result_is_written_to_a_file_and_several_tasks_are_watched() {
    let world = World::new();
    let (_, good) = world.json(&["call", "echo", "word=x", "--no-wait", "--json"]);
    let (_, bad) = world.json(&["call", "fail", "--no-wait", "--json"]);
    let (good, bad) = (
        good["taskId"].as_str().unwrap(),
        bad["taskId"].as_str().unwrap(),
    );
    let (code, out, _) = world.run(&["tasks", "result", good, "--output", "x.txt"]);
    assert_eq!((code, out.as_str()), (0, ""));
    let file = world.rig.file("x.txt");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x 1\n");
    let (code, ..) = world.run(&["tasks", "result", good, "--json", "-o", "x.txt"]);
    assert_eq!(code, 0);
    let document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(document["taskId"], good);
    let (code, _, err) = world.run(&["tasks", "result", good, "-o", "nowhere/x.txt"]);
    assert!(code == 2 && err.contains("nowhere/x.txt"), "{err}");

    let (code, out, _) = world.run(&["tasks", "watch", good, bad]);
    assert_eq!(code, 1, "that of the one that failed");
    for id in [good, bad] {
        assert!(out.lines().any(|line| line.starts_with(id)), "{out}");
    }
}

#[test]
fn top_is_for_terminals_and_programs() {
    let world = World::new();
    assert_eq!(world.run(&["call", "echo", "word=x", "--wait"]).0, 0);
    let (code, out, _) = world.run(&["top", "--json", "--count", "2", "--every", "100ms"]);
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((code, lines.len()), (0, 2));
    assert_eq!(lines[0]["tasks"][0]["_meta"]["outlast/tool"], "echo");
    assert_eq!(lines[0]["overview"]["server"]["name"], "client-test");
    assert_eq!(lines[0]["overview"]["counts"][0]["count"], 1);
    let (code, out, err) = world.run(&["top"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("--json"), "{err}");
    let (code, _, err) = world.run(&["top", "--url", &world.url]);
    assert!(code == 3 && err.contains("does not list tasks"), "{err}");
}

#[test]
fn the_server_of_another_project_is_not_taken_for_this_ones() {
    let world = World::new();
    let port = world.url.split(':').next_back().unwrap();
    let port = port.split('/').next().unwrap();
    let other = Rig::new();
    let file = |listen: &str| {
        let file =
            format!("[server]\nname = \"other\"\nlisten = \"{listen}\"\nstore = \"sqlite:o.db\"\n");
        std::fs::write(other.file("outlast.toml"), file).unwrap();
    };
    let call = |more: &[&str]| {
        let mut command = world.command(&["call", "echo", "word=x", "--wait"]);
        said(
            command
                .args(more)
                .current_dir(other.file(""))
                .output()
                .unwrap(),
        )
    };
    file(&format!("127.0.0.1:{port}"));
    let (code, out, err) = call(&[]);
    assert_eq!((code, out.as_str()), (5, ""), "{err}");
    assert!(err.contains("\"client-test\", not the \"other\""), "{err}");
    // Whoever means it says so.
    let (code, out, err) = call(&["--url", &world.url]);
    assert_eq!((code, out.as_str()), (0, "x 1\n"), "{err}");
    // A port that nobody knows is looked for nowhere.
    file("127.0.0.1:0");
    let (code, _, err) = call(&[]);
    assert!(code == 5 && !err.contains("http://"), "{err}");
}
