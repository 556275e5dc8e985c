//! Runs the tools of an MCP server as **durable background tasks**.
//!
//! The work outlives the connection, the client, the server process and the machine; whoever holds
//! the task's id sees its progress, cancels it and fetches its result, as often as they like. A server
//! with one such tool:
//!
//! ```no_run
//! use outlast::prelude::*;
//!
//! /// Counts to `n`, slowly.
//! #[tool(task)]
//! async fn count(n: u32, cx: Cx) -> Result<String> {
//!     for i in cx.progress().over(1..=n) {
//!         cx.step(format!("number {i}"), || async move { Ok(i) }).await?;
//!     }
//!     Ok(format!("counted to {n}"))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<()> {
//!     Server::new("counter").tool(count).run().await
//! }
//! ```
//!
//! It listens on `http://127.0.0.1:9876/mcp`, keeps its tasks in a SQLite file, and understands
//! `--help`. With `--stdio` it is what a client starts as a command, and the work still goes on when
//! the client ends it.
//!
//! * [`tool`] makes a tool of a function; [`Tool`] is what it makes.
//! * [`Cx`] is what a handler can do besides its own work: progress, log, steps, questions.
//! * [`Server`] puts tools together and runs them; [`Settings`] is how.
//!
//! With the feature `testing`, `outlast::testing` runs a server inside a test: with a clock that the test
//! moves, faults that it plans, and crashes.
//!
//! [`guide::steps`] says where the effects of a handler may stand.
//!
//! # Limits
//!
//! * Execution is at least once: after a crash a handler runs again from its top, with its recorded
//!   steps returning at once. Effects outside steps may happen twice.
//! * Nothing listens beyond this machine without users ([`Settings::auth`], [`Server::authenticator`]).
//! * One process serves a store. Linux is the home, macOS works, Windows is not a target yet.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod arguments;
mod ask;
mod blocking;
mod bridge;
#[cfg(feature = "client")]
pub mod client;
mod content;
mod declared;
mod definition;
mod error;
pub mod guide;
mod icon;
pub mod layer;
mod offer;
pub mod prelude;
mod promise;
pub mod reply;
mod sample;
mod say;
mod schema;
mod server;
mod settings;
mod state;
#[cfg(feature = "testing")]
pub mod testing;

pub use ask::{Answer, Ask, question, url_question, url_required};
#[cfg(feature = "client")]
pub use client::Client;
pub use content::{Bytes, Content};
pub use definition::{IntoTool, StateOf, Tool};
pub use error::StartError;
pub use icon::Icon;
pub use offer::{
    Catalog, IntoContents, IntoMessages, IntoPrompt, IntoResource, Json, Message, Messages, Prompt,
    Resource,
};
pub use outlast_core::limit::Rate;
pub use outlast_core::same::Then;
pub use outlast_core::schedule::{CatchUp, NewSchedule, Overlap, Schedule};
#[doc(inline)]
pub use outlast_core::{
    AnswerBy, Artifact, InputRequest, Level, Owner, RawJson, TaskId, ToolResult,
};
#[doc(inline)]
pub use outlast_core::{Principal, Scope};
#[doc(inline)]
pub use outlast_engine::{
    ArtifactSource, BlockingCx, Cx, DetachAfter, Error, ErrorKind, FanOut, Handler, OnDisconnect,
    ProgressPart, ProgressReporter, ProgressSink, ProgressUpdate, Race, Result, Retry, Signals,
    Spawn, TaskSupport, Undo,
};
#[doc(inline)]
pub use outlast_engine::{Order, Per};
#[doc(inline)]
pub use outlast_http::Mounted;
pub use outlast_http::auth;
pub use outlast_http::{WebhookSettings, WebhookTo};
#[doc(inline)]
pub use outlast_mcp::Helpers;
pub use outlast_mcp::Root;
#[doc(inline)]
pub use outlast_mcp::offer::{CacheScope, CompletionRequest, RequestCx, ResourceContents};
pub use reply::Reply;
pub use sample::{Sample, SampleRequest, Sampled, ToolChoice, ToolUse};
pub use server::{KeyOfCopy, Reloaded, RunningServer, Server};
pub use settings::{
    Collector, Listen, LogFormat, LogLevel, Settings, StdioMode, StoreUrl, Synchronous,
};
pub use state::State;

pub use outlast_core as core;
pub use outlast_engine as engine;
#[cfg(feature = "otlp")]
pub use outlast_otel as otel;

