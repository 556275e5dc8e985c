//! What the code of a prompt or a resource knows about the request it serves.
//!
//! Such a request is answered and forgotten: it is no task, so there is no journal, no progress and
//! no lease here. What must outlast the request belongs into a tool.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use outlast_core::{Owner, Principal, RawJson};
use outlast_engine::{BoxFuture, CatchUnwind, Error, ErrorKind, Handle};

use crate::context::Context;
use crate::jsonrpc::RpcError;

/// One request for a prompt, a resource or a completion. Cheap to clone.
#[derive(Clone)]
pub struct RequestCx(Arc<Inner>);

struct Inner {
    handle: Handle,
    principal: Principal,
    client: RawJson,
    request_meta: Option<RawJson>,
}

impl RequestCx {
    pub(crate) fn new(cx: &Context<'_>) -> Result<Self, RpcError> {
        let meta = cx.params.meta;
        Ok(Self(Arc::new(Inner {
            handle: cx.server.handle.clone(),
            principal: cx.principal.clone(),
            client: cx.client(),
            request_meta: meta
                .map(|meta| crate::jsonrpc::owned("_meta", meta))
                .transpose()?,
        })))
    }

    /// Who asks, as the owner of tasks.
    pub fn owner(&self) -> &Owner {
        self.0.principal.owner()
    }

    /// Who asks, with what they may do.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// The tasks of this server. Its methods take who asks: pass [`RequestCx::principal`].
    pub fn tasks(&self) -> &Handle {
        &self.0.handle
    }

    /// The application's state of this type, if the server has one.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.handle.state()
    }

    /// What is known of the client: its `info`, if it said any, and its `capabilities`.
    pub fn client(&self) -> &RawJson {
        &self.0.client
    }

    /// The request's `_meta`, if it had one.
    pub fn request_meta(&self) -> Option<&RawJson> {
        self.0.request_meta.as_ref()
    }
}

/// Runs the code of a prompt or a resource; its panic is an error and nothing else.
///
/// # Errors
/// A protocol error of the code as it is; any other error, which no result has a place for, as
/// -32603 with its text (2025-11-25 and 2026-07-28 prompts and resources, "Error Handling").
pub(crate) async fn run<T>(
    start: impl FnOnce() -> BoxFuture<'static, Result<T, Error>>,
) -> Result<T, RpcError> {
    let future = catch_unwind(AssertUnwindSafe(start)).map_err(|panic| panicked(&*panic))?;
    match CatchUnwind(future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(from_handler(&error)),
        Err(panic) => {
            tracing::error!(panic, "the code of a prompt or a resource panicked");
            Err(RpcError::internal("the code behind this request panicked"))
        }
    }
}

fn panicked(_panic: &(dyn Any + Send)) -> RpcError {
    RpcError::internal("the code behind this request panicked")
}

fn from_handler(error: &Error) -> RpcError {
    match error.kind() {
        ErrorKind::Protocol {
            code,
            message,
            data,
        } => RpcError {
            code: *code,
            message: message.clone().into(),
            data: data.clone(),
        },
        ErrorKind::Arguments(problem) => RpcError::invalid_params(problem.clone()),
        _ => RpcError::internal(error.to_string()),
    }
}
