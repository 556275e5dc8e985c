//! rmcp as a peer: the tool `add` as a background task in its in-memory
//! `TaskManager`, over Streamable HTTP.
//!
//! Run as `bench-peer-rmcp 127.0.0.1:PORT`. One handler is shared by all requests,
//! answers are JSON, sessions are off: the fastest way to run it that its own
//! configuration offers. The `TaskManager` is used as it comes.

use std::{error::Error, sync::Arc};

use axum::{Router, serve::ListenerExt};
use rmcp::{
    ErrorData, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ContentBlock,
        CreateTaskResult, GetTaskParams, GetTaskResult, ServerCapabilities, ServerConfig,
    },
    service::{RequestContext, RoleServer},
    task_manager::{TaskManager, TaskOptions},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};

#[derive(Clone, Default)]
struct Peer {
    tasks: TaskManager,
}

impl ServerHandler for Peer {
    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let number = |name: &str| {
            arguments
                .get(name)
                .and_then(serde_json::Value::as_i64)
                .ok_or_else(|| {
                    ErrorData::invalid_params(format!("{name} must be an integer"), None)
                })
        };
        let sum = number("a")? + number("b")?;
        let result = CallToolResult::success(vec![ContentBlock::text(sum.to_string())]);
        if !context
            .client_capabilities()
            .is_some_and(|client| client.supports_tasks())
        {
            return Ok(result.into());
        }
        let task = self.tasks.spawn(TaskOptions::new(), move |_| {
            Box::pin(async move { Ok(result) })
        });
        Ok(CallToolResponse::Task(CreateTaskResult::new(task)))
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.tasks.get_task(&request.task_id)?))
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&request.task_id)
    }

    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_tasks()
                .build(),
        )
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .ok_or("usage: bench-peer-rmcp ADDRESS:PORT")?;
    let peer = Arc::new(Peer::default());
    let mut config = StreamableHttpServerConfig::default();
    config.legacy_session_mode = false;
    config.json_response = true;
    let service = StreamableHttpService::new(
        move || Ok(Arc::clone(&peer)),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    let listener = tokio::net::TcpListener::bind(&address)
        .await?
        .tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
    axum::serve(listener, Router::new().nest_service("/mcp", service)).await?;
    Ok(())
}
