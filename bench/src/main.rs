//! `bench` loads a release build of `conformance-server` and prints what it
//! serves, beside what the same machine does without it.
//!
//! Nothing is asserted about time: a row is a measurement, and on another machine
//! another one. What is asserted is that every answer was the right one.
//!
//! Two sides of a row are measured in interleaved windows whose order alternates,
//! so that a machine that slows down in between slows both; figures are medians
//! with their spread; and where loader and server share the cores, the server's
//! CPU time a request says which of them was the limit.

mod bench;
mod client;
mod disk;
mod http;
mod issuer;
mod load;
mod machine;
mod pairs;
mod peers;
mod process;
mod redis;
mod report;
mod rival;
mod rows;
mod socket;
mod stats;
mod wire;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};

use crate::bench::Bench;

/// An error with a sentence in it; every one of them ends the run.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Load a release build of Outlast and print what it serves.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Build first: cargo build --release -p outlast-bench -p conformance-server"
)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, required = true)]
    what: Vec<What>,
    /// The server to load, if not the conformance-server built beside this program.
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Where the stores are put: the disk that is measured. Default: the target folder.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Keep-alive connections of a loaded row.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=wire::RANGES as i64))]
    connections: u16,
    /// Interleaved pairs of windows a row.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    pairs: u16,
    /// Seconds a window.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Finished tasks among which polls choose.
    #[arg(long, default_value_t = 10_000)]
    tasks: u32,
    /// Measure FastMCP 4 and rmcp too; builds and starts them.
    #[arg(long)]
    peers: bool,
    /// Write the rows as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table to bench/results/.
    #[arg(long)]
    save: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Every row but `million` and `instructions`, in a few seconds: a check that all of them work.
    Quick,
    /// The same rows with everything they hold at its full number and shorter windows, under ten minutes.
    Full,
    /// Every row.
    All,
    /// Plain calls beside a raw axum handler.
    Calls,
    /// Polls of finished tasks beside a raw axum handler.
    Polls,
    /// Whole lifecycles beside the disk and the peers.
    Lifecycles,
    /// Lifecycles on Redis beside FastMCP 4 on the same Redis, and what each costs Redis.
    Redis,
    /// Memory of Redis for tasks that wait and tasks that have ended.
    RedisMemory,
    /// One, two and four workers for a tool that waits.
    Workers,
    /// One durable create beside one bare commit.
    Create,
    /// From the start of the process to the first connection.
    Startup,
    /// Memory and CPU time of a server that does nothing.
    Idle,
    /// After a kill, until the task goes on.
    Resume,
    /// A thousand watchers of one task.
    Watchers,
    /// Steps a second, beside bare commits.
    Steps,
    /// Suspensions a second, beside bare commits.
    Suspends,
    /// Children of one task, beside bare commits.
    FanOut,
    /// How exactly time limits hold; on an idle machine.
    Timeouts,
    /// Calls and polls with a bearer token, beside none.
    Users,
    /// What requests cost in instructions, whatever else the machine does; needs valgrind.
    Instructions,
    /// A thousand open streams: memory, and calls beside them.
    Streams,
    /// Ten thousand sessions of the older era: the same.
    Sessions,
    /// How soon WebSockets hear of an event and of a start.
    Sockets,
    /// A store with a million finished tasks.
    Million,
}

const ALL: [What; 21] = [
    What::Calls,
    What::Polls,
    What::Lifecycles,
    What::Redis,
    What::RedisMemory,
    What::Workers,
    What::Create,
    What::Startup,
    What::Idle,
    What::Resume,
    What::Watchers,
    What::Steps,
    What::Suspends,
    What::FanOut,
    What::Timeouts,
    What::Users,
    What::Instructions,
    What::Streams,
    What::Sessions,
    What::Sockets,
    What::Million,
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut arguments: Arguments) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build; its figures say nothing about a release");
    }
    let quick = arguments.what.contains(&What::Quick);
    if quick {
        arguments.pairs = 1;
        arguments.seconds = 1.0;
        arguments.tasks = 1_000;
    }
    let full = arguments.what.contains(&What::Full);
    if full {
        arguments.pairs = 3;
        arguments.seconds = 2.0;
    }
    let rows: Vec<What> = ALL
        .into_iter()
        .filter(|row| {
            arguments.what.contains(row)
                || arguments.what.contains(&What::All)
                || ((quick || full) && !matches!(row, What::Million | What::Instructions))
        })
        .collect();
    let mut bench = Bench::new(&arguments, quick)?;
    for row in rows {
        eprintln!("measuring: {}", format!("{row:?}").to_lowercase());
        match row {
            What::Calls => rows::calls::calls(&mut bench).await,
            What::Polls => rows::calls::polls(&mut bench).await,
            What::Lifecycles => rows::lifecycles::lifecycles(&mut bench).await,
            What::Redis => rows::redis::lifecycles(&mut bench).await,
            What::RedisMemory => rows::redis_memory::memory(&mut bench).await,
            What::Workers => rows::workers::workers(&mut bench).await,
            What::Create => rows::create::create(&mut bench).await,
            What::Startup => rows::startup::startup(&mut bench).await,
            What::Idle => rows::startup::idle(&mut bench).await,
            What::Resume => rows::resume::resume(&mut bench).await,
            What::Watchers => rows::watchers::watchers(&mut bench).await,
            What::Steps => rows::engine::steps(&mut bench).await,
            What::Suspends => rows::engine::suspends(&mut bench).await,
            What::FanOut => rows::engine::fan_out(&mut bench).await,
            What::Timeouts => rows::timeouts::timeouts(&mut bench).await,
            What::Users => rows::users::users(&mut bench).await,
            What::Instructions => rows::instructions::instructions(&mut bench).await,
            What::Streams => rows::crowds::streams(&mut bench).await,
            What::Sessions => rows::crowds::sessions(&mut bench).await,
            What::Sockets => rows::sockets::sockets(&mut bench).await,
            What::Million => rows::million::million(&mut bench).await,
            What::Quick | What::Full | What::All => Ok(()),
        }
        .map_err(|error| format!("{}: {error}", format!("{row:?}").to_lowercase()))?;
    }
    let report = bench.finish();
    print!("{}", report.markdown());
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    if arguments.save {
        eprintln!("saved: {}", report.save()?.display());
    }
    Ok(())
}
