//! The store as its users see it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use outlast_core::id::WorkerId;
use outlast_core::input::{Answer, InputRequest};
use outlast_core::limit::{Control, Controls};
use outlast_core::machine::{Answered, AttemptEnd, CancelMode};
use outlast_core::no_worker::Missing;
use outlast_core::status::Phase;
use outlast_core::store::{
    BeatReply, CancelReply, ClaimBy, ClaimNow, Claimed, Created, FinishReply, Notice, NoticeSink,
    Recovered, Report, SchedulePut, Signalled, Store, StoreInfo, SuspendReply, Ticked,
};
use outlast_core::task::{Awaiting, Lease, NewTask};
use outlast_core::webhook::{DeliveryEnd, Taken};
use outlast_core::worker::WorkerSign;
use outlast_core::{
    Clock, Error, JournalEntry, JournalKind, NewSignal, Recorded, Result, Schedule, Task, TaskId,
};
use tokio::sync::oneshot;

use crate::address::Address;
use crate::connection::{BESIDE, Link};
use crate::driver::Driver;
use crate::examination::{self, Examination};
use crate::executor::{Executor, Outcome, done};
use crate::notify::{self, Sink};
use crate::options::Options;
use crate::process;
use crate::pulse;
use crate::row;
use crate::schema::{self, Part};
use crate::sharded;
use crate::transition;
use crate::unit::Unit;

/// What operations share that outlive the call.
pub(crate) struct Shared {
    pub(crate) driver: Driver,
    pub(crate) executor: Arc<Executor>,
    worker: Mutex<Option<WorkerId>>,
}

/// Tasks in Redis.
///
/// A call that is dropped before it returns happens as a whole or not at all; leases that it would
/// have returned are given back.
pub struct RedisStore {
    pub(crate) shared: Arc<Shared>,
    durable: bool,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore")
            .field("location", &self.shared.executor.link.location)
            .finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Opens a store. Blocks until Redis has answered.
    ///
    /// # Errors
    /// A sentence that says what to do: out of reach, refused, too old, a replica, without a file or
    /// with an eviction policy that loses tasks, keys of another program or server, or newer than this
    /// program. Nothing has been written then.
    pub fn open(options: Options) -> Result<Self> {
        let address = Address::read(&options.address)?;
        if address.shards > 1 {
            return Err(Error::Invalid(format!(
                "the address of the task store {} names {} shards, and a store of one is to be opened",
                address.location, address.shards
            )));
        }
        Self::open_part(&address, Part::Whole, options, Arc::default())
    }

    /// [`RedisStore::open`] for the keys under the name in `address`. `place` is what a process knows of the
    /// order of creation in all shards.
    pub(crate) fn open_part(
        address: &Address,
        part: Part,
        options: Options,
        place: Arc<AtomicU64>,
    ) -> Result<Self> {
        let link = Arc::new(Link::new(address)?);
        let driver = Driver::start()?;
        let sink = Sink::default();
        let origin = TaskId::random().to_string();
        let executor = Executor::new(
            Arc::clone(&link),
            options.clock,
            sink.clone(),
            origin.clone(),
            part,
            place,
        );
        let executor = Arc::new(executor);
        let (begins, server) = (Arc::clone(&executor), options.server_name);
        let volatile = address.volatile;
        let checked = driver.block_on(async move {
            let checked = schema::check(&begins.link, &server, volatile, part).await?;
            begins.link.beat().await?;
            begins.sign_in(None).await?;
            begins.sweep_blobs().await?;
            Ok(checked)
        })?;
        let (heard, open) = oneshot::channel();
        driver.spawn(notify::listen(link, origin, sink, heard));
        // A channel that does not open is opened again by and by: notices are hints.
        driver.block_on(async move {
            let _ = tokio::time::timeout(Duration::from_secs(5), open).await;
            Ok(())
        })?;
        let shared = Arc::new(Shared {
            driver,
            executor,
            worker: Mutex::default(),
        });
        let living = Arc::downgrade(&shared);
        shared.driver.spawn(BESIDE.scope((), show_life(living)));
        Ok(Self {
            shared,
            durable: checked.durable,
        })
    }

