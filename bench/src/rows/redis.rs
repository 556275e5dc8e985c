//! Whole lifecycles on Redis, and what each costs it.
//!
//! Outlast and FastMCP 4 have the same Redis, one window after the other. Redis' own account says what a
//! lifecycle costs: the part that no number of servers and workers makes smaller. Clients poll without
//! pause, so what polls cost is measured alone and taken off.

use std::sync::Arc;

use serde_json::json;

use crate::{
    Result,
    bench::{Bench, lifecycles as work},
    client::Client,
    load::{Pace, Pool, Until, Work},
    peers,
    process::{Server, own_cpu},
    redis::{Account, Redis},
    report::Row,
    rival::Rival,
    stats::{Spread, per_second, percentile},
    wire::Request,
};

/// Runs that a process has at a time: as many as the peer, one for each connection.
const CONCURRENCY: usize = 16;

/// The rows of lifecycles on Redis.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn lifecycles(bench: &mut Bench) -> Result<()> {
    let redis = Redis::start(&bench.folder("redis")?)?;
    let server = bench.server_on(&redis.store("bench"), CONCURRENCY)?;
    let outlast = work(&server.host(), Pace::Hot);
    let mut rival = None;
    if bench.peers {
        if let Some(peer) = peers::fastmcp(bench, Some(redis.database(1))) {
            rival = Some(Rival::prepare(peer, bench).await?);
        }
    } else {
        bench.leave_out("FastMCP 4 on Redis, measured with --peers");
    }
    // Only now: the server closes connections that say nothing at first.
    let mut pool = Pool::open(server.address, bench.connections).await?;
    let warm = pool.run(&outlast, Until::Elapsed(bench.window / 5)).await?;
    let (poll, poll_cpu) = polls(bench, &redis, &server, &mut pool, warm.tasks).await?;
    let step = steps(&redis, &server).await?;
    let (mut rates, mut cpu, mut loader, mut each) = (vec![], vec![], vec![], vec![]);
    let (mut latencies, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..bench.pairs {
        let (account, before, own) = (redis.account()?, server.cpu()?, own_cpu()?);
        let window = pool.run(&outlast, Until::Elapsed(bench.window)).await?;
        let done = window.done as f64;
        let used = server.cpu()?.saturating_sub(before);
        cpu.push(used.as_secs_f64() * 1e6 / done);
        loader.push(own_cpu()?.saturating_sub(own).as_secs_f64() * 1e6 / done);
        let polls = window.requests as f64 / done - 1.0;
        each.push(polls);
        let whole = redis.account()?.since(&account, done);
        costs.push(whole.without(&poll, polls));
        rates.push(window.rate());
        latencies.extend(window.latencies);
        if let Some(rival) = &mut rival {
            rival.window(bench).await?;
        }
    }
    let rate = Spread::of(rates.clone());
    let (cpu, loader, each) = (Spread::of(cpu), Spread::of(loader), Spread::of(each));
    let (p50, p99) = (
        percentile(&mut latencies, 0.5),
        percentile(&mut latencies, 0.99),
    );
    let cost = median(&costs);
    let mut row = Row::new(format!(
        "lifecycles on {}, append-only file flushed every second",
        redis.name
    ));
    row.outlast = format!(
        "{} ({}–{}), p50 {:.1} ms, p99 {:.1} ms, {:.0} µs CPU of the server and {:.1} polls each",
        per_second(rate.median),
        per_second(rate.low),
        per_second(rate.high),
        f64::from(p50) / 1e3,
        f64::from(p99) / 1e3,
        cpu.median,
        each.median,
    );
    row.beside = format!(
        "Redis, for a lifecycle without polls: {}; for a poll: {}; for a step: {}",
        cost.show(),
        poll.show(),
        step.show()
    );
    row.figures = json!({
        "ratePerSecond": rate, "serverCpuMicros": cpu, "loaderCpuMicros": loader, "pollsEach": each,
        "p50Micros": p50, "p99Micros": p99, "lifecycle": cost, "poll": poll, "step": step,
        "pollServerCpuMicros": poll_cpu,
    });
    bench.row(row);
    if let Some(rival) = rival {
        bench.row(rival.row(&rates));
    }
    Ok(())
}

/// What one poll costs Redis, and the server in microseconds of CPU.
async fn polls(
    bench: &Bench,
    redis: &Redis,
    server: &Server,
    pool: &mut Pool,
    tasks: Vec<String>,
) -> Result<(Account, f64)> {
    let sample = tasks.first().ok_or("no task has ended")?;
    let polls = Work::Polls {
        request: Request::get(&server.host(), sample),
        tasks: Arc::new(tasks),
    };
    let (before, cpu) = (redis.account()?, server.cpu()?);
    let window = pool.run(&polls, Until::Elapsed(bench.window / 2)).await?;
    let (done, used) = (window.done as f64, server.cpu()?.saturating_sub(cpu));
    let cost = redis.account()?.since(&before, done);
    Ok((cost, used.as_secs_f64() * 1e6 / done))
}

/// What one step costs Redis that does nothing but be recorded.
async fn steps(redis: &Redis, server: &Server) -> Result<Account> {
    const TASKS: usize = 16;
    const STEPS: usize = 200;
    let mut client = Client::open(server).await?;
    let before = redis.account()?;
    client.run("record", json!({"count": STEPS}), TASKS).await?;
    Ok(redis.account()?.since(&before, (TASKS * STEPS) as f64))
}

/// The medians of the figures of several windows.
fn median(windows: &[Account]) -> Account {
    let of = |figure: fn(&Account) -> f64| Spread::of(windows.iter().map(figure)).median;
    Account {
        scripts: of(|window| window.scripts),
        commands: of(|window| window.commands),
        script_micros: of(|window| window.script_micros),
        cpu_micros: of(|window| window.cpu_micros),
        bytes_in: of(|window| window.bytes_in),
        bytes_out: of(|window| window.bytes_out),
    }
}
