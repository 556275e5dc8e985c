//! `outlast call`: calls a tool.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use outlast::auth::Secret;
use outlast_core::{Timestamp, WebhookEvent, duration};
use outlast_engine::TaskSupport;
use outlast_mcp::WAITS_FOR_A_PERSON;
use outlast_mcp::client::{CallResult, Client, ClientError, TaskHandle, ToolInfo};
use serde_json::{Map, Value, json};

use super::client::address::{Address, Need};
use super::client::bar::Bar;
use super::client::exit::{self, Exit, Trouble};
use super::client::{arguments, out, outcome, prompt, unless_interrupted};

/// Call a tool
///
/// Without --task the call is waited for, and ends with this program. With --task it becomes a task, whose id
/// is printed; it goes on by itself, and `outlast tasks` looks after it. With --wait it is a task
/// where the tool can be one, and waited for: Ctrl-C then ends the waiting and not the task. What is
/// said about a task, as --delay, makes it one.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct Call {
    /// The tool
    tool: String,

    /// Arguments: key=value, converted as the tool's schema says; a key that is repeated makes an
    /// array; key:=JSON for anything
    #[arg(value_name = "KEY=VALUE")]
    arguments: Vec<String>,

    /// Arguments as a JSON object, or - to read it from standard input; KEY=VALUE wins over it
    #[arg(long, value_name = "JSON")]
    json_args: Option<String>,

    /// Run it as a task
    #[arg(long)]
    task: bool,

    /// Wait for the end of the task
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,

    /// Do not wait for the end of the task; implies --task
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,

    #[command(flatten)]
    order: Order,

    #[command(flatten)]
    address: Address,
}

/// When the task runs, and by what it is found. Any of it makes the call a task.
#[derive(Debug, Args)]
#[command(next_help_heading = "Task")]
struct Order {
    /// Run it only after this task has ended; may be repeated
    #[arg(long, value_name = "TASK")]
    after: Vec<String>,

    /// What becomes of it if a task of --after fails or is cancelled: fail, or run
    #[arg(long, value_name = "WHAT", default_value = "fail", requires = "after",
          value_parser = ["fail", "run"])]
    on_failure: String,

    /// Run it so long from now at the earliest, as 90s or 1h30m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    delay: Option<Duration>,

    /// Run it at this moment at the earliest, as 2026-12-01T07:00:00+01:00
    #[arg(long, value_name = "MOMENT", value_parser = str::parse::<Timestamp>)]
    at: Option<Timestamp>,

    /// Larger runs earlier; -100 to 100
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i16>,

    /// A label to find the task by; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,

    /// A name for this call: a repeated one with the same name gets the first one's task
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// An address that is told over HTTP when the task asks something and how it ends, by the Standard
    /// Webhooks specification, if the server's operator lists its host; may be repeated
    #[arg(long, value_name = "URL")]
    webhook: Vec<String>,

    /// What it is told: input_required, completed, failed, cancelled; may be repeated [default: all]
    #[arg(long, value_name = "EVENT", requires = "webhook", value_parser = str::parse::<WebhookEvent>)]
    webhook_event: Vec<WebhookEvent>,

    /// Where the key is that these messages are signed with: env:NAME or file:PATH of whsec_ and base64
    /// [default: the server's own]
    #[arg(long, value_name = "SECRET", requires = "webhook", value_parser = Secret::parse)]
    webhook_secret: Option<Secret>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Order {
    /// What is said, as members of the call's `_meta`.
    fn meta(&self) -> Result<Vec<(&'static str, Value)>, Trouble> {
        let mut meta = Vec::new();
        if !self.after.is_empty() {
            let needs = match self.on_failure.as_str() {
                "run" => "any_end",
                _ => "success",
            };
            let edges = self.after.iter();
            let edges = edges.map(|id| json!({"taskId": id, "needs": needs}));
            meta.push(("outlast/after", edges.collect()));
        }
        if let Some(delay) = self.delay {
            let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            meta.push(("outlast/delayMs", millis.into()));
        }
        if let Some(at) = self.at {
            meta.push(("outlast/runAt", at.to_string().into()));
        }
        if let Some(priority) = self.priority {
            meta.push(("outlast/priority", priority.into()));
        }
        if !self.label.is_empty() {
            let labels: Map<_, _> = self
                .label
                .iter()
                .map(|(key, value)| (key.clone(), value.clone().into()))
                .collect();
            meta.push(("outlast/labels", labels.into()));
        }
        if let Some(key) = &self.idempotency_key {
            meta.push(("outlast/idempotencyKey", key.clone().into()));
        }
        if !self.webhook.is_empty() {
            meta.push(("outlast/webhooks", self.webhooks()?));
        }
        Ok(meta)
    }

    fn webhooks(&self) -> Result<Value, Trouble> {
        let secret = self.webhook_secret.as_ref().map(Secret::read).transpose();
        let secret = secret.map_err(|why| Trouble::usage(format!("--webhook-secret: {why}")))?;
        let one = |url: &String| {
            let mut one = json!({ "url": url });
            if !self.webhook_event.is_empty() {
                one["events"] = json!(self.webhook_event);
            }
            if let Some(secret) = &secret {
                one["secret"] = json!(secret);
            }
            one
        };
        Ok(self.webhook.iter().map(one).collect())
    }
}

