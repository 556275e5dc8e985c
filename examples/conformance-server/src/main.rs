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
use outlast::auth::JwtSettings;
use outlast::prelude::*;
use outlast::{Scope, StoreUrl};

#[derive(Parser)]
#[command(about = "Serves the tools that test suites and the load program know", long_about = None)]
struct Cli {
    #[command(flatten)]
    settings: Settings,

    /// Let in whoever has a JSON Web Token of this issuer for the audience "conformance-server"
    #[arg(long, value_name = "URL")]
    jwt_issuer: Option<String>,

    /// Run the tools for servers elsewhere; needs a store that is shared
    #[arg(long)]
    worker: bool,
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
    let Cli {
        mut settings,
        jwt_issuer,
        worker,
    } = Cli::parse();
    settings.auth.jwt = jwt_issuer.map(|issuer| JwtSettings {
        issuer,
        audience: vec!["conformance-server".into()],
        jwks_url: None,
        algorithms: None,
        clock_skew_s: None,
        owner_claim: None,
        groups_claim: None,
        scope_prefix: None,
        default_scope: Some(Scope::Run),
    });
    // Made only where it is needed: whoever is killed or exits at once leaves it behind.
    let mut folder = None;
    if settings.store.is_none() {
        let path = match settings.stdio {
            None => folder.insert(tempfile::tempdir()?).path().join("tasks.db"),
            // The bridge and the server behind it must find the same file.
            Some(_) => std::env::temp_dir()
                .join("outlast-conformance-server")
                .join("tasks.db"),
        };
        settings.store = Some(StoreUrl::sqlite(path));
    }
    if worker {
        return server()?.work_with(settings).await;
    }
    server()?.run_with(settings).await
}
