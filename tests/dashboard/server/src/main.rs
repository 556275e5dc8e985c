//! The server that the dashboard's tests and pictures are made with: one tool for each thing that a
//! page shows. What a test has to wait for, it decides itself: tools go on when a signal comes.
//!
//! `cargo run -p dashboard-server -- --listen 127.0.0.1:0 --store sqlite:PATH`

mod hostile;
mod questions;
mod report;
mod work;

use clap::Parser;
use outlast::prelude::*;

#[derive(Parser)]
#[command(about = "Serves the tools that the dashboard is tested with", long_about = None)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> Result<()> {
    Server::new("newsroom")
        .version(env!("CARGO_PKG_VERSION"))
        .tools(report::tools())
        .tools(questions::tools())
        .tools(work::tools())
        .tools(hostile::tools())
        .run_with(Cli::parse().settings)
        .await
}
