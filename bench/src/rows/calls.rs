//! Plain `tools/call` and `tasks/get` of finished tasks, beside `bench-raw`.
//!
//! The raw handler is given the bytes that the measured server answers with, so
//! both sides receive and send exactly the same; what is compared is everything
//! in between: header and `_meta` checks, dispatch, the tool, the look-up.

use std::{fs, net::SocketAddr, path::Path, process::Command, sync::Arc};

use serde_json::{Value, json};

use crate::{
    Result,
    bench::{Bench, finished_tasks},
    http::Connection,
    load::{Pool, Work},
    pairs::{Side, compare},
    process::{Server, free_address, sibling},
    report::Row,
    stats::per_second,
    wire::Request,
};

/// What the right answer to 2 + 3 contains.
pub(super) const FIVE: &[u8] = br#""text":"5""#;

/// The rows of plain calls: of a tool that never makes a task, and of one that
/// would, had the client asked.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn calls(bench: &mut Bench) -> Result<()> {
    let folder = bench.folder("calls")?;
    let server = bench.outlast(&folder)?;
    for (tool, kind) in [
        ("add_inline", "no task support"),
        ("add", "optional task support"),
    ] {
        let make = |host: &str| Request::call(host, tool, json!({"a": 2, "b": 3}), false);
        let answer = sample(&server, make(&server.host()), None).await?;
        let raw = raw(&folder, &[(format!("tools/call {tool}"), answer)])?;
        let mut sides = Vec::new();
        for server in [&server, &raw] {
            sides.push(Side {
                server,
                pool: Pool::open(server.address, bench.connections).await?,
                work: Work::Call {
                    request: make(&server.host()),
                    expect: FIVE,
                },
            });
        }
        beside_raw(bench, sides, format!("`tools/call` of `{tool}` ({kind})")).await?;
    }
    Ok(())
}

/// The row of polls.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn polls(bench: &mut Bench) -> Result<()> {
    let folder = bench.folder("polls")?;
    let server = bench.outlast(&folder)?;
    let mut pool = Pool::open(server.address, bench.connections).await?;
    let tasks = Arc::new(finished_tasks(&mut pool, &server, bench.tasks).await?);
    let make = |host: &str| Request::get(host, &tasks[0]);
    let answer = sample(&server, make(&server.host()), Some(&tasks[0])).await?;
    let raw = raw(&folder, &[("tasks/get".to_owned(), answer)])?;
    let mut sides = Vec::new();
    for server in [&server, &raw] {
        sides.push(Side {
            server,
            pool: Pool::open(server.address, bench.connections).await?,
            work: Work::Polls {
                request: make(&server.host()),
                tasks: Arc::clone(&tasks),
            },
        });
    }
    let what = format!("`tasks/get` of one of {} finished tasks", tasks.len());
    beside_raw(bench, sides, what).await
}

async fn beside_raw(bench: &mut Bench, sides: Vec<Side<'_>>, what: String) -> Result<()> {
    let sides: [Side<'_>; 2] = sides.try_into().map_err(|_| "two sides")?;
    let compared = compare(sides, bench.pairs, bench.window).await?;
    let side = |at: usize| {
        format!(
            "{}, {:.1} µs CPU, p99 {} µs",
            per_second(compared.rates[at].median),
            compared.cpu[at].median,
            compared.p99_us[at]
        )
    };
    let mut row = Row::new(what);
    row.outlast = side(0);
    row.beside = format!("raw axum {}", side(1));
    row.ratio = format!(
        "{} of raw; CPU {} × raw; loader {:.1} µs",
        compared.ratio.show(2),
        compared.cpu_ratio.show(2),
        compared.loader[0].median
    );
    row.reach = "≥ 0.8; CPU ≤ 1.25 ×".to_owned();
    row.figures = compared.figures();
    bench.row(row);
    Ok(())
}

/// The server's answer to `request`, in the pieces that `bench-raw` reads: text,
/// and the places of the id and the task id.
pub(super) async fn sample(
    server: &Server,
    mut request: Request,
    task: Option<&str>,
) -> Result<Vec<Value>> {
    let mut connection = Connection::open(server.address).await?;
    let response = connection.send(request.next()).await?;
    let body = String::from_utf8_lossy(response.body).into_owned();
    if response.status != 200 || !body.starts_with('{') {
        return Err(format!(
            "the sample request got status {}: {body:.600}",
            response.status
        )
        .into());
    }
    let id = request.id_text();
    Ok(pieces(
        &body,
        &[(id.as_str(), "id"), (task.unwrap_or(NO_MARK), "task")],
    ))
}

/// No text contains it, being no text.
const NO_MARK: &str = "\0";

/// `text` cut at every mark, with the mark's name in its place.
fn pieces(text: &str, marks: &[(&str, &str)]) -> Vec<Value> {
    let next = marks
        .iter()
        .filter_map(|(mark, name)| text.split_once(mark).map(|cut| (cut, name)))
        .min_by_key(|((before, _), _)| before.len());
    let Some(((before, after), name)) = next else {
        return vec![json!({"text": text})];
    };
    let mut parts = vec![json!({"text": before}), json!(name)];
    parts.extend(pieces(after, marks));
    parts
}

/// Starts `bench-raw` with these answers.
fn raw(folder: &Path, answers: &[(String, Vec<Value>)]) -> Result<Server> {
    let address = free_address()?;
    let command = raw_command(folder, address, answers)?;
    Server::start(command, address, &folder.join("raw.log"))
}

/// What starts `bench-raw` with these answers.
///
/// # Errors
/// It is not built, or the folder cannot be written to.
pub(super) fn raw_command(
    folder: &Path,
    address: SocketAddr,
    answers: &[(String, Vec<Value>)],
) -> Result<Command> {
    let file = folder.join("answers.json");
    let answers: serde_json::Map<String, Value> = answers
        .iter()
        .map(|(key, parts)| (key.clone(), json!(parts)))
        .collect();
    fs::write(&file, serde_json::to_vec(&answers)?)?;
    let mut command = Command::new(sibling(
        "bench-raw",
        "cargo build --release -p outlast-bench",
    )?);
    command
        .arg("--listen")
        .arg(address.to_string())
        .arg("--answers")
        .arg(&file);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_at_its_ids() {
        let parts = pieces(
            r#"{"taskId":"t-1","id":77,"x":"t-1"}"#,
            &[("77", "id"), ("t-1", "task")],
        );
        assert_eq!(
            parts,
            [
                json!({"text": r#"{"taskId":""#}),
                json!("task"),
                json!({"text": r#"","id":"#}),
                json!("id"),
                json!({"text": r#","x":""#}),
                json!("task"),
                json!({"text": r#""}"#}),
            ]
        );
    }
}
