//! The context for handlers that block their thread.
//!
//! Such a handler runs on a thread of its own and cannot be dropped: it never suspends, it waits on
//! its thread and keeps its worker; and a cancel reaches it only if it looks.

use std::sync::Arc;

use outlast_core::{Answer, InputRequest, ToolResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use crate::BoxFuture;
use crate::context::Cx;
use crate::error::{Error, Result};

/// [`Cx`] without `async`.
#[derive(Clone)]
pub struct BlockingCx {
    cx: Cx,
    runtime: Handle,
}

impl std::ops::Deref for BlockingCx {
    type Target = Cx;

    /// Everything of [`Cx`] that does not wait can be used as it is.
    fn deref(&self) -> &Cx {
        &self.cx
    }
}

impl BlockingCx {
    pub(crate) fn new(cx: Cx) -> Self {
        cx.run.waits.keep_hot();
        Self {
            cx,
            runtime: Handle::current(),
        }
    }

    /// Waits on this thread.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// [`Cx::step`] with work that blocks.
    ///
    /// # Errors
    /// As [`Cx::step`].
    ///
    /// # Panics
    /// If called on a thread that runs async code.
    pub fn step<T, F>(&self, name: impl Into<String>, work: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned + Send,
        F: Fn() -> Result<T> + Send + Sync,
    {
        self.runtime.block_on(
            self.cx
                .step(name, || std::future::ready(work()))
                .into_future(),
        )
    }

    /// [`Cx::sleep`].
    ///
    /// # Errors
    /// As [`Cx::sleep`].
    pub fn sleep(&self, name: impl Into<String>, duration: std::time::Duration) -> Result<()> {
        self.runtime.block_on(self.cx.sleep(name, duration))
    }

    /// [`Cx::label`].
    ///
    /// # Errors
    /// As [`Cx::label`].
    pub fn label(&self, key: impl Into<String>, value: impl Into<String>) -> Result<()> {
        self.runtime.block_on(self.cx.label(key, value))
    }

    /// [`Cx::ask_raw`].
    ///
    /// # Errors
    /// As [`Cx::ask_raw`].
    pub fn ask_raw(&self, request: InputRequest) -> Result<Answer> {
        self.runtime.block_on(self.cx.ask_raw(request))
    }
}

impl Cx {
    /// Runs a blocking handler on a thread of its own. The thread keeps the worker's slot until it
    /// returns, also when the task has ended before.
    pub fn run_blocking<F>(self, work: F) -> BoxFuture<'static, Result<ToolResult>>
    where
        F: FnOnce(BlockingCx) -> Result<ToolResult> + Send + 'static,
    {
        Box::pin(async move {
            let slot = self
                .run
                .slot
                .lock()
                .expect("nothing panics under this lock")
                .clone();
            let blocking = BlockingCx::new(self);
            let thread = tokio::task::spawn_blocking(move || {
                let _slot = slot;
                let run = Arc::clone(&blocking.cx.run);
                let _metered = run.meter.hold();
                work(blocking)
            });
            let joined = thread.await;
            joined.unwrap_or_else(|error| match error.try_into_panic() {
                // Panics on in the driver, which names it like any other handler's.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::protocol(
                    -32603,
                    "the thread of the handler was not started",
                )),
            })
        })
    }
}
