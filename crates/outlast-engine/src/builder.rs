//! What can be set about an engine, and its start.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use outlast_core::store::NoticeSink;
use outlast_core::{NewSchedule, Store, WorkerId};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::changes::Listeners;
use crate::crew::{self, Pulse, SelfName};
use crate::declared::Declarations;
use crate::engine::Engine;
use crate::figures::Meters;
use crate::heart::Heart;
use crate::order::Order;
use crate::progress::{ProgressSink, SinkSet, Sinks};
use crate::role::Role;
use crate::runs::Runs;
use crate::secrets::Vault;
use crate::shared::{Shared, claimable};
use crate::slots::Slots;
use crate::state::StateMap;
use crate::stop::Stop;
use crate::stored::Observers;
use crate::tool::Tools;
use crate::usual::UsualTimes;
use crate::webhook::{Courier, Webhooks};
use crate::{no_worker, schedule, usual, worker};

/// How many of the latest are kept for a slow receiver of [`Shared::completed`].
const COMPLETED: usize = 256;

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
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
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
            emptied: AtomicBool::new(false),
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