    /// Tells whether an address means something, and asks nobody.
    ///
    /// # Errors
    /// It does not, or a file that it names cannot be read: a sentence that says what to do.
    pub fn check_address(address: &str) -> Result<()> {
        Link::new(&Address::read(address)?).map(drop)
    }

    /// Looks at what [`RedisStore::open`] looks at, and writes nothing. Blocks until the server has answered.
    ///
    /// # Errors
    /// The address means nothing, or the server cannot be reached or asked: a sentence that says what to do.
    pub fn examine(options: &Options) -> Result<Examination> {
        let address = Address::read(&options.address)?;
        if address.shards > 1 {
            return sharded::examine(&address, &options.server_name);
        }
        Self::examine_part(&address, Part::Whole, &options.server_name)
    }

    /// [`RedisStore::examine`] for the keys under the name in `address`.
    pub(crate) fn examine_part(
        address: &Address,
        part: Part,
        server_name: &str,
    ) -> Result<Examination> {
        let (link, server) = (Link::new(address)?, server_name.to_owned());
        let (driver, volatile) = (Driver::start()?, address.volatile);
        let examined = driver
            .block_on(async move { examination::examine(&link, &server, volatile, part).await });
        driver.stop();
        examined
    }

    /// Whether Redis has answered the last time that it was asked.
    pub(crate) fn answers(&self) -> bool {
        self.shared.executor.link.answers()
    }

    /// Whether there is anything under this id.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub(crate) async fn has(&self, task: TaskId) -> Result<bool> {
        self.run(|executor| async move { executor.has(task).await })
            .await
    }

    /// Tells this process that there may be ready tasks.
    pub(crate) fn look_for_ready(&self) {
        self.shared.executor.sink.tell([Notice::Ready]);
    }

    /// Gives a lease back that nobody took.
    pub(crate) fn give_back(&self, lease: Lease) {
        self.shared.give_back(lease);
    }

    /// How many calls this store has sent to Redis, for those who count round trips. The questions to replicas
    /// (`wait_replicas`) come on top of them.
    pub fn round_trips(&self) -> usize {
        self.shared.executor.link.calls()
    }

    /// Carries out an operation on this store's own thread.
    pub(crate) async fn run<T: Send + 'static, F>(
        &self,
        operation: impl FnOnce(Arc<Executor>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let operation = operation(Arc::clone(&self.shared.executor));
        self.shared.driver.run(operation).await
    }

    /// An operation whose answer carries leases: they go back if nobody takes it.
    async fn give<T: Send + 'static, F>(
        &self,
        operation: impl FnOnce(Arc<Executor>) -> F,
        leases: fn(&T) -> Vec<Lease>,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let operation = operation(Arc::clone(&self.shared.executor));
        let shared = Arc::downgrade(&self.shared);
        let parcel = self.shared.driver.run(async move {
            let value = operation.await?;
            Ok(Parcel {
                value: Some(value),
                leases,
                shared,
            })
        });
        Ok(parcel.await?.open())
    }
}

/// Shows signs of life until the store is dropped, and looks after what the others have left behind.
async fn show_life(living: std::sync::Weak<Shared>) {
    let mut signed = Some(Instant::now());
    loop {
        tokio::time::sleep(pulse::EVERY).await;
        let Some(shared) = living.upgrade() else {
            return;
        };
        let executor = Arc::clone(&shared.executor);
        drop(shared);
        // At once where it could not for a while: until then others may take it for dead.
        let mut signs = signed.is_none_or(|signed| signed.elapsed() >= process::RENEW);
        let shown = async {
            executor.link.beat().await?;
            if executor.link.pulse.found_nothing() {
                schema::begin_anew(&executor.link).await?;
                executor.link.beat().await?;
            }
            if executor.link.pulse.was_emptied() {
                tracing::error!(
                    "the task store {} came back empty and its tasks are lost; it is begun anew, and the \
                     servers on it declare their limits and schedules again",
                    executor.link.location
                );
                executor.sink.tell([Notice::Missed, Notice::Emptied]);
                // Its entry is lost too, and whoever starts takes back what no process answers for.
                signs = true;
            }
            executor.settle_doubt().await?;
            // Looked at only now: a start may have said which worker this is meanwhile, and whoever closes the
            // store signs out.
            let shared = living.upgrade();
            let Some(shared) = shared.filter(|shared| !shared.driver.is_closed()) else {
                return Ok(());
            };
            let worker = *shared.worker();
            drop(shared);
            if signs {
                executor.sign_in(worker).await?;
                signed = Some(Instant::now());
                if worker.is_some() {
                    executor.bury_dead().await?;
                }
            }
            Ok::<(), Error>(())
        };
        let shown = shown.await;
        if let Err(error) = shown {
            signed = None;
            tracing::warn!(%error, "the task store does not answer; trying again");
        }
    }
}

