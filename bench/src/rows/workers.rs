//! From one worker to four, for a tool that waits: as tasks do that call something else.
//!
//! Each worker has few places and each task keeps its place for a quarter of a second, so that neither
//! processor nor disk is the limit but the places alone. What is measured is whether a worker more is a
//! worker's worth more.

use std::time::Duration;

use serde_json::json;

use crate::{
    Result,
    bench::Bench,
    load::{Pace, Pool, Until, Work},
    redis::Redis,
    report::Row,
    stats::{Spread, per_second},
    wire::Request,
};

const WORKERS: [usize; 3] = [1, 2, 4];
/// Places of a worker.
const SLOTS: usize = 8;
/// How long a task keeps one.
const RESTS: Duration = Duration::from_millis(250);
/// More than all places together, so that tasks always wait.
const CONNECTIONS: usize = 80;

/// A row for each number of workers.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn workers(bench: &mut Bench) -> Result<()> {
    let redis = Redis::start(&bench.folder("redis-workers")?)?;
    let store = redis.store("workers");
    let server = bench.server_on(&store, 0)?;
    let mut pool = Pool::open(server.address, CONNECTIONS).await?;
    let host = server.host();
    let rests = Work::Lifecycles {
        create: Request::call(&host, "rest", json!({"ms": RESTS.as_millis()}), true),
        host,
        header: None,
        pace: Pace::Ramp,
    };
    let mut rates = vec![Vec::new(); WORKERS.len()];
    for _ in 0..bench.pairs {
        for (number, rates) in WORKERS.into_iter().zip(&mut rates) {
            let started: Vec<_> = (0..number)
                .map(|_| bench.worker_on(&store, SLOTS))
                .collect::<Result<_>>()?;
            rates.push(pool.run(&rests, Until::Elapsed(bench.window)).await?.rate());
            for worker in started {
                worker.stop()?;
            }
        }
    }
    let one = Spread::of(rates[0].clone()).median;
    for (number, rates) in WORKERS.into_iter().zip(rates) {
        let places = (number * SLOTS) as f64 / RESTS.as_secs_f64();
        let rate = Spread::of(rates);
        let mut row = Row::new(format!(
            "tasks that wait for {RESTS:?}, {number} workers with {SLOTS} places each"
        ));
        row.outlast = format!(
            "{} ({}–{})",
            per_second(rate.median),
            per_second(rate.low),
            per_second(rate.high)
        );
        row.beside = format!("the places allow {}", per_second(places));
        row.ratio = format!("{:.2} × one worker", rate.median / one);
        row.reach = format!("{number} ×");
        row.figures = json!({
            "workers": number, "slots": SLOTS, "restMillis": RESTS.as_millis(),
            "ratePerSecond": rate, "allowed": places, "timesOne": rate.median / one,
        });
        bench.row(row);
    }
    Ok(())
}
