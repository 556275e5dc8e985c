//! The handle: how every surface, and an application's own code, reaches tasks.
//!
//! All methods that look at a task take who asks, an [`Owner`] or a [`Principal`]. A task that is
//! neither theirs nor shared with them is not found, in the same words as one that never was.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use outlast_core::limit::{Control, Controls, Keys, Queue};
use outlast_core::machine::{Answered, CancelMode, Dependency};
use outlast_core::store::{
    CancelReply, ClaimNow, Claimed, Filter, Page, Signalled, Stats, StoreInfo,
};
use outlast_core::task::ReplyTo;
use outlast_core::{
    Answer, Error, Event, Failure, FailureReason, JournalEntry, LogPage, NewSignal, Outcome, Owner,
    Phase, Principal, RawJson, Store, Task, TaskId, TaskSpec, Timestamp, Webhook, label,
};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attempt::{Ending, drive};
use crate::carried::Carried;
use crate::engine::Shared;
use crate::hub::Subscription;
use crate::lifecycle;
use crate::observer::Observer;
use crate::order::ALL_TOOLS;
use crate::run::{Origin, Run};
use crate::running::{Call, OnDrop, Running};
use crate::sharing::{Asker, Right};
use crate::stored::{self, Stored};
use crate::tool::{TaskSupport, Tool, Tools};
use crate::webhook::{self, CallWebhook};
use crate::worker;
use crate::{trace, undo};

/// A call of a tool, checked by the surface it came through as far as that surface's rules go.
///
/// The arguments must have passed [`crate::Handler::check`]: nothing that a tool refuses is stored.
#[derive(Clone)]
pub struct NewCall {
    /// The tool.
    pub tool: Arc<Tool>,
    /// Its arguments, a JSON object.
    pub arguments: RawJson,
    /// Who calls.
    pub owner: Owner,
    /// See [`TaskSpec::client`].
    pub client: Option<RawJson>,
    /// See [`TaskSpec::request_meta`].
    pub request_meta: Option<RawJson>,
    /// See [`TaskSpec::reply_to`].
    pub reply_to: Option<ReplyTo>,
    /// See [`TaskSpec::first_answers`].
    pub first_answers: BTreeMap<String, RawJson>,
    /// See [`TaskSpec::ttl`].
    pub ttl: Option<Duration>,
    /// See [`TaskSpec::priority`]. At first the tool's.
    pub priority: i16,
    /// See [`TaskSpec::run_at`].
    pub run_at: Option<Timestamp>,
    /// Not before so long after the call. With `run_at`, the later of both counts.
    pub delay: Option<Duration>,
    /// The caller's name for the call, so that it may be repeated without harm: see
    /// [`outlast_core::same::IdempotencyKey`].
    pub key: Option<String>,
    /// Tasks of the same owner that must have ended before this one runs. Only for
    /// [`Handle::create`]; see [`Dependency`] for what each edge means.
    pub after: Vec<Dependency>,
    /// See [`TaskSpec::labels`]. The tool's own are added where these have none of the key.
    pub labels: BTreeMap<String, String>,
    /// Who else is told over HTTP what becomes of the task. Only for tools that may be tasks: a call with
    /// one is stored from its beginning. A call that turns out to mean an earlier one's task has none.
    pub webhooks: Vec<CallWebhook>,
    /// What an earlier call of a tool that is never a task has done already. Of no effect for tools
    /// that are.
    pub carried: Carried,
}

impl NewCall {
    /// A call of `tool` by `owner` with nothing else said.
    pub fn new(tool: Arc<Tool>, arguments: RawJson, owner: Owner) -> Self {
        let priority = tool.order.priority;
        Self {
            tool,
            arguments,
            owner,
            client: None,
            request_meta: None,
            reply_to: None,
            first_answers: BTreeMap::new(),
            ttl: None,
            priority,
            run_at: None,
            delay: None,
            key: None,
            after: Vec::new(),
            labels: BTreeMap::new(),
            webhooks: Vec::new(),
            carried: Carried::default(),
        }
    }

