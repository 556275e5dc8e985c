//! Two stores in step.
//!
//! Everything they answer is compared, and after each command everything that can be read. Nonces are
//! the one thing in which stores must differ; they are translated by the leases that both gave.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::command::{self, Command};
use super::oracle::Oracle;
use super::world::{LEASE, TASKS, task_id, worker_id};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::TaskId;
use crate::journal::JournalEntry;
use crate::limit::Controls;
use crate::log::LogPage;
use crate::signal::NewSignal;
use crate::store::{
    CancelReply, ClaimNow, Claimed, Created, Filter, Store, SuspendReply, ToolVersion,
};
use crate::task::{Lease, Task};
use crate::testing::conformance::{Fixture, Reopened, check_invariants};
use crate::testing::{ManualClock, MemoryStore};
use crate::webhook::Taken;

/// More pages than there are tasks.
const MOST_PAGES: usize = 50;

/// The model and the store under test.
pub(super) struct Pair {
    clock: Arc<ManualClock>,
    model: MemoryStore,
    tested: Arc<dyn Store>,
    fixture: Arc<dyn Fixture>,
    /// Leases that both gave, in the order of giving: the model's and the other's.
    leases: Vec<(Lease, Lease)>,
    /// What the ticks have handed out, the latest last.
    deliveries: Vec<(TaskId, Taken)>,
    /// The tasks that there are or have been.
    seen: BTreeSet<u64>,
    /// The model's nonce for one of the other.
    nonces: BTreeMap<u64, u64>,
    /// The model's place in the order of creation for one of the other, where the other counts by itself.
    sequences: Mutex<BTreeMap<u64, u64>>,
    /// What must hold of the model.
    oracle: Oracle,
    /// What the model had when it was compared last.
    compared: Compared,
}

/// What the model had when the other store was last seen to have the same.
#[derive(Default)]
struct Compared {
    controls: Option<Controls>,
    list: Option<Vec<Arc<Task>>>,
    details: BTreeMap<u64, Details>,
}

/// Everything that is kept for a task beside its record.
type Details = (Vec<Event>, Vec<JournalEntry>, LogPage);

/// What a store answered, taken apart.
#[derive(Debug, Default)]
struct Reply {
    /// All that holds no nonce.
    text: String,
    tasks: Vec<Arc<Task>>,
    leases: Vec<Lease>,
    journals: Vec<Vec<JournalEntry>>,
    created: Option<Created>,
    deliveries: Vec<(TaskId, Taken)>,
}

impl Reply {
    fn of(value: impl Debug) -> Self {
        Self {
            text: format!("{value:?}"),
            ..Self::default()
        }
    }

    fn task(self, task: Arc<Task>) -> Self {
        let mut reply = self;
        reply.tasks.push(task);
        reply
    }

    fn claimed(self, claimed: impl IntoIterator<Item = Claimed>) -> Self {
        let mut reply = self;
        for one in claimed {
            reply.tasks.push(one.task);
            reply.leases.push(one.lease);
            reply.journals.push(one.journal);
        }
        reply
    }
}

