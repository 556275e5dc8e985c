//! The client: calls the tools of any MCP server, over HTTP, as a child process, through a socket, or
//! of a server in the same process.
//!
//! ```no_run
//! use outlast::client::{Client, Target};
//! use outlast::prelude::*;
//!
//! # #[tool(task)] async fn count(n: u32) -> u32 { n }
//! # async fn example() -> std::result::Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new("counter").tool(count).start(Settings::default()).await?;
//! let client = Client::connect(Target::from(&server)).await?;
//! let counted: u32 = client.call_task("count", serde_json::json!({"n": 3})).await?.data().await?;
//! # let _ = counted;
//! # Ok(())
//! # }
//! ```

pub use outlast_mcp::client::*;

use crate::RunningServer;

impl From<&RunningServer> for Target {
    /// The server in this process. There is no second connection once it has shut down.
    fn from(server: &RunningServer) -> Self {
        Self::stream(server.connect())
    }
}
