//! `simulate` says what a fleet can do that nobody has here: from what a lifecycle costs by measurement, how
//! many tasks a second one Redis carries, what limits them, and how many such shards a fleet needs.
//!
//! `bench redis redis-memory workers --json bench/results/redis.json` measures what it starts from;
//! `simulate` prints its tables, first the one of configurations that were measured too.
//!
//! What is simulated (`model.rs`): one Redis, which does one thing at a time; the network to it; the cores of
//! the servers and of the workers; the places of the workers. Tasks come by chance at a given rate, are created, wait for a
//! place, run, record their steps, and are polled meanwhile. What is not: Redis writing its file anew, loss,
//! and different sizes of arguments and results.

mod costs;
mod model;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

use crate::costs::Costs;
use crate::model::{Fleet, Work, simulate};

/// Simulate fleets from what one machine measured.
#[derive(Debug, Parser)]
struct Arguments {
    /// What `bench redis redis-memory workers --json FILE` has written.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Round trip to Redis in microseconds.
    #[arg(long, default_value_t = 200.0)]
    round_trip: f64,
    /// Bits a second that the network of Redis carries in each direction, in millions.
    #[arg(long, default_value_t = 10_000.0)]
    megabits: f64,
    /// Tasks in each simulated run.
    #[arg(long, default_value_t = 40_000)]
    tasks: usize,
}

/// Fleets: workers, places of each.
const FLEETS: [(usize, usize); 3] = [(4, 16), (32, 64), (256, 64)];

/// Kinds of work: what it is, seconds, steps, seconds between polls.
const KINDS: [(&str, f64, u32, f64); 3] = [
    ("0.1 s, no steps, polled every 0.1 s", 0.1, 0, 0.1),
    ("10 s, 10 steps, polled every second", 10.0, 10, 1.0),
    ("10 min, 100 steps, polled every 5 s", 600.0, 100, 5.0),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let from = arguments
        .from
        .clone()
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results/redis.json"));
    let costs = match Costs::read(&from) {
        Ok(costs) => costs,
        Err(error) => {
            eprintln!("simulate: {}: {error}", from.display());
            return ExitCode::FAILURE;
        }
    };
    checked(&costs, arguments.tasks);
    fleets(&costs, &arguments);
    ExitCode::SUCCESS
}

/// What was measured, and what the simulation says of the same.
fn checked(costs: &Costs, tasks: usize) {
    println!("| configuration | measured | simulated | difference |\n|---|---|---|---|");
    let row = |what: &str, measured: f64, simulated: f64| {
        println!(
            "| {what} | {measured:.0}/s | {simulated:.0}/s | {:+.0} % |",
            (simulated / measured - 1.0) * 100.0
        );
    };
    for measured in &costs.workers {
        let fleet = Fleet {
            places: measured.workers * measured.slots,
            ..here()
        };
        let work = Work {
            seconds: measured.rest_millis / 1e3,
            steps: 0,
            poll_every: 1.0,
            // Tasks always wait.
            rate: measured.rate_per_second.median * 2.0,
        };
        let (n, slots) = (measured.workers, measured.slots);
        let what = format!(
            "{n} workers with {slots} places, tasks of {:.2} s",
            work.seconds
        );
        let run = simulate(costs, &fleet, &work, tasks.min(4_000));
        row(&what, measured.rate_per_second.median, run.rate);
    }
    let drained = Work {
        seconds: 0.0,
        steps: 0,
        poll_every: f64::INFINITY,
        rate: 1e9,
    };
    let fleet = Fleet {
        places: 64,
        ..here()
    };
    // The queue was there already.
    let queued = Costs {
        create: costs::Cost::default(),
        server_create_micros: 0.0,
        ..costs.clone()
    };
    let run = simulate(&queued, &fleet, &drained, tasks);
    let what = "one worker with 64 places, a queue of tasks that do nothing";
    row(what, costs.drained_per_second, run.rate);
    println!();
}

/// The machine that was measured: two cores, of which Redis keeps one busy and the rest another.
fn here() -> Fleet {
    Fleet {
        places: 1,
        server_cores: 1,
        worker_cores: 1,
        round_trip_micros: 50.0,
        megabits: 40_000.0,
    }
}

/// What fleets need that nobody has here.
fn fleets(costs: &Costs, arguments: &Arguments) {
    println!(
        "| work | workers | places allow | one Redis carries | limit of one node | shards for all places | \
         wait at 80 % of the limit, p50 and p99 |\n|---|---|---|---|---|---|---|"
    );
    for (what, seconds, steps, poll_every) in KINDS {
        for (workers, slots) in FLEETS {
            let fleet = Fleet {
                places: workers * slots,
                // Four cores for each worker, and a server of four cores for every eight workers.
                worker_cores: workers * 4,
                server_cores: workers.div_ceil(8) * 4,
                round_trip_micros: arguments.round_trip,
                megabits: arguments.megabits,
            };
            let mut work = Work {
                seconds,
                steps,
                poll_every,
                rate: 0.0,
            };
            let limits = fleet.limits(costs, &work);
            let (limit, rate) = limits.first();
            work.rate = rate * 0.8;
            let run = simulate(costs, &fleet, &work, arguments.tasks);
            let shards = (limits.places / limits.redis.min(limits.network)).ceil();
            println!(
                "| {what} | {workers} × {slots} | {:.0}/s | {:.0}/s | {limit}, {rate:.0}/s | {shards:.0} | \
                 {:.1} and {:.1} ms |",
                limits.places,
                limits.redis.min(limits.network),
                run.wait_p50 * 1e3,
                run.wait_p99 * 1e3,
            );
        }
    }
}