    pub(crate) fn into_spec(self, shared: &Shared) -> TaskSpec {
        let (tool, order) = (&self.tool, &self.tool.order);
        let tools = shared.tools();
        let fields = tools.secrets_of(&tool.name);
        // Keys and digests are stored, and must not tell what is secret.
        let keyed = fields.map(|fields| shared.vault.keyed(&self.arguments, fields));
        let telling = keyed.as_ref().unwrap_or(&self.arguments);
        let mut keys = Keys::default();
        order.add_keys(&tool.name, telling, &self.owner, &mut keys);
        shared
            .order()
            .add_keys(ALL_TOOLS, telling, &self.owner, &mut keys);
        let idempotency = self.key.map(|key| order.idempotency(key, telling));
        let mut labels = tool.labels.clone();
        labels.extend(self.labels);
        let delayed = self.delay.map(|delay| shared.store.clock().now() + delay);
        let mut spec = TaskSpec {
            keys,
            idempotency,
            same: order.same_work(telling, &self.owner),
            tool_version: self.tool.version.clone(),
            owner: self.owner,
            client: self.client,
            request_meta: self.request_meta,
            reply_to: self.reply_to,
            first_answers: self.first_answers,
            ttl: self.ttl,
            priority: self.priority,
            run_at: self.run_at.max(delayed),
            after: self.after,
            labels,
            retention: self.tool.retention,
            max_age: self.tool.max_age,
            queue_timeout: self.tool.queue_timeout,
            usual: shared.usual.of(&self.tool.name),
            max_crashes: self.tool.max_crashes.max(1),
            repeatable: self.tool.is_repeatable(),
            confirmed_by: self.tool.confirmed_by.clone(),
            ..TaskSpec::new(self.tool.name.clone(), self.arguments.clone())
        };
        if let Some(fields) = fields {
            shared.vault.seal_arguments(&mut spec, fields);
        }
        let webhooks = shared.courier.webhooks();
        spec.webhooks = webhook::of_call(webhooks, &shared.vault, &spec, self.webhooks);
        spec
    }
}

/// How a surface wants a task to be cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CancelBy {
    /// Return when the request is recorded; the task ends when its worker has stopped, after 30 s at
    /// the latest (2026-07-28, REST, command line).
    Request,
    /// Return when the task is cancelled: wait for the worker this long, then write it off
    /// (2025-11-25: the answer must say `cancelled`).
    Wait(Duration),
}

/// How long a worker may take to stop before its task is written off as cancelled.
const CANCEL_DEADLINE: Duration = Duration::from_secs(30);

