//! Commands whose server, client or task is killed under them.
//!
//! Each script appends a line to a ledger when it begins, so that a second execution cannot hide.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use outlast_processes::{Client, Server, binary, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a configuration of tools made for these tests, and a server over it.
struct Rig {
    folder: TempDir,
    server: Server,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("outlast.toml"), CONFIG).expect("written");
        let server = Server::new(
            &binary("outlast"),
            &[
                "serve",
                "--config",
                "outlast.toml",
                "--listen",
                "127.0.0.1:{port}",
            ],
            folder.path(),
        );
        let mut rig = Self { folder, server };
        rig.server.start();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self) -> Client {
        self.server.client()
    }

    /// Begins a tool as a task.
    fn create(&self, tool: &str, arguments: Value) -> String {
        let created = self
            .client()
            .modern("tools/call", json!({"name": tool, "arguments": arguments}))
            .expect("the server answers");
        created.result()["taskId"]
            .as_str()
            .expect("a task")
            .to_owned()
    }

    fn get(&self, id: &str) -> Value {
        let answer = self.client().modern("tasks/get", json!({"taskId": id}));
        answer.expect("the server answers").result().clone()
    }

    fn finished(&self, id: &str) -> Value {
        eventually("the end of the task", || {
            Some(self.get(id)).filter(|task| task["status"] != "working")
        })
    }

    fn ledger(&self) -> Vec<String> {
        lines(&self.path("ledger"))
    }

    fn has_begun(&self) {
        eventually("the command begins", || {
            (!self.ledger().is_empty()).then_some(())
        });
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Seconds that a long script takes: eleven minutes, divided by `OUTLAST_LONG_SCALE` (100 in CI).
fn long_seconds() -> f64 {
    let scale = std::env::var("OUTLAST_LONG_SCALE").map_or(100.0, |scale| {
        scale.parse().expect("OUTLAST_LONG_SCALE is a number")
    });
    660.0 / scale
}

const CONFIG: &str = r#"
[server]
name = "kill-tests"
store = "sqlite:outlast.db"
shutdown_grace = "1s"

[tools.chatty]
description = "Prints a thousand lines while it is killed around."
shell = true
command = '''
echo begun >> ledger
i=1
while [ $i -le 1000 ]; do echo "line $i of 1000"; i=$((i + 1)); [ $((i % 20)) -eq 0 ] && sleep 0.05; done
exit 3
'''

[tools.writes]
description = "Writes its own log file."
shell = true
log_file = "writes.log"
command = '''
echo begun >> ledger
i=1
while [ $i -le 300 ]; do echo "line $i" >> writes.log; i=$((i + 1)); [ $((i % 20)) -eq 0 ] && sleep 0.1; done
exit 0
'''

[tools.joined]
description = "Runs once for equal calls."
shell = true
same = "join"
command = 'echo begun >> ledger; while ! [ -e go ]; do sleep 0.02; done; echo "$ARG_WORD"'
arguments.word = { type = "string" }

[tools.later]
description = "Runs long after the last call."
shell = true
debounce = "1h"
same_key = "name"
command = 'echo "$ARG_NAME $ARG_WORD" >> ledger'
arguments.name = { type = "string", default = "x" }
arguments.word = { type = "string" }

[tools.login]
description = "Tells its secret."
shell = true
artifacts = ["told"]
command = '''
echo begun >> ledger
echo "with $ARG_PASSWORD"
echo harmless > told
while ! [ -e go ]; do sleep 0.02; done
echo "still with $ARG_PASSWORD"
'''
[tools.login.arguments.password]
type = "string"
secret = true

[tools.silent]
description = "Says nothing until its end."
shell = true
command = 'echo begun >> ledger; while [ ! -e go ]; do sleep 0.02; done; echo the end; touch ended; exit 4'

[tools.long]
description = "Takes long and then prints a number of lines."
shell = true
command = '''
echo begun >> ledger
sleep "$ARG_SECONDS"
i=1
while [ $i -le 500 ]; do echo "result line $i"; i=$((i + 1)); done
echo done >> ledger
'''
[tools.long.arguments.seconds]
type = "number"
description = "How long."

[tools.deploy]
description = "Works until it is stopped, and says when it has stopped."
shell = true
max_running = 1
interrupt_grace = "1m"
command = '''
trap 'sleep 1; echo "$$ gone" >> ledger; exit 0' INT TERM
while :; do echo "$$" >> ledger; sleep 0.05; done
'''

[tools.family]
description = "Starts children that leave the process group, and waits."
shell = true
command = '''
sleep 600 & echo $! >> pids
setsid sh -c 'sleep 600 & echo $! >> pids; echo $$ >> pids; wait' &
sh -c 'sh -c "echo \$\$ >> pids; trap : INT TERM; while :; do sleep 1; done"' &
echo $$ >> pids
echo begun >> ledger
wait
'''
"#;

#[test]
fn a_killed_server_neither_stops_nor_repeats_a_chatty_command() {
    let mut rig = Rig::new();
    let id = rig.create("chatty", json!({}));
    rig.has_begun();
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        rig.server.kill();
        rig.server.start();
    }
    let task = rig.finished(&id);
    assert_eq!(rig.ledger().len(), 1, "one execution");
    let result = &task["result"];
    assert_eq!(result["isError"], true, "{task}");
    assert_eq!(result["structuredContent"]["exit_code"], 3, "{task}");
    let output = result["structuredContent"]["output"]
        .as_str()
        .expect("the whole output");
    let expected: String = (1..=1000).map(|i| format!("line {i} of 1000\n")).collect();
    assert_eq!(output, expected, "the whole log, once");
}

