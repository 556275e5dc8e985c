//! The client against FastMCP 3.4 (2025-11-25, tasks of SEP-1686) and FastMCP 4.1 (2026-07-28, tasks
//! of SEP-2663), over HTTP and as child processes.
//!
//! `scripts/setup interop` installs them. Where they are missing the tests say so and pass, but in CI
//! (`CI` set) they fail.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::{Progress, TaskStatus};
use outlast_mcp::client::{
    Client, ClientBuilder, ClientError, Protocol, Question, Reply, Root, Sampled, Sampling, Target,
};
use outlast_mcp::protocol::Version;
use serde_json::json;

/// A client for servers that take their time to start where much else runs.
fn patient(target: Target) -> ClientBuilder {
    Client::builder(target).timeout(Some(Duration::from_secs(120)))
}

/// A server of tests/assertions/teeth in its own virtual environment.
struct Foreign {
    python: PathBuf,
    script: PathBuf,
}

fn foreign(venv: &str, script: &str) -> Option<Foreign> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".deps").join(venv).join("bin/python");
    if !python.exists() {
        let message = format!("{venv} is not installed (scripts/setup interop)");
        assert!(std::env::var_os("CI").is_none(), "{message}");
        eprintln!("SKIPPED: {message}");
        return None;
    }
    Some(Foreign {
        python,
        script: root.join("tests/assertions/teeth").join(script),
    })
}

fn fastmcp3() -> Option<Foreign> {
    foreign("fastmcp3", "fastmcp34_server.py")
}

fn fastmcp4() -> Option<Foreign> {
    foreign("fastmcp4", "fastmcp41_server.py")
}

impl Foreign {
    fn stdio(&self) -> Target {
        Target::command(&self.python, [self.script.as_os_str(), "stdio".as_ref()])
    }