impl Call {
    pub(super) fn run(self) -> ExitCode {
        super::client::run(self.call())
    }

    async fn call(self) -> Result<Exit, Trouble> {
        let base = self.base()?;
        let bar = Bar::new(self.address.json);
        let client = self.address.connect(Need::Answers, &bar).await?;
        let done = self.on(&client, base, &bar).await;
        bar.finish();
        client.close().await;
        done
    }

    async fn on(
        &self,
        client: &Client,
        base: Map<String, Value>,
        bar: &Bar,
    ) -> Result<Exit, Trouble> {
        let tool = self.find(client).await?;
        let schema = tool.input_schema.to_value();
        let arguments = arguments::from_words(&schema, base, &self.arguments)
            .map_err(|error| Trouble::usage(format!("{}: {error}", tool.name)))?;
        let server_has_tasks = client.server().await?.tasks;
        let can_be_task = server_has_tasks && tool.task_support != Some(TaskSupport::Forbidden);
        let meta = self.order.meta()?;
        let asked = self.task || self.no_wait || !meta.is_empty();
        // Where nobody can be asked here, what it may ask must be found by whoever can answer.
        let alone = !prompt::is_possible();
        let as_task = asked || ((self.wait || alone) && can_be_task);
        if !as_task {
            return self.plainly(client, arguments, bar).await;
        }
        if server_has_tasks && !can_be_task {
            return Err(Trouble::usage(format!(
                "{} does not run as a task; leave out --task and all that is said about a task",
                tool.name
            )));
        }
        let mut call = client.call_task(&self.tool, arguments);
        for (key, value) in meta {
            call = call.meta(key, value.into());
        }
        let task = match call.await {
            Ok(task) => task,
            Err(ClientError::AnsweredAtOnce(result)) => {
                return outcome::show(None, Ok(*result), self.address.json);
            }
            Err(error) => return Err(error.into()),
        };
        if self.wait {
            return wait(&task, bar, self.address.json).await;
        }
        if !asked {
            return self.alone(&task, bar).await;
        }
        if self.address.json {
            let status = task
                .created()
                .map_or("working", |info| info.status.as_str());
            out::json(&json!({"taskId": task.id(), "status": status}));
        } else {
            out::line(task.id());
        }
        Ok(Exit::Ok)
    }

    async fn plainly(&self, client: &Client, arguments: Value, bar: &Bar) -> Result<Exit, Trouble> {
        bar.start(&self.tool);
        let reporting = bar.clone();
        let call = client
            .call(&self.tool, arguments)
            .on_progress(move |progress| reporting.set(&progress, None));
        let called = unless_interrupted(call.into_future()).await;
        bar.finish();
        match called {
            Some(result) => outcome::show(None, result, self.address.json),
            None => Err(Trouble::new(
                Exit::Interrupted,
                "interrupted; the call was given up. With --wait it would be a task and go on",
            )),
        }
    }

