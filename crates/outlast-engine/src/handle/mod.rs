//! The handle: how every surface, and an application's own code, reaches tasks.
//!
//! All methods that look at a task take who asks, an [`Owner`] or a [`Principal`]. A task that is
//! neither theirs nor shared with them is not found, in the same words as one that never was.

mod act;
mod call;
mod control;
mod create;
mod new_call;
mod read;
mod watch;

use std::sync::{Arc, Weak};

use outlast_core::store::{Stats, StoreInfo};
use outlast_core::{Error, Phase, Store, TaskId, Timestamp};
use tokio::sync::broadcast;

use crate::shared::Shared;
use crate::tool::Tools;
use crate::webhook::Webhooks;

pub use act::CancelBy;
pub(crate) use call::{gone, waited_for};
pub use new_call::NewCall;
pub use watch::Watch;

/// Reaches the tasks of an engine. Cheap to clone; stays usable until the engine has shut down.
///
/// ```
/// # use outlast_core::{Error, NewSignal, Owner, RawJson};
/// # use outlast_engine::{CancelBy, Handle, NewCall};
/// # async fn application(handle: Handle) -> Result<(), Error> {
/// let owner = Owner::local();
/// let tools = handle.tools();
/// let tool = tools.get("review").expect("it is on offer");
/// let arguments = RawJson::parse(r#"{"pages": 7}"#).expect("it is JSON");
/// let task = handle.create(NewCall::new(tool.clone(), arguments, owner.clone())).await?;
/// let mut watch = handle.watch(&owner, task.id()).await?;
/// while !watch.task().is_finished() {
///     let task = watch.changed().await?;
///     if task.state.progress.done >= 3.0 {
///         let guidance = RawJson::of("only the tables").expect("it is JSON");
///         let signal = NewSignal::new("guidance", guidance);
///         handle.signal(&owner, task.id(), signal).await?;
///         break;
///     }
/// }
/// let reason = Some("nobody waits for it".into());
/// handle.cancel(&owner, task.id(), reason, CancelBy::Request).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Handle {
    fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// The store beneath, for what belongs to a surface and not to a task: its keys and records.
    pub fn side(&self) -> Arc<dyn Store> {
        Arc::clone(&self.shared.store)
    }

    /// What the store promises.
    pub fn store_info(&self) -> StoreInfo {
        self.store().info()
    }

    /// The time by the store's clock.
    pub fn now(&self) -> Timestamp {
        self.store().clock().now()
    }

    /// The tools on offer.
    pub fn tools(&self) -> Tools {
        self.shared.tools()
    }

    /// Changes which tools this process runs. Runs that have begun go on with the code they have;
    /// waiting tasks of a tool that is gone wait on.
    pub fn set_tools(&self, tools: Tools) {
        if !self.shared.set_tools(tools) {
            return;
        }
        self.shared.declare_rules_soon();
        // There may be waiting tasks of a tool that has come.
        self.shared.ready.notify_one();
    }

    /// Changes who is told of tasks over HTTP. Tasks that exist keep the receivers that they have: the
    /// server's own are sent to by what these settings say of their names. Callers may name webhooks only where
    /// the engine was started with a key to seal them with.
    pub fn set_webhooks(&self, webhooks: Option<Webhooks>) {
        self.shared.courier.set_webhooks(webhooks, self.now());
        self.shared.due.notify_one();
    }

    /// Hears of each [`Cx::url_completed`](crate::Cx::url_completed) of a task that runs in this process:
    /// the task, and the key of its question. A receiver that is slow misses some.
    pub fn completed_urls(&self) -> broadcast::Receiver<(TaskId, String)> {
        self.shared.completed.subscribe()
    }

    /// The application's state of this type, if there is one.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.shared.state.get()
    }

    /// A handle that does not keep the engine alive.
    pub fn downgrade(&self) -> WeakHandle {
        WeakHandle(Arc::downgrade(&self.shared))
    }

    /// Counts over all owners' tasks.
    ///
    /// # Errors
    /// The store failed.
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.store().stats().await
    }

    /// How many tasks are unfinished.
    ///
    /// # Errors
    /// The store failed.
    pub async fn unfinished(&self) -> Result<u64, Error> {
        let stats = self.stats().await?;
        Ok(stats.count(|kind| kind.phase != Phase::Finished))
    }

    /// Whether messages to webhooks may be due, now or later, that nobody sends if this process ends. True
    /// for an hour after the start where there are webhooks at all, for what earlier processes owed.
    pub fn owes_messages(&self) -> bool {
        self.shared.courier.owes(self.now())
    }

    /// Resolves when the engine has begun to shut down.
    pub async fn stopping(&self) {
        self.shared.stopping.cancelled().await;
    }
}

/// A [`Handle`] that does not keep the engine alive, for values that the engine itself holds.
#[derive(Clone)]
pub struct WeakHandle(Weak<Shared>);

impl WeakHandle {
    /// The handle, while there is an engine.
    pub fn upgrade(&self) -> Option<Handle> {
        let shared = self.0.upgrade()?;
        Some(Handle { shared })
    }
}
