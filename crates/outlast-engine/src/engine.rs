//! The engine of one process: its settings, its parts, its start and its end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use outlast_core::limit::Controls;
use outlast_core::store::{ClaimBy, Notice, NoticeSink, Recovered, ToolVersion};
use outlast_core::{NewSchedule, Store, TaskId, WorkerId};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::changes::Listeners;
use crate::crew::{self, Pulse, SelfName};
use crate::declared::Declarations;
use crate::figures::Meters;
use crate::handle::Handle;
use crate::heart::{self, Heart};
use crate::hub::Hub;
use crate::order::{self, ALL_TOOLS, Order};
use crate::progress::{ProgressSink, SinkSet, Sinks};
use crate::role::{self, Role};
use crate::run::Run;
use crate::secrets::Vault;
use crate::slots::Slots;
use crate::state::StateMap;
use crate::stop::Stop;
use crate::stored::Observers;
use crate::tool::Tools;
use crate::usual::UsualTimes;
use crate::webhook::{Courier, Webhooks};
use crate::{no_worker, schedule, usual, worker};

/// What can be set about an engine.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) slots: usize,
    pub(crate) lease: Duration,
    pub(crate) hot_wait: Duration,
    pub(crate) persist_after: Duration,
    pub(crate) cancel_grace: Duration,
    pub(crate) no_worker_timeout: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slots: 64,
            lease: Duration::from_secs(30),
            hot_wait: Duration::from_secs(5),
            persist_after: Duration::from_secs(1),
            cancel_grace: Duration::from_secs(10),
            no_worker_timeout: None,
        }
    }
}

/// What all parts of an engine share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) worker: WorkerId,
    pub(crate) settings: Settings,
    pub(crate) state: StateMap,
    pub(crate) vault: Vault,
    pub(crate) hub: Arc<Hub>,
    pub(crate) runs: Runs,
    pub(crate) slots: Slots,
    /// Something may be ready to be claimed.
    pub(crate) ready: Notify,
    /// Something is due before the heart would look again.
    pub(crate) due: Notify,
    /// The store's clock was moved by hand.
    pub(crate) moved: Notify,
    /// When the heart looks again, in milliseconds by the store's clock.
    pub(crate) looks_at: AtomicI64,
    /// Limits over all tools, by owner.
    order: RwLock<Order>,
    /// The schedules that this process has declared.
    pub(crate) schedules: RwLock<Vec<NewSchedule>>,
    /// Who hears from tasks that run here for a waiting caller.
    pub(crate) observers: Observers,
    /// What is paused, as far as this process knows.
    paused: RwLock<Controls>,
    /// No more claims.
    pub(crate) stopping: CancellationToken,
    /// Every run of this process, so that the end can wait for them.
    pub(crate) running: TaskTracker,
    /// Synchronous calls, which their callers poll.
    pub(crate) calls: TaskTracker,
    /// The grace of a clean stop is over: whatever runs hands its task back.
    pub(crate) releasing: Stop,
    /// A task that may have crashed a process runs here.
    pub(crate) suspect: AtomicBool,
    /// Who hears every change of progress.
    pub(crate) sinks: Sinks,
    /// How long tools usually take.
    pub(crate) usual: UsualTimes,
    /// Of which question what a person was sent to a URL for is done.
    pub(crate) completed: broadcast::Sender<(TaskId, String)>,
    /// What has happened here.
    pub(crate) meters: Meters,
    /// Who listens for the changes of all tasks.
    pub(crate) listeners: Listeners,
    /// Who is told over HTTP.
    pub(crate) courier: Courier,
    /// What this process is called.
    pub(crate) called: SelfName,
    pub(crate) pulse: Pulse,
    /// Who is missing.
    pub(crate) watch: no_worker::Watch,
    pub(crate) role: Role,
    /// What this process is labelled with as a worker.
    pub(crate) worker_labels: BTreeSet<String>,
    tools: RwLock<Tools>,
    /// Those of the tools that it runs.
    claimed: RwLock<Arc<BTreeSet<ToolVersion>>>,
}

impl Shared {
    /// Whether tasks of `tool` are not claimed at present.
    pub(crate) fn is_paused(&self, tool: &str) -> bool {
        self.paused
            .read()
            .expect("nothing panics under this lock")
            .is_paused(tool)
    }

    pub(crate) fn note_controls(&self, controls: &Controls) {
        let mut paused = self.paused.write().expect("nothing panics under this lock");
        paused.paused.clone_from(&controls.paused);
    }