    /// A call that is a task only because nobody is here to answer: otherwise it is as [`Self::plainly`].
    async fn alone(&self, task: &TaskHandle, bar: &Bar) -> Result<Exit, Trouble> {
        bar.start(&self.tool);
        let followed = unless_interrupted(follow(task, bar)).await;
        bar.finish();
        match followed {
            Some(Err(trouble)) => Err(trouble),
            Some(Ok(result)) => outcome::show(None, result, self.address.json),
            None => {
                task.cancel().await?;
                Err(Trouble::new(
                    Exit::Interrupted,
                    "interrupted; the call was cancelled. With --wait it would go on",
                ))
            }
        }
    }

    async fn find(&self, client: &Client) -> Result<ToolInfo, Trouble> {
        let tools = client.list_tools().await?;
        if let Some(tool) = tools.iter().find(|tool| tool.name == self.tool) {
            return Ok(tool.clone());
        }
        let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        Err(Trouble::new(
            Exit::NotFound,
            format!(
                "the server has no tool {:?}; its tools are: {names}",
                self.tool
            ),
        ))
    }

    /// The object the words are put into.
    fn base(&self) -> Result<Map<String, Value>, Trouble> {
        let text = match self.json_args.as_deref() {
            None => return Ok(Map::new()),
            Some("-") => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .map_err(|error| Trouble::usage(format!("standard input: {error}")))?;
                text
            }
            Some(text) => text.to_owned(),
        };
        serde_json::from_str(&text)
            .map_err(|error| Trouble::usage(format!("--json-args: not a JSON object: {error}")))
    }
}

/// Waits for the end of a task and shows how far it is. The inner error is the task's own.
pub(super) async fn end(
    task: &TaskHandle,
    bar: &Bar,
) -> Result<Result<CallResult, ClientError>, Trouble> {
    // Said at once: whatever becomes of this program, the task can be found again.
    out::complain(&format!("task {}", task.id()));
    bar.start(short(task.id()));
    let waited = unless_interrupted(follow(task, bar)).await;
    bar.finish();
    waited.unwrap_or_else(|| {
        let id = task.id();
        Err(Trouble::new(
            Exit::Interrupted,
            format!(
                "no longer waiting; the task goes on.\n  outlast tasks watch {id}\n  outlast tasks result {id}\n  outlast tasks cancel {id}"
            ),
        ))
    })
}

/// Shows how far a task is until it has ended, and what it asks that nobody here can answer.
async fn follow(task: &TaskHandle, bar: &Bar) -> Result<Result<CallResult, ClientError>, Trouble> {
    let mut watch = task.watch();
    let mut awaited = None;
    while let Some(info) = watch.next().await {
        let info = info?;
        let asks = info.message.as_deref().and_then(awaits);
        if asks.is_some() && asks != awaited.as_deref() {
            let (id, asks) = (task.id(), asks.unwrap_or_default());
            bar.above(|| {
                out::complain(&format!("task {id} {asks}\n  outlast tasks answer {id}"));
            });
        }
        awaited = asks.map(str::to_owned);
        bar.set(&info.progress, info.message.as_deref());
    }
    Ok(task.result().await)
}

/// What a status message says of a question that nobody here can answer. Whoever waits without a terminal, or
/// reads later what ran by itself, must hear that a person is needed.
fn awaits(message: &str) -> Option<&str> {
    message
        .find(WAITS_FOR_A_PERSON)
        .map(|begins| &message[begins..])
}

/// [`end`], and shows what came of it.
pub(super) async fn wait(task: &TaskHandle, bar: &Bar, json: bool) -> Result<Exit, Trouble> {
    match end(task, bar).await {
        Ok(outcome) => outcome::show(Some(task.id()), outcome, json),
        Err(trouble) => {
            if json {
                out::json(&json!({"taskId": task.id(), "status": "working"}));
            }
            Err(trouble)
        }
    }
}

/// Enough of an id to tell one bar from another.
pub(super) fn short(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}
