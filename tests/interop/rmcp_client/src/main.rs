//! Drives a server with rmcp's client, in both eras; tasks in 2026-07-28 alone, because rmcp has
//! removed those of 2025-11-25.
//!
//! The command line and the lines it prints are those of the drivers beside it, see `harness.py`.

#![allow(
    deprecated,
    reason = "sampling and roots are deprecated since SEP-2577, and clients have them"
)]

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ClientCapabilities,
    ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams,
    ElicitResult, ElicitationAction, ErrorData, GetTaskParams, Implementation, InputResponses,
    ListRootsResult, NumberOrString, ProgressNotificationParam, ProgressToken, ProtocolVersion,
    RequestMetaObject, TaskPayload, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, RunningService, ServiceError};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Value, json};

type Failure = Box<dyn Error + Send + Sync>;
type Done<T = ()> = Result<T, Failure>;
type Connection = RunningService<RoleClient, Handler>;

/// Only a hung server needs this long for anything.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq)]
enum Era {
    Legacy,
    Modern,
}

#[derive(Clone)]
struct Target {
    url: Option<String>,
    command: Vec<String>,
}

/// What a client is: what it declares, and what it was told and asked.
#[derive(Clone)]
struct Handler {
    tasks: bool,
    progress: Arc<Mutex<Vec<f64>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let extensions = if self.tasks {
            json!({"io.modelcontextprotocol/tasks": {}})
        } else {
            json!({})
        };
        let capabilities = json!({
            "elicitation": {}, "sampling": {}, "roots": {}, "extensions": extensions,
        });
        let capabilities: ClientCapabilities =
            serde_json::from_value(capabilities).expect("these are capabilities");
        ClientConfig::new(capabilities, Implementation::new("interop", "0"))
    }

    async fn on_progress(
        &self,
        said: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.progress
            .lock()
            .expect("no check panics with it")
            .push(said.progress);
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams {
            message,
            requested_schema,
            ..
        } = request
        else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        self.asked
            .lock()
            .expect("no check panics with it")
            .push(message);
        let schema = json!(requested_schema);
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(answer_to(&schema)))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Ok(serde_json::from_value(sampled()).expect("written as the protocol has it"))
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        Ok(serde_json::from_value(roots()).expect("written as the protocol has it"))
    }
}

/// What the client's model writes.
const SAMPLED: &str = "Paris";

/// The client's folder.
const ROOT: &str = "file:///home/alice/project";

fn sampled() -> Value {
    json!({"role": "assistant", "content": {"type": "text", "text": SAMPLED}, "model": "none"})
}

fn roots() -> Value {
    json!({"roots": [{"uri": ROOT}]})
}

/// An answer that fits the schema of a question: everything, agreeing.
fn answer_to(schema: &Value) -> Value {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let answer = fields.map(|(name, field)| {
        let value = match field["type"].as_str() {
            Some("boolean") => json!(true),
            Some("integer" | "number") => json!(1),
            _ => json!("Alice"),
        };
        (name.clone(), value)
    });
    Value::Object(answer.collect())
}

async fn connect(target: &Target, era: Era, tasks: bool) -> Done<Connection> {
    let handler = Handler {
        tasks,
        progress: Arc::default(),
        asked: Arc::default(),
    };
    let lifecycle = match era {
        Era::Legacy => ClientLifecycleMode::Initialize,
        Era::Modern => ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        },
    };
    Ok(match &target.url {
        Some(url) => {
            let transport = StreamableHttpClientTransport::from_uri(url.as_str());
            handler.serve_with_lifecycle(transport, lifecycle).await?
        }
        None => {
            let mut command = tokio::process::Command::new(&target.command[0]);
            command.args(&target.command[1..]);
            handler
                .serve_with_lifecycle(TokioChildProcess::new(command)?, lifecycle)
                .await?
        }
    })
}

fn call(name: &'static str, arguments: Value) -> CallToolRequestParams {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new(name).with_arguments(arguments)
}

fn need(condition: bool, what: impl Into<String>) -> Done {
    if condition {
        Ok(())
    } else {
        Err(what.into().into())
    }
}

