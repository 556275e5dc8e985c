//! Servers and workers on one Redis, killed, stopped and paused at random, and what is left afterwards.
//!
//! `chaos --seed 1 --seconds 20` starts a Redis that writes everything down, servers and workers beside
//! it, and clients that create tasks without end. Meanwhile processes are killed, stopped cleanly and
//! paused, and so is Redis. After the given time everything is healed, and then must hold:
//!
//! * Every task that was acknowledged has completed, with its whole result, and any server says so.
//! * Each creation carried an idempotency key and was repeated until somebody acknowledged it; still
//!   each key has exactly one task.
//! * A result that was once read is read again, to the byte, from every server.
//! * No key of Redis stays for ever but those that docs/scaling.md names.
//! * Each step writes a line into a ledger outside the store before it returns. No task did more steps again
//!   than runs of it ended early: with their process, with their lease, or at a stop.
//!
//! The seed decides what is done to whom; how it meets the work is up to the machine.

mod clients;
mod fleet;
mod ledger;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use outlast_processes::Random;

use crate::clients::Clients;
use crate::fleet::Fleet;
use crate::ledger::Ledger;

/// Kill, stop and pause servers, workers and Redis at random, and check that nothing is lost
#[derive(Parser)]
struct Arguments {
    /// What is done to whom
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long; healing and checking come on top
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How many servers
    #[arg(long, default_value_t = 2)]
    servers: usize,
    /// How many workers
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// How many clients create tasks
    #[arg(long, default_value_t = 4)]
    clients: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Arguments { seed, seconds, .. } = arguments;
    println!("seed {seed} (replay with --seed {seed}), {seconds} s");
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::new(folder.path());
    let mut fleet = Fleet::start(folder.path(), arguments.servers, arguments.workers);
    let clients = Clients::new(fleet.ports(), &ledger);
    let mut random = Random::new(seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in 0..arguments.clients {
            let (clients, over) = (&clients, &over);
            // Far apart, so that no client does what another did.
            let random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
            scope.spawn(move || clients.create_until(over, number, random));
        }
        while Instant::now() < until {
            fleet.disturb(&mut random);
        }
        over.store(true, Ordering::SeqCst);
        fleet.heal();
    });
    println!("disturbed: {}", fleet.done());
    let healed = Instant::now();
    let mut faults = clients.check_all();
    println!(
        "all tasks had ended {:?} after the healing",
        healed.elapsed()
    );
    let taken = |task: &str| clients.runs_that_ended_early(task);
    faults.extend(ledger.check(&clients.expected(), taken));
    faults.extend(fleet.check_keys());
    let counts = ledger.count();
    println!(
        "{} tasks, {} steps, {} of them done again after {} disturbances; {} creations repeated",
        clients.expected().len(),
        counts.steps,
        counts.surplus,
        fleet.done().total(),
        clients.repeated()
    );
    for fault in &faults {
        println!("FAULT: {fault}");
    }
    if faults.is_empty() {
        println!("nothing was lost, and nothing was done that had been recorded");
        return ExitCode::SUCCESS;
    }
    println!("--- what the processes said\n{}", fleet.logs());
    ExitCode::FAILURE
}
