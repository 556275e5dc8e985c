//! How exactly each time limit holds: tools that take for ever and may take a second. The lateness is
//! the date of the end minus the date of the creation minus that second, both as the record has
//! them, so it includes the start of the task and the commit of its end.

use serde_json::json;

use crate::{Result, bench::Bench, client::Client, report::Row};

/// Tasks of each kind at once; more than one, so that none is helped by a timer of its own.
const EACH: usize = 8;

const LIMIT_MS: f64 = 1_000.0;

/// The tools, and what each of them exceeds.
const LIMITS: [(&str, &str); 5] = [
    ("late_attempt", "attempt"),
    ("late_idle", "idle"),
    ("late_step", "step"),
    ("late_queue", "queue"),
    ("late_task", "whole task"),
];

/// The row of time limits.
///
/// # Errors
/// A task ended by itself, or not at all.
pub(crate) async fn timeouts(bench: &mut Bench) -> Result<()> {
    let folder = bench.folder("timeouts")?;
    let server = bench.outlast(&folder)?;
    let mut client = Client::open(&server).await?;
    let (mut texts, mut figures, mut worst) = (Vec::new(), serde_json::Map::new(), f64::MIN);
    for (tool, what) in LIMITS {
        let mut tasks = Vec::new();
        // Of those that wait in the queue, the first does not.
        let runs = usize::from(tool == "late_queue");
        for _ in 0..EACH + runs {
            tasks.push(client.create(tool, json!({})).await?);
        }
        let (mut early, mut late) = (f64::MAX, f64::MIN);
        for task in tasks.iter().skip(runs) {
            let ended = client.ended(task).await?;
            if ended.status != "failed" {
                return Err(format!("a task of `{tool}` ended as {}", ended.status).into());
            }
            let took = ended.updated.duration_since(ended.created);
            let lateness = took.as_secs_f64() * 1e3 - LIMIT_MS;
            early = early.min(lateness);
            late = late.max(lateness);
        }
        worst = worst.max(late);
        texts.push(format!("{what} {early:.0} to {late:.0}"));
        figures.insert(tool.to_owned(), json!({"from": early, "to": late}));
    }
    let mut row = Row::new("a time limit of 1 s: how much later the task ends");
    row.outlast = format!("{} ms", texts.join(", "));
    row.ratio = format!("worst {worst:.0} ms");
    row.reach = "≤ 500 ms".to_owned();
    row.figures = json!({"latenessMillis": figures, "worstMillis": worst});
    bench.row(row);
    server.kill()
}