fn text_of(result: &CallToolResult) -> Done<String> {
    let first = json!(result.content.first());
    let text = first["text"].as_str();
    text.map(str::to_owned)
        .ok_or_else(|| format!("the result does not begin with text: {first}").into())
}

/// Calls a tool that must become a task; returns the id.
async fn start(client: &Connection, name: &'static str, arguments: Value) -> Done<String> {
    match client.call_tool_once(call(name, arguments)).await? {
        CallToolResponse::Task(created) => Ok(created.task.task_id),
        other => Err(format!("{name} ran without a task: {other:?}").into()),
    }
}

/// Polls a task until its payload holds.
async fn poll(client: &Connection, id: &str, holds: fn(&TaskPayload) -> bool) -> Done<TaskPayload> {
    let polling = async {
        loop {
            let payload = client.get_task(GetTaskParams::new(id)).await?.task.payload;
            if holds(&payload) {
                return Ok(payload);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, polling).await?
}

fn ended(payload: &TaskPayload) -> bool {
    !matches!(
        payload,
        TaskPayload::Working | TaskPayload::InputRequired { .. }
    )
}

async fn completed(client: &Connection, id: &str) -> Done<Value> {
    match poll(client, id, ended).await? {
        TaskPayload::Completed { result } => Ok(Value::Object(result)),
        other => Err(format!("the task ended as {other:?}").into()),
    }
}

fn refused<T>(answer: Result<T, ServiceError>, code: i32, what: &str) -> Done {
    match answer {
        Err(ServiceError::McpError(error)) if error.code.0 == code => Ok(()),
        Err(error) => Err(format!("{what}: expected error {code}, got {error}").into()),
        Ok(_) => Err(format!("{what}: expected error {code}, got an answer").into()),
    }
}

async fn calls(target: Target, era: Era) -> Done {
    let client = connect(&target, era, false).await?;
    let names: Vec<String> = client
        .list_all_tools()
        .await?
        .into_iter()
        .map(|t| t.name.into_owned())
        .collect();
    for name in ["greet", "add", "slow_compute", "failing_job"] {
        need(
            names.iter().any(|listed| listed == name),
            format!("tool {name} is missing from {names:?}"),
        )?;
    }
    let greeting = client
        .call_tool(call("greet", json!({"name": "Ada"})))
        .await?;
    need(
        text_of(&greeting)? == "Hello, Ada!",
        "the greeting is another one",
    )?;
    let code = if era == Era::Legacy { -32601 } else { -32021 };
    refused(
        client.call_tool(call("failing_job", json!({}))).await,
        code,
        "a required tool without tasks",
    )?;
    refused(
        client.call_tool(call("no_such_tool", json!({}))).await,
        -32602,
        "an unknown tool",
    )?;
    client.cancel().await?;
    Ok(())
}

async fn progress(target: Target, era: Era) -> Done {
    let client = connect(&target, era, false).await?;
    let mut params = call("slow_progress", json!({"steps": 10, "step_ms": 100}));
    let mut meta = RequestMetaObject::default();
    meta.set_progress_token(ProgressToken(NumberOrString::String("rmcp".into())));
    params.meta = Some(meta);
    text_of(&client.call_tool(params).await?)?;
    let seen = client
        .service()
        .progress
        .lock()
        .expect("no check panics with it")
        .clone();
    need(
        seen.len() >= 2 && seen.windows(2).all(|w| w[0] < w[1]),
        format!("progress was {seen:?}"),
    )?;
    client.cancel().await?;
    Ok(())
}

async fn question_in_a_call(target: Target) -> Done {
    let client = connect(&target, Era::Legacy, false).await?;
    let result = client
        .call_tool(call("confirm_delete", json!({"filename": "rmcp.txt"})))
        .await?;
    need(
        text_of(&result)? == "deleted rmcp.txt",
        format!("the answer did not arrive: {result:?}"),
    )?;
    client.cancel().await?;
    Ok(())
}

async fn task(target: Target) -> Done {
    let client = connect(&target, Era::Modern, true).await?;
    let id = start(
        &client,
        "slow_progress",
        json!({"steps": 10, "step_ms": 100}),
    )
    .await?;
    completed(&client, &id).await?;
    let id = start(&client, "failing_job", json!({})).await?;
    need(
        completed(&client, &id).await?["isError"] == true,
        "a tool that failed is not marked as an error",
    )?;
    let id = start(&client, "protocol_error_job", json!({})).await?;
    let end = poll(&client, &id, ended).await?;
    need(
        matches!(end, TaskPayload::Failed { .. }),
        format!("a protocol error ended as {end:?}"),
    )?;
    client.cancel().await?;
    Ok(())
}

async fn cancel(target: Target) -> Done {
    let client = connect(&target, Era::Modern, true).await?;
    let id = start(
        &client,
        "slow_compute",
        json!({"seconds": 600, "label": "rmcp"}),
    )
    .await?;
    client.cancel_task(CancelTaskParams::new(&id)).await?;
    let end = poll(&client, &id, ended).await?;
    need(
        matches!(end, TaskPayload::Cancelled),
        format!("a cancelled task ended as {end:?}"),
    )?;
    refused(
        client
            .get_task(GetTaskParams::new("00000000-0000-4000-8000-000000000000"))
            .await,
        -32602,
        "tasks/get of an unknown id",
    )?;
    client.cancel().await?;
    Ok(())
}

async fn question_in_a_task(target: Target) -> Done {
    let client = connect(&target, Era::Modern, true).await?;
    let id = start(&client, "confirm_delete", json!({"filename": "rmcp.txt"})).await?;
    client.cancel().await?;
    let client = connect(&target, Era::Modern, true).await?;
    let asking = poll(&client, &id, |payload| {
        !matches!(payload, TaskPayload::Working)
    })
    .await?;
    let TaskPayload::InputRequired { input_requests } = asking else {
        return Err(format!("no question: {asking:?}").into());
    };
    let answers: InputResponses = input_requests
        .iter()
        .map(|(key, request)| {
            let content = answer_to(&json!(request)["params"]["requestedSchema"]);
            (key.clone(), json!({"action": "accept", "content": content}))
        })
        .collect();
    client
        .update_task(UpdateTaskParams::new(&id, answers))
        .await?;
    let result = completed(&client, &id).await?;
    need(
        result["content"][0]["text"] == "deleted rmcp.txt",
        format!("the answer did not arrive: {result}"),
    )?;
    client.cancel().await?;
    Ok(())
}

/// A tool that asks its caller's user, model and folders, each alone and all at once.
async fn asked(target: Target, era: Era) -> Done {
    let client = connect(&target, era, false).await?;
    let tools: [(&str, &[&str]); 3] = [
        ("test_input_required_result_sampling", &[SAMPLED]),
        ("test_input_required_result_list_roots", &[ROOT]),
        (
            "test_input_required_result_multiple_inputs",
            &["Alice", SAMPLED, ROOT],
        ),
    ];
    for (tool, expected) in tools {
        let told = text_of(&client.call_tool(call(tool, json!({}))).await?)?;
        need(
            expected.iter().all(|answer| told.contains(answer)),
            format!("{tool} was told {told:?}"),
        )?;
    }
    client.cancel().await?;
    Ok(())
}

async fn asked_in_a_task(target: Target) -> Done {
    let client = connect(&target, Era::Modern, true).await?;
    let id = start(&client, "ask_around", json!({})).await?;
    let asking = poll(&client, &id, |payload| {
        !matches!(payload, TaskPayload::Working)
    })
    .await?;
    let TaskPayload::InputRequired { input_requests } = asking else {
        return Err(format!("no questions: {asking:?}").into());
    };
    let answers: InputResponses = input_requests
        .iter()
        .map(|(key, request)| {
            let answer = match json!(request)["method"].as_str() {
                Some("sampling/createMessage") => sampled(),
                Some("roots/list") => roots(),
                _ => json!({"action": "accept", "content": {"name": "Alice"}}),
            };
            (key.clone(), answer)
        })
        .collect();
    client
        .update_task(UpdateTaskParams::new(&id, answers))
        .await?;
    let told = completed(&client, &id).await?.to_string();
    let expected = ["Alice", SAMPLED, ROOT];
    need(
        expected.iter().all(|answer| told.contains(answer)),
        format!("the task was told {told}"),
    )?;
    client.cancel().await?;
    Ok(())
}

async fn question_before_a_task(target: Target) -> Done {
    let client = connect(&target, Era::Modern, true).await?;
    let first = client
        .call_tool_once(call("test_tool_with_task", json!({})))
        .await?;
    let CallToolResponse::InputRequired(first) = first else {
        return Err(format!("no question: {first:?}").into());
    };
    let wire = json!(first);
    let requests = wire["inputRequests"]
        .as_object()
        .ok_or("no inputRequests")?;
    let answers: InputResponses = requests
        .iter()
        .map(|(key, request)| {
            let content = answer_to(&request["params"]["requestedSchema"]);
            (key.clone(), json!({"action": "accept", "content": content}))
        })
        .collect();
    let mut retry = call("test_tool_with_task", json!({})).with_input_responses(answers);
    if let Some(state) = wire["requestState"].as_str() {
        retry = retry.with_request_state(state);
    }
    let CallToolResponse::Task(created) = client.call_tool_once(retry).await? else {
        return Err("the retry made no task".into());
    };
    let result = completed(&client, &created.task.task_id).await?;
    need(
        result.to_string().contains("Alice"),
        format!("the answer is not in the result: {result}"),
    )?;
    client.cancel().await?;
    Ok(())
}

async fn reconnect(target: Target) -> Done {
    let client = connect(&target, Era::Modern, true).await?;
    let id = start(
        &client,
        "slow_progress",
        json!({"steps": 20, "step_ms": 100}),
    )
    .await?;
    client.cancel().await?;
    let client = connect(&target, Era::Modern, true).await?;
    completed(&client, &id).await?;
    client.cancel().await?;
    Ok(())
}

type Check = (&'static str, Pin<Box<dyn Future<Output = Done>>>);

#[tokio::main]
async fn main() {
    let mut target = Target {
        url: None,
        command: Vec::new(),
    };
    let mut only = String::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--url" => target.url = arguments.next(),
            "--only" => only = arguments.next().unwrap_or_default(),
            "--stdio" => target.command = arguments.by_ref().collect(),
            _ => panic!("unknown argument {argument}; known are --url, --only and --stdio"),
        }
    }
    assert!(
        target.url.is_some() != !target.command.is_empty(),
        "give either --url URL or --stdio COMMAND..."
    );
    let t = || target.clone();
    let checks: Vec<Check> = vec![
        (
            "calls and refusals, 2025-11-25",
            Box::pin(calls(t(), Era::Legacy)),
        ),
        (
            "calls and refusals, 2026-07-28",
            Box::pin(calls(t(), Era::Modern)),
        ),
        ("progress, 2025-11-25", Box::pin(progress(t(), Era::Legacy))),
        ("progress, 2026-07-28", Box::pin(progress(t(), Era::Modern))),
        (
            "a question while the caller waits, 2025-11-25",
            Box::pin(question_in_a_call(t())),
        ),
        (
            "sampling, roots and a question while the caller waits, 2025-11-25",
            Box::pin(asked(t(), Era::Legacy)),
        ),
        (
            "sampling, roots and a question while the caller waits, 2026-07-28",
            Box::pin(asked(t(), Era::Modern)),
        ),
        (
            "sampling, roots and a question inside a task",
            Box::pin(asked_in_a_task(t())),
        ),
        ("tasks to their ends", Box::pin(task(t()))),
        ("cancel a running task, unknown ids", Box::pin(cancel(t()))),
        (
            "a question inside a task, answered over a new connection",
            Box::pin(question_in_a_task(t())),
        ),
        (
            "a question before the task exists",
            Box::pin(question_before_a_task(t())),
        ),
        (
            "a task outlives the connection that started it",
            Box::pin(reconnect(t())),
        ),
    ];
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in checks.into_iter().filter(|(name, _)| name.contains(&only)) {
        let outcome = tokio::time::timeout(3 * DEADLINE, check).await;
        match outcome.unwrap_or_else(|_| Err("hung: the check did not end".into())) {
            Ok(()) => {
                passed += 1;
                println!("ok   rmcp: {name}");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL rmcp: {name}: {error}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    std::process::exit(i32::from(failed > 0 || passed == 0));
}