#[test]
fn equal_calls_are_one_task_also_after_a_kill() {
    let mut rig = Rig::new();
    let word = |word: &str| json!({ "word": word });
    let joined = rig.create("joined", word("a"));
    let later = rig.create("later", word("a"));
    rig.has_begun();
    for round in ["b", "c"] {
        rig.server.kill();
        rig.server.start();
        assert_eq!(rig.create("joined", word("a")), joined);
        assert_ne!(rig.create("joined", word(round)), joined);
        // Its hour begins again, with other arguments.
        assert_eq!(rig.create("later", word(round)), later);
    }
    assert_eq!(rig.get(&later)["status"], "working");
    std::fs::write(rig.path("go"), "").expect("written");
    let output = &rig.finished(&joined)["result"]["structuredContent"]["output"];
    assert_eq!(output, "a\n");
    let begun = rig.ledger();
    assert!(begun.iter().all(|line| line == "begun"), "{begun:?}");
    assert!(begun.len() <= 3, "one execution of each: {begun:?}");
}

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn a_secret_is_on_no_disk_after_a_kill() {
    const SECRET: &[u8] = b"hunter2-correct-horse";
    let mut rig = Rig::new();
    let password = String::from_utf8_lossy(SECRET);
    let id = rig.create("login", json!({ "password": password }));
    rig.has_begun();
    rig.server.kill();
    let holding = |rig: &Rig| -> Vec<PathBuf> {
        let holds = |path: &PathBuf| {
            // The store's own files may come and go while they are looked at.
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(SECRET.len()).any(|window| window == SECRET)
        };
        let files = files(rig.folder.path());
        assert!(files.len() > 5, "{files:?}");
        files.into_iter().filter(holds).collect()
    };
    // What the command has printed is cleaned when it has ended.
    let printed = |path: &PathBuf| path.ends_with("log") && path.iter().any(|part| *part == *id);
    let found = holding(&rig);
    assert!(found.iter().all(printed), "{found:?}");
    rig.server.start();
    std::fs::write(rig.path("go"), "").expect("written");
    let task = rig.finished(&id);
    let output = task["result"]["structuredContent"]["output"].as_str();
    assert!(
        output.is_some_and(|output| output.starts_with("with ")),
        "{task}"
    );
    assert!(!task.to_string().contains(&*password), "{task}");
    assert_eq!(
        task["result"]["structuredContent"]["artifacts"],
        json!(["told"])
    );
    assert_eq!(rig.ledger().len(), 1, "one execution");
    assert_eq!(holding(&rig), [] as [PathBuf; 0]);
    rig.server.kill();
    assert_eq!(holding(&rig), [] as [PathBuf; 0]);
}

#[test]
fn a_log_file_is_followed_over_kills() {
    let mut rig = Rig::new();
    std::fs::write(rig.path("writes.log"), "of an earlier run\n").expect("written");
    let id = rig.create("writes", json!({}));
    rig.has_begun();
    for seen in [60, 150] {
        eventually("the next lines", || {
            let written = lines(&rig.path("writes.log"));
            (written.len() > seen).then_some(())
        });
        rig.server.kill();
        rig.server.start();
    }
    let task = rig.finished(&id);
    assert_eq!(rig.ledger().len(), 1, "one execution");
    let output = task["result"]["structuredContent"]["output"].as_str();
    let expected: String = (1..=300).map(|i| format!("line {i}\n")).collect();
    assert_eq!(output, Some(expected.as_str()), "the whole file, once");
}

#[test]
fn a_killed_server_neither_stops_nor_repeats_a_silent_command() {
    let mut rig = Rig::new();
    let id = rig.create("silent", json!({}));
    rig.has_begun();
    rig.server.kill();
    // It ends while nobody is there.
    std::fs::write(rig.path("go"), "").expect("written");
    eventually("it ends", || rig.path("ended").exists().then_some(()));
    rig.server.start();
    let task = rig.finished(&id);
    assert_eq!(rig.ledger().len(), 1, "one execution");
    assert_eq!(
        task["result"]["structuredContent"]["exit_code"], 4,
        "{task}"
    );
    assert_eq!(
        task["result"]["structuredContent"]["output"], "the end\n",
        "{task}"
    );
}

