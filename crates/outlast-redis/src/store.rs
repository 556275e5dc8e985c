//! The store as its users see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use outlast_core::id::WorkerId;
use outlast_core::input::{Answer, InputRequest};
use outlast_core::limit::{Control, Controls};
use outlast_core::machine::{Answered, AttemptEnd, CancelMode, Due, Rescue};
use outlast_core::store::{
    BeatReply, CancelReply, ClaimBy, ClaimNow, Claimed, Created, Filter, FinishReply, Notice,
    NoticeSink, Page, Reads, Recovered, Report, SchedulePut, Side, Signalled, Stats, Store,
    StoreInfo, SuspendReply, Ticked,
};
use outlast_core::task::{Awaiting, Lease, NewTask};
use outlast_core::{
    BlobWriter, Blobs, Clock, Error, Event, JournalEntry, JournalKind, LogLine, LogPage, NewSignal,
    Recorded, Result, Schedule, Signal, Task, TaskId, Timestamp,
};
use redis::Value;
use tokio::sync::oneshot;

use crate::blobs;
use crate::connection::{Driver, Link};
use crate::executor::{Done, Executor, Outcome};
use crate::failure::closed;
use crate::limit;
use crate::notify::{self, Sink};
use crate::process;
use crate::row;
use crate::schedule;
use crate::schema;
use crate::script::Script;
use crate::transition;

/// How many due tasks are read at a time.
const PAGE: usize = 256;

/// How long a small record outlives its time, so that clocks need not agree.
const RECORD_MARGIN: Duration = Duration::from_secs(60 * 60);

/// The name that keys begin with where the address says nothing else.
const PREFIX: &str = "outlast";

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Where Redis is: `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS, or
    /// `redis+unix:///path`. Behind a question mark: `prefix=NAME`, what all keys begin with
    /// (`outlast`), and `volatile=true`, which accepts a Redis that loses tasks when it restarts.
    pub address: String,
    /// The server's name. The keys under a prefix belong to the first server that opened them.
    pub server_name: String,
    /// The store's clock; the server's where there is none.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Options {
    /// The store at `address` for the server `server_name`, with the defaults.
    pub fn new(address: impl Into<String>, server_name: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            server_name: server_name.into(),
            clock: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// What an address says.
struct Address {
    /// For the driver.
    url: String,
    /// Without secrets.
    location: String,
    prefix: String,
    volatile: bool,
}

impl Address {
    fn read(address: &str) -> Result<Self> {
        let (url, query) = address.split_once('?').unwrap_or((address, ""));
        let location = match url.split_once("://") {
            Some((scheme, rest)) => {
                let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                format!("{scheme}://{rest}")
            }
            None => "redis address".into(),
        };
        let mut read = Self {
            url: url.to_owned(),
            location,
            prefix: PREFIX.to_owned(),
            volatile: false,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("prefix", prefix) if is_prefix(prefix) => prefix.clone_into(&mut read.prefix),
                ("prefix", prefix) => {
                    return Err(Error::Invalid(format!(
                        "{prefix:?} is no prefix of keys: use 1 to 64 letters, digits, `-`, `_` and `.`"
                    )));
                }
                ("volatile", "true") => read.volatile = true,
                ("volatile", "false") => read.volatile = false,
                // What the driver knows, such as the database of a socket.
                ("db" | "pass" | "user" | "protocol", _) => {
                    let mark = if read.url.contains('?') { '&' } else { '?' };
                    read.url = format!("{}{mark}{pair}", read.url);
                }
                (other, _) => {
                    return Err(Error::Invalid(format!(
                        "the address of the task store {} says {other:?}, which means nothing: known \
                         are `prefix=NAME` and `volatile=true`",
                        read.location
                    )));
                }
            }
        }
        if read.prefix != PREFIX {
            read.location = format!("{} prefix {}", read.location, read.prefix);
        }
        Ok(read)
    }
}

