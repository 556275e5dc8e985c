//! The fixture that conformance suites, foreign clients and the load program drive, built from the
//! public API alone.
//!
//! `cargo run -p conformance-server -- --listen 127.0.0.1:PORT`, or `--stdio`. Without `--store` the
//! tasks of an HTTP server are kept in a temporary file that is deleted at the end; a server behind
//! `--stdio` outlives its client, so its file stays.

mod content;
mod load;
mod offered;
mod questions;
mod rounds;
mod work;

use clap::Parser;
use outlast::StoreUrl;
use outlast::prelude::*;

#[derive(Parser)]
#[command(about = "Serves the tools that test suites and the load program know", long_about = None)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// Says that the server is there.
#[tool(read_only)]
async fn a_ping() -> &'static str {
    "pong"
}

fn server() -> Result<Server> {
    Ok(offered::offer(Server::new("conformance-server"))
        .version(env!("CARGO_PKG_VERSION"))
        .instructions("Tools whose behaviour test suites know.")
        .tool(a_ping)
        .tools(work::tools())
        .tools(load::tools())
        .tools(questions::tools())
        .tools(rounds::tools())
        .tools(content::tools()?))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut settings = Cli::parse().settings;
    let folder = tempfile::tempdir()?;
    if settings.store.is_none() {
        let path = match settings.stdio {
            None => folder.path().join("tasks.db"),
            // The bridge and the server behind it must find the same file.
            Some(_) => std::env::temp_dir()
                .join("outlast-conformance-server")
                .join("tasks.db"),
        };
        settings.store = Some(StoreUrl::sqlite(path));
    }
    server()?.run_with(settings).await
}
