//! What a method knows about the request it serves.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use outlast_core::{Owner, Principal, RawJson, TaskId};
use serde_json::value::RawValue;

use crate::jsonrpc::{RpcError, begin_response, code, end_response, string};
use crate::protocol::{Capabilities, ModernMeta, Params, Version};
use crate::server::Inner;
use crate::session::{Flight, Introduction, Outlet, Session};
use crate::wire::Object;

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Transport {
    Http,
    Lines,
}

/// After this long a response over HTTP becomes a stream with signs of life in it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// One request, understood as far as all methods have in common.
pub(crate) struct Context<'a> {
    pub(crate) server: &'a Arc<Inner>,
    pub(crate) id: &'a RawValue,
    pub(crate) params: Params<'a>,
    pub(crate) meta: ModernMeta<'a>,
    pub(crate) version: Version,
    pub(crate) capabilities: Capabilities,
    /// Who asks. Tasks are looked up with this, so that what is shared is found.
    pub(crate) principal: &'a Principal,
    /// Whose a new task is.
    pub(crate) owner: &'a Owner,
    pub(crate) transport: Transport,
    /// The header `traceparent`.
    pub(crate) traceparent: Option<&'a str>,
    /// The session of the older era; `None` in the newer one, and before the handshake.
    pub(crate) session: Option<&'a Arc<Session>>,
    /// Where messages go that belong to this request.
    pub(crate) outlet: Outlet,
    /// Told when the client cancels this request or leaves.
    pub(crate) flight: Option<&'a Flight>,
    /// The task that the response will name first; see [`Context::introduce`].
    pub(crate) introduced: OnceLock<TaskId>,
    /// The request was made before, of a process that is gone.
    pub(crate) again: Option<Again>,
}

/// A request that is made again for a client which made it once.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Again {
    /// The task that has its result, if there is one.
    pub(crate) task: Option<TaskId>,
    /// The last progress value that the client was told.
    pub(crate) progress: Option<f64>,
}

/// The response to a request, whole.
pub(crate) type Reply = Result<Vec<u8>, RpcError>;

impl Context<'_> {
    /// A response whose result `write` writes, with room for `room` bytes.
    pub(crate) fn reply(&self, room: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = begin_response(self.id.get(), room);
        write(&mut out);
        end_response(&mut out);
        out
    }

    /// A response whose result is an object.
    pub(crate) fn reply_object(&self, write: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
        self.reply(384, |out| write(&mut Object::new(out)))
    }

    /// A response of the newer era that says nothing but that it is one.
    pub(crate) fn acknowledge(&self) -> Vec<u8> {
        self.reply_object(|object| {
            object
                .raw("resultType", r#""complete""#)
                .raw("_meta", self.server.meta.as_str());
        })
    }

    /// What is recorded of the client with whatever it asks for.
    pub(crate) fn client(&self) -> RawJson {
        match self.session {
            Some(session) => session.client.clone(),
            None => {
                let info = self.meta.client_info.map(RawValue::get);
                self.server.latest_client.record(info, self.capabilities)
            }
        }
    }

    /// The text of a member of `params` that names what the request is about.
    ///
    /// # Errors
    /// It is missing or not a string.
    pub(crate) fn named<'p>(
        &self,
        member: &str,
        value: Option<&'p RawValue>,
    ) -> Result<Cow<'p, str>, RpcError> {
        let raw =
            value.ok_or_else(|| RpcError::invalid_params(format!("{member:?} is missing")))?;
        string(raw).ok_or_else(|| RpcError::invalid_params(format!("{member:?} must be a string")))
    }

    /// The task the request is about.
    ///
    /// # Errors
    /// It is missing or not a string; or it is no id of ours, which is the same as an unknown one.
    pub(crate) fn task_id(&self) -> Result<TaskId, RpcError> {
        let text = self.named("taskId", self.params.task_id)?;
        text.parse().map_err(|_| unknown_task(&text))
    }

    /// Refuses a request of the newer era that did not declare the tasks extension. Before anything
    /// is looked up (SEP-2663, "Errors").
    pub(crate) fn require_tasks(&self) -> Result<(), RpcError> {
        if self.capabilities.tasks {
            Ok(())
        } else {
            Err(missing_tasks())
        }
    }

    /// Notes that the response tells the session of a task it does not know yet. What the task has to
    /// say must not come before the response: a client cannot tell what a question about an unknown
    /// task is for, and refuses it.
    pub(crate) fn introduce(&self, task: TaskId) {
        let _ = self.introduced.set(task);
    }

    /// What is to be dropped once the response is on its way.
    pub(crate) fn introduction(&self) -> Option<Introduction> {
        let (session, task) = (self.session?, *self.introduced.get()?);
        Some(Introduction::new(self.server, session, task))
    }

    /// Whether the client has cancelled this request. One that has only left has not.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.flight.is_some_and(Flight::is_cancelled)
    }
}

/// There is no such task for this caller.
pub(crate) fn unknown_task(id: &str) -> RpcError {
    RpcError::invalid_params(format!("task {id:?} not found"))
}

/// The request needs the tasks extension.
pub(crate) fn missing_tasks() -> RpcError {
    let data = r#"{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#;
    RpcError::new(
        crate::jsonrpc::code::MISSING_CAPABILITY,
        "this needs the extension \"io.modelcontextprotocol/tasks\" in the request's client capabilities",
    )
    .with_data(RawJson::parse(data).expect("a constant"))
}

/// A store's error as the protocol says it: one table.
pub(crate) fn from_store(error: outlast_core::Error) -> RpcError {
    of_store(&error)
}

/// [`from_store`] of an error that somebody else keeps.
pub(crate) fn of_store(error: &outlast_core::Error) -> RpcError {
    match error {
        outlast_core::Error::NotFound(id) => unknown_task(&id.to_string()),
        outlast_core::Error::Finished(_) | outlast_core::Error::KeyReused { .. } => {
            RpcError::invalid_params(error.to_string())
        }
        outlast_core::Error::Invalid(message) => RpcError::invalid_params(message.clone()),
        outlast_core::Error::QueueFull { retry_after, .. } => {
            let seconds = retry_after.as_secs().max(1);
            let data = serde_json::json!({"retryAfter": seconds});
            RpcError::new(code::FULL, error.to_string()).with_data(data.into())
        }
        error => {
            tracing::error!(%error, "a request failed");
            RpcError::internal(error.to_string())
        }
    }
}
