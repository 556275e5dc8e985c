//! What tasks cost Redis in memory, those that wait and those that have ended; and what it costs when the
//! process that creates them is not the one that runs them.
//!
//! A server that runs nothing creates them, then one worker runs them all.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    Result,
    bench::Bench,
    load::{Pool, Until, Work},
    redis::Redis,
    report::Row,
    stats::{per_second, thousands},
    wire::Request,
};

const TASKS: u64 = 100_000;
const QUICK: u64 = 1_000;
/// How long the worker may take for one task before something is wrong.
const PATIENCE: Duration = Duration::from_millis(50);

/// Two rows: waiting tasks, and finished ones.
///
/// # Errors
/// The first wrong answer, or a task that does not end.
pub(crate) async fn memory(bench: &mut Bench) -> Result<()> {
    let tasks = if bench.quick { QUICK } else { TASKS };
    let redis = Redis::start(&bench.folder("redis-memory")?)?;
    let store = redis.store("memory");
    let server = bench.server_on(&store, 0)?;
    let mut pool = Pool::open(server.address, bench.connections).await?;
    let create = Work::Call {
        request: Request::call(&server.host(), "add", json!({"a": 2, "b": 3}), true),
        expect: br#""taskId""#,
    };
    let (empty, before, cpu) = (redis.memory()?, redis.account()?, server.cpu()?);
    let made = pool.run(&create, Until::Done(tasks)).await?;
    let created = redis.account()?.since(&before, made.done as f64);
    let created_cpu = server.cpu()?.saturating_sub(cpu);
    let waiting = (redis.memory()? - empty) / made.done as f64;
    let before = redis.account()?;
    let began = Instant::now();
    let worker = bench.worker_on(&store, 64)?;
    while redis.members("{memory}:p:finished")? < made.done {
        if began.elapsed() > Duration::from_secs(60) + PATIENCE * u32::try_from(made.done)? {
            return Err("the worker does not come to an end".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ran_in = began.elapsed();
    let ran = redis.account()?.since(&before, made.done as f64);
    let ended = (redis.memory()? - empty) / made.done as f64;
    let ran_cpu = worker.cpu()?;
    worker.stop()?;
    let count = thousands(made.done as f64);
    for (what, bytes, rate, account, cpu, doing, key) in [
        (
            format!("memory of {} for {count} queued tasks", redis.name),
            waiting,
            made.rate(),
            created,
            created_cpu,
            "created",
            "create",
        ),
        (
            format!("memory of {} for {count} finished tasks", redis.name),
            ended,
            made.done as f64 / ran_in.as_secs_f64(),
            ran,
            ran_cpu,
            "claimed and ended by one worker",
            "run",
        ),
    ] {
        let cpu = cpu.as_secs_f64() * 1e6 / made.done as f64;
        let mut row = Row::new(what);
        row.outlast = format!(
            "{:.0} MB, {bytes:.0} bytes each",
            bytes * made.done as f64 / 1e6
        );
        row.beside = format!(
            "{doing} at {}; each {} and {cpu:.0} µs CPU of the process",
            per_second(rate),
            account.show()
        );
        row.figures =
            json!({"bytesEach": bytes, "ratePerSecond": rate, "cpuMicros": cpu, key: account});
        bench.row(row);
    }
    Ok(())
}