/// Makes a tool of a function.
///
/// ```
/// use outlast::prelude::*;
///
/// /// Renders a report. This text tells the model what the tool does.
/// #[tool(task, title = "Report", retention = "7d", idempotent)]
/// async fn report(
///     /// What the parameter is, for the model.
///     customer: String,
///     /// Optional: absent and null are `None`.
///     year: Option<u32>,
///     #[default = 10] lines: u32,
///     cx: Cx,
/// ) -> Result<String> {
///     cx.progress().message(format!("reading the year {year:?}"));
///     let rows: Vec<String> = cx.step("read", || async { Ok(vec!["…".to_owned()]) }).await?;
///     Ok(format!("{customer}: {} of {lines} lines", rows.len()))
/// }
///
/// let server = Server::new("reports").tool(report);
/// # let _ = server;
/// ```
///
/// **The function** is async, or blocking (without `async`); a blocking one runs on a thread of its
/// own. The function stays callable, for tests, as `call_report(…)`; `report()` returns the [`Tool`].
///
/// **Parameters**, in any order: everything that JSON can be read into is an argument of the tool;
/// its name, type, doc comment and `#[default = …]` become the JSON Schema. `#[serde(…)]` and
/// `#[schemars(…)]` on a parameter go where they belong. [`Cx`] (in a blocking function
/// [`BlockingCx`]) and [`State`] are known by their names and filled in by the server. A call with
/// unknown, missing or ill-fitting arguments is refused before anything is stored.
///
/// **The value** is anything that serialises, or a `Result` of it; see [`reply::of`]. An error that
/// is returned is a *tool error*, which the model reads, unless it was made with
/// [`Error::protocol`]. A panic ends the task as failed and nothing else.
///
/// **Options**, all of them optional:
///
/// | option | meaning | default |
/// |---|---|---|
/// | `task`, `task = "optional"` | runs as a task for callers that can have one | the server's `--task`, else never a task |
/// | `task = "required"`, `"forbidden"` | only, never as a task | |
/// | `name = "…"` | the tool's name | the function's |
/// | `title = "…"` | a name for people | none |
/// | `description = "…"` | for the model | the doc comment |
/// | `icon = "https://…"` | an icon, `https:` or `data:` | none |
/// | `tags = ["…"]` | tags, by which a server offers some of its tools | none |
/// | `read_only`, `destructive`, `idempotent`, `open_world` | the protocol's hints; `= false` says no | unsaid |
///
/// How long, and what happens after an error or a crash:
///
/// | option | meaning | default |
/// |---|---|---|
/// | `version = "2"`, `accepts = ["1"]` | the version of the code, and older ones whose tasks it can finish | `"1"` |
/// | `retention = "7d"` | how long a finished task is kept | the server's, else 24 h |
/// | `timeout = "2h"` | how long one attempt may take | as long as it likes |
/// | `idle_timeout = "5m"` | how long an attempt may report no progress, log nothing and record nothing | as long as it likes |
/// | `queue_timeout = "1h"` | how long a task may stand ready without being started; then it fails | as long as it takes |
/// | `no_worker_timeout = "1h"` | for how long no living worker may run the tool of a ready task; then it fails | the server's, else it waits |
/// | `max_age = "3d"` | how old a task may grow, waiting included; then it fails | 30 days |
/// | `retries = 2` | tries again after an error, with growing waits | not at all |
/// | `max_crashes = 5` | crashes in a row that end a task | 3 |
/// | `repeatable`, `repeatable = false` | an attempt that a crash interrupted may be made again | unless it is `destructive` and not `idempotent` |
/// | `confirm` | asks whether it shall run, before anything is done | not asked |
/// | `ask_first = path` | a function that asks before the task exists; see [`Tool::ask_first`] | none |
///
/// What a caller that has no tasks gets:
///
/// | option | meaning | default |
/// |---|---|---|
/// | `detach_after = "45s"` | when a call that still runs is answered with its task's id: a time, `"0s"` for at once, or `"never"` | the server's, else 45 s |
/// | `detach`, `detach = false` | whether it is so answered although it promises structured content | only if it promises none |
/// | `heartbeat = "5s"` | how often a call that still runs says so | the server's, else 5 s |
/// | `on_disconnect = "detach"` | the call goes on as a task when its caller goes away | the protocol decides: older revisions say that it goes on, 2026-07-28 that it is cancelled |
///
/// When its tasks run, beside others; see [`Order`]:
///
/// | option | meaning | default |
/// |---|---|---|
/// | `priority = 10` | -100 to 100; larger runs earlier | 0 |
/// | `max_running = 4` | how many run at a time | no limit |
/// | `limit_key = "customer"`, `max_running_per_key = 2` | an argument; how many with equal values of it run at a time | none; 1 |
/// | `max_running_per_owner = 2` | how many of each caller run at a time | no limit |
/// | `hold_while_suspended` | a task that waits for an answer keeps its place in these limits | it gives it up |
/// | `rate = "10/min"`, `rate_per_owner = "100/h"` | how often runs start | no limit |
/// | `max_queued = 100`, `max_queued_per_owner = 10` | how many may wait; a call more is refused and told when to come back | no limit |
/// | `same = "join"`, `same = "replace"` | what a call does that is the same as one before that has not ended | it is one more |
/// | `debounce = "10s"` | the run starts after this delay, which each further call begins anew with its own arguments | none |
/// | `same_key = "customer"` | an argument: calls with equal values of it are the same, whatever the others | all arguments |
/// | `key_window = "1d"` | how long the idempotency key of a call is remembered | 1 day |
/// | `labels(team = "payments")` | labels of its tasks, to find them by | none |
/// | `requires = ["gpu", "region=eu"]` | labels that a worker must have to run it | none |
/// | `schedule = "0 3 * * *"`, `time_zone = "Europe/Berlin"` | calls itself at the times of a cron pattern; see [`Tool::schedule`] | not at all |
/// | `every = "1h"` | calls itself again and again after this time | not at all |
/// | `crate = path` | where the crate `outlast` is | `::outlast` |
pub use outlast_macros::tool;

