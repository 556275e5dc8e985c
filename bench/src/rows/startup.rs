//! From the start of the process until it listens, and what it costs to stand
//! idle.

use std::time::Duration;

use serde_json::json;

use crate::{
    Result,
    bench::{Bench, finished_tasks},
    load::Pool,
    report::Row,
    stats::Spread,
};

/// Two rows: on a new store, and on one that holds the run's finished tasks.
///
/// # Errors
/// If the server does not start.
pub(crate) async fn startup(bench: &mut Bench) -> Result<()> {
    let runs = if bench.quick { 3 } else { 15 };
    let mut fresh = Vec::new();
    for run in 0..runs {
        let folder = bench.folder(&format!("startup-{run}"))?;
        let server = bench.outlast(&folder)?;
        fresh.push(server.started_in.as_secs_f64() * 1e3);
        server.kill()?;
    }
    let folder = bench.folder("startup-full")?;
    let server = bench.outlast(&folder)?;
    let mut pool = Pool::open(server.address, bench.connections).await?;
    let held = finished_tasks(&mut pool, &server, bench.tasks).await?.len();
    server.kill()?;
    let mut full = Vec::new();
    for _ in 0..runs {
        let server = bench.outlast(&folder)?;
        full.push(server.started_in.as_secs_f64() * 1e3);
        server.kill()?;
    }
    for (what, times) in [
        ("start to listening, new store".to_owned(), fresh),
        (
            format!("start to listening after `kill -9`, {held} tasks held"),
            full,
        ),
    ] {
        let times = Spread::of(times);
        let mut row = Row::new(what);
        row.outlast = format!("{} ms", times.show(1));
        row.reach = "≤ 50 ms".to_owned();
        row.figures = json!({"millis": times});
        bench.row(row);
    }
    Ok(())
}

/// The rows of an idle server: one that just started, and the same one after work.
///
/// # Errors
/// If the server does not start or answers wrongly.
pub(crate) async fn idle(bench: &mut Bench) -> Result<()> {
    let watch = Duration::from_secs(if bench.quick { 2 } else { 20 });
    let folder = bench.folder("idle")?;
    let server = bench.outlast(&folder)?;
    for after in ["started", "worked"] {
        let mut what = "idle, just started".to_owned();
        if after == "worked" {
            let mut pool = Pool::open(server.address, bench.connections).await?;
            let held = finished_tasks(&mut pool, &server, bench.tasks).await?.len();
            what = format!("idle, after {held} lifecycles");
        }
        // What a start or a burst leaves to be done is not idleness.
        tokio::time::sleep(Duration::from_secs(if bench.quick { 1 } else { 3 })).await;
        let before = server.cpu_of_live_threads()?;
        tokio::time::sleep(watch).await;
        let used = server.cpu_of_live_threads()?.saturating_sub(before);
        let millis = used.as_secs_f64() * 1e3 / watch.as_secs_f64();
        let memory = server.memory_mb()?;
        let mut row = Row::new(what);
        row.outlast = format!("{memory:.1} MB resident, {millis:.2} ms CPU a second");
        row.reach = "≤ 25 MB; ≤ 1 ms/s".to_owned();
        row.figures = json!({"residentMb": memory, "cpuMillisPerSecond": millis});
        bench.row(row);
    }
    server.stop()?;
    Ok(())
}