fn is_prefix(prefix: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&prefix.len()) && prefix.bytes().all(known)
}

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
    shared: Arc<Shared>,
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
        let link = Link::new(&address.url, address.location, &address.prefix)?;
        let link = Arc::new(link);
        let driver = Driver::start()?;
        let clock = options
            .clock
            .unwrap_or_else(|| Arc::clone(&link.server_clock) as Arc<dyn Clock>);
        let sink = Sink::default();
        let origin = TaskId::random().to_string();
        let executor = Executor::new(Arc::clone(&link), clock, sink.clone(), origin.clone());
        let executor = Arc::new(executor);
        let (begins, server) = (Arc::clone(&executor), options.server_name);
        let volatile = address.volatile;
        let checked = driver.block_on(async move {
            let checked = schema::check(&begins.link, &server, volatile).await?;
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
        shared.driver.spawn(async move {
            loop {
                tokio::time::sleep(process::RENEW).await;
                let Some(shared) = living.upgrade() else {
                    return;
                };
                let worker = *shared.worker();
                let executor = Arc::clone(&shared.executor);
                drop(shared);
                let renewed = async {
                    executor.link.set_clock().await?;
                    executor.sign_in(worker).await
                };
                if let Err(error) = renewed.await {
                    tracing::warn!(%error, "the task store does not answer; trying again");
                }
            }
        });
        Ok(Self {
            shared,
            durable: checked.durable,
        })
    }

    /// How many calls this store has sent to Redis, for those who count round trips.
    pub fn round_trips(&self) -> usize {
        self.shared.executor.link.calls()
    }

    /// Carries out an operation on this store's own thread.
    async fn run<T: Send + 'static, F>(
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
            let executor = Arc::clone(&shared.executor);
            shared.driver.spawn(async move {
                // What cannot be given back comes back when its lease has run out.
                let _ = finish(&executor, lease, AttemptEnd::Release, None).await;
            });
        }
    }
}

impl Shared {
    fn worker(&self) -> std::sync::MutexGuard<'_, Option<WorkerId>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.shared.driver.stop();
    }
}

