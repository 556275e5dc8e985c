//! From the restart after `kill -9` until the task goes on.
//!
//! The tool `steps` writes a line to a ledger as the first act of every journaled
//! step. The server is killed while it runs and started again on the same store.
//! The first new line may be that of the step that the kill interrupted; the
//! second can only be written after a step was recorded, so the clock runs from
//! the start of the process until the second. A step's own length is part of it,
//! so steps are short.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{Result, bench::Bench, http::Connection, report::Row, stats::Spread, wire::Request};

const STEP_MS: u64 = 20;
/// More steps than can pass while the run watches.
const STEPS: u64 = 100_000;
/// After this long without a new line, the task is not going on at all.
const DEADLINE: Duration = Duration::from_secs(60);

/// The row of a resume.
///
/// # Errors
/// If the task does not go on after a restart.
pub(crate) async fn resume(bench: &mut Bench) -> Result<()> {
    let folder = bench.folder("resume")?;
    let ledger = folder.join("ledger");
    let mut server = bench.outlast(&folder)?;
    let mut connection = Connection::open(server.address).await?;
    let arguments = json!({"count": STEPS, "step_ms": STEP_MS, "ledger": ledger});
    let mut request = Request::call(&server.host(), "steps", arguments, true);
    let response = connection.send(request.next()).await?;
    if crate::wire::task_id(response.body).is_none() {
        return Err(format!("`steps` did not become a task: {}", response.message()?).into());
    }
    let mut times = Vec::new();
    for _ in 0..bench.pairs.max(2) {
        let so_far = lines(&ledger);
        wait_for(&ledger, so_far + 3)?;
        server.kill()?;
        let so_far = lines(&ledger);
        let restarted = Instant::now();
        server = bench.outlast(&folder)?;
        wait_for(&ledger, so_far + 2)?;
        times.push(restarted.elapsed().as_secs_f64() * 1e3);
    }
    server.kill()?;
    let times = Spread::of(times);
    let mut row = Row::new("restart after `kill -9` to the next journal entry");
    row.outlast = format!("{} ms, of which a step's own {STEP_MS}", times.show(0));
    row.reach = "≤ 1 s".to_owned();
    row.figures = json!({"millis": times, "stepMillis": STEP_MS});
    bench.row(row);
    Ok(())
}

fn lines(ledger: &Path) -> usize {
    fs::read(ledger).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

fn wait_for(ledger: &Path, count: usize) -> Result<()> {
    let began = Instant::now();
    while lines(ledger) < count {
        if began.elapsed() > DEADLINE {
            return Err(format!(
                "{} has {} lines after {DEADLINE:?}, waited for {count}",
                ledger.display(),
                lines(ledger)
            )
            .into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