impl Pair {
    /// Runs the commands against fresh stores.
    pub(super) async fn run(
        fixture: &Arc<dyn Fixture>,
        commands: &[Command],
    ) -> Result<(), String> {
        let clock = Arc::new(ManualClock::default());
        let mut pair = Self {
            model: MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>),
            tested: fixture.fresh(Arc::clone(&clock)).await,
            fixture: Arc::clone(fixture),
            clock,
            leases: Vec::new(),
            nonces: BTreeMap::new(),
            sequences: Mutex::default(),
            compared: Compared::default(),
            oracle: Oracle::default(),
            deliveries: Vec::new(),
            seen: BTreeSet::new(),
        };
        for command in commands {
            pair = pair
                .step(command)
                .await
                .map_err(|difference| format!("{command:?}\n{difference}"))?;
        }
        pair.compared = Compared::default();
        pair.compare_all().await?;
        check_invariants(&pair.model).await;
        check_invariants(&*pair.tested).await;
        Ok(())
    }

    async fn step(mut self, command: &Command) -> Result<Self, String> {
        match command {
            Command::Advance { by } => self.clock.advance(*by),
            Command::Reopen => {
                let clock = Arc::clone(&self.clock);
                self.tested = match self.fixture.reopen(self.tested, clock).await {
                    Reopened::Next(store) | Reopened::Never(store) => store,
                };
                self.compared.list = None;
                self.compared.controls = None;
            }
            // Ids are random, so no second task ever has one: what an idempotency key of the first would
            // mean is no question for a store.
            Command::Create { task, .. } | Command::Spawn { task, .. }
                if self.seen.contains(task)
                    && matches!(
                        (&self.model as &dyn Store).get(task_id(*task)).await,
                        Ok(None)
                    ) =>
            {
                return Ok(self);
            }
            _ => {
                let before = self.model.records();
                let model = self.apply(&self.model, command, |(lease, _)| lease).await;
                let asked = self.as_tested_asks(command);
                let tested = self.apply(&*self.tested, &asked, |(_, lease)| lease).await;
                let after = self.model.records();
                let (now, created) = (self.clock.now(), model.created.clone());
                self.compare(model, tested)?;
                if let (Command::Create { task, shape, .. }, Some(created)) = (command, created) {
                    let call = shape.spec(*task, now);
                    self.oracle.created(&call, &created, &before, now)?;
                }
                let controls = (&self.model as &dyn Store)
                    .controls()
                    .await
                    .map_err(failed)?;
                let oracle = &mut self.oracle;
                oracle.look(command, &before, &after, &controls, now)?;
            }
        }
        self.compare_all().await?;
        Ok(self)
    }

    /// The lease with this number, the latest being 0; one that nobody has where there is none.
    fn lease(&self, number: u64, side: fn((Lease, Lease)) -> Lease) -> Lease {
        let known = usize::try_from(number)
            .ok()
            .and_then(|number| self.leases.len().checked_sub(number + 1));
        known.map_or(
            Lease {
                task: task_id(number),
                epoch: 1,
                nonce: 0,
            },
            |index| side(self.leases[index]),
        )
    }

    async fn apply(
        &self,
        store: &dyn Store,
        command: &Command,
        side: fn((Lease, Lease)) -> Lease,
    ) -> Reply {
        let now = self.clock.now();
        let lease = |number: &u64| self.lease(*number, side);
        match command {
            Command::Create { task, shape, claim } => {
                let claim = claim.as_ref().map(|(running, by)| match running {
                    true => ClaimNow::Running(by.claim_by()),
                    false => ClaimNow::IfNext(by.claim_by()),
                });
                match store.create(shape.spec(*task, now), claim).await {
                    Ok(created) => Reply {
                        text: format!("joined: {}", created.joined),
                        leases: created.lease.into_iter().collect(),
                        created: Some(created.clone()),
                        ..Reply::default()
                    }
                    .task(created.task),
                    Err(error) => Reply::of(without_estimate(error)),
                }
            }
            Command::Claim { by, limit } => match store.claim(&by.claim_by(), *limit).await {
                Ok(claimed) => Reply::default().claimed(claimed),
                Err(error) => Reply::of(error),
            },
            Command::Heartbeat { leases, length } => {
                let leases = leases.iter().map(lease).collect();
                Reply::of(store.heartbeat(leases, *length).await)
            }
            Command::Report {
                lease: at,
                progress,
            } => Reply::of(store.report(&lease(at), progress.clone().into()).await),
            Command::JournalPut {
                lease: at,
                kind,
                name,
                hash,
                recorded,
            } => Reply::of(
                store
                    .journal_put(&lease(at), *kind, name, *hash, recorded.clone(), None)
                    .await,
            ),
            Command::Ask {
                lease: at,
                questions,
            } => match store
                .ask(&lease(at), command::questions(questions, now))
                .await
            {
                Ok(task) => Reply::default().task(task),
                Err(error) => Reply::of(error),
            },
            Command::Suspend {
                lease: at,
                inputs,
                signals,
                children,
                until,
            } => match store
                .suspend(
                    &lease(at),
                    command::awaiting(inputs, signals, children, *until, now),
                )
                .await
            {
                Ok(SuspendReply::Resolved(task)) => Reply::of("resolved").task(task),
                Ok(SuspendReply::Suspended) => Reply::of("suspended"),
                Err(error) => Reply::of(error),
            },
            Command::Finish {
                lease: at,
                end,
                next,
            } => {
                let next = next.as_ref().map(command::By::claim_by);
                match store.finish(&lease(at), end.at(now), next.as_ref()).await {
                    Ok(reply) => Reply::default().task(reply.task).claimed(reply.next),
                    Err(error) => Reply::of(error),
                }
            }
            Command::Answer { task, answers } => {
                Reply::of(store.answer(task_id(*task), answers.clone()).await)
            }
            Command::Spawn {
                lease: at,
                name,
                hash,
                task,
                shape,
                detached,
            } => {
                let child = shape.spec(*task, now);
                let spawned = store.spawn(&lease(at), name, *hash, child, *detached).await;
                Reply::of(spawned.map_err(without_estimate))
            }
            Command::Signal {
                task,
                name,
                id,
                payload,
            } => {
                let signal = NewSignal {
                    name: (*name).to_owned(),
                    id: id.map(str::to_owned),
                    payload: payload.clone(),
                };
                Reply::of(store.signal(task_id(*task), signal).await)
            }
            Command::Signals {
                task,
                name,
                after,
                limit,
            } => Reply::of(store.signals(task_id(*task), name, *after, *limit).await),
            Command::NoWorker { tasks, missing } => {
                let tasks = tasks.iter().copied().map(task_id).collect();
                let noted = store.note_no_worker(tasks, missing.clone()).await;
                Reply::of((noted, ready(store).await))
            }
            Command::Cancel { task, reason, mode } => {
                match store.cancel(task_id(*task), reason.clone(), *mode).await {
                    Ok(CancelReply::AlreadyFinished(task)) => Reply::of("finished").task(task),
                    Ok(CancelReply::Cancelled(task)) => Reply::of("cancelled").task(task),
                    Ok(CancelReply::Requested(task)) => Reply::of("requested").task(task),
                    Err(error) => Reply::of(error),
                }
            }
            Command::Delete { task } => Reply::of(store.delete(task_id(*task)).await),
            Command::Control { changes } => Reply::of(store.control(changes.clone()).await),
            Command::Tick { alive, budget } => {
                let alive: Vec<_> = alive.iter().map(lease).collect();
                match store.tick(&alive, LEASE, *budget).await {
                    Ok(mut ticked) => {
                        let handed = std::mem::take(&mut ticked.deliveries);
                        let mut reply = Reply::of(ticked);
                        for one in handed {
                            reply.deliveries.push((one.task.id(), one.taken));
                            reply.tasks.push(one.task);
                        }
                        reply
                    }
                    Err(error) => Reply::of(error),
                }
            }
            Command::Delivered { taken, end } => {
                let known = usize::try_from(*taken).ok();
                let known = known.and_then(|back| self.deliveries.iter().rev().nth(back));
                let unknown = Taken {
                    number: 1,
                    webhook: 0,
                    taken: 0,
                };
                let (id, taken) = known.copied().unwrap_or((task_id(*taken), unknown));
                Reply::of(store.delivery_put(id, taken, end.clone()).await)
            }
            Command::Recover { worker } => Reply::of(store.recover(worker_id(*worker)).await),
            Command::LogAppend { lease: at, lines } => {
                Reply::of(store.log_append(&lease(at), lines.clone()).await)
            }
            Command::LogRead {
                task,
                offset,
                limit,
            } => Reply::of(store.log_read(task_id(*task), *offset, *limit).await),
            Command::Events { task, after, limit } => {
                Reply::of(store.events(task_id(*task), *after, *limit).await)
            }
            Command::List {
                filter,
                before,
                limit,
            } => {
                // Where a page ends is the store's choice where it must look at each record; what all of
                // them hold together is not.
                let (mut tasks, mut before) = (Vec::new(), *before);
                for _ in 0..MOST_PAGES {
                    match store.list(filter, before, *limit).await {
                        Ok(page) => {
                            tasks.extend(page.tasks);
                            before = page.next;
                        }
                        Err(error) => return Reply::of(error),
                    }
                    if before.is_none() {
                        break;
                    }
                }
                Reply {
                    tasks,
                    ..Reply::default()
                }
            }
            Command::RecordPut {
                key,
                value,
                expires,
            } => {
                let expires_at = expires.map(|wait| now + wait);
                Reply::of(store.record_put("s", key, vec![*value], expires_at).await)
            }
            Command::RecordInit { key, value } => {
                Reply::of(store.record_init("s", key, vec![*value]).await)
            }
            Command::RecordGet { key } => Reply::of(store.record_get("s", key).await),
            Command::Advance { .. } | Command::Reopen => unreachable!("not sent to a store"),
        }
    }

    fn compare(&mut self, model: Reply, tested: Reply) -> Result<(), String> {
        same("the reply", &model.text, &tested.text)?;
        let names = |leases: &[Lease]| -> Vec<(TaskId, u64)> {
            leases
                .iter()
                .map(|lease| (lease.task, lease.epoch))
                .collect()
        };
        same("the leases", &names(&model.leases), &names(&tested.leases))?;
        for (ours, theirs) in model.leases.into_iter().zip(tested.leases) {
            let known = self.nonces.insert(theirs.nonce, ours.nonce);
            if known.is_some_and(|known| known != ours.nonce) {
                return Err(format!("the nonce of {theirs:?} was used before"));
            }
            if !self.leases.contains(&(ours, theirs)) {
                self.leases.push((ours, theirs));
            }
        }
        same("what was handed out", &model.deliveries, &tested.deliveries)?;
        self.deliveries.extend(model.deliveries);
        self.compare_tasks("the records in the reply", &model.tasks, &tested.tasks)?;
        same("the journals", &model.journals, &tested.journals)
    }

    /// The command with a place in the order of creation as the tested store counts.
    fn as_tested_asks(&self, command: &Command) -> Command {
        let mut command = command.clone();
        let Command::List { filter, before, .. } = &mut command else {
            return command;
        };
        if let Some(at) = before
            && self.fixture.counts_by_itself()
        {
            let known = self.sequences();
            let mut known = known.iter();
            *at = if filter.oldest_first {
                let below = known.rev().find(|(_, model)| **model <= *at);
                below.map_or(0, |(tested, _)| *tested)
            } else {
                let above = known.find(|(_, model)| **model >= *at);
                above.map_or(u64::from(u32::MAX) << 16, |(tested, _)| *tested)
            };
        }
        command
    }

    fn sequences(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.sequences.lock().expect("no holder panics")
    }

    /// Learns which places in the order of creation are the same; they must follow each other alike.
    fn learn(&self, model: &Task, tested: &Task) -> Result<(), String> {
        let (ours, theirs) = (model.state.sequence, tested.state.sequence);
        if !self.fixture.counts_by_itself() || model.id() != tested.id() {
            return Ok(());
        }
        let mut known = self.sequences();
        known.entry(theirs).or_insert(ours);
        let before = known.range(..theirs).next_back();
        let after = known.range(theirs + 1..).next();
        let fits = known[&theirs] == ours
            && before.is_none_or(|(_, before)| *before < ours)
            && after.is_none_or(|(_, after)| *after > ours);
        match fits {
            true => Ok(()),
            false => Err(format!(
                "{} stands at {theirs} in the order of creation, where it is none",
                model.id()
            )),
        }
    }

    fn compare_tasks(
        &self,
        what: &str,
        model: &[Arc<Task>],
        tested: &[Arc<Task>],
    ) -> Result<(), String> {
        for (model, tested) in model.iter().zip(tested) {
            self.learn(model, tested)?;
        }
        let model: Vec<Task> = model.iter().map(|task| Task::clone(task)).collect();
        let tested: Vec<Task> = tested.iter().map(|task| self.translate(task)).collect();
        same(what, &model, &tested)
    }

    /// The record with the model's nonces and places.
    fn translate(&self, task: &Task) -> Task {
        let mut task = task.clone();
        let translate = |nonce: u64| self.nonces.get(&nonce).copied().unwrap_or(u64::MAX);
        if let Some(held) = &mut task.state.held {
            held.nonce = translate(held.nonce);
        }
        task.state.ended_by = task.state.ended_by.map(translate);
        let place = self.sequences().get(&task.state.sequence).copied();
        task.state.sequence = place.unwrap_or(task.state.sequence);
        task
    }

    /// Everything that can be read.
    ///
    /// To read all of the tested store after each command would take most of the time. Each record is
    /// read; of the rest what the model left alone since it was compared is compared at the end.
    async fn compare_all(&mut self) -> Result<(), String> {
        let model: &dyn Store = &self.model;
        let tested = &*self.tested;
        let controls = model.controls().await.map_err(failed)?;
        if self.compared.controls.as_ref() != Some(&controls) {
            let theirs = tested.controls().await.map_err(failed)?;
            same("the controls", &controls, &theirs)?;
            self.compared.controls = Some(controls);
        }
        same(
            "the counts",
            &model.stats().await.ok(),
            &tested.stats().await.ok(),
        )?;
        let all = Filter::default();
        let list = model.list(&all, None, 100).await.map_err(failed)?.tasks;
        if self.compared.list.as_ref() != Some(&list) {
            let theirs = tested.list(&all, None, 100).await.map_err(failed)?;
            self.compare_tasks("the list", &list, &theirs.tasks)?;
            self.compared.list = Some(list);
        }
        for number in 0..TASKS {
            let id = task_id(number);
            let records = [model.get(id).await, tested.get(id).await];
            let [Ok(ours), Ok(theirs)] = records else {
                return Err(format!("reading task {number} failed"));
            };
            let (ours, theirs) = (Vec::from_iter(ours), Vec::from_iter(theirs));
            self.compare_tasks("the record", &ours, &theirs)?;
            if !ours.is_empty() {
                self.seen.insert(number);
            }
            let ours = details(model, id).await.map_err(failed)?;
            if self.compared.details.get(&number) != Some(&ours) {
                let theirs = details(tested, id).await.map_err(failed)?;
                same("events, journal and log", &ours, &theirs)?;
                self.compared.details.insert(number, ours);
            }
        }
        Ok(())
    }
}