/// A client that calls the long tool, prints the task's id, and stays until it is killed.
const CALLER: &str = r#"
import http.client, json, sys, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
c = http.client.HTTPConnection("127.0.0.1", port)
meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "doomed", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities":
            {"extensions": {"io.modelcontextprotocol/tasks": {}}}}
body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params":
    {"name": "long", "arguments": {"seconds": seconds}, "_meta": meta}})
c.request("POST", "/mcp", body, {"Content-Type": "application/json",
    "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call", "Mcp-Name": "long"})
print(json.loads(c.getresponse().read())["result"]["taskId"], flush=True)
time.sleep(3600)
"#;

fn expected_long_output() -> String {
    (1..=500).map(|i| format!("result line {i}\n")).collect()
}

#[test]
fn an_eleven_minute_result_waits_for_another_client_of_the_other_era() {
    let seconds = long_seconds();
    println!("eleven minutes are {seconds} s here; OUTLAST_LONG_SCALE=1 takes the whole time");
    let rig = Rig::new();
    let mut caller = Command::new("python3")
        .args([
            "-c",
            CALLER,
            &rig.server.port().to_string(),
            &seconds.to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut id = String::new();
    let stdout = caller.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut id).expect("the id");
    let id = id.trim();
    caller.kill().expect("the client can be killed");
    caller.wait().expect("it is gone");

    let client = rig.client();
    let session = client.legacy_session().expect("a session of the other era");
    let answer = client
        .legacy(&session, "tasks/result", json!({"taskId": id}))
        .expect("a result");
    let result = answer.result();
    assert_eq!(result["isError"], false, "{result}");
    assert_eq!(
        result["structuredContent"]["output"],
        expected_long_output()
    );
    let related = &result["_meta"]["io.modelcontextprotocol/related-task"]["taskId"];
    assert_eq!(related, id);
    assert_eq!(rig.ledger(), ["begun", "done"]);
}

/// A client over the standard streams of a bridge.
struct Lines {
    child: std::process::Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Lines {
    fn start(folder: &Path, port: u16) -> Self {
        let listen = format!("127.0.0.1:{port}");
        Self::start_as(
            folder,
            &["--config", "outlast.toml", "--stdio", "--listen", &listen],
        )
    }

    fn start_as(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary("outlast"))
            .arg("serve")
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bridge starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut client = Self { child, lines };
        client.request(
            "initialize",
            json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "lines", "version": "1"}}),
        );
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn send(&mut self, message: &Value) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{message}").expect("the bridge reads");
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            assert!(
                self.lines.read_line(&mut line).expect("UTF-8") > 0,
                "the bridge ended"
            );
            let message: Value = serde_json::from_str(&line).expect("one message a line");
            if message["id"] == method {
                return message
                    .get("result")
                    .cloned()
                    .unwrap_or_else(|| panic!("{message}"));
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }
}

/// The server behind the bridges, which outlives them all; ended with the test.
struct Behind(PathBuf);

impl Behind {
    /// The process that holds the store.
    fn pid(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let pid: String = text.chars().skip_while(|c| !c.is_ascii_digit()).collect();
        let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
        (!pid.is_empty()).then_some(pid)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill").args(["-9", &pid]).status();
        }
    }
}

#[test]
fn one_file_named_in_many_ways_is_one_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("outlast.toml");
    std::fs::write(&file, CONFIG).expect("written");
    let linked = folder.path().join("linked");
    std::os::unix::fs::symlink(folder.path(), &linked).expect("a link");
    let linked = linked.join("outlast.toml");
    let behind = Behind(folder.path().join("outlast.db.lock"));
    let [file, linked] = [&file, &linked].map(|path| path.to_str().expect("UTF-8"));
    let with_equals = format!("--config={file}");
    let ways: [&[&str]; 7] = [
        &["--stdio"],
        &["--stdio", "-c", file],
        &["--config", "./outlast.toml", "--stdio"],
        &["outlast.toml", "--stdio=bridge"],
        &[&with_equals, "--stdio"],
        &["-c", linked, "--stdio"],
        &["--stdio", "--log-level", "debug", "--idle-exit", "10m"],
    ];
    let mut clients = Vec::new();
    let mut first = None;
    for way in ways {
        let mut client = Lines::start_as(folder.path(), way);
        client.request("ping", json!({}));
        let server = behind.pid();
        assert!(server.is_some());
        assert_eq!(first.get_or_insert(server.clone()), &server, "{way:?}");
        clients.push(client);
    }
    clients.into_iter().for_each(Lines::kill);
    // Another setting is another server.
    let other = Lines::start_as(folder.path(), &["--stdio", "--retention", "2h"]);
    assert_ne!(first, Some(behind.pid()));
    other.kill();
}

