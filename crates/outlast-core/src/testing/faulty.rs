//! A store that fails on demand.
//!
//! It passes every call on to another store, except that it can be told to fail the n-th call, to do
//! it and lose the reply, or to delay it: what a network or a full disk does to a real one. Counting
//! covers every method that may fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;

use crate::blob::{BlobWriter, Blobs};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::{Owner, TaskId, WorkerId};
use crate::input::{Answer, InputRequest};
use crate::journal::{JournalEntry, JournalKind, Recorded};
use crate::limit::{Control, Controls};
use crate::log::{LogLine, LogPage};
use crate::machine::{Answered, AttemptEnd, CancelMode};
use crate::no_worker::Missing;
use crate::schedule::Schedule;
use crate::signal::{NewSignal, Signal};
use crate::store::{
    BeatReply, CancelReply, ClaimBy, ClaimNow, Claimed, Created, Filter, FinishReply, NoticeSink,
    Page, Reads, Recovered, Report, SchedulePut, Side, Signalled, Stats, Store, StoreInfo,
    SuspendReply, Ticked, ToolVersion,
};
use crate::task::{Awaiting, Lease, NewTask, Task};
use crate::webhook::{DeliveryEnd, Taken};
use crate::worker::WorkerSign;

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It fails and does nothing.
    Fail,
    /// It fails, does nothing, and says that somebody has to mend the store.
    Break,
    /// It is done, and its reply is lost: the caller sees a failure.
    LoseReply,
    /// It waits until [`FaultyStore::release`].
    Delay,
    /// It is done, and its reply waits until [`FaultyStore::release`]: the caller decides from what was true
    /// before.
    DelayReply,
    /// It panics, and does nothing.
    Panic,
    /// The process dies at once, as by `kill -9`, and nothing of the call is done.
    DieBefore,
    /// It is done, and the process dies before the caller hears of it.
    DieAfter,
}

/// A store around another one, with faults.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Mutex<Faults>,
}

#[derive(Default)]
struct Faults {
    /// Calls made so far.
    calls: u64,
    /// Calls made so far by the name of the method.
    made: BTreeMap<&'static str, u64>,
    /// Faults by the number of the call.
    planned: BTreeMap<u64, Fault>,
    /// Faults by the name of a method, for its next calls.
    named: BTreeMap<&'static str, VecDeque<Fault>>,
    /// Counts releases; a delayed call goes on when it changes.
    released: u64,
    /// Calls that wait for a release.
    held: usize,
    waiting: Vec<Waker>,
    /// Workers that are said to be there.
    company: Vec<WorkerSign>,
}