    /// [`Shared::declare_rules`] for tools that came or went, by and by: a task that is created before
    /// waits under no rule yet.
    pub(crate) fn declare_rules_soon(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = shared.declare_rules().await {
                tracing::warn!(%error, "could not store the limits of the tools; they hold from the next start");
            }
        });
    }

    /// Brings the store's rules to what the tools declare, if that is for this process to do: see
    /// [`crate::role`].
    pub(crate) async fn declare_rules(&self) -> Result<(), outlast_core::Error> {
        let there = self.store.controls().await?;
        if !self.role.declares() {
            self.note_controls(&there);
            return Ok(());
        }
        let (tools, order, alone) = (self.tools(), self.order(), self.is_alone().await?);
        let speaks_of_all = alone || !order.rules(ALL_TOOLS).is_empty();
        let declared: Vec<_> = tools
            .iter()
            .map(|tool| (tool.name.as_str(), &tool.order))
            .chain(speaks_of_all.then_some((ALL_TOOLS, &order)))
            .collect();
        let shards = self.store.info().shards;
        for (tool, order) in &declared {
            let checked = order.check_shards(tool, shards);
            checked.map_err(outlast_core::Error::Invalid)?;
        }
        let changes = order::changes(&there, declared.into_iter());
        if !alone {
            role::warn_of(&changes, &there);
        }
        let controls = if changes.is_empty() {
            there
        } else {
            self.store.control(changes).await?
        };
        self.note_controls(&controls);
        Ok(())
    }

    pub(crate) fn tools(&self) -> Tools {
        self.tools
            .read()
            .expect("nothing panics under this lock")
            .clone()
    }

    /// `false` if this is the set that it has.
    pub(crate) fn set_tools(&self, tools: Tools) -> bool {
        let mut now = self.tools.write().expect("nothing panics under this lock");
        let changes = !now.is(&tools);
        let claimed = claimable(&tools, &self.settings, &self.worker_labels);
        *self
            .claimed
            .write()
            .expect("nothing panics under this lock") = claimed;
        *now = tools;
        changes
    }

    /// Limits over all tools, by owner.
    pub(crate) fn order(&self) -> Order {
        let order = self.order.read().expect("nothing panics under this lock");
        order.clone()
    }

    pub(crate) fn set_order(&self, order: Order) {
        *self.order.write().expect("nothing panics under this lock") = order;
    }

    /// The names and versions of tools that this worker runs.
    pub(crate) fn claimed(&self) -> Arc<BTreeSet<ToolVersion>> {
        let claimed = self.claimed.read().expect("nothing panics under this lock");
        Arc::clone(&claimed)
    }

    /// Whether this worker has a place for tasks at all, and every label that a tool of its own requires.
    pub(crate) fn may_run(&self, tool: &str) -> bool {
        let tools = self.tools.read().expect("nothing panics under this lock");
        let tool = tools.get(tool);
        self.settings.slots > 0
            && tool.is_none_or(|tool| tool.requires.is_subset(&self.worker_labels))
    }

    /// On what terms this worker claims.
    pub(crate) fn claim_by(&self, suspects: bool) -> ClaimBy {
        ClaimBy {
            worker: self.worker,
            tools: self.claimed(),
            lease: self.settings.lease,
            suspects: suspects && !self.suspect.load(Ordering::Acquire),
        }
    }
}

/// The tools that a worker with these settings and labels claims.
fn claimable(
    tools: &Tools,
    settings: &Settings,
    labels: &BTreeSet<String>,
) -> Arc<BTreeSet<ToolVersion>> {
    match settings.slots {
        0 => Arc::default(),
        _ => tools.versions_for(labels),
    }
}

/// The runs of this process that have a record.
#[derive(Default)]
pub(crate) struct Runs {
    inner: Mutex<RunTable>,
}

#[derive(Default)]
struct RunTable {
    runs: HashMap<TaskId, Arc<Run>>,
    /// Tasks that were to be stopped before their run was entered here.
    stopped_early: HashSet<TaskId>,
}

/// Stops that come for tasks of other processes are forgotten beyond this number.
const EARLY_STOPS: usize = 1024;

/// How many of the latest are kept for a slow receiver of [`Shared::completed`].
const COMPLETED: usize = 256;

