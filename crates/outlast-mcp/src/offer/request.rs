//! What the code of a prompt or a resource knows about the request it serves.
//!
//! Such a request is answered and forgotten: it is no task, so there is no record and no lease here.
//! What must outlast the request belongs into a tool. It may ask its own caller; in 2026-07-28 the
//! request then ends, and the one that brings the answers runs the code again from its top.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use outlast_core::{Answer, InputRequest, Owner, Principal, RawJson};
use outlast_engine::{BoxFuture, CatchUnwind, Cx, Error, ErrorKind, Handle, Namespace};

use crate::context::Context;
use crate::jsonrpc::{RpcError, code};

/// One request for a prompt, a resource or a completion. Cheap to clone.
#[derive(Clone)]
pub struct RequestCx {
    inner: Arc<Inner>,
    /// What asks; completions have none.
    run: Option<Cx>,
    /// The mounted server whose code runs.
    namespace: Option<Arc<Namespace>>,
}

struct Inner {
    handle: Handle,
    principal: Principal,
    client: RawJson,
    request_meta: Option<RawJson>,
}

impl RequestCx {
    pub(crate) fn new(cx: &Context<'_>, run: Option<Cx>) -> Result<Self, RpcError> {
        let meta = cx.params.meta;
        let inner = Arc::new(Inner {
            handle: cx.server.handle.clone(),
            principal: cx.principal.clone(),
            client: cx.client(),
            request_meta: meta
                .map(|meta| crate::jsonrpc::owned("_meta", meta))
                .transpose()?,
        });
        Ok(Self {
            inner,
            run,
            namespace: None,
        })
    }

    /// This for the code of a mounted server.
    #[must_use]
    pub fn within(mut self, namespace: Arc<Namespace>) -> Self {
        self.namespace = Some(namespace);
        self
    }

    pub(crate) fn of_run(mut self, run: Cx) -> Self {
        self.run = Some(run);
        self
    }

    /// Asks the caller and waits for the answer. `request` is an `elicitation/create`,
    /// `sampling/createMessage` or `roots/list` request; its key is used once in a request. Returns the
    /// raw response, or that nobody answered in time.
    ///
    /// With a caller of 2026-07-28 the code runs again from its top for each round of questions, and
    /// finds the earlier ones answered: what it does before it asks must have no effects.
    ///
    /// # Errors
    /// The caller did not declare that it answers this; a key was used twice; this is a completion,
    /// which cannot ask (2026-07-28 multi round-trip requests, "Supported Requests").
    pub async fn ask_raw(&self, request: InputRequest) -> Result<Answer, Error> {
        let mut answers = self.ask_all(vec![request]).await?;
        Ok(answers.pop().expect("one answer for one question"))
    }

    /// Asks several questions at once and waits for all answers, which come in the order of the
    /// questions.
    ///
    /// # Errors
    /// As [`RequestCx::ask_raw`].
    pub async fn ask_all(&self, requests: Vec<InputRequest>) -> Result<Vec<Answer>, Error> {
        match &self.run {
            Some(run) => run.ask_all(requests).await,
            None => Err(Error::protocol(
                code::INTERNAL_ERROR,
                "a completion cannot ask its caller",
            )),
        }
    }

    /// Who asks, as the owner of tasks.
    pub fn owner(&self) -> &Owner {
        self.inner.principal.owner()
    }

    /// Who asks, with what they may do.
    pub fn principal(&self) -> &Principal {
        &self.inner.principal
    }

    /// The tasks of this server. Its methods take who asks: pass [`RequestCx::principal`].
    pub fn tasks(&self) -> &Handle {
        &self.inner.handle
    }

    /// The application's state of this type, if the server has one.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let own = self.namespace.as_ref().and_then(|own| own.state.get());
        own.or_else(|| self.inner.handle.state())
    }

    /// What is known of the client: its `info`, if it said any, and its `capabilities`.
    pub fn client(&self) -> &RawJson {
        &self.inner.client
    }

    /// The request's `_meta`, if it had one.
    pub fn request_meta(&self) -> Option<&RawJson> {
        self.inner.request_meta.as_ref()
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
        ErrorKind::Failed(failure) => RpcError {
            code: failure.code,
            message: failure.message.clone().into(),
            data: failure.data.clone(),
        },
        ErrorKind::Arguments(problem) => RpcError::invalid_params(problem.clone()),
        _ => RpcError::internal(error.to_string()),
    }
}
