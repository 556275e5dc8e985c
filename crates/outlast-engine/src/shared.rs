//! What all parts of an engine share, and where the store's notices go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use outlast_core::limit::Controls;
use outlast_core::store::{ClaimBy, Notice, NoticeSink, ToolVersion};
use outlast_core::{NewSchedule, Store, TaskId, WorkerId};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::Settings;
use crate::changes::Listeners;
use crate::crew::{Pulse, SelfName};
use crate::figures::Meters;
use crate::hub::Hub;
use crate::no_worker;
use crate::order::{self, ALL_TOOLS, Order};
use crate::progress::Sinks;
use crate::role::{self, Role};
use crate::runs::Runs;
use crate::secrets::Vault;
use crate::slots::Slots;
use crate::state::StateMap;
use crate::stop::Stop;
use crate::stored::Observers;
use crate::tool::Tools;
use crate::usual::UsualTimes;
use crate::webhook::Courier;

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
    /// The store has lost what was declared to it.
    pub(crate) emptied: AtomicBool,
    /// Limits over all tools, by owner.
    pub(crate) order: RwLock<Order>,
    /// The schedules that this process has declared.
    pub(crate) schedules: RwLock<Vec<NewSchedule>>,
    /// Who hears from tasks that run here for a waiting caller.
    pub(crate) observers: Observers,
    /// What is paused, as far as this process knows.
    pub(crate) paused: RwLock<Controls>,
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
    pub(crate) tools: RwLock<Tools>,
    /// Those of the tools that it runs.
    pub(crate) claimed: RwLock<Arc<BTreeSet<ToolVersion>>>,
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
        let alone = self.is_alone().await?;
        self.bring_rules(there, alone).await
    }

    /// The same for a store that has lost everything: others tell it theirs at the same time.
    pub(crate) async fn declare_rules_again(&self) -> Result<(), outlast_core::Error> {
        let there = self.store.controls().await?;
        if !self.role.declares() {
            self.note_controls(&there);
            return Ok(());
        }
        self.bring_rules(there, false).await
    }

    async fn bring_rules(&self, there: Controls, alone: bool) -> Result<(), outlast_core::Error> {
        let (tools, order) = (self.tools(), self.order());
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
pub(crate) fn claimable(
    tools: &Tools,
    settings: &Settings,
    labels: &BTreeSet<String>,
) -> Arc<BTreeSet<ToolVersion>> {
    match settings.slots {
        0 => Arc::default(),
        _ => tools.versions_for(labels),
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
            // The heart declares again what was declared before.
            Notice::Emptied => {
                self.emptied.store(true, Ordering::Release);
                self.due.notify_one();
            }
        }
    }
}
