//! Command tools in an engine: whole runs, servers that die under them, and what is left on disk.

use std::sync::Arc;
use std::time::Duration;

use outlast_cli::command::{Defaults, Launcher, RunFolder, Runs, sweep::Swept, tool};
use outlast_cli::config::FileConfig;
use outlast_core::machine::CancelMode;
use outlast_core::testing::MemoryStore;
use outlast_core::{
    FailureReason, Outcome, Owner, RawJson, Reads, Store, Task, TaskId, ToolResult,
};
use outlast_engine::{CancelBy, Engine, Handle, NewCall, OnDrop, Tools};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::rig::{Rig, eventually, outlast, runs as is_running};

/// A server without its surfaces: a runtime of its own, so that it can die like a process.
struct Server {
    runtime: Option<tokio::runtime::Runtime>,
    store: Arc<MemoryStore>,
    runs: Arc<Runs>,
    handle: Handle,
    engine: Option<Engine>,
}

impl Server {
    async fn start(rig: &Rig, config: &str, store: Arc<MemoryStore>) -> Self {
        Self::start_on("db", rig, config, store).await
    }

    /// Starts it on the machine of this name: only one that starts there again finds its commands.
    async fn start_on(machine: &str, rig: &Rig, config: &str, store: Arc<MemoryStore>) -> Self {
        let config = FileConfig::parse("outlast.toml".as_ref(), &rig.file(""), config)
            .unwrap_or_else(|error| panic!("{error}"));
        let runs = Runs::new(
            rig.file(&format!("{machine}.runs")),
            Launcher::program(outlast()),
        );
        let tools = Tools::new(
            config
                .tools
                .into_iter()
                .map(|command| tool(command, Defaults::default(), &runs)),
        )
        .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let engine = Engine::builder(Arc::clone(&store) as Arc<dyn Store>)
            .tools(tools)
            .persist_after(Duration::from_millis(100));
        let engine = runtime.spawn(engine.start()).await.unwrap().unwrap();
        Self {
            handle: engine.handle(),
            engine: Some(engine),
            runtime: Some(runtime),
            store,
            runs,
        }
    }

    async fn new(rig: &Rig, config: &str) -> Self {
        Self::start(rig, config, Arc::default()).await
    }

    /// Dies at once, with everything in memory; returns what the disk holds.
    fn kill(mut self) -> Arc<MemoryStore> {
        let store = Arc::new(self.store.successor());
        let runtime = self.runtime.take().unwrap();
        // A process that is dead follows nothing any more.
        let dead = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(60)));
        dead.join().unwrap();
        store
    }

    fn call(&self, name: &str, arguments: &Value, meta: Option<&Value>) -> NewCall {
        let tools = self.handle.tools();
        let tool = Arc::clone(tools.get(name).expect("the tool exists"));
        let mut call = NewCall::new(tool, RawJson::of(arguments).unwrap(), Owner::local());
        call.request_meta = meta.map(|meta| RawJson::of(meta).unwrap());
        call
    }

    async fn create(&self, name: &str, arguments: Value) -> TaskId {
        let call = self.call(name, &arguments, None);
        let handle = self.handle.clone();
        self.on_server(async move { handle.create(call).await })
            .await
            .unwrap()
            .id()
    }

    /// Runs a future where the server's own tasks belong.
    async fn on_server<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.runtime.as_ref().unwrap().spawn(future).await.unwrap()
    }

    async fn finished(&self, id: TaskId) -> Arc<Task> {
        let owner = Owner::local();
        let waited = tokio::time::timeout(Duration::from_secs(60), self.handle.wait(&owner, id));
        waited.await.expect("the task ends").unwrap()
    }

    /// The whole log.
    async fn log(&self, id: TaskId) -> String {
        let (mut text, mut offset) = (Vec::new(), 0);
        loop {
            let page = self.store.log_read(id, offset, 1 << 20).await.unwrap();
            page.chunks
                .iter()
                .for_each(|chunk| text.extend(&chunk.text));
            offset = page.next;
            if page.next >= page.end {
                return String::from_utf8(text).unwrap();
            }
        }
    }

    fn folder(&self, rig: &Rig, id: TaskId, number: u32) -> RunFolder {
        RunFolder::open(&rig.file(&format!("db.runs/{id}/{number}"))).unwrap()
    }

    /// Sweeps until nothing is left to be done.
    async fn sweep(&self) -> usize {
        sweep(&self.runs, &self.store).await
    }
}