impl Runs {
    fn lock(&self) -> std::sync::MutexGuard<'_, RunTable> {
        self.inner.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn insert(&self, run: Arc<Run>) {
        let mut table = self.lock();
        if table.stopped_early.remove(&run.spec.id) {
            run.look_again();
        }
        table.runs.insert(run.spec.id, run);
    }

    /// Removes this very run; another run of the same task stays.
    pub(crate) fn remove(&self, run: &Arc<Run>) {
        let mut table = self.lock();
        if table
            .runs
            .get(&run.spec.id)
            .is_some_and(|known| Arc::ptr_eq(known, run))
        {
            table.runs.remove(&run.spec.id);
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        self.lock().runs.values().cloned().collect()
    }

    fn stop(&self, task: TaskId) {
        let mut table = self.lock();
        match table.runs.get(&task) {
            Some(run) => run.look_again(),
            None if table.stopped_early.len() < EARLY_STOPS => {
                table.stopped_early.insert(task);
            }
            None => table.stopped_early.clear(),
        }
    }

    /// Anything may have happened to any of them.
    fn look_again(&self) {
        for run in self.all() {
            run.look_again();
        }
    }

    fn changed(&self, task: TaskId) {
        if let Some(run) = self.lock().runs.get(&task)
            && run.waits.waiting_since().is_some()
        {
            run.look_again();
        }
    }
}

impl NoticeSink for Shared {
    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Changed { task, version } => {
                self.hub
                    .announce(task, |seen| seen.version = seen.version.max(version));
                self.runs.changed(task);
                self.listeners.note(task, version);
            }
            Notice::Logged(task) => self.hub.announce(task, |seen| seen.logged += 1),
            Notice::Stop(task) => self.runs.stop(task),
            Notice::Ready => self.ready.notify_one(),
            // Nearly every change moves some moment; hardly any is nearer than the heart's next look.
            Notice::Due(at) if at.as_millis() < self.looks_at.load(Ordering::Acquire) => {
                self.due.notify_one();
            }
            Notice::Due(_) => {}
            Notice::Missed => {
                self.hub.announce_all();
                self.listeners.missed();
                self.runs.look_again();
                self.ready.notify_one();
                self.due.notify_one();
            }
        }
    }
}

/// Builds an [`Engine`].
pub struct EngineBuilder {
    vault: Option<Vault>,
    store: Arc<dyn Store>,
    tools: Tools,
    state: StateMap,
    sinks: SinkSet,
    settings: Settings,
    order: Order,
    schedules: Vec<NewSchedule>,
    webhooks: Option<Webhooks>,
    called: SelfName,
    role: Role,
    worker_labels: BTreeSet<String>,
}

impl EngineBuilder {
    /// What this process does for the store. Default: everything.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// What this process is labelled with as a worker, each as [`worker_label`](crate::worker_label) has
    /// it: it runs the tools whose [`Tool::requires`](crate::Tool::requires) names no other. Tasks of the
    /// rest are created here all the same, and wait for a worker that has what they require.
    #[must_use]
    pub fn worker_labels(mut self, labels: impl IntoIterator<Item = String>) -> Self {
        self.worker_labels.extend(labels);
        self
    }