/// A reply on its way to the caller.
struct Parcel<T> {
    value: Option<T>,
    leases: fn(&T) -> Vec<Lease>,
    shared: std::sync::Weak<Shared>,
}

impl<T> Parcel<T> {
    /// The reply; what it carries is the caller's from now on.
    fn open(mut self) -> T {
        self.value.take().expect("opened once")
    }
}

impl<T> Drop for Parcel<T> {
    fn drop(&mut self) {
        let (Some(value), Some(shared)) = (&self.value, self.shared.upgrade()) else {
            return;
        };
        for lease in (self.leases)(value) {
            shared.give_back(lease);
        }
    }
}

impl Shared {
    fn give_back(&self, lease: Lease) {
        let executor = Arc::clone(&self.executor);
        self.driver.spawn(async move {
            // What cannot be given back comes back when its lease has run out.
            let _ = finish(&executor, lease, AttemptEnd::Release, None).await;
        });
    }

    fn worker(&self) -> std::sync::MutexGuard<'_, Option<WorkerId>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.shared.driver.stop();
    }
}

async fn finish(
    executor: &Executor,
    lease: Lease,
    end: AttemptEnd,
    next: Option<ClaimBy>,
) -> Result<FinishReply> {
    let outcome = executor.run(
        |unit| unit.finish(&lease, &end),
        |task| next.clone().filter(|_| task.state.held.is_none()),
    );
    let (task, mut done) = done(outcome.await?);
    if done.given.is_empty()
        && task.state.held.is_none()
        && let Some(by) = &next
    {
        // An end that was reported before commits nothing, and claims all the same.
        done.given = executor.claim(by, 1).await?;
    }
    Ok(FinishReply {
        task,
        next: done.given.pop(),
    })
}