async fn sweep(runs: &Runs, store: &MemoryStore) -> usize {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let mut removed = 0;
    loop {
        let swept: Swept = runs.sweep(store).await.unwrap();
        removed += swept.removed;
        if swept.left == 0 {
            return removed;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "something is left for ever"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn completed(task: &Task) -> &ToolResult {
    match task.outcome.as_deref() {
        Some(Outcome::Completed(result)) => result,
        other => panic!("not completed: {other:?}"),
    }
}

fn text(result: &ToolResult) -> String {
    result.content.to_value()[0]["text"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn structured(result: &ToolResult) -> Value {
    result.structured.as_ref().unwrap().to_value()
}

/// The process id that the command wrote.
async fn pid_in(rig: &Rig, name: &str) -> i32 {
    eventually(name, || {
        rig.lines(name).first().and_then(|pid| pid.parse().ok())
    })
    .await
}

#[tokio::test]
async fn a_task_runs_whole() {
    let rig = Rig::new();
    let server = Server::new(
        &rig,
        r#"
[tools.count]
description = "Counts."
shell = true
command = 'for i in 1 2 3; do echo "item $i of 3: $ARG_WORD"; done'
progress = ['item (?P<done>\d+) of (?P<total>\d+): (?P<message>.*)']
retention = "2h"
annotations = { readOnlyHint = true }
arguments.word = { type = "string", default = "x" }
"#,
    )
    .await;
    let id = server.create("count", json!({"word": "a b"})).await;
    let task = server.finished(id).await;
    let result = completed(&task);
    let output = "item 1 of 3: a b\nitem 2 of 3: a b\nitem 3 of 3: a b\n";
    assert_eq!((text(result).as_str(), result.is_error), (output, false));
    assert_eq!(structured(result)["output"], output);
    assert_eq!(structured(result)["exit_code"], 0);
    assert_eq!(server.log(id).await, output, "nothing else stands among it");
    let progress = &task.state.progress;
    assert_eq!((progress.done, progress.total), (3.0, Some(3.0)));
    assert_eq!(progress.message.as_deref(), Some("a b"));
    assert_eq!(task.spec.retention, Duration::from_secs(7200));

    assert_eq!(server.sweep().await, 1);
    assert!(
        !rig.file(&format!("db.runs/{id}")).exists(),
        "nothing is left on the disk"
    );
}

#[tokio::test]
async fn failure_is_a_tool_error() {
    let rig = Rig::new();
    let config =
        "[tools.f]\ndescription = \"d\"\ncommand = [\"sh\", \"-c\", \"echo why >&2; exit 3\"]";
    let server = Server::new(&rig, config).await;
    let id = server.create("f", json!({})).await;
    let task = server.finished(id).await;
    let result = completed(&task);
    assert!(result.is_error);
    assert_eq!(
        text(result),
        "the command failed with exit status 3; it printed:\nwhy\n"
    );
}

#[tokio::test]
async fn arguments_and_limits_are_checked() {
    let rig = Rig::new();
    let server = Server::new(
        &rig,
        r#"
[tools.s]
description = "d"
command = ["sleep", "{n}"]
timeout = "1m"
max_timeout = "2m"
arguments.n = { type = "integer", minimum = 0 }
"#,
    )
    .await;
    let call = server.call("s", &json!({"n": "x"}), None);
    let refused = call.tool.handler.check(&call.arguments).unwrap_err();
    assert_eq!(refused, "argument n must be an integer, not a string");
    assert!(
        call.tool
            .handler
            .check(&RawJson::of(&json!({"n": 1})).unwrap())
            .is_ok()
    );

    for (meta, part) in [
        (
            json!({"outlast/timeoutMs": 1}),
            "because its time limit of 1ms ran out",
        ),
        (json!({"outlast/timeoutMs": 120_001}), "allowed: 1ms to 2m"),
        (
            json!({"outlast/timeoutMs": "1s"}),
            "a whole number of milliseconds",
        ),
        (json!({"outlast/timeoutMs": 0}), "allowed: 1ms to 2m"),
    ] {
        let call = server.call("s", &json!({"n": 600}), Some(&meta));
        // Every surface asks this before it stores anything; the run checks for itself.
        match call.tool.handler.check_meta(call.request_meta.as_ref()) {
            Ok(()) => assert_eq!(meta, json!({"outlast/timeoutMs": 1})),
            Err(problem) => assert!(problem.contains(part), "{problem}"),
        }
        let handle = server.handle.clone();
        let id = server
            .on_server(async move { handle.create(call).await })
            .await
            .unwrap()
            .id();
        let task = server.finished(id).await;
        let result = completed(&task);
        assert!(
            result.is_error && text(result).contains(part),
            "{}",
            text(result)
        );
    }
}

#[tokio::test]
async fn files_and_figures_are_kept_also_when_the_server_dies() {
    let rig = Rig::new();
    let config = r#"
[tools.report]
description = "Writes a report."
shell = true
command = '''
echo begun > begun
while [ ! -e go ]; do sleep 0.02; done
mkdir -p out
echo "a,b" > out/new.csv
i=0
while [ $i -lt 20000 ]; do i=$((i + 1)); done
x=$(head -c 80000000 /dev/zero | tr '\000' a)
'''
artifacts = ["out/*.csv", "old.csv"]
"#;
    std::fs::write(rig.file("old.csv"), "from before").unwrap();
    // Stamped before the command begins, beyond what clocks may differ by.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let server = Server::new(&rig, config).await;
    let id = server.create("report", json!({})).await;
    eventually("the command runs", || {
        rig.file("begun").exists().then_some(())
    })
    .await;
    let store = server.kill();
    std::fs::write(rig.file("go"), "").unwrap();
    let server = Server::start(&rig, config, store).await;
    let task = server.finished(id).await;
    let structured = completed(&task).structured.as_ref().unwrap().to_value();
    assert_eq!(structured["artifacts"], json!(["out/new.csv"]));
    // More than the process held that became the command.
    assert!(structured["peak_memory"].as_u64().unwrap() > 80_000_000);
    let used = task.state.usage.last().unwrap().usage;
    let cpu_ms = structured["cpu_ms"].as_u64().unwrap();
    assert_eq!(used.cpu, Some(Duration::from_millis(cpu_ms)));
    assert_eq!(used.peak_memory, structured["peak_memory"].as_u64());
    let owner = Owner::local();
    let (artifact, bytes) = server
        .handle
        .artifact(&owner, id, "out/new.csv", 0, 100)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (artifact.mime.as_str(), bytes.as_slice()),
        ("text/csv", &b"a,b\n"[..])
    );
    assert_eq!(server.handle.artifacts(&owner, id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_chatty_command_survives_its_servers() {
    let rig = Rig::new();
    let config = r#"
[tools.chat]
description = "Talks."
shell = true
command = '''
echo once >> ledger
i=0
while [ $i -lt 60 ]; do
    i=$((i + 1))
    seq -f "$i %g" 1000
    # Goes on only as far as the test allows.
    while [ $i -ge 10 ] && ! [ -e go-$((i / 10)) ]; do sleep 0.01; done
done
exit 4
'''
"#;
    let mut server = Server::new(&rig, config).await;
    let id = server.create("chat", json!({})).await;
    for step in 1..=5 {
        // Dies with part of the output stored, and part of it not.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while server.store.log_read(id, u64::MAX, 0).await.unwrap().end < step * 40_000 {
            assert!(
                std::time::Instant::now() < deadline,
                "no output in step {step}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let store = server.kill();
        std::fs::write(rig.file(&format!("go-{step}")), "").unwrap();
        server = Server::start(&rig, config, store).await;
    }
    std::fs::write(rig.file("go-6"), "").unwrap();
    let task = server.finished(id).await;
    let result = completed(&task);
    assert!(result.is_error && text(result).contains("exit status 4"));
    let whole: String = (1..=60)
        .flat_map(|i| (1..=1000).map(move |j| format!("{i} {j}\n")))
        .collect();
    assert_eq!(structured(result)["output_bytes"], whole.len());
    let log = server.log(id).await;
    assert_eq!(log.len(), whole.len());
    assert!(log == whole, "the log differs");
    assert_eq!(rig.lines("ledger"), ["once"]);
    assert!(task.state.attempt > 1, "no server ever adopted it");
    assert_eq!(server.sweep().await, 1);
}

#[tokio::test]
async fn a_silent_command_ends_while_no_server_runs() {
    let rig = Rig::new();
    let config = r#"
[tools.quiet]
description = "Says nothing."
shell = true
command = 'echo once >> ledger; while ! [ -e go ]; do sleep 0.01; done; echo done >> ledger'
"#;
    let server = Server::new(&rig, config).await;
    let id = server.create("quiet", json!({})).await;
    eventually("the command begins", || {
        (!rig.lines("ledger").is_empty()).then_some(())
    })
    .await;
    let store = server.kill();
    std::fs::write(rig.file("go"), "").unwrap();
    eventually("the command ends", || {
        (rig.lines("ledger").len() == 2).then_some(())
    })
    .await;

    let server = Server::start(&rig, config, store).await;
    let task = server.finished(id).await;
    let result = completed(&task);
    assert_eq!(
        (text(result).as_str(), result.is_error),
        ("the command printed nothing", false)
    );
    assert_eq!(rig.lines("ledger"), ["once", "done"]);
}

#[tokio::test]
async fn a_clean_stop_hands_the_command_over() {
    let rig = Rig::new();
    let config = r#"
[tools.quiet]
description = "Waits."
shell = true
command = 'echo once >> ledger; while ! [ -e go ]; do sleep 0.01; done; echo end'
"#;
    let mut server = Server::new(&rig, config).await;
    let id = server.create("quiet", json!({})).await;
    eventually("the command begins", || {
        (!rig.lines("ledger").is_empty()).then_some(())
    })
    .await;
    let engine = server.engine.take().unwrap();
    server
        .on_server(engine.shutdown(Duration::ZERO))
        .await
        .unwrap();
    let store = server.kill();

    let server = Server::start(&rig, config, store).await;
    std::fs::write(rig.file("go"), "").unwrap();
    let task = server.finished(id).await;
    assert_eq!(text(completed(&task)), "end\n");
    assert_eq!(rig.lines("ledger"), ["once"]);
}

#[tokio::test]
async fn an_interrupted_command_is_told_or_run_again() {
    let config = |repeatable| {
        format!(
            r#"
[tools.work]
description = "Works."
shell = true
command = 'echo once >> ledger; echo $$ > pid; echo begin; while ! [ -e go ]; do sleep 0.01; done; echo end'
repeatable = {repeatable}
"#
        )
    };
    for repeatable in [false, true] {
        let rig = Rig::new();
        let server = Server::new(&rig, &config(repeatable)).await;
        let id = server.create("work", json!({})).await;
        let pid = pid_in(&rig, "pid").await;
        let started = server.folder(&rig, id, 1).started().unwrap().unwrap();
        kill_process(Pid::from_raw(started.shim.pid).unwrap(), Signal::KILL).unwrap();
        if repeatable {
            eventually("the second run", || {
                (rig.lines("ledger").len() == 2).then_some(())
            })
            .await;
            std::fs::write(rig.file("go"), "").unwrap();
            let task = server.finished(id).await;
            assert_eq!(text(completed(&task)), "begin\nend\n");
            assert_eq!(
                server.log(id).await,
                "begin\nthe command was interrupted and is run again\nbegin\nend\n"
            );
        } else {
            let task = server.finished(id).await;
            let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
                panic!("{:?}", task.outcome)
            };
            assert_eq!(failure.reason, FailureReason::Interrupted);
            assert!(
                failure.message.starts_with("interrupted: "),
                "{}",
                failure.message
            );
            assert_eq!(server.log(id).await, "begin\n", "the log is kept");
            assert_eq!(rig.lines("ledger"), ["once"]);
        }
        assert!(!is_running(pid), "two copies at once");
        assert_eq!(server.sweep().await, if repeatable { 2 } else { 1 });
    }
}

#[tokio::test]
async fn cancel_ends_the_whole_group_and_the_status_says_so() {
    let rig = Rig::new();
    let config = r#"
[tools.work]
description = "Works."
shell = true
command = '''
setsid sh -c 'trap "" INT TERM; echo $$ > grandchild; while :; do sleep 0.05; done' > /dev/null 2>&1 &
echo $$ > pid; wait
'''
interrupt_grace = "100ms"
terminate_grace = "100ms"
"#;
    let server = Server::new(&rig, config).await;
    let id = server.create("work", json!({})).await;
    let pids = [pid_in(&rig, "pid").await, pid_in(&rig, "grandchild").await];
    let handle = server.handle.clone();
    server
        .on_server(async move {
            handle
                .cancel(
                    &Owner::local(),
                    id,
                    Some("enough".into()),
                    CancelBy::Request,
                )
                .await
        })
        .await
        .unwrap();
    let task = server.finished(id).await;
    assert!(
        matches!(task.outcome.as_deref(), Some(Outcome::Cancelled { .. })),
        "{task:?}"
    );
    assert!(
        !pids.iter().any(|pid| is_running(*pid)),
        "cancelled, and still running"
    );
    assert_eq!(server.sweep().await, 1);
}

#[tokio::test]
async fn a_task_cancelled_without_a_server_takes_its_command_along() {
    let rig = Rig::new();
    let config = r#"
[tools.work]
description = "Works."
shell = true
command = 'echo $$ > pid; exec sleep 1000'
"#;
    let server = Server::new(&rig, config).await;
    let id = server.create("work", json!({})).await;
    let pid = pid_in(&rig, "pid").await;
    let store = server.kill();
    store.cancel(id, None, CancelMode::Force).await.unwrap();

    let server = Server::start(&rig, config, store).await;
    assert!(is_running(pid));
    assert_eq!(server.sweep().await, 1);
    assert!(!is_running(pid));
}

#[tokio::test]
async fn what_another_process_of_the_machine_follows_is_not_swept() {
    let rig = Rig::new();
    let config = r#"
[tools.work]
description = "Works, and is never stored."
shell = true
command = 'echo $$ > pid; exec sleep 1000'
task = "forbidden"
"#;
    let server = Server::new(&rig, config).await;
    let call = server.call("work", &json!({}), None);
    let running = server.handle.call(call, None, OnDrop::Continue);
    server.runtime.as_ref().unwrap().spawn(running);
    let pid = pid_in(&rig, "pid").await;
    // As a worker beside the server does, which has the same folders and knows nothing of the call.
    let beside = Runs::new(rig.file("db.runs"), Launcher::program(outlast()));
    let swept = beside.sweep(&*server.store).await.unwrap();
    assert_eq!(
        swept,
        Swept::default(),
        "it is not even doubtful whose it is"
    );
    assert!(is_running(pid));
    // Once the other is dead, nobody waits for the command.
    let store = server.kill();
    assert_eq!(sweep(&beside, &store).await, 1);
    assert!(!is_running(pid));
}

/// A command that goes on beside the server that started it, for a test of two machines.
const TWO_MACHINES: &str = r#"
[tools.once]
description = "May not be repeated."
shell = true
command = 'echo $$ >> pids; exec sleep 1000'

[tools.again]
description = "May be repeated."
shell = true
command = 'echo $$ >> pids; [ -e go ] || exec sleep 1000'
repeatable = true
"#;

fn interrupted(task: &Task) -> &str {
    match task.outcome.as_deref() {
        Some(Outcome::Failed(failure)) if failure.reason == FailureReason::Interrupted => {
            &failure.message
        }
        other => panic!("not interrupted: {other:?}"),
    }
}

#[tokio::test]
async fn another_machine_does_not_start_a_command_a_second_time() {
    let rig = Rig::new();
    let server = Server::new(&rig, TWO_MACHINES).await;
    let id = server.create("once", json!({})).await;
    let pid = pid_in(&rig, "pids").await;
    let store = server.kill();
    let other = Server::start_on("other", &rig, TWO_MACHINES, Arc::clone(&store)).await;
    let task = other.finished(id).await;
    let message = interrupted(&task);
    assert!(message.contains("was started on "), "{message}");
    assert_eq!(rig.lines("pids").len(), 1, "it ran once");
    assert!(is_running(pid));
    // Where it was started it is seen to that the task has ended.
    drop(other);
    let store = Arc::new(store.successor());
    let server = Server::start(&rig, TWO_MACHINES, store).await;
    assert_eq!(server.sweep().await, 1);
    assert!(!is_running(pid));
}

#[tokio::test]
async fn a_call_that_was_recorded_late_is_not_started_a_second_time_either() {
    let rig = Rig::new();
    let server = Server::new(&rig, TWO_MACHINES).await;
    let call = server.call("once", &json!({}), None);
    let running = server.handle.call(call, None, OnDrop::Continue);
    let id = running.id();
    server.runtime.as_ref().unwrap().spawn(running);
    let pid = pid_in(&rig, "pids").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while server.store.get(id).await.unwrap().is_none() {
        assert!(std::time::Instant::now() < deadline, "never stored");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let store = server.kill();
    let other = Server::start_on("other", &rig, TWO_MACHINES, store).await;
    interrupted(&*other.finished(id).await);
    assert_eq!(rig.lines("pids").len(), 1, "it ran once");
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn another_machine_starts_a_repeatable_command_again() {
    let rig = Rig::new();
    let server = Server::new(&rig, TWO_MACHINES).await;
    let id = server.create("again", json!({})).await;
    let pid = pid_in(&rig, "pids").await;
    let store = server.kill();
    std::fs::write(rig.file("go"), "").unwrap();
    let other = Server::start_on("other", &rig, TWO_MACHINES, store).await;
    completed(&*other.finished(id).await);
    assert_eq!(rig.lines("pids").len(), 2);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_call_without_a_record_takes_its_command_along() {
    let rig = Rig::new();
    let config = r#"
[tools.work]
description = "Works, and is never stored."
shell = true
command = 'echo $$ > pid; exec sleep 1000'
task = "forbidden"
"#;
    let mut server = Server::new(&rig, config).await;
    let call = server.call("work", &json!({}), None);
    let running = server.handle.call(call, None, OnDrop::Continue);
    server.runtime.as_ref().unwrap().spawn(running);
    let pid = pid_in(&rig, "pid").await;
    // A clean stop without patience.
    let engine = server.engine.take().unwrap();
    server
        .on_server(async move { engine.shutdown(Duration::ZERO).await })
        .await
        .unwrap();
    eventually("the command ends", || (!is_running(pid)).then_some(())).await;
}

#[tokio::test]
async fn a_quick_synchronous_call_leaves_nothing() {
    let rig = Rig::new();
    let config = r#"
[tools.inline]
description = "d"
command = ["echo", "inline"]
task = "forbidden"

[tools.optional]
description = "d"
command = ["echo", "optional"]

[tools.slow]
description = "d"
shell = true
command = 'echo first; while ! [ -e go ]; do sleep 0.01; done; echo last'
"#;
    let server = Server::new(&rig, config).await;
    for name in ["inline", "optional"] {
        let running =
            server
                .handle
                .call(server.call(name, &json!({}), None), None, OnDrop::Continue);
        let id = running.id();
        let outcome = server.on_server(running).await;
        let Outcome::Completed(result) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(text(&result), format!("{name}\n"));
        if name == "inline" {
            assert!(server.store.get(id).await.unwrap().is_none());
        }
    }
    // A longer one is written down while it runs, with its output from the beginning on.
    let running = server.handle.call(
        server.call("slow", &json!({}), None),
        None,
        OnDrop::Continue,
    );
    let id = running.id();
    let calling = server.runtime.as_ref().unwrap().spawn(running);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while server.store.get(id).await.unwrap().is_none() || server.log(id).await != "first\n" {
        assert!(std::time::Instant::now() < deadline, "never stored");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::fs::write(rig.file("go"), "").unwrap();
    assert!(matches!(calling.await.unwrap(), Outcome::Completed(_)));
    assert_eq!(server.log(id).await, "first\nlast\n");

    assert_eq!(server.sweep().await, 3);
    let left: Vec<_> = std::fs::read_dir(rig.file("db.runs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["place"]);
}

#[tokio::test]
async fn a_hundred_megabytes_are_counted_whole() {
    let rig = Rig::new();
    let config = r#"
[tools.yes]
description = "Says yes."
command = ["sh", "-c", "yes 0123456789abcde | head -c 100000000"]
progress = ['(?P<message>abcde)']
"#;
    let server = Server::new(&rig, config).await;
    let id = server.create("yes", json!({})).await;
    let task = server.finished(id).await;
    let result = completed(&task);
    assert!(!result.is_error, "{}", text(result));
    assert_eq!(structured(result)["output_bytes"], 100_000_000);
    assert_eq!(structured(result)["truncated"], true);
    let intro = text(result).lines().next().unwrap().to_owned();
    assert!(
        intro.contains(
            "of 100000000 bytes of output; its beginning and its end: outlast tasks logs"
        ),
        "{intro}"
    );
    assert_eq!(task.state.progress.message.as_deref(), Some("abcde"));
}

#[tokio::test]
async fn many_commands_at_once() {
    let rig = Rig::new();
    let config = r#"
[tools.work]
description = "Works."
shell = true
command = 'echo "$ARG_N" >> ledger; echo "out $ARG_N"; sleep 0.3; echo "err $ARG_N" >&2'
arguments.n.type = "integer"
"#;
    let mut server = Server::new(&rig, config).await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(server.create("work", json!({ "n": n })).await);
    }
    // The server dies while most of them are under way.
    eventually("some begin", || {
        (rig.lines("ledger").len() >= 10).then_some(())
    })
    .await;
    let store = server.kill();
    server = Server::start(&rig, config, store).await;
    for (n, id) in ids.iter().enumerate() {
        let task = server.finished(*id).await;
        assert_eq!(text(completed(&task)), format!("out {n}\nerr {n}\n"));
        assert_eq!(server.log(*id).await, format!("out {n}\nerr {n}\n"));
    }
    let mut ledger = rig.lines("ledger");
    ledger.sort_by_key(|line| line.parse::<u32>().unwrap());
    let expected: Vec<_> = (0..30).map(|n| n.to_string()).collect();
    assert_eq!(ledger, expected, "each once");
    assert_eq!(server.sweep().await, 30);
}

#[tokio::test]
async fn what_a_command_may_use_is_limited_and_named() {
    let rig = Rig::new();
    let server = Server::new(
        &rig,
        r#"
[defaults]
max_cpu_time = "1s"
max_memory = "64MiB"

[tools.spin]
description = "d"
shell = true
command = "while :; do :; done"

[tools.hoard]
description = "d"
shell = true
command = "head -c 200000000 /dev/zero | tail -c 150000000"

[tools.spend]
description = "d"
shell = true
command = "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c"
max_memory = "unlimited"
"#,
    )
    .await;
    let mut ended = Vec::new();
    for name in ["spin", "hoard", "spend"] {
        let id = server.create(name, json!({})).await;
        let task = server.finished(id).await;
        let result = completed(&task).clone();
        ended.push((text(&result), structured(&result), result.is_error));
    }
    let (text, structured, is_error) = &ended[0];
    assert!(
        text.contains("used more than 1s of processor time"),
        "{text}"
    );
    assert_eq!(
        (&structured["stopped"], *is_error),
        (&json!("cpu_time"), true)
    );
    let (text, _, is_error) = &ended[1];
    assert!(
        text.contains("each of its processes may have 64MiB of memory"),
        "{text}"
    );
    assert!(is_error);
    assert_eq!((ended[2].0.as_str(), ended[2].2), ("150000000\n", false));
}

#[tokio::test]
async fn much_output_at_once_is_kept_to_the_last_byte() {
    let rig = Rig::new();
    let config = r#"
[tools.loud]
description = "d"
shell = true
command = '''
i=0
while [ $i -lt 40 ]; do head -c 200000 /dev/zero | tr '\0' x; echo " $i"; i=$((i+1)); done
'''
"#;
    let server = Server::new(&rig, config).await;
    let id = server.create("loud", json!({})).await;
    let task = server.finished(id).await;
    let log = server.log(id).await;
    let line = "x".repeat(200_000);
    let expected: String = (0..40).map(|i| format!("{line} {i}\n")).collect();
    assert!(log == expected, "{} of {} bytes", log.len(), expected.len());
    assert_eq!(task.lines_dropped(), 0);
}

#[tokio::test]
async fn of_very_much_output_the_beginning_and_the_end_are_kept_and_the_gap_is_told() {
    let rig = Rig::new();
    let config = r#"
[tools.endless]
description = "d"
shell = true
command = """
echo begun; echo $$ > pid
while [ ! -e go ]; do sleep 0.02; done
head -c 200000000 /dev/zero | tr '\\0' x; echo; echo the end
"""
"#;
    let server = Server::new(&rig, config).await;
    let id = server.create("endless", json!({})).await;
    pid_in(&rig, "pid").await;
    // Nobody reads while it prints.
    let folder = server.folder(&rig, id, 1);
    let store = server.kill();
    std::fs::write(rig.file("go"), "").unwrap();
    eventually("it has ended", || folder.status().unwrap()).await;
    let server = Server::start(&rig, config, store).await;
    let task = server.finished(id).await;
    let result = structured(completed(&task));
    assert_eq!(result["output_bytes"], 200_000_000 + 6 + 9);
    assert_eq!(result["truncated"], true);
    let log = server.log(id).await;
    assert!(log.starts_with("begun\nxxx") && log.ends_with("xxx\nthe end\n"));
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("not kept"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("MiB of output are not kept"), "{told:?}");
    assert!(log.len() < 64 << 20, "{}", log.len());
    assert!(!log.contains('\0'), "no hole is taken for output");
}

#[tokio::test]
async fn an_argument_that_was_not_given_is_not_the_servers_own_variable() {
    let rig = Rig::new();
    let config = r#"
[tools.t]
description = "d"
shell = true
command = 'echo "${ARG_DEPTH-none} ${ARG_WORD}"'
arguments.depth = { type = "integer", required = false }
arguments.word = { type = "string" }
arguments.token = { type = "string", secret = true, required = false }
"#;
    let server = Server::new(&rig, config).await;
    let given = server
        .create("t", json!({"word": "x", "token": "s3cret"}))
        .await;
    let task = server.finished(given).await;
    assert_eq!(text(completed(&task)), "none x\n");
    let inherited = server.folder(&rig, given, 1).spec().unwrap().inherited;
    assert!(
        !inherited.takes("ARG_DEPTH"),
        "as it stands in the server's environment"
    );
    assert!(inherited.takes("ARG_OTHER") && inherited.takes("PATH"));
    // This one comes that way.
    assert!(inherited.takes("ARG_TOKEN"));
    let not_given = server.create("t", json!({"word": "x"})).await;
    server.finished(not_given).await;
    let inherited = server.folder(&rig, not_given, 1).spec().unwrap().inherited;
    assert!(!inherited.takes("ARG_TOKEN"));
}

#[tokio::test]
async fn runs_at_the_same_time_with_folders_of_their_own_keep_only_their_own_files() {
    let rig = Rig::new();
    let config = format!(
        r#"
[tools.report]
description = "d"
shell = true
command = """
pwd >> {all}; echo "line of $ARG_WHO" > app.log; echo "$ARG_WHO" > "$ARG_WHO.csv"
while [ ! -e {go} ]; do sleep 0.02; done
"""
own_folder = true
log_file = "app.log"
artifacts = ["*.csv"]
arguments.who = {{ type = "string" }}
"#,
        all = rig.file("all").display(),
        go = rig.file("go").display(),
    );
    let server = Server::new(&rig, &config).await;
    let alice = server.create("report", json!({"who": "alice"})).await;
    let bob = server.create("report", json!({"who": "bob"})).await;
    eventually("both have written", || {
        (rig.lines("all").len() == 2).then_some(())
    })
    .await;
    // A new server adopts them where they are.
    let server = Server::start(&rig, &config, server.kill()).await;
    std::fs::write(rig.file("go"), "").unwrap();
    for (id, who) in [(alice, "alice"), (bob, "bob")] {
        let task = server.finished(id).await;
        let result = structured(completed(&task));
        assert_eq!(
            result["artifacts"],
            json!([format!("{who}.csv")]),
            "{result}"
        );
        assert_eq!(server.log(id).await, format!("line of {who}\n"));
    }
    assert_eq!(server.sweep().await, 2);
    for folder in rig.lines("all") {
        assert!(
            !std::path::Path::new(&folder).exists(),
            "{folder} goes with its run"
        );
    }
}
