//! The yardstick: a bare axum handler that parses a JSON-RPC body and answers
//! with the bytes it was given.
//!
//! It checks nothing, looks nothing up and keeps nothing. The body is parsed with
//! `serde_json`; the answer is the one the measured server gave to the same
//! request, with this request's id (and task id) put in, so that both send the
//! same number of bytes. It runs on the same runtime with the same socket options.
//!
//! `bench` starts it; the answers file is `{"<method> <tool>": [{"text": "…"}, "id", …]}`
//! with `"id"` and `"task"` where the request's id and task id belong.

use std::{collections::HashMap, error::Error, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
    serve::ListenerExt,
};
use clap::{Parser, ValueEnum};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Parser)]
#[command(about = "A bare axum handler that answers as another server did")]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The answers to give, as `bench` writes them.
    #[arg(long)]
    answers: PathBuf,
    /// How much of the body becomes a value.
    #[arg(long, value_enum, default_value_t = Parse::Value)]
    parse: Parse,
}

#[derive(Clone, Copy, ValueEnum)]
enum Parse {
    /// The whole body, as `axum::Json<Value>` would.
    Value,
    /// Only the members that this program reads, borrowed.
    Typed,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    method: &'a str,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    name: Option<&'a str>,
    task_id: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Text(String),
    Task,
    Id,
}

struct Answers {
    calls: HashMap<String, Vec<Part>>,
    get: Vec<Part>,
    parse: Parse,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut file: HashMap<String, Vec<Part>> =
        serde_json::from_slice(&std::fs::read(&arguments.answers)?)?;
    let get = file.remove("tasks/get").unwrap_or_default();
    let calls = file
        .into_iter()
        .filter_map(|(key, parts)| Some((key.strip_prefix("tools/call ")?.to_owned(), parts)))
        .collect();
    let answers = Arc::new(Answers {
        calls,
        get,
        parse: arguments.parse,
    });
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await?
        .tap_io(|stream| {
            // Without it every second answer would wait for a delayed acknowledgement.
            let _ = stream.set_nodelay(true);
        });
    let router = Router::new()
        .route("/mcp", post(answer))
        .with_state(answers);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn answer(State(answers): State<Arc<Answers>>, body: Bytes) -> Response {
    let text = match answers.parse {
        Parse::Value => by_value(&answers, &body),
        Parse::Typed => by_type(&answers, &body),
    };
    match text {
        Some(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn by_value(answers: &Answers, body: &[u8]) -> Option<Vec<u8>> {
    let request: serde_json::Value = serde_json::from_slice(body).ok()?;
    let id = request.get("id")?.as_u64()?.to_string();
    let params = request.get("params")?;
    answers.write(
        request.get("method")?.as_str()?,
        params.get("name").and_then(serde_json::Value::as_str),
        params.get("taskId").and_then(serde_json::Value::as_str),
        &id,
    )
}

fn by_type(answers: &Answers, body: &[u8]) -> Option<Vec<u8>> {
    let request: Typed<'_> = serde_json::from_slice(body).ok()?;
    let params = request.params;
    answers.write(
        request.method,
        params.name,
        params.task_id,
        request.id.get(),
    )
}

impl Answers {
    fn write(
        &self,
        method: &str,
        tool: Option<&str>,
        task: Option<&str>,
        id: &str,
    ) -> Option<Vec<u8>> {
        let parts = match method {
            "tools/call" => self.calls.get(tool?)?,
            "tasks/get" => &self.get,
            _ => return None,
        };
        let mut out = Vec::with_capacity(1024);
        for part in parts {
            out.extend_from_slice(match part {
                Part::Text(text) => text.as_bytes(),
                Part::Task => task?.as_bytes(),
                Part::Id => id.as_bytes(),
            });
        }
        Some(out)
    }
}
