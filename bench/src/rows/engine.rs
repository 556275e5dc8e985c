//! What the engine does in a second: steps, suspensions, children. Each beside the bare commits of the
//! same disk, half of which are measured before and half after, because every one of these is at
//! least one durable write.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    Result,
    bench::Bench,
    client::Client,
    disk::Bare,
    report::Row,
    stats::{Spread, per_second},
};

/// How long bare commits are measured before and after a run.
const BARE: Duration = Duration::from_millis(500);

/// The rows of steps: of one task, whose steps wait for each other's commit, and of many tasks, whose
/// steps share them.
///
/// # Errors
/// A task does not complete.
pub(crate) async fn steps(bench: &mut Bench) -> Result<()> {
    let (alone, many, each) = if bench.quick {
        (500, 16, 50)
    } else {
        (5_000, 64, 200)
    };
    let (one, all) = (json!({"count": alone}), json!({"count": each}));
    repeat(bench, "steps of one task", "record", one, 1, alone).await?;
    let what = format!("steps of {many} tasks at once");
    repeat(bench, &what, "record", all, many, each).await
}

/// The row of suspensions: tasks that wait for a timer in the store, lease and worker given up, and go
/// on from their journals.
///
/// # Errors
/// A task does not complete.
pub(crate) async fn suspends(bench: &mut Bench) -> Result<()> {
    let (tasks, each) = if bench.quick { (64, 5) } else { (256, 20) };
    let what = format!("suspend for a 1 ms timer and resume, {tasks} tasks at once");
    repeat(bench, &what, "nap", json!({"count": each}), tasks, each).await
}

/// The row of a fan-out: children of one task, each started, run and joined.
///
/// # Errors
/// A child does not complete.
pub(crate) async fn fan_out(bench: &mut Bench) -> Result<()> {
    let children: u64 = if bench.quick { 500 } else { 10_000 };
    let limit = 64;
    let what = format!("fan-out of {children} children, {limit} at a time");
    let arguments = json!({"children": children, "limit": limit});
    repeat(bench, &what, "fan_out", arguments, 1, children).await
}

/// Runs `tasks` calls of a tool, each of which does `each` of something, and prints how many of it a
/// second.
async fn repeat(
    bench: &mut Bench,
    what: &str,
    tool: &str,
    arguments: Value,
    tasks: usize,
    each: u64,
) -> Result<()> {
    let folder = bench.folder(&what.replace([' ', ','], "-"))?;
    let server = bench.outlast(&folder)?;
    let bare = Bare::open(&folder)?;
    let mut client = Client::open(&server).await?;
    let runs = bench.pairs.min(5);
    let (mut rates, mut commits, mut ratios) = (vec![], vec![], vec![]);
    for _ in 0..runs {
        let mut count = bare.commits_in(BARE)?;
        let seconds = client.run(tool, arguments.clone(), tasks).await?;
        count += bare.commits_in(BARE)?;
        let commit = count as f64 / (2.0 * BARE.as_secs_f64());
        let rate = tasks as f64 * each as f64 / seconds;
        rates.push(rate);
        commits.push(commit);
        ratios.push(rate / commit);
    }
    let (rate, commit, ratio) = (Spread::of(rates), Spread::of(commits), Spread::of(ratios));
    let memory = server.memory_mb()?;
    let mut row = Row::new(what);
    row.outlast = format!(
        "{} ({}–{}); {memory:.1} MB afterwards",
        per_second(rate.median),
        per_second(rate.low),
        per_second(rate.high)
    );
    row.beside = format!("bare FULL commits {}", per_second(commit.median));
    row.ratio = format!("{} a bare commit", ratio.show(2));
    row.figures = json!({
        "ratePerSecond": rate, "bareCommitsPerSecond": commit, "perBareCommit": ratio,
        "residentMb": memory,
    });
    bench.row(row);
    server.kill()
}