impl FaultyStore {
    /// A store that passes everything on to `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            faults: Mutex::default(),
        }
    }

    /// Plans a fault for a call, counted from 1 and from now.
    pub fn on_call(&self, number: u64, fault: Fault) {
        let mut faults = self.faults();
        let at = faults.calls + number;
        faults.planned.insert(at, fault);
    }

    /// Plans a fault for the next call of the method with this name that has none yet.
    pub fn on_next(&self, method: &'static str, fault: Fault) {
        let mut faults = self.faults();
        faults.named.entry(method).or_default().push_back(fault);
    }

    /// Says from now on that this worker is there too.
    pub fn join_with(&self, worker: WorkerSign) {
        self.faults().company.push(worker);
    }

    /// How many planned faults have not happened yet.
    pub fn planned(&self) -> usize {
        let faults = self.faults();
        let named: usize = faults.named.values().map(VecDeque::len).sum();
        faults.planned.len() + named
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.faults().calls
    }

    /// How many calls of the method with this name there were.
    pub fn calls_of(&self, method: &str) -> u64 {
        self.faults().made.get(method).copied().unwrap_or(0)
    }

    /// How many calls wait for [`FaultyStore::release`] now.
    pub fn held(&self) -> usize {
        self.faults().held
    }

    /// Lets all delayed calls go on.
    pub fn release(&self) {
        let mut faults = self.faults();
        faults.released += 1;
        let waiting = std::mem::take(&mut faults.waiting);
        drop(faults);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no holder panics")
    }

    async fn call<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let (fault, released) = {
            let mut faults = self.faults();
            faults.calls += 1;
            *faults.made.entry(method).or_default() += 1;
            let number = faults.calls;
            let named = faults.named.get_mut(method).and_then(VecDeque::pop_front);
            let planned = faults.planned.remove(&number);
            (planned.or(named), faults.released)
        };
        match fault {
            None => call.await,
            Some(Fault::Fail) => Err(fault_error(method, "failed")),
            Some(Fault::Break) => {
                let message = format!("the store cannot do {method}, as the test wants it");
                Err(Error::broken(message))
            }
            Some(Fault::LoseReply) => {
                call.await?;
                Err(fault_error(method, "lost its reply"))
            }
            Some(Fault::Panic) => panic!("the store panics in {method}, as the test wants it"),
            Some(Fault::DieBefore) => std::process::abort(),
            Some(Fault::DieAfter) => {
                let _ = call.await;
                std::process::abort()
            }
            Some(Fault::Delay) => {
                self.until_release(released).await;
                call.await
            }
            Some(Fault::DelayReply) => {
                let reply = call.await;
                self.until_release(released).await;
                reply
            }
        }
    }

    async fn until_release(&self, seen: u64) {
        let _held = Held::new(self);
        std::future::poll_fn(|cx| {
            let mut faults = self.faults();
            if faults.released != seen {
                return Poll::Ready(());
            }
            faults.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Counts a call that waits, until it goes on or is dropped.
struct Held<'a>(&'a FaultyStore);

impl<'a> Held<'a> {
    fn new(store: &'a FaultyStore) -> Self {
        store.faults().held += 1;
        Self(store)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.faults().held -= 1;
    }
}

fn fault_error(method: &str, what: &str) -> Error {
    Error::unavailable(
        format!("the store {what} in {method}, as the test wants it"),
        "a planned fault",
    )
}

#[async_trait]
impl Store for FaultyStore {
    fn info(&self) -> StoreInfo {
        self.inner.info()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.inner.clock()
    }

    fn new_id(&self, owner: &Owner) -> TaskId {
        self.inner.new_id(owner)
    }

    fn subscribe(&self, sink: Arc<dyn NoticeSink>) {
        self.inner.subscribe(sink);
    }

    async fn recover(&self, worker: WorkerId) -> Result<Recovered> {
        self.call("recover", self.inner.recover(worker)).await
    }

    async fn create(&self, task: NewTask, claim: Option<ClaimNow>) -> Result<Created> {
        self.call("create", self.inner.create(task, claim)).await
    }

    async fn claim(&self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>> {
        self.call("claim", self.inner.claim(by, limit)).await
    }

    async fn heartbeat(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<BeatReply>> {
        self.call("heartbeat", self.inner.heartbeat(leases, length))
            .await
    }

    async fn report(&self, lease: &Lease, report: Report) -> Result<()> {
        self.call("report", self.inner.report(lease, report)).await
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
        let call = self
            .inner
            .journal_put(lease, kind, name, input_hash, recorded, took);
        self.call("journal_put", call).await
    }

    async fn spawn(
        &self,
        lease: &Lease,
        name: &str,
        input_hash: Option<u64>,
        child: NewTask,
        detached: bool,
    ) -> Result<JournalEntry> {
        let call = self.inner.spawn(lease, name, input_hash, child, detached);
        self.call("spawn", call).await
    }

    async fn ask(&self, lease: &Lease, questions: Vec<InputRequest>) -> Result<Arc<Task>> {
        self.call("ask", self.inner.ask(lease, questions)).await
    }

    async fn ask_and_suspend(
        &self,
        lease: &Lease,
        questions: Vec<InputRequest>,
        awaiting: Awaiting,
    ) -> Result<SuspendReply> {
        let call = self.inner.ask_and_suspend(lease, questions, awaiting);
        self.call("ask_and_suspend", call).await
    }

    async fn suspend(&self, lease: &Lease, awaiting: Awaiting) -> Result<SuspendReply> {
        self.call("suspend", self.inner.suspend(lease, awaiting))
            .await
    }

    async fn finish(
        &self,
        lease: &Lease,
        end: AttemptEnd,
        next: Option<&ClaimBy>,
    ) -> Result<FinishReply> {
        self.call("finish", self.inner.finish(lease, end, next))
            .await
    }

    async fn answer(&self, task: TaskId, answers: BTreeMap<String, Answer>) -> Result<Answered> {
        self.call("answer", self.inner.answer(task, answers)).await
    }

    async fn signal(&self, task: TaskId, signal: NewSignal) -> Result<Signalled> {
        self.call("signal", self.inner.signal(task, signal)).await
    }

    async fn cancel(
        &self,
        task: TaskId,
        reason: Option<String>,
        mode: CancelMode,
    ) -> Result<CancelReply> {
        self.call("cancel", self.inner.cancel(task, reason, mode))
            .await
    }

    async fn delete(&self, task: TaskId) -> Result<bool> {
        self.call("delete", self.inner.delete(task)).await
    }

    async fn tick(&self, alive: &[Lease], length: Duration, budget: usize) -> Result<Ticked> {
        self.call("tick", self.inner.tick(alive, length, budget))
            .await
    }

    async fn note_no_worker(&self, tasks: Vec<TaskId>, missing: Option<Missing>) -> Result<usize> {
        self.call("note_no_worker", self.inner.note_no_worker(tasks, missing))
            .await
    }

    async fn delivery_put(&self, task: TaskId, taken: Taken, end: DeliveryEnd) -> Result<bool> {
        self.call("delivery_put", self.inner.delivery_put(task, taken, end))
            .await
    }

    async fn schedule_put(
        &self,
        expected: Option<u64>,
        schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut> {
        let put = self.inner.schedule_put(expected, schedule, task);
        self.call("schedule_put", put).await
    }

    async fn schedule_delete(&self, name: &str) -> Result<bool> {
        self.call("schedule_delete", self.inner.schedule_delete(name))
            .await
    }

    async fn control(&self, changes: Vec<Control>) -> Result<Controls> {
        self.call("control", self.inner.control(changes)).await
    }

    async fn worker_put(&self, sign: WorkerSign) -> Result<()> {
        self.call("worker_put", self.inner.worker_put(sign)).await
    }

    async fn close(&self) -> Result<()> {
        self.call("close", self.inner.close()).await
    }
}

#[async_trait]
impl Reads for FaultyStore {
    async fn get(&self, task: TaskId) -> Result<Option<Arc<Task>>> {
        self.call("get", self.inner.get(task)).await
    }

    async fn list(&self, filter: &Filter, before: Option<u64>, limit: usize) -> Result<Page> {
        self.call("list", self.inner.list(filter, before, limit))
            .await
    }

    async fn ready_versions(&self) -> Result<BTreeSet<ToolVersion>> {
        self.call("ready_versions", self.inner.ready_versions())
            .await
    }

    async fn ready_tasks(
        &self,
        version: &ToolVersion,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        self.call("ready_tasks", self.inner.ready_tasks(version, skip, limit))
            .await
    }

    async fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.call("events", self.inner.events(task, after, limit))
            .await
    }

    async fn journal(&self, task: TaskId) -> Result<Vec<JournalEntry>> {
        self.call("journal", self.inner.journal(task)).await
    }

    async fn journal_slice(
        &self,
        task: TaskId,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let slice = self.inner.journal_slice(task, skip, limit);
        self.call("journal_slice", slice).await
    }

    async fn journal_page(
        &self,
        task: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let page = self.inner.journal_page(task, kind, after, limit);
        self.call("journal_page", page).await
    }

    async fn journal_get(
        &self,
        task: TaskId,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>> {
        self.call("journal_get", self.inner.journal_get(task, kind, name))
            .await
    }

    async fn signals(
        &self,
        task: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>> {
        self.call("signals", self.inner.signals(task, name, after, limit))
            .await
    }

    async fn log_read(&self, task: TaskId, offset: u64, limit: usize) -> Result<LogPage> {
        self.call("log_read", self.inner.log_read(task, offset, limit))
            .await
    }

    async fn schedule_get(&self, name: &str) -> Result<Option<Schedule>> {
        self.call("schedule_get", self.inner.schedule_get(name))
            .await
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.call("schedules", self.inner.schedules()).await
    }

    async fn controls(&self) -> Result<Controls> {
        self.call("controls", self.inner.controls()).await
    }

    async fn workers(&self) -> Result<Vec<WorkerSign>> {
        let mut workers = self.call("workers", self.inner.workers()).await?;
        workers.extend(self.faults().company.iter().cloned());
        Ok(workers)
    }

    async fn stats(&self) -> Result<Stats> {
        self.call("stats", self.inner.stats()).await
    }
}

#[async_trait]
impl Blobs for FaultyStore {
    async fn blob_create(&self, task: TaskId) -> Result<Box<dyn BlobWriter>> {
        self.call("blob_create", self.inner.blob_create(task)).await
    }

    async fn blob_read(
        &self,
        task: TaskId,
        blob: &str,
        offset: u64,
        limit: usize,
    ) -> Result<Option<Vec<u8>>> {
        let read = self.inner.blob_read(task, blob, offset, limit);
        self.call("blob_read", read).await
    }

    async fn blob_remove(&self, task: TaskId, blob: &str) -> Result<()> {
        self.call("blob_remove", self.inner.blob_remove(task, blob))
            .await
    }
}

#[async_trait]
impl Side for FaultyStore {
    async fn log_append(&self, lease: &Lease, lines: Vec<LogLine>) -> Result<u64> {
        self.call("log_append", self.inner.log_append(lease, lines))
            .await
    }

    async fn record_put(
        &self,
        space: &str,
        key: &str,
        value: Vec<u8>,
        expires_at: Option<Timestamp>,
    ) -> Result<()> {
        let call = self.inner.record_put(space, key, value, expires_at);
        self.call("record_put", call).await
    }

    async fn record_init(&self, space: &str, key: &str, value: Vec<u8>) -> Result<Vec<u8>> {
        self.call("record_init", self.inner.record_init(space, key, value))
            .await
    }

    async fn record_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>> {
        self.call("record_get", self.inner.record_get(space, key))
            .await
    }
}