/// Reaches the tasks of an engine. Cheap to clone; stays usable until the engine has shut down.
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

    /// Creates a task, or returns the one that the call means ([`outlast_core::same`]). When this
    /// returns, the task is stored: it survives this process. It runs as soon as a worker has a slot
    /// and every limit that applies to it has room.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::KeyReused`]: nothing was stored. Otherwise:
    /// [`Error::Invalid`] if the call comes after a task that `owner` does not have, or names one
    /// twice, or its labels exceed a limit of [`outlast_core::label`]; nothing is created.
    /// Or the store failed; then it is unknown whether the task exists.
    ///
    /// # Cancel safety
    /// A dropped call creates the task or does not; a task that exists is run.
    pub async fn create(&self, call: NewCall) -> Result<Arc<Task>, Error> {
        self.create_spec(call.into_spec(&self.shared)).await
    }

    pub(crate) async fn create_spec(&self, spec: TaskSpec) -> Result<Arc<Task>, Error> {
        label::check(&spec.labels).map_err(Error::Invalid)?;
        let shared = Arc::clone(&self.shared);
        // On a task of its own: a caller that goes away between the commit and the start must not
        // leave a claimed task behind that nobody runs.
        // Counted, for a clean stop must not close the store between the two either.
        let counted = self.shared.running.token();
        let created = tokio::spawn(async move {
            let _counted = counted;
            let slot = shared.slots.try_take();
            let claim = slot
                .as_ref()
                .map(|_| ClaimNow::IfNext(shared.claim_by(false)));
            let span = trace::create(&spec);
            let created = shared.store.create(spec, claim);
            let created = shared
                .meters
                .timed("create", created)
                .instrument(span)
                .await?;
            if !created.joined {
                lifecycle::created(&created.task);
                shared.meters.created(&created.task);
            }
            if let (Some(lease), Some(slot)) = (created.lease, slot) {
                let task = Arc::clone(&created.task);
                worker::start(
                    &shared,
                    Claimed {
                        task,
                        lease,
                        journal: Vec::new(),
                    },
                    slot,
                );
            }
            Ok(created.task)
        });
        created.await.unwrap_or_else(|error| {
            Err(Error::unavailable(
                "the server is stopping; try again",
                error,
            ))
        })
    }

    /// Whether the store decides when this call may run, or that it may not.
    fn must_wait_its_turn(&self, spec: &TaskSpec) -> bool {
        label::check(&spec.labels).is_err()
            || !spec.keys.is_empty()
            || spec.idempotency.is_some()
            || spec.same.is_some()
            || spec.run_at.is_some()
            || spec.webhooks.iter().any(Webhook::is_of_call)
            || self.shared.is_paused(&spec.tool)
    }

    /// The rules of limits, and what is paused.
    ///
    /// # Errors
    /// The store failed.
    pub async fn controls(&self) -> Result<Controls, Error> {
        self.store().controls().await
    }

    /// Stops claims of these tasks, durably: they are created and wait, and those that run go on. Calls
    /// that are never tasks are not stopped. Repeating it is harmless.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such tool; or the store failed.
    pub async fn pause(&self, queue: Queue) -> Result<Controls, Error> {
        if let Queue::Tool(name) = &queue
            && self.tools().get(name).is_none()
        {
            let known: Vec<_> = self
                .shared
                .tools()
                .iter()
                .map(|tool| tool.name.clone())
                .collect();
            return Err(Error::Invalid(format!(
                "there is no tool {name:?} to pause; the tools are {}",
                known.join(", ")
            )));
        }
        self.control(vec![Control::Pause(queue)]).await
    }

    /// Allows claims again. Repeating it is harmless.
    ///
    /// # Errors
    /// The store failed.
    pub async fn resume(&self, queue: Queue) -> Result<Controls, Error> {
        self.control(vec![Control::Resume(queue)]).await
    }

    async fn control(&self, changes: Vec<Control>) -> Result<Controls, Error> {
        let controls = self.store().control(changes).await?;
        self.shared.note_controls(&controls);
        Ok(controls)
    }

    /// Calls a tool synchronously. One to which a limit, a key or a pause applies waits for its turn as a
    /// task. A tool that may be a task is written down at the first thing that
    /// must not be lost, or after a second; then the outcome is stored before it is returned. A call that the store refuses, as a full queue
    /// does, fails, and [`Running::refused`] says why.
    pub fn call(
        &self,
        mut call: NewCall,
        observer: Option<Arc<dyn Observer>>,
        on_drop: OnDrop,
    ) -> Running {
        let tool = Arc::clone(&call.tool);
        let origin = match tool.task {
            TaskSupport::Forbidden => Origin::Unstored(std::mem::take(&mut call.carried)),
            TaskSupport::Optional | TaskSupport::Required => Origin::Lazy,
        };
        let spec = call.into_spec(&self.shared);
        if tool.task != TaskSupport::Forbidden && self.must_wait_its_turn(&spec) {
            let stored = Arc::new(Stored {
                own: spec.id,
                task: OnceLock::new(),
                cancel: CancellationToken::new(),
                refused: OnceLock::new(),
            });
            let run = stored::run(self.clone(), spec, observer, Arc::clone(&stored));
            return Running {
                call: Call::Stored(stored),
                shared: Arc::clone(&self.shared),
                future: Some(Box::pin(run)),
                on_drop,
                begun: false,
            };
        }
        let spec = Arc::new(spec);
        let run = Run::new(
            Arc::clone(&self.shared),
            &tool,
            spec,
            origin,
            observer,
            None,
        );
        let future = Box::pin(synchronous(self.clone(), Arc::clone(&run), tool));
        Running {
            call: Call::Here(run),
            shared: Arc::clone(&self.shared),
            future: Some(future),
            on_drop,
            begun: false,
        }
    }

    /// The task, as it stands now.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such task for `who`; or the store failed.
    pub async fn get<'a>(&self, who: impl Into<Asker<'a>>, id: TaskId) -> Result<Arc<Task>, Error> {
        self.permitted(who.into(), id, Right::Read).await
    }

    /// The asker's own tasks, the latest created first, below the sequence `cursor`; those that others
    /// share are found by their ids only (2025-11-25 tasks: a list holds the requestor's own).
    ///
    /// # Errors
    /// The store failed.
    pub async fn list<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        filter: Filter,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Page, Error> {
        let filter = Filter {
            owner: Some(who.into().owner().clone()),
            ..filter
        };
        self.store().list(&filter, cursor, limit).await
    }

    /// The tasks that match, whoever they belong to: for callers that have found out whether they may be
    /// seen.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list_any(
        &self,
        filter: &Filter,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.store().list(filter, cursor, limit).await
    }

    /// The children of a task, the latest or the `oldest_first`, from behind the sequence `cursor` on.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn children<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        oldest_first: bool,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.permitted(who.into(), id, Right::Read).await?;
        let filter = Filter {
            parent: Some(id),
            oldest_first,
            ..Filter::default()
        };
        self.store().list(&filter, cursor, limit).await
    }

    /// Begins to watch a task.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn watch<'a>(&self, who: impl Into<Asker<'a>>, id: TaskId) -> Result<Watch, Error> {
        self.watch_for(who.into(), id, Right::Read).await
    }

    async fn watch_for(&self, who: Asker<'_>, id: TaskId, right: Right) -> Result<Watch, Error> {
        // Subscribe, then read: what changes in between is announced.
        let subscription = self.shared.hub.subscribe(id);
        let task = self.permitted(who, id, right).await?;
        Ok(Watch {
            subscription,
            handle: self.clone(),
            who: who.kept(),
            task,
            stale: false,
        })
    }

    /// Waits until the task has ended.
    ///
    /// # Errors
    /// As [`Handle::get`]; also if the task is deleted meanwhile.
    ///
    /// # Cancel safety
    /// A dropped wait changes nothing.
    pub async fn wait<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
    ) -> Result<Arc<Task>, Error> {
        let mut watch = self.watch(who, id).await?;
        while !watch.task().is_finished() {
            watch.changed().await?;
        }
        Ok(Arc::clone(watch.task()))
    }

    /// Cancels a task. Repeating it is harmless.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn cancel<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        reason: Option<String>,
        by: CancelBy,
    ) -> Result<CancelReply, Error> {
        let mut watch = self.watch_for(who.into(), id, Right::Run).await?;
        let ask = CancelMode::Ask(CANCEL_DEADLINE);
        let reply = self.store().cancel(id, reason.clone(), ask).await?;
        if let CancelReply::Cancelled(task) = &reply {
            self.shared.meters.ended(task);
        }
        let CancelBy::Wait(patience) = by else {
            return Ok(reply);
        };
        if !matches!(reply, CancelReply::Requested(_)) {
            return Ok(reply);
        }
        let stopped = async {
            while !watch.task().is_finished() {
                watch.changed().await?;
            }
            Ok(CancelReply::Cancelled(Arc::clone(watch.task())))
        };
        match tokio::time::timeout(patience, stopped).await {
            Ok(stopped) => stopped,
            Err(_) => match self.store().cancel(id, reason, CancelMode::Force).await? {
                // It stopped at the last moment, and because it was cancelled.
                CancelReply::AlreadyFinished(task) => Ok(CancelReply::Cancelled(task)),
                reply => Ok(reply),
            },
        }
    }

    /// Answers questions of a task. Keys that are not open are ignored and reported.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn answer<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        answers: BTreeMap<String, RawJson>,
    ) -> Result<Answered, Error> {
        self.permitted(who.into(), id, Right::Run).await?;
        let answers = answers
            .into_iter()
            .map(|(key, answer)| (key, Answer::Given(answer)))
            .collect();
        self.store().answer(id, answers).await
    }

    /// Sends a signal into a task; see [`outlast_core::signal`] for order, ids and limits.
    ///
    /// # Errors
    /// As [`Handle::get`]; [`Error::Finished`] if the task has ended; [`Error::Invalid`] with the limit
    /// that the signal exceeds.
    ///
    /// # Cancel safety
    /// A dropped call has sent the signal or has not; give it an id to repeat it.
    pub async fn signal<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        signal: NewSignal,
    ) -> Result<Signalled, Error> {
        self.permitted(who.into(), id, Right::Run).await?;
        self.store().signal(id, signal).await
    }

    /// Deletes a finished task with everything that belongs to it; `false` if it has not ended.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn delete<'a>(&self, who: impl Into<Asker<'a>>, id: TaskId) -> Result<bool, Error> {
        self.permitted(who.into(), id, Right::Run).await?;
        self.store().delete(id).await
    }

    /// The events of a task with numbers above `after`.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn events<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, Error> {
        self.permitted(who.into(), id, Right::Read).await?;
        self.store().events(id, after, limit).await
    }

    /// What the task has recorded, with dots in the place of secrets.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn journal<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
    ) -> Result<Vec<JournalEntry>, Error> {
        let (entries, _) = self.journal_slice(who, id, 0, usize::MAX).await?;
        Ok(entries)
    }

    /// A part of [`Handle::journal`]: at most `limit` entries after the first `skip`, and how many there are
    /// in all.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn journal_slice<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        skip: usize,
        limit: usize,
    ) -> Result<(Vec<JournalEntry>, usize), Error> {
        let task = self.permitted(who.into(), id, Right::Read).await?;
        let entries = self.store().journal_slice(id, skip, limit).await?;
        let vault = &self.shared.vault;
        let shown = entries
            .into_iter()
            .map(|entry| vault.shown(&task.spec, entry));
        Ok((shown.collect(), task.state.journal.entries as usize))
    }

    /// The log of a task from `offset`.
    ///
    /// # Errors
    /// As [`Handle::get`].
    pub async fn log<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
        offset: u64,
        limit: usize,
    ) -> Result<LogPage, Error> {
        self.permitted(who.into(), id, Right::Read).await?;
        self.store().log_read(id, offset, limit).await
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

    /// Waits until a task has finished, also over a time in which the store cannot be reached: for callers
    /// whose work goes on meanwhile.
    ///
    /// # Errors
    /// As [`Handle::wait`], where trying again does not help; the engine stops.
    pub(crate) async fn outwait(&self, owner: &Owner, id: TaskId) -> Result<Arc<Task>, Error> {
        self.patiently(|| self.wait(owner, id)).await
    }

    /// Repeats `read` until the store answers: for those who go on with what they have read before.
    ///
    /// # Errors
    /// Of `read`, where trying again does not help; also of one that may succeed later, once the engine
    /// stops.
    ///
    /// # Cancel safety
    /// As `read`.
    pub async fn patiently<T, F>(&self, mut read: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match read().await {
                Err(error) if error.is_retryable() && !self.shared.stopping.is_cancelled() => {
                    tracing::debug!(%error, "cannot read a task that is waited for; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                done => return done,
            }
        }
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

/// The pauses between attempts to read a task from a store that cannot be reached.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Watches one task: sees its present state and is told of each later one, though not of each in
/// between.
pub struct Watch {
    subscription: Subscription,
    handle: Handle,
    who: Principal,
    task: Arc<Task>,
    /// A change was announced and the task not read since.
    stale: bool,
}

impl Watch {
    /// The task as last seen.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Waits for a change of the task or of its log, and returns the task. A store that cannot be reached
    /// for a while ends no watch: it is asked again until it answers, or until the engine stops.
    ///
    /// # Errors
    /// As [`Handle::get`], where trying again does not help; also once the task has been deleted.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing: the next one sees the change.
    pub async fn changed(&mut self) -> Result<&Arc<Task>, Error> {
        if !self.stale {
            self.subscription.changed().await;
            // Remembered, for a wait that is dropped here must not swallow the change.
            self.stale = true;
        }
        let id = self.task.id();
        let read = || self.handle.get(&self.who, id);
        self.task = self.handle.patiently(read).await?;
        self.stale = false;
        Ok(&self.task)
    }
}

/// The whole life of a synchronous call.
async fn synchronous(handle: Handle, run: Arc<Run>, tool: Arc<Tool>) -> Outcome {
    // A clean stop waits for it as for any other run.
    let _counted = handle.shared.calls.token();
    if !run.spec.after.is_empty() {
        return gone("a synchronous call cannot come after other tasks: create a task");
    }
    let shared = Arc::clone(&handle.shared);
    let handler = worker::start_handler(&tool.handler, &run);
    let ending = drive(&run, handler).await;
    if matches!(ending, Ending::Again { .. }) {
        // The next attempt is the store's to make. Without a record the error is the answer.
        let _ = run.persist().await;
    }
    let Some(lease) = run.settled_lease().await else {
        return unstored_outcome(ending);
    };
    let released = matches!(ending, Ending::Released);
    let reported = match worker::attempt_end(&shared, ending) {
        Some(end) => worker::report_end(&shared, &lease, end, None).await,
        None => None,
    };
    shared.runs.remove(&run);
    if let Some((task, _)) = reported
        && let Some(outcome) = task.outcome.clone()
    {
        undo::go_on(&shared, lease, task);
        return Outcome::clone(&outcome);
    }
    let id = run.spec.id;
    let stopping = || {
        gone(&format!(
            "the server is stopping; the call goes on as task {id}"
        ))
    };
    if released {
        return stopping();
    }
    // Suspended or taken over: the task goes on elsewhere and ends in the store.
    tokio::select! {
        waited = handle.outwait(&run.spec.owner, id) => match waited {
            Ok(task) => task.outcome.as_deref().cloned().unwrap_or_else(stopping),
            Err(error) => gone(&error.to_string()),
        },
        () = handle.stopping() => stopping(),
    }
}

fn unstored_outcome(ending: Ending) -> Outcome {
    match ending {
        Ending::Outcome(outcome) => outcome,
        Ending::Again { message, .. } => gone(&message),
        Ending::Released => gone("the server is stopping; call again"),
        Ending::Suspended | Ending::Lost => gone("the call was taken from this process"),
    }
}

pub(crate) fn gone(message: &str) -> Outcome {
    Outcome::Failed(Failure::internal(FailureReason::Error, message))
}