    /// Starts it on a free port and waits until it accepts connections.
    async fn http(&self) -> (tokio::process::Child, Target) {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let child = tokio::process::Command::new(&self.python)
            .arg(&self.script)
            .args(["http", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        eventually("the server accepts connections", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        })
        .await;
        (child, Target::url(format!("http://127.0.0.1:{port}/mcp")))
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while !check().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whoever is asked says yes, and the questions are kept.
fn yes(questions: &Arc<Mutex<Vec<Question>>>) -> impl outlast_mcp::client::Answerer + use<> {
    let questions = Arc::clone(questions);
    move |question: Question| {
        let schema = question.schema.to_value();
        let properties = schema["properties"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        questions.lock().unwrap().push(question);
        async move {
            let value = |schema: &serde_json::Value| match schema["type"].as_str() {
                Some("boolean") => json!(true),
                _ => json!("Ada"),
            };
            let content: serde_json::Map<_, _> = properties
                .iter()
                .map(|(name, schema)| (name.clone(), value(schema)))
                .collect();
            Reply::accept(&content).unwrap()
        }
    }
}

/// What every server with tasks must do with us, in either era.
async fn the_whole_life_of_tasks(client: &Client, failed_is: TaskStatus) {
    let tools = client.list_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "add"), "{tools:?}");

    let sum = client.call("add", json!({"a": 2, "b": 3})).await.unwrap();
    assert_eq!(sum.data::<i64>().unwrap(), 5);

    let task = client
        .call_task("add", json!({"a": 20, "b": 3}))
        .await
        .unwrap();
    assert_eq!(task.data::<i64>().await.unwrap(), 23);
    // As often as wanted, also by id alone.
    let again = client.task(task.id()).result().await.unwrap();
    assert_eq!(again.raw(), task.result().await.unwrap().raw());
    assert_eq!(task.wait().await.unwrap().status, TaskStatus::Completed);

    let failing = client.call_task("failing_job", ()).await.unwrap();
    let result = failing.result().await.unwrap();
    assert!(
        result.is_error() && result.text().contains("always fails"),
        "{result:?}"
    );
    assert_eq!(failing.status().await.unwrap().status, failed_is);

    // A tool that runs as a task only, called plainly, is run as one. FastMCP answers an older client
    // with an error of the tool.
    let plain = client.call("failing_job", ()).await.unwrap();
    assert!(plain.is_error());

    let long = client
        .call_task("slow_compute", json!({"seconds": 600}))
        .await
        .unwrap();
    let mut watch = long.watch();
    assert_eq!(
        watch.next().await.unwrap().unwrap().status,
        TaskStatus::Working
    );
    let cancelled = long.cancel().await.unwrap();
    assert!(matches!(
        cancelled.status,
        TaskStatus::Cancelled | TaskStatus::Working
    ));
    assert!(matches!(
        long.result().await,
        Err(ClientError::TaskCancelled { .. })
    ));
    while let Some(next) = watch.next().await {
        next.unwrap();
    }

    let unknown = client.task("00000000-0000-0000-0000-000000000000");
    assert!(matches!(
        unknown.status().await,
        Err(ClientError::TaskNotFound { .. })
    ));

    let three = [3, 2, 1].map(|n| client.call_task("add", json!({"a": n, "b": 0})));
    for (n, task) in [3, 2, 1].into_iter().zip(three) {
        assert_eq!(task.await.unwrap().data::<i64>().await.unwrap(), n);
    }
}

async fn progress_of_a_plain_call(client: &Client) {
    let seen = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let sink = Arc::clone(&seen);
    let result = client
        .call("slow_progress", json!({"steps": 4, "step_ms": 50}))
        .on_progress(move |progress| sink.lock().unwrap().push(progress))
        .await
        .unwrap();
    assert_eq!(result.data::<String>().unwrap(), "4 steps");
    let seen = seen.lock().unwrap();
    let done: Vec<f64> = seen.iter().map(|progress| progress.done).collect();
    assert_eq!(done, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(seen[0].total, Some(4.0));
}

async fn what_a_task_is_doing_is_seen(client: &Client) {
    let task = client
        .call_task("slow_progress", json!({"steps": 8, "step_ms": 400}))
        .await
        .unwrap();
    let mut progress = task.progress();
    let mut messages = Vec::new();
    while let Some(next) = progress.next().await {
        messages.extend(next.unwrap().message);
    }
    assert!(
        messages.iter().any(|message| message.contains("step")),
        "{messages:?}"
    );
    assert_eq!(task.data::<String>().await.unwrap(), "8 steps");
}

#[tokio::test]
async fn fastmcp_3_over_http() {
    let Some(server) = fastmcp3() else { return };
    let (_child, target) = server.http().await;
    let client = patient(target.clone()).connect().await.unwrap();
    let info = client.server().await.unwrap();
    assert_eq!((info.protocol, info.tasks), (Version::V2025_11_25, true));
    the_whole_life_of_tasks(&client, TaskStatus::Failed).await;
    progress_of_a_plain_call(&client).await;
    what_a_task_is_doing_is_seen(&client).await;

    // Another client takes the task up by its id.
    let task = client
        .call_task("slow_compute", json!({"seconds": 1, "label": "x"}))
        .await
        .unwrap();
    let id = task.id().to_owned();
    client.close().await;
    let other = patient(target.clone()).connect().await.unwrap();
    assert_eq!(
        other.task(id).data::<String>().await.unwrap(),
        "x computed for 1.0 s"
    );

    // What it does not speak is said.
    let pinned = patient(target).protocol(Protocol::Modern).connect().await;
    assert!(
        matches!(pinned, Err(ClientError::Protocol { .. })),
        "{pinned:?}"
    );
}

#[tokio::test]
async fn fastmcp_3_as_a_command() {
    let Some(server) = fastmcp3() else { return };
    let questions = Arc::default();
    let client = patient(server.stdio())
        .on_question(yes(&questions))
        .connect()
        .await
        .unwrap();
    the_whole_life_of_tasks(&client, TaskStatus::Failed).await;
    progress_of_a_plain_call(&client).await;
    let task = client
        .call_task("confirm_delete", json!({"filename": "a.txt"}))
        .await
        .unwrap();
    assert_eq!(task.data::<String>().await.unwrap(), "deleted a.txt");
    assert!(questions.lock().unwrap()[0].message.contains("a.txt"));
    client.close().await;
}

#[tokio::test]
async fn fastmcp_2_and_3_ask_for_model_and_roots() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/client/asking_server.py");
    for venv in ["fastmcp2", "fastmcp3"] {
        let Some(Foreign { python, .. }) = foreign(venv, "") else {
            continue;
        };
        let client = patient(Target::command(&python, [&here]))
            .protocol(Protocol::Legacy)
            .on_sampling(|sampling: Sampling| async move {
                let (_, text) = sampling.texts().pop().expect("a message");
                Sampled::Text {
                    model: "m".into(),
                    text: format!("short: {text} ({})", sampling.max_tokens),
                }
            })
            .roots([Root::new("file:///srv/a")])
            .connect()
            .await
            .unwrap();
        let summary = client
            .call("summarise", json!({"text": "x"}))
            .await
            .unwrap();
        assert_eq!(summary.text(), "short: Summarise: x (50)", "{venv}");
        let folders = client.call("folders", ()).await.unwrap();
        assert_eq!(folders.text(), "file:///srv/a", "{venv}");
        let both = [
            Root::new("file:///srv/a"),
            Root::new("file:///srv/b").named("b"),
        ];
        client.set_roots(both).await.unwrap();
        let folders = client.call("folders", ()).await.unwrap();
        assert_eq!(folders.text(), "file:///srv/a file:///srv/b", "{venv}");
        client.close().await;
    }
}

#[tokio::test]
async fn fastmcp_3_asks_over_http() {
    let Some(server) = fastmcp3() else { return };
    let (_child, target) = server.http().await;
    let questions = Arc::default();
    let client = patient(target)
        .on_question(yes(&questions))
        .connect()
        .await
        .unwrap();
    let task = client
        .call_task("confirm_delete", json!({"filename": "b.txt"}))
        .await
        .unwrap();
    assert_eq!(task.data::<String>().await.unwrap(), "deleted b.txt");
    assert_eq!(questions.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn fastmcp_4_over_http() {
    let Some(server) = fastmcp4() else { return };
    let (_child, target) = server.http().await;
    let questions = Arc::default();
    let client = patient(target.clone())
        .on_question(yes(&questions))
        .connect()
        .await
        .unwrap();
    let info = client.server().await.unwrap();
    assert_eq!((info.protocol, info.tasks), (Version::V2026_07_28, true));
    the_whole_life_of_tasks(&client, TaskStatus::Completed).await;
    progress_of_a_plain_call(&client).await;
    what_a_task_is_doing_is_seen(&client).await;

    let task = client
        .call_task("confirm_delete", json!({"filename": "c.txt"}))
        .await
        .unwrap();
    assert_eq!(task.data::<String>().await.unwrap(), "deleted c.txt");
    let both = client.call_task("multi_input", ()).await.unwrap();
    assert!(both.data::<String>().await.unwrap().contains("Ada"));
    // The same tool, called plainly: the question comes in place of the result.
    let plain = client
        .call("confirm_delete", json!({"filename": "d.txt"}))
        .await
        .unwrap();
    assert_eq!(plain.data::<String>().unwrap(), "deleted d.txt");
    assert_eq!(questions.lock().unwrap().len(), 4);

    let failed = client.call_task("protocol_error_job", ()).await.unwrap();
    let Err(ClientError::TaskFailed { error, .. }) = failed.result().await else {
        panic!("a JSON-RPC error")
    };
    assert_eq!(error.code, -32050);

    // The same server in the other era has no tasks, and that is said before anything is sent.
    let older = patient(target)
        .protocol(Protocol::Legacy)
        .connect()
        .await
        .unwrap();
    assert_eq!(older.server().await.unwrap().protocol, Version::V2025_11_25);
    let refused = older.call_task("add", json!({"a": 1, "b": 1})).await;
    assert!(
        matches!(refused, Err(ClientError::Unsupported(_))),
        "{refused:?}"
    );
    assert_eq!(
        older
            .call("add", json!({"a": 1, "b": 1}))
            .await
            .unwrap()
            .data::<i64>()
            .unwrap(),
        2
    );
}

#[tokio::test]
async fn fastmcp_4_as_a_command() {
    let Some(server) = fastmcp4() else { return };
    let client = patient(server.stdio()).connect().await.unwrap();
    assert_eq!(
        client.server().await.unwrap().protocol,
        Version::V2026_07_28
    );
    the_whole_life_of_tasks(&client, TaskStatus::Completed).await;
    client.close().await;
}
