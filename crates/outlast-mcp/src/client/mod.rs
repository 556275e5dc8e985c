//! The client: calls tools of any MCP server, as tasks where the server has them, in both eras.
//!
//! What the server's state says is true; what it sends unasked only makes the client look sooner. A
//! request is sent twice only if that changes nothing: looking at a task and fetching its result
//! survive lost connections and restarted servers, a call of a tool is never repeated silently.
//!
//! ```no_run
//! # async fn example() -> Result<(), outlast_mcp::client::ClientError> {
//! use outlast_mcp::client::{Client, Target};
//! use serde_json::json;
//!
//! let client = Client::connect(Target::url("http://127.0.0.1:9876/mcp")).await?;
//! let task = client.call_task("count", json!({"n": 60})).await?;
//! println!("{} can be looked at from anywhere", task.id());
//! let result = task.await?;
//! println!("{}", result.text());
//! # Ok(())
//! # }
//! ```

mod answerers;
mod answering;
mod backoff;
mod call;
mod error;
mod follow;
mod handle;
mod headers;
mod http;
mod inbox;
mod lines;
mod link;
mod lists;
mod offered;
mod opening;
mod options;
mod params;
mod peer;
mod process;
mod question;
mod result;
mod rounds;
mod sampling;
mod session;
mod target;
mod task_info;
mod tool_info;

pub use crate::Root;
pub use call::{Call, CallTask};
pub use error::ClientError;
pub use follow::Watch;
pub use handle::{ProgressStream, TaskHandle};
pub use inbox::LogMessage;
pub use offered::{
    PromptArgument, PromptInfo, PromptMessage, PromptResult, ResourceData, ResourceInfo,
};
pub use options::{ClientBuilder, Protocol};
pub use peer::{Client, TaskPage};
pub use question::{Answerer, Asked, OpenQuestion, Question, Reply, ReplyFuture, UrlQuestion};
pub use result::{CallResult, Content};
pub use sampling::{Sampled, Sampling};
pub use session::ServerInfo;
pub use target::Target;
pub use task_info::TaskInfo;
pub use tool_info::ToolInfo;