    /// What this process is called where the workers of a store are listed: the name and the version of its
    /// server.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.called = SelfName {
            name: name.into(),
            version: version.into(),
        };
        self
    }

    /// How others are told over HTTP what becomes of tasks. Without it nobody is, and what an earlier
    /// process has left to be told waits.
    #[must_use]
    pub fn webhooks(mut self, webhooks: Webhooks) -> Self {
        self.webhooks = Some(webhooks);
        self
    }

    /// The schedules that the server itself declares. The store is brought to them at the start: those
    /// that have changed keep their history, those that are declared no longer are removed, and those
    /// that were made at run time stay.
    #[must_use]
    pub fn schedules(mut self, schedules: Vec<NewSchedule>) -> Self {
        self.schedules = schedules;
        self
    }

    /// Limits, rates and quotas over all tools together; told apart by owner, as a rule. The priority and
    /// what it says about sameness have no meaning here.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// The tools to run.
    #[must_use]
    pub fn tools(mut self, tools: Tools) -> Self {
        self.tools = tools;
        self
    }

    /// The application's state for the handlers.
    #[must_use]
    pub fn state(mut self, state: StateMap) -> Self {
        self.state = state;
        self
    }

    /// Adds a sink that hears every change of progress, also of calls that are not stored.
    #[must_use]
    pub fn progress_sink(mut self, sink: Arc<dyn ProgressSink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// The key that secret arguments are sealed with. It must be the same as long as tasks with secrets
    /// are in the store. Default: a random one, so that such tasks fail after a restart.
    #[must_use]
    pub fn secret_key(mut self, key: [u8; 32]) -> Self {
        self.vault = Some(Vault::new(key));
        self
    }

    /// How many attempts run at a time. Default 64. With 0 this process runs no task: it creates tasks for
    /// workers elsewhere, and a call that waits for its result waits for one of them. Only a tool that is
    /// never a task still runs where it is called.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.settings.slots = slots;
        self
    }

    /// How long a lease runs. It is renewed after a third of it. Default 30 s.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How long a waiting handler keeps its worker before it is suspended. Default 5 s.
    #[must_use]
    pub fn hot_wait(mut self, hot_wait: Duration) -> Self {
        self.settings.hot_wait = hot_wait;
        self
    }

    /// After how long a synchronous call of a tool that may be a task is written down. Default 1 s.
    #[must_use]
    pub fn persist_after(mut self, persist_after: Duration) -> Self {
        self.settings.persist_after = persist_after;
        self
    }

    /// How long a handler that looks at its cancellation may take to stop. Default 10 s.
    #[must_use]
    pub fn cancel_grace(mut self, cancel_grace: Duration) -> Self {
        self.settings.cancel_grace = cancel_grace;
        self
    }

    /// For how long no living worker may run the tool of a ready task until it fails with the reason
    /// `no_worker`, where the tool says nothing itself. Default: it waits for one.
    #[must_use]
    pub fn no_worker_timeout(mut self, timeout: Duration) -> Self {
        self.settings.no_worker_timeout = Some(timeout);
        self
    }

    /// Takes over what an earlier process left behind and starts to work.
    ///
    /// # Errors
    /// The store failed, or the limits over all tools or a schedule cannot hold.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(mut self) -> Result<Engine, outlast_core::Error> {
        if !self.role.runs_tasks() {
            self.settings.slots = 0;
        }
        let declared = Declarations::check(&self.tools, self.order, self.schedules)?;
        let (order, schedules) = declared.into_parts();
        let slots = Slots::new(self.settings.slots);
        let claimed = claimable(&self.tools, &self.settings, &self.worker_labels);
        let sinks = Sinks::start(self.sinks).map_err(|error| {
            outlast_core::Error::unavailable("cannot start the thread of a progress sink", error)
        })?;
        let usual = UsualTimes::load(&*self.store).await?;
        let now = self.store.clock().now();
        let meters = Meters::new(now);
        let shared = Arc::new(Shared {
            vault: self.vault.unwrap_or_else(Vault::ephemeral),
            worker: WorkerId::random(),
            hub: Arc::default(),
            completed: broadcast::Sender::new(COMPLETED),
            runs: Runs::default(),
            slots,
            ready: Notify::new(),
            due: Notify::new(),
            moved: Notify::new(),
            looks_at: AtomicI64::new(i64::MIN),
            stopping: CancellationToken::new(),
            running: TaskTracker::new(),
            calls: TaskTracker::new(),
            releasing: Stop::default(),
            suspect: AtomicBool::new(false),
            role: self.role,
            worker_labels: self.worker_labels,
            tools: RwLock::new(self.tools),
            claimed: RwLock::new(claimed),
            store: self.store,
            state: self.state,
            order: RwLock::new(order),
            schedules: RwLock::default(),
            observers: Observers::default(),
            paused: RwLock::default(),
            settings: self.settings,
            sinks,
            usual,
            meters,
            listeners: Listeners::default(),
            courier: Courier::new(self.webhooks, now),
            called: self.called,
            pulse: Pulse::default(),
            watch: no_worker::Watch::default(),
        });
        shared
            .store
            .subscribe(Arc::clone(&shared) as Arc<dyn NoticeSink>);
        // Seen first, and asked last who is there: of two that start together at least one knows of the other.
        crew::show(&shared).await;
        shared.declare_rules().await?;
        schedule::declare(&shared, &schedules).await?;
        let recovered = shared.store.recover(shared.worker).await?;
        let heart = Heart::start(Arc::clone(&shared))?;
        let worker = tokio::spawn(worker::claim_loop(Arc::clone(&shared)));
        tokio::spawn(usual::keep(Arc::clone(&shared)));
        Ok(Engine {
            shared,
            heart,
            worker,
            recovered,
        })
    }
}