async fn details(store: &dyn Store, id: TaskId) -> Result<Details> {
    Ok((
        store.events(id, 0, usize::MAX).await?,
        store.journal(id).await?,
        store.log_read(id, 0, usize::MAX).await?,
    ))
}

fn failed(error: Error) -> String {
    format!("a read failed: {error}")
}

fn same<T: PartialEq + Debug>(what: &str, model: &T, tested: &T) -> Result<(), String> {
    if model == tested {
        return Ok(());
    }
    Err(format!(
        "{what} differ:\n  model:  {model:?}\n  tested: {tested:?}"
    ))
}

/// When to come back is each store's own estimate.
fn without_estimate(error: Error) -> Error {
    match error {
        Error::QueueFull { key, max, .. } => Error::QueueFull {
            key,
            max,
            retry_after: Duration::ZERO,
        },
        error => error,
    }
}

/// Everything that stands ready, by tool version.
async fn ready(store: &dyn Store) -> Result<BTreeMap<ToolVersion, BTreeSet<TaskId>>, Error> {
    let mut ready = BTreeMap::new();
    for version in store.ready_versions().await? {
        let mut tasks = BTreeSet::new();
        loop {
            let page = store.ready_tasks(&version, tasks.len(), 2).await?;
            if page.is_empty() {
                break;
            }
            tasks.extend(page);
        }
        ready.insert(version, tasks);
    }
    Ok(ready)
}