#[test]
fn work_begun_over_stdio_goes_on_while_nobody_is_connected() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("outlast.toml"), CONFIG).expect("written");
    let _behind = Behind(folder.path().join("outlast.db.lock"));
    let port = outlast_processes::free_port();
    let seconds = long_seconds();

    let mut first = Lines::start(folder.path(), port);
    let created = first.request(
        "tools/call",
        json!({"name": "long", "arguments": {"seconds": seconds}, "task": {}}),
    );
    let id = created["task"]["taskId"]
        .as_str()
        .expect("a task")
        .to_owned();
    first.kill();
    eventually("the command ends while nobody is connected", || {
        lines(&folder.path().join("ledger"))
            .contains(&"done".to_owned())
            .then_some(())
    });

    let mut second = Lines::start(folder.path(), port);
    let over_stdio = second.request("tasks/result", json!({"taskId": id}));
    assert_eq!(
        over_stdio["structuredContent"]["output"],
        expected_long_output()
    );
    let over_http = Client::new(port).modern("tasks/get", json!({"taskId": id}));
    let over_http = over_http
        .expect("the server behind listens")
        .result()
        .clone();
    assert_eq!(
        over_http["result"]["structuredContent"],
        over_stdio["structuredContent"]
    );
    assert_eq!(
        lines(&folder.path().join("ledger")),
        ["begun", "done"],
        "one execution"
    );
    second.kill();
}

#[test]
fn cancelling_ends_every_descendant_and_the_status_says_so() {
    let rig = Rig::new();
    let id = rig.create("family", json!({}));
    rig.has_begun();
    let pids = eventually("all of the family has begun", || {
        Some(lines(&rig.path("pids"))).filter(|pids| pids.len() >= 5)
    });
    let cancelled = rig.client().modern("tasks/cancel", json!({"taskId": id}));
    assert_eq!(
        cancelled.expect("an answer").result()["resultType"],
        "complete"
    );
    let task = rig.finished(&id);
    assert_eq!(task["status"], "cancelled", "{task}");
    for pid in pids {
        eventually(&format!("process {pid} is gone"), || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
            // A zombie that waits for its parent to look is gone as well.
            stat.is_none_or(|stat| stat.contains(") Z ")).then_some(())
        });
    }
}

/// Begins a deploy, and waits until its command is at work. Says who that is.
fn deploy(rig: &Rig) -> (String, String) {
    let before = rig.ledger().len();
    let id = rig.create("deploy", json!({}));
    let pid = eventually("the command is at work", || {
        rig.ledger().into_iter().nth(before)
    });
    (id, pid)
}

/// That a task is cancelled when its command is gone and not before, and that the next one under the same limit
/// begins after that.
fn cancelled_and_gone(rig: &Rig, id: &str, pid: &str) {
    let task = rig.finished(id);
    let ledger = rig.ledger();
    assert_eq!(task["status"], "cancelled", "{task}");
    let gone = format!("{pid} gone");
    assert_eq!(ledger.last(), Some(&gone), "it is told when it is so");
    rig.client()
        .post_json("/tools/deploy/resume")
        .expect("an answer");
    let (next, other) = deploy(rig);
    let ledger = rig.ledger();
    let end = ledger.iter().position(|line| *line == gone);
    assert_eq!(
        end,
        ledger.iter().rposition(|line| line == &gone || line == pid)
    );
    assert_ne!(other, pid);
    let cancelled = rig.client().modern("tasks/cancel", json!({"taskId": next}));
    cancelled.expect("an answer");
    assert_eq!(rig.finished(&next)["status"], "cancelled");
}

#[test]
fn a_command_that_nobody_follows_is_gone_before_its_task_is_cancelled() {
    let mut rig = Rig::new();
    let (id, pid) = deploy(&rig);
    // Behind the pause it is adopted by nobody after the kill.
    let paused = rig.client().post_json("/tools/deploy/pause");
    paused.expect("an answer");
    rig.server.kill();
    rig.server.start();
    let cancelled = rig.client().modern("tasks/cancel", json!({"taskId": id}));
    cancelled.expect("an answer");
    cancelled_and_gone(&rig, &id, &pid);
}

#[test]
fn a_kill_in_the_middle_of_a_cancel_leaves_no_command_behind() {
    let mut rig = Rig::new();
    let (id, pid) = deploy(&rig);
    let cancelled = rig.client().modern("tasks/cancel", json!({"taskId": id}));
    cancelled.expect("an answer");
    rig.server.kill();
    rig.server.start();
    cancelled_and_gone(&rig, &id, &pid);
}