/// What came of an operation that neither records nor names a lease to the script.
fn done<T>(outcome: Outcome<T>) -> (T, Done) {
    match outcome {
        Outcome::Done(value, done) => (value, done),
        Outcome::There(_) | Outcome::Lost => unreachable!("no such guard was given"),
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
            match outcome.await? {
                Outcome::Done(entry, _) => Ok(entry),
                Outcome::There(there) => transition::found(&lease, there, &wanted),
                Outcome::Lost => Err(Error::LeaseLost(lease.task)),
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

impl Executor {
    async fn heartbeat(&self, leases: &[Lease], length: Duration) -> Result<Vec<BeatReply>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let mut arguments = vec![row::millis(self.clock.now()), length.to_string()];
        for lease in leases {
            let Lease { task, epoch, nonce } = lease;
            arguments.extend([task.to_string(), epoch.to_string(), nonce.to_string()]);
        }
        let answer = row::array(self.link.script(Script::Heartbeat, arguments).await?);
        let mut replies = Vec::new();
        for (lease, reply) in leases.iter().zip(answer) {
            let reply = row::array(reply);
            let part = |index: usize| reply.get(index).cloned().unwrap_or(Value::Nil);
            let (revision, until) = (row::int(&part(1)), row::int(&part(2)));
            let until = Timestamp::from_millis(i64::try_from(until).unwrap_or(i64::MAX));
            replies.push(match row::bytes(&part(0)) {
                b"held" => BeatReply::Held,
                b"cancelled" => BeatReply::Cancelled,
                _ => BeatReply::Lost,
            });
            self.renewed(lease.task, revision, until);
        }
        Ok(replies)
    }

    async fn tick(&self, alive: &[Lease], length: Duration, budget: usize) -> Result<Ticked> {
        let now = self.clock.now();
        let mut ticked = Ticked {
            now,
            ..Ticked::default()
        };
        let look = |limit: usize| {
            let arguments = [row::millis(now), limit.to_string()];
            self.link.script(Script::Due, arguments)
        };
        let mut parts = row::array(look(budget).await?);
        let list = |parts: &[Value], index: usize| parts.get(index).cloned().unwrap_or(Value::Nil);
        ticked.schedules = schedule::decode_all(list(&parts, 4))?;
        let due = row::array(list(&parts, 0));
        if !due.is_empty() {
            for page in due.chunks(PAGE) {
                for member in page {
                    self.tick_one(&row::text(member), alive, length, &mut ticked)
                        .await?;
                }
            }
            parts = row::array(look(0).await?);
        }
        let part = |index: usize| parts.get(index).map(row::text).unwrap_or_default();
        if parts.get(2).is_some_and(|opened| row::int(opened) > 0) {
            let arguments = [row::millis(now), self.origin.clone()];
            let opened = self.link.script(Script::Open, arguments).await?;
            if row::int(&opened) > 0 {
                self.sink.tell([Notice::Ready]);
            }
        }
        let moments = [part(1), part(3), part(5)];
        let moments = moments.iter().filter_map(|text| text.parse::<f64>().ok());
        // Moments are whole milliseconds, and those that no double holds lie beyond every life.
        let moments = moments.map(|moment| Timestamp::from_millis(moment as i64));
        ticked.next = moments.min();
        Ok(ticked)
    }

    /// Does what is due for one member of the index `due`.
    async fn tick_one(
        &self,
        member: &str,
        alive: &[Lease],
        length: Duration,
        ticked: &mut Ticked,
    ) -> Result<()> {
        let id = member.get(12..).and_then(|id| id.parse::<TaskId>().ok());
        let Some(id) = id else {
            return self.forget_due(member, None).await;
        };
        let outcome = match self.run(|unit| unit.due(id, alive, length), |_| None).await {
            Ok(outcome) => done(outcome).0,
            Err(error) if error.is_retryable() => return Err(error),
            Err(error) => {
                // One record that cannot be read must not hold up the others.
                tracing::error!(%error, task = %id, "what is due for a task cannot be done");
                return Ok(());
            }
        };
        match outcome {
            Due::Nothing => {
                if self
                    .load(&[id])
                    .await?
                    .iter()
                    .any(|known| matches!(known, Ok(None)))
                {
                    // Its records have expired, or were deleted by hand.
                    self.forget_due(member, Some(id)).await?;
                }
            }
            Due::Changed(_) => ticked.changed += 1,
            Due::Delete => ticked.deleted += 1,
        }
        Ok(())
    }

    /// Takes what is no task out of the indexes.
    async fn forget_due(&self, member: &str, id: Option<TaskId>) -> Result<()> {
        let remove = redis::cmd("ZREM")
            .arg(self.link.key("due"))
            .arg(member)
            .take();
        self.link.command(&remove).await?;
        if let Some(id) = id {
            for set in ["all", "live", "p:finished"] {
                let remove = redis::cmd("ZREM")
                    .arg(self.link.key(set))
                    .arg(id.to_string())
                    .take();
                self.link.command(&remove).await?;
            }
        }
        Ok(())
    }

    async fn recover(&self) -> Result<Recovered> {
        let processes = self.processes().await?;
        let range = redis::cmd("ZRANGE")
            .arg(self.link.key("p:running"))
            .arg(0)
            .arg(-1)
            .take();
        let running = row::ids(self.link.command(&range).await?);
        let known = self.seen(&running).await?;
        let now = self.clock.now();
        let mut dead = Vec::new();
        for id in &running {
            let Some(task) = known.get(id).map(|known| &known.task) else {
                continue;
            };
            if let Some(held) = &task.state.held
                && let Some(reason) = processes.death(held.worker, &self.origin, now)
            {
                dead.push((Arc::clone(task), held.worker, reason));
            }
        }
        let mut recovered = Recovered::default();
        for (task, worker, reason) in &dead {
            // Workers that were never heard of are taken for one process.
            let heard = processes.knows(*worker);
            let beside = dead.iter().filter(|(_, other, _)| {
                if heard {
                    other == worker
                } else {
                    !processes.knows(*other)
                }
            });
            let suspects = beside
                .clone()
                .filter(|(task, ..)| task.state.suspect)
                .count();
            let rescue = Rescue::after_death(*reason, task, beside.count(), suspects);
            let lease = task.lease().expect("it is held");
            let outcome = self
                .run(|unit| unit.rescue(&lease, rescue), |_| None)
                .await?;
            match done(outcome).0 {
                Some(true) => recovered.rescued += 1,
                Some(false) => recovered.failed += 1,
                None => {}
            }
        }
        Ok(recovered)
    }

    async fn control(&self, changes: &[Control]) -> Result<Controls> {
        loop {
            let before = self.controls_text().await?;
            let mut controls = limit::decode(&before)?;
            for change in changes {
                controls.apply(change.clone());
            }
            let mut arguments = vec![row::millis(self.clock.now()), self.origin.clone()];
            arguments.extend(limit::arguments(&before, &controls)?);
            if row::int(&self.link.script(Script::Control, arguments).await?) == 1 {
                self.sink
                    .tell([Notice::Ready, Notice::Due(self.clock.now())]);
                return Ok(controls);
            }
        }
    }

    async fn controls_text(&self) -> Result<String> {
        let get = redis::cmd("GET").arg(self.link.key("controls")).take();
        Ok(row::text(&self.link.command(&get).await?))
    }

    async fn record_put(
        &self,
        name: &str,
        value: &[u8],
        expires_at: Option<Timestamp>,
        only_new: Option<&[u8]>,
    ) -> Result<bool> {
        row::check_length("record", value.len())?;
        let mut text = expires_at.map_or(String::new(), row::millis).into_bytes();
        text.push(b' ');
        text.extend_from_slice(value);
        let kept = expires_at.map(|at| {
            let left = at.since(self.clock.now()) + RECORD_MARGIN;
            u64::try_from(left.as_millis())
                .unwrap_or(u64::MAX)
                .min(1 << 45)
        });
        let mut arguments = vec![name.as_bytes().to_vec(), text];
        arguments.push(
            kept.map_or(String::new(), |kept| kept.to_string())
                .into_bytes(),
        );
        arguments.extend(only_new.map(<[u8]>::to_vec));
        let answer = self.link.script(Script::Record, arguments).await?;
        Ok(row::int(&answer) == 1)
    }

    /// The record under a name as it is kept, and its value unless it has expired.
    async fn record_get(&self, name: &str) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
        let get = redis::cmd("GET").arg(self.link.key(name)).take();
        let text = match self.link.command(&get).await? {
            Value::BulkString(text) => text,
            _ => return Ok((Vec::new(), None)),
        };
        let space = text.iter().position(|byte| *byte == b' ').unwrap_or(0);
        let now = self.clock.now();
        let expires: Option<i64> = std::str::from_utf8(&text[..space])
            .ok()
            .and_then(|expires| expires.parse().ok());
        let expired = expires.is_some_and(|at| Timestamp::from_millis(at) <= now);
        let value = text.get(space + 1..).unwrap_or_default().to_vec();
        Ok((text, (!expired).then_some(value)))
    }
}

/// Where a small record stands.
fn record_name(space: &str, key: &str) -> String {
    format!("x:{}:{space}{key}", space.len())
}

#[async_trait]
impl Reads for RedisStore {
    async fn get(&self, task: TaskId) -> Result<Option<Arc<Task>>> {
        self.run(|executor| async move { executor.get(task).await })
            .await
    }

    async fn list(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Result<Page> {
        let filter = filter.clone();
        self.run(|executor| async move { executor.list(&filter, before, limit).await })
            .await
    }

    async fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.run(|executor| async move { executor.events(task, after, limit).await })
            .await
    }

    async fn journal(&self, task: TaskId) -> Result<Vec<JournalEntry>> {
        self.run(|executor| async move { executor.journal(task).await })
            .await
    }

    async fn journal_page(
        &self,
        task: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let after = after.to_owned();
        self.run(|executor| async move { executor.journal_page(task, kind, &after, limit).await })
            .await
    }

    async fn journal_get(
        &self,
        task: TaskId,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>> {
        let name = row::entry_name(kind, name);
        self.run(|executor| async move { executor.entry(task, &name).await })
            .await
    }

    async fn signals(
        &self,
        task: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>> {
        let name = name.to_owned();
        self.run(|executor| async move { executor.signals(task, &name, after, limit).await })
            .await
    }

    async fn log_read(&self, task: TaskId, offset: u64, limit: usize) -> Result<LogPage> {
        self.run(|executor| async move { executor.log_read(task, offset, limit).await })
            .await
    }

    async fn controls(&self) -> Result<Controls> {
        self.run(|executor| async move { limit::decode(&executor.controls_text().await?) })
            .await
    }

    async fn schedule_get(&self, name: &str) -> Result<Option<Schedule>> {
        let name = name.to_owned();
        self.run(|executor| async move { executor.schedule(&name).await })
            .await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.run(|executor| async move { executor.schedules().await })
            .await
    }

    async fn stats(&self) -> Result<Stats> {
        self.run(|executor| async move { executor.stats().await })
            .await
    }
}

#[async_trait]
impl Blobs for RedisStore {
    async fn blob_create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>> {
        if self.shared.driver.is_closed() {
            return Err(closed());
        }
        Ok(Box::new(blobs::Writer::new(Arc::clone(&self.shared), task)))
    }

    async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        let blob = blob.to_owned();
        self.run(|executor| async move { executor.blob_read(task, &blob, offset, limit).await })
            .await
    }

    async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()> {
        let blob = blob.to_owned();
        self.run(|executor| async move { executor.blob_remove(task, &blob).await })
            .await
    }
}

#[async_trait]
impl Side for RedisStore {
    async fn log_append(&self, lease: &Lease, lines: Vec<LogLine>) -> Result<u64> {
        let lease = *lease;
        self.run(|executor| async move {
            let outcome = executor.run(
                |unit| {
                    unit.guard_lease(&lease);
                    Ok(unit.log_append(&lease, &lines)?)
                },
                |()| None,
            );
            match outcome.await? {
                Outcome::Done((), done) => Ok(done.numbers.first().copied().unwrap_or(0)),
                _ => Err(Error::LeaseLost(lease.task)),
            }
        })
        .await
    }

    async fn record_put(
        &self,
        space: &str,
        key: &str,
        value: Vec<u8>,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        let name = record_name(space, key);
        self.run(|executor| async move {
            executor
                .record_put(&name, &value, expires_at, None)
                .await
                .map(|_| ())
        })
        .await
    }

    async fn record_init(&self, space: &str, key: &str, value: Vec<u8>) -> Result<Vec<u8>> {
        let name = record_name(space, key);
        self.run(|executor| async move {
            loop {
                let (there, found) = executor.record_get(&name).await?;
                if let Some(found) = found {
                    return Ok(found);
                }
                if executor
                    .record_put(&name, &value, None, Some(&there))
                    .await?
                {
                    return Ok(value);
                }
            }
        })
        .await
    }

    async fn record_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>> {
        let name = record_name(space, key);
        self.run(|executor| async move { Ok(executor.record_get(&name).await?.1) })
            .await
    }
}