/// How long a clean stop waits for what was told to hand its task back.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Resolves once nothing runs any more. Both trackers must be closed.
async fn quiet(shared: &Shared) {
    // The end of a call may start the undos of its task.
    while !(shared.running.is_empty() && shared.calls.is_empty()) {
        shared.running.wait().await;
        shared.calls.wait().await;
    }
}

/// A running engine. Dropping it without [`Engine::shutdown`] is like a crash: running tasks are
/// taken up by the next process.
pub struct Engine {
    shared: Arc<Shared>,
    heart: Heart,
    worker: tokio::task::JoinHandle<()>,
    recovered: Recovered,
}

impl Engine {
    /// On what terms this process claims tasks now.
    pub fn claims(&self) -> ClaimBy {
        self.shared.claim_by(true)
    }

    /// Begins an engine over `store`.
    pub fn builder(store: Arc<dyn Store>) -> EngineBuilder {
        EngineBuilder {
            vault: None,
            store,
            tools: Tools::default(),
            state: StateMap::default(),
            sinks: SinkSet::new(),
            settings: Settings::default(),
            order: Order::default(),
            schedules: Vec::new(),
            webhooks: None,
            called: SelfName::default(),
            role: Role::default(),
            worker_labels: BTreeSet::new(),
        }
    }

    /// How surfaces and applications reach the tasks.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// What the process before this one left running.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Makes the engine look at once at what is due, for clocks that are moved by hand: timers,
    /// deadlines and the time limits of attempts and steps.
    pub fn run_due(&self) {
        self.shared.moved.notify_waiters();
        self.shared.due.notify_one();
    }

    /// Does what is due now, as the engine does by itself when the moment comes; for tests whose clock stands
    /// still. `false` if there was nothing to do.
    ///
    /// # Errors
    /// The store failed.
    ///
    /// # Cancel safety
    /// What was begun is done by the next look.
    pub async fn look(&self) -> Result<bool, outlast_core::Error> {
        Ok(heart::look(&self.shared).await?.did)
    }

    /// Ends as a crash does, for tests: every handler is dropped where it stands, nothing more is
    /// written, and the store stays open.
    pub async fn abandon(self) {
        let shared = self.shared;
        shared.stopping.cancel();
        shared.slots.close();
        self.worker.abort();
        let _ = self.worker.await;
        self.heart.stop();
        shared.running.close();
        while !shared.running.is_empty() {
            // A run that was just claimed may not have been entered yet.
            let runs = shared.runs.all();
            runs.iter().for_each(|run| run.lost.cancel());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Stops cleanly: [`Engine::stop`] and [`Stopped::close`].
    ///
    /// # Errors
    /// As [`Stopped::close`].
    pub async fn shutdown(self, grace: Duration) -> Result<(), outlast_core::Error> {
        self.stop(grace).await.close().await
    }

    /// Claims nothing more, lets running handlers end for up to `grace`, those of synchronous calls as
    /// well, and hands back the rest without counting the attempt. What cannot be handed back within ten
    /// seconds more, as on a full disk, is taken up by the next process. The store is still open: whoever
    /// asks for a task meanwhile is answered.
    pub async fn stop(self, grace: Duration) -> Stopped {
        let shared = self.shared;
        shared.stopping.cancel();
        shared.slots.close();
        let _ = self.worker.await;
        shared.running.close();
        shared.calls.close();
        if tokio::time::timeout(grace, quiet(&shared)).await.is_err() {
            shared.releasing.cancel();
            if tokio::time::timeout(LAST_WORDS, quiet(&shared))
                .await
                .is_err()
            {
                tracing::warn!(
                    "some tasks could not be handed back in time; the next process takes them up"
                );
            }
        }
        heart::last_beat(&shared).await;
        self.heart.stop();
        // What is on its way and cannot be recorded any more is sent again by the next process.
        shared.courier.sending.close();
        let _ = tokio::time::timeout(grace, shared.courier.sending.wait()).await;
        crew::leave(&shared).await;
        shared.usual.store(&*shared.store).await;
        Stopped { shared }
    }
}

/// An engine that runs nothing any more, over a store that is still open.
#[must_use = "the store is to be closed"]
pub struct Stopped {
    shared: Arc<Shared>,
}

impl Stopped {
    /// Closes the store.
    ///
    /// # Errors
    /// The store could not be closed cleanly; nothing acknowledged is lost.
    pub async fn close(self) -> Result<(), outlast_core::Error> {
        self.shared.store.close().await
    }
}
