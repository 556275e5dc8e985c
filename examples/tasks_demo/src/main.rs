//! Three ways to call slow tools, and what only tasks can do: watching the work, leaving it, and
//! fetching the result later, elsewhere, as often as wanted.
//!
//! `cargo run -p tasks_demo` takes about 25 s; `--fast` plays it five times as fast. The server runs
//! in this process over a SQLite file in a temporary folder; the client talks to it over HTTP, and
//! once within the process. Exit code 1 if a claim of the transcript does not hold.

mod sections;
mod tools;

use std::process::ExitCode;

use clap::Parser;
use outlast::client::{Client, Target};
use outlast::prelude::*;

use sections::Demo;
use tools::{Stage, fetch_data, process_batch, quick_task, slow_calculation};

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Three ways to call slow tools, and what only tasks can do
#[derive(Parser)]
struct Cli {
    /// Play five times as fast
    #[arg(long)]
    fast: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let scale = if Cli::parse().fast { 0.2 } else { 1.0 };
    match play(scale).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tasks_demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn play(scale: f64) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let store = format!("sqlite:{}", folder.path().join("demo.db").display());
    let stage = Stage::new(scale);
    let server = Server::new("tasks-demo")
        .state(stage.clone())
        .tool(slow_calculation)
        .tool(fetch_data)
        .tool(process_batch)
        .tool(quick_task)
        .start(Settings {
            listen: Some("127.0.0.1:0".parse()?),
            store: Some(store.parse()?),
            ..Settings::default()
        })
        .await?;
    let url = server.url().ok_or("the server has no address")?;
    println!("The server listens on {url}; one second of the transcript takes {scale} s.");

    let client = Client::connect(Target::url(&url)).await?;
    let demo = Demo {
        client,
        stage,
        scale,
    };
    demo.three_approaches().await?;
    demo.polling_while_working().await?;
    demo.direct_await().await?;
    demo.three_at_once().await?;
    demo.instant_tool().await?;
    demo.fetched_again(Client::connect(Target::from(&server)).await?)
        .await?;
    println!("\nEverything held that the transcript claims.");
    demo.client.close().await;
    let stopped = server.shutdown(std::time::Duration::from_secs(1)).await;
    stopped.map_err(|error| error.to_string())?;
    Ok(())
}
