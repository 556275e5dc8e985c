//! Middleware on calls of tools: `tower` layers around the handlers.
//!
//! A layer given to [`Server::layer`](crate::Server::layer) sees each entry of each call of each tool,
//! whoever called and however the call is served: inline, synchronously or as a background task.
//! What it does with it is that of any `tower` layer: measure, log, refuse, hold back, change the arguments
//! or the result. Layers of the ecosystem fit where they ask for no more than a service gives; one that
//! refuses with an error of its own makes a tool error with its text.
//!
//! A task is entered again after a crash and after each long wait, and a wait drops the call in the middle.
//! So a layer that counts calls counts what comes *back*: that happens once for a task that is not retried.
//!
//! ```
//! use std::pin::Pin;
//! use std::task::{Context, Poll};
//!
//! use outlast::ToolResult;
//! use outlast::layer::{CallError, Layer, Service, ToolCall};
//! use outlast::prelude::*;
//!
//! /// Says how each call ended.
//! #[derive(Clone)]
//! struct Audit;
//!
//! #[derive(Clone)]
//! struct Audited<S>(S);
//!
//! impl<S> Layer<S> for Audit {
//!     type Service = Audited<S>;
//!
//!     fn layer(&self, inner: S) -> Audited<S> {
//!         Audited(inner)
//!     }
//! }
//!
//! impl<S> Service<ToolCall> for Audited<S>
//! where
//!     S: Service<ToolCall, Response = ToolResult, Error = CallError>,
//!     S::Future: Send + 'static,
//! {
//!     type Response = ToolResult;
//!     type Error = CallError;
//!     type Future = Pin<Box<dyn Future<Output = Result<ToolResult, CallError>> + Send>>;
//!
//!     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
//!         self.0.poll_ready(cx)
//!     }
//!
//!     fn call(&mut self, call: ToolCall) -> Self::Future {
//!         let (tool, owner) = (call.tool().to_owned(), call.cx().owner().clone());
//!         let ending = self.0.call(call);
//!         Box::pin(async move {
//!             let ending = ending.await;
//!             let well = ending.as_ref().is_ok_and(|result| !result.is_error);
//!             println!("{tool} for {}: {}", owner.as_str(), if well { "done" } else { "failed" });
//!             ending
//!         })
//!     }
//! }
//!
//! /// Adds two numbers.
//! #[tool]
//! async fn add(a: i64, b: i64) -> i64 {
//!     a + b
//! }
//!
//! let server = Server::new("audited").tool(add).layer(Audit);
//! # let _ = server;
//! ```

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use outlast_core::{RawJson, ToolResult};
use outlast_engine::{BoxFuture, Cx, Handler};

use crate::{Error, Result};

pub use tower_layer::Layer;
pub use tower_service::Service;

/// One entry of a call, on its way to the handler.
pub struct ToolCall {
    tool: Arc<str>,
    /// The arguments, which fit the tool. Secret ones are open here: they are what the handler gets.
    pub arguments: RawJson,
    cx: Cx,
}

impl ToolCall {
    /// The name of the tool, as callers know it.
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The context that the handler gets: the id, whom the call belongs to, the client, the attempt. Names
    /// of steps and questions that a layer uses are the handler's too.
    pub fn cx(&self) -> &Cx {
        &self.cx
    }
}

impl fmt::Debug for ToolCall {
    /// Without the arguments, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall")
            .field("tool", &self.tool)
            .field("id", &self.cx.task_id())
            .finish_non_exhaustive()
    }
}

/// The handler's error, as an error that middleware takes: [`Error`] is none, so that all others turn
/// into it. Pass it on to keep what kind of error it is.
#[derive(Debug)]
pub struct CallError(pub Error);

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for CallError {}

/// What a layer is put around: the handler, or the layers inside.
#[derive(Clone)]
pub struct ToolService(Arc<dyn Handler>);

impl Service<ToolCall> for ToolService {
    type Response = ToolResult;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<ToolResult, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        let called = self.0.call(call.arguments, call.cx);
        Box::pin(async move { called.await.map_err(CallError) })
    }
}

/// An error of any middleware.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A layer of any type.
pub(crate) type AnyLayer = Arc<dyn Fn(&str, Arc<dyn Handler>) -> Arc<dyn Handler> + Send + Sync>;

/// Makes a layer one of any type.
pub(crate) fn erase<L>(layer: L) -> AnyLayer
where
    L: Layer<ToolService> + Send + Sync + 'static,
    L::Service: Service<ToolCall, Response = ToolResult> + Clone + Send + Sync + 'static,
    <L::Service as Service<ToolCall>>::Error: Into<BoxError> + Send,
    <L::Service as Service<ToolCall>>::Future: Send,
{
    Arc::new(move |tool, inner| {
        Arc::new(Layered {
            tool: tool.into(),
            service: layer.layer(ToolService(Arc::clone(&inner))),
            inner,
        })
    })
}

/// A handler in a layer.
struct Layered<S> {
    tool: Arc<str>,
    /// Cloned for each call, as `tower` has it: what calls share is behind the clones.
    service: S,
    inner: Arc<dyn Handler>,
}

impl<S> Handler for Layered<S>
where
    S: Service<ToolCall, Response = ToolResult> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    fn check(&self, arguments: &RawJson) -> Result<(), String> {
        self.inner.check(arguments)
    }

    fn check_meta(&self, meta: Option<&RawJson>) -> Result<(), String> {
        self.inner.check_meta(meta)
    }

    fn call(&self, arguments: RawJson, cx: Cx) -> BoxFuture<'static, Result<ToolResult>> {
        let mut service = self.service.clone();
        let tool = Arc::clone(&self.tool);
        let call = ToolCall {
            tool,
            arguments,
            cx,
        };
        Box::pin(async move {
            let ready = std::future::poll_fn(|task| service.poll_ready(task));
            ready.await.map_err(|error| unboxed(error.into()))?;
            let called = service.call(call);
            called.await.map_err(|error| unboxed(error.into()))
        })
    }
}

/// The handler's own error as it was; any other as a tool error with its text and causes.
fn unboxed(error: BoxError) -> Error {
    match error.downcast::<CallError>() {
        Ok(own) => own.0,
        Err(other) => {
            let mut text = other.to_string();
            let mut source = other.source();
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            Error::tool(text)
        }
    }
}