#[async_trait]
impl Store for RedisStore {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "redis",
            location: self.shared.executor.link.location.clone(),
            durable: self.durable,
            shards: 1,
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.executor.clock)
    }

    fn subscribe(&self, sink: Arc<dyn NoticeSink>) {
        self.shared.executor.sink.set(sink);
    }

    async fn recover(&self, worker: WorkerId) -> Result<Recovered> {
        *self.shared.worker() = Some(worker);
        self.run(|executor| async move {
            executor.sign_in(Some(worker)).await?;
            executor.recover().await
        })
        .await
    }

    async fn create(&self, task: NewTask, claim: Option<ClaimNow>) -> Result<Created> {
        self.give(
            |executor| async move {
                let outcome =
                    executor.run(|unit| unit.create(task.clone(), claim.as_ref()), |_| None);
                let (mut created, mut done) = done(outcome.await?);
                let Some(sequence) = done.numbers.first() else {
                    // It was there, or it means one that is.
                    return Ok(created);
                };
                if let Some(claimed) = done.given.pop() {
                    created.task = claimed.task;
                    created.lease = Some(claimed.lease);
                } else {
                    Arc::make_mut(&mut created.task).state.sequence = *sequence;
                }
                Ok(created)
            },
            |created| created.lease.into_iter().collect(),
        )
        .await
    }

    async fn claim(&self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>> {
        let by = by.clone();
        self.give(
            |executor| async move { executor.claim(&by, limit).await },
            |claimed| claimed.iter().map(|one| one.lease).collect(),
        )
        .await
    }

    async fn heartbeat(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<BeatReply>> {
        self.run(|executor| async move { executor.heartbeat(&leases, length).await })
            .await
    }

    async fn report(&self, lease: &Lease, report: Report) -> Result<()> {
        let lease = *lease;
        self.run(|executor| async move {
            match executor
                .run(|unit| unit.report(&lease, &report), |()| None)
                .await?
            {
                Outcome::Lost => Err(Error::LeaseLost(lease.task)),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn journal_put(
        &self,
        lease: &Lease,
        kind: JournalKind,
        name: &str,
        input_hash: Option<u64>,
        recorded: Recorded,
        took: Option<Duration>,
    ) -> Result<JournalEntry> {
        let (lease, name) = (*lease, name.to_owned());
        self.run(|executor| async move {
            let entry = JournalEntry {
                kind,
                name,
                input_hash,
                recorded,
                at: executor.clock.now(),
                took,
            };
            let outcome = executor.run(|unit| unit.journal_put(&lease, &entry), |_| None);
            match outcome.await? {
                Outcome::Done(entry, _) => Ok(entry),
                Outcome::There(there) => transition::found(&lease, there, &entry),
                Outcome::Lost => Err(Error::LeaseLost(lease.task)),
            }
        })
        .await
    }

    async fn spawn(
        &self,
        lease: &Lease,
        name: &str,
        input_hash: Option<u64>,
        child: NewTask,
        detached: bool,
    ) -> Result<JournalEntry> {
        let (lease, name) = (*lease, name.to_owned());
        self.run(|executor| async move {
            let wanted = JournalEntry::child(&name, input_hash, child.id, executor.clock.now());
            let outcome = executor.run(
                |unit| unit.spawn(&lease, &name, input_hash, child.clone(), detached),
                |_| None,
            );
            match outcome.await {
                Ok(Outcome::Done(entry, _)) => Ok(entry),
                Ok(Outcome::There(there)) => transition::found(&lease, there, &wanted),
                Ok(Outcome::Lost) => Err(Error::LeaseLost(lease.task)),
                // Whether a child could be made is no question where there is one under this name.
                Err(Error::Invalid(why)) => {
                    let there = row::entry_name(JournalKind::Child, &name);
                    match executor.entry(lease.task, &there).await? {
                        Some(there) => transition::found(&lease, there, &wanted),
                        None => Err(Error::Invalid(why)),
                    }
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn ask(&self, lease: &Lease, questions: Vec<InputRequest>) -> Result<Arc<Task>> {
        let lease = *lease;
        self.run(|executor| async move {
            let outcome = executor.run(|unit| unit.ask(&lease, &questions), |_| None);
            Ok(done(outcome.await?).0)
        })
        .await
    }

    async fn suspend(&self, lease: &Lease, awaiting: Awaiting) -> Result<SuspendReply> {
        self.ask_and_suspend(lease, Vec::new(), awaiting).await
    }

    async fn ask_and_suspend(
        &self,
        lease: &Lease,
        questions: Vec<InputRequest>,
        awaiting: Awaiting,
    ) -> Result<SuspendReply> {
        let lease = *lease;
        self.run(|executor| async move {
            let outcome =
                executor.run(|unit| unit.suspend(&lease, &questions, &awaiting), |_| None);
            Ok(done(outcome.await?).0)
        })
        .await
    }

    async fn finish(
        &self,
        lease: &Lease,
        end: AttemptEnd,
        next: Option<&ClaimBy>,
    ) -> Result<FinishReply> {
        let (lease, next) = (*lease, next.cloned());
        self.give(
            |executor| async move { finish(&executor, lease, end, next).await },
            // What is to be undone stays with its worker, under a lease that the record holds.
            |reply| {
                let next = reply.next.iter().map(|next| next.lease);
                next.chain(reply.task.lease()).collect()
            },
        )
        .await
    }

    async fn answer(&self, task: TaskId, answers: BTreeMap<String, Answer>) -> Result<Answered> {
        self.run(|executor| async move {
            let outcome = executor.run(|unit| unit.answer(task, &answers), |_| None);
            Ok(done(outcome.await?).0)
        })
        .await
    }

    async fn signal(&self, task: TaskId, signal: NewSignal) -> Result<Signalled> {
        self.run(|executor| async move {
            let outcome = executor.run(|unit| unit.signal(task, &signal), |_| None);
            Ok(done(outcome.await?).0)
        })
        .await
    }

    async fn note_no_worker(&self, tasks: Vec<TaskId>, missing: Option<Missing>) -> Result<usize> {
        self.run(|executor| async move {
            let (mut changed, now) = (0, executor.clock.now());
            for task in executor.readable(&tasks).await? {
                let noted = Task::clone(&task).note_no_worker(missing.as_ref(), now);
                // Of most of them that is noted already. What is not ready may be by the end of one before.
                if noted.is_some() || task.state.phase != Phase::Queued {
                    let note =
                        |unit: &mut Unit<'_>| unit.note_no_worker(task.id(), missing.as_ref());
                    changed += usize::from(done(executor.run(note, |_| None).await?).0);
                }
            }
            Ok(changed)
        })
        .await
    }

    async fn delivery_put(&self, task: TaskId, taken: Taken, end: DeliveryEnd) -> Result<bool> {
        self.run(|executor| async move {
            let outcome = executor.run(|unit| unit.delivery_put(task, taken, &end), |_| None);
            Ok(done(outcome.await?).0)
        })
        .await
    }

    async fn cancel(
        &self,
        task: TaskId,
        reason: Option<String>,
        mode: CancelMode,
    ) -> Result<CancelReply> {
        self.run(|executor| async move {
            let outcome = executor.run(|unit| unit.cancel(task, reason.clone(), mode), |_| None);
            Ok(done(outcome.await?).0)
        })
        .await
    }

    async fn delete(&self, task: TaskId) -> Result<bool> {
        self.run(|executor| async move {
            let outcome = executor.run(|unit| unit.delete(task), |_| None);
            Ok(done(outcome.await?).0)
        })
        .await
    }

    async fn tick(&self, alive: &[Lease], length: Duration, budget: usize) -> Result<Ticked> {
        let alive = alive.to_vec();
        self.run(|executor| async move { executor.tick(&alive, length, budget).await })
            .await
    }

    async fn schedule_put(
        &self,
        expected: Option<u64>,
        schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut> {
        self.run(|executor| async move {
            let outcome = executor.run(
                |unit| unit.schedule_put(expected, &schedule, task.clone()),
                |_| None,
            );
            let (mut put, done) = done(outcome.await?);
            if let SchedulePut::Done {
                created: Some(created),
                ..
            } = &mut put
                && let Some(sequence) = done.numbers.first()
            {
                Arc::make_mut(&mut created.task).state.sequence = *sequence;
            }
            Ok(put)
        })
        .await
    }

    async fn schedule_delete(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.run(|executor| async move {
            let outcome = executor.run(|unit| unit.schedule_delete(&name), |_| None);
            Ok(done(outcome.await?).0)
        })
        .await
    }

    async fn control(&self, changes: Vec<Control>) -> Result<Controls> {
        self.run(|executor| async move { executor.control(&changes).await })
            .await
    }

    async fn worker_put(&self, sign: WorkerSign) -> Result<()> {
        self.run(|executor| async move { executor.worker_put(&sign).await })
            .await
    }

    async fn close(&self) -> Result<()> {
        let closing = !self.shared.driver.is_closed();
        self.shared.driver.close().await;
        if closing {
            let executor = Arc::clone(&self.shared.executor);
            let (told, heard) = oneshot::channel();
            self.shared.driver.spawn(async move {
                // Others find out by themselves.
                let _ = executor.sign_out().await;
                let _ = told.send(());
            });
            let _ = heard.await;
            self.shared.driver.stop();
        }
        Ok(())
    }
}
