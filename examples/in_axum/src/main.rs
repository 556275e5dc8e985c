//! Durable tasks in an axum application that was there before them: its own routes, MCP, REST and the
//! dashboard on one port, over one pool of database connections.
//!
//! `cargo run -p in_axum`, then
//!
//! ```sh
//! curl -s localhost:8080/orders -H 'content-type: application/json' -d '{"item": "a chair"}'
//! curl -s localhost:8080/tasks -H 'content-type: application/json' -d '{"tool": "pack", "arguments": {"seconds": 5}}'
//! ```
//!
//! and look at `http://localhost:8080/` while it packs; an MCP client finds the same at `/mcp`. Kill the
//! process and start it again: the task goes on with the orders that are not packed yet.
//!
//! The application's router owns every path and leaves those that it does not serve to the tasks. The pool
//! is made by a lifespan of the tasks' server, because that is who must have it first: tasks of an earlier
//! process go on before the first request comes.

mod orders;
mod shop;
mod tools;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use clap::Parser;
use outlast::{Error, Result, Settings, StoreUrl};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use shop::Shop;

/// How long work may go on after the application was told to end; the rest goes on at the next start.
const GRACE: Duration = Duration::from_secs(2);

/// A shop that packs its orders in the background
#[derive(Parser)]
struct Cli {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The folder of the databases: the shop's own and that of the tasks
    #[arg(long, value_name = "PATH", default_value = "shop")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Cli { listen, folder } = Cli::parse();
    std::fs::create_dir_all(&folder)?;
    let tasks = tools::server(folder.join("shop.db"))
        .start(Settings {
            store: Some(StoreUrl::sqlite(folder.join("tasks.db"))),
            ..Settings::default()
        })
        .await?;
    let shop = tasks.state::<Shop>();
    let shop = shop.ok_or_else(|| Error::tool("no lifespan made the shop"))?;
    let app = Router::new()
        .nest("/orders", orders::routes(shop))
        .fallback_service(tasks.service());

    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // Streams of events lose nine tenths of their rate without it.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            eprintln!("cannot set TCP_NODELAY: {error}");
        }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async {
        // Also if the other end is gone.
        let _ = stopped.await;
    });
    let serving = tokio::spawn(serving.into_future());

    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    // No new connections; then the tasks' server ends the streams on those that are open.
    let _ = stop.send(());
    tasks.shutdown(GRACE).await?;
    serving.await??;
    Ok(())
}