/// Makes a prompt of a function.
///
/// ```
/// use outlast::prelude::*;
/// use outlast::CompletionRequest;
///
/// /// Asks for a summary. This text tells people what the prompt is for.
/// #[prompt(title = "Summary")]
/// async fn summary(
///     /// What to sum up.
///     text: String,
///     /// For whom.
///     #[complete(readers)]
///     reader: Option<String>,
///     #[default = 3] sentences: u32,
/// ) -> String {
///     let reader = reader.unwrap_or_else(|| "anybody".into());
///     format!("Sum this up for {reader} in {sentences} sentences:\n\n{text}")
/// }
///
/// async fn readers(request: CompletionRequest, _cx: RequestCx) -> Vec<String> {
///     request.matching(["a child", "an expert", "a lawyer"])
/// }
///
/// let server = Server::new("writer").prompt(summary);
/// # let _ = server;
/// ```
///
/// **The function** is async, or blocking (without `async`); a blocking one runs on a thread of its
/// own. It stays callable as `call_summary(…)`; `summary()` returns the [`Prompt`].
///
/// **Parameters**, in any order: arguments of the prompt, which are texts on the wire and are read
/// into numbers, switches, choices (whose values are suggested) and, from JSON, lists. `Option` and
/// `#[default = …]` may be left out. `#[complete(path)]` suggests values while one is typed.
/// [`RequestCx`] and [`State`] are known by their names and filled in by the server.
///
/// **The value** is what [`IntoMessages`] takes, or a `Result` of it. An error becomes an error of the
/// protocol: -32603 with its text, or what [`Error::protocol`] says.
///
/// **Options**, all of them optional: `name`, `title`, `description` (the doc comment), `icon` and
/// `crate`.
pub use outlast_macros::prompt;

/// Makes a resource, or a template for resources, of a function.
///
/// ```
/// use outlast::prelude::*;
/// use outlast::Json;
///
/// /// The rows of a table, a page at a time.
/// #[resource("rows://{table}{?page,limit}")]
/// async fn rows(table: String, page: Option<u32>, #[default = 20] limit: u32) -> Json<Vec<String>> {
///     let first = page.unwrap_or(0) * limit;
///     Json((first..first + limit).map(|row| format!("{table} {row}")).collect())
/// }
///
/// /// What the application read at its start.
/// #[resource("config://app", mime_type = "text/plain", cache = "1m")]
/// fn config() -> std::io::Result<String> {
///     std::fs::read_to_string("app.conf")
/// }
///
/// let server = Server::new("tables").resource(rows).resource(config);
/// # let _ = server;
/// ```
///
/// **The URI** comes first. `{name}` is one segment of the path, `{+path}` may contain `/`,
/// `{?page,limit}` are parameters of the query that may be left out. Each variable is a parameter of
/// the function; one of the query is an `Option` or has a `#[default = …]`.
///
/// **The function** and its parameters are those of [`prompt`](macro@prompt). **The value** is what
/// [`IntoContents`] takes, or a `Result` of it: `Ok(None)` tells the client that there is no such
/// resource.
///
/// **Options**, all of them optional: `name` (the function's), `title`, `description` (the doc
/// comment), `mime_type`, `icon`, `cache = "1m"` (how long a client may use a copy) and `crate`.
pub use outlast_macros::resource;
