//! The smallest server with a background task. `cargo run -p hello_task`, then call `count` at
//! http://127.0.0.1:9876/mcp; kill the server while it counts and start it again: it goes on.

use outlast::prelude::*;

/// Counts to `n`, one number a second.
#[tool(task)]
async fn count(n: u32, cx: Cx) -> Result<String> {
    for i in cx.progress().over(1..=n) {
        cx.sleep(format!("before {i}"), std::time::Duration::from_secs(1))
            .await?;
    }
    Ok(format!("counted to {n}"))
}

#[tokio::main]
async fn main() -> Result<()> {
    Server::new("counter").tool(count).run().await
}
