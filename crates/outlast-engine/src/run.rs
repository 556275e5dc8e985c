//! One run of a handler: what its context and the one who drives it share.
//!
//! A run starts in one of three ways. *Unstored* runs (tools that are never tasks) have no record at
//! all. *Lazy* runs (a synchronous call of a tool that may be a task) get their record, already
//! running, at the first thing that must not be lost. *Leased* runs were claimed from the store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use outlast_core::store::{ClaimNow, Claimed};
use outlast_core::{Answer, Input, JournalEntry, JournalKind, Lease, Store, Task, TaskSpec};
use tokio::sync::Notify;

use crate::carried::Carried;
use crate::deadline::Deadlines;
use crate::error::{Error, ErrorKind, Result, from_store};
use crate::log::LogBuffer;
use crate::namespace::Namespace;
use crate::observer::Observer;
use crate::progress::ProgressCell;
use crate::retry::Retry;
use crate::secrets::{Mask, Opened};
use crate::shared::Shared;
use crate::slots::Slot;
use crate::stop::Stop;
use crate::tool::Tool;
use crate::usage::Meter;
use crate::wait::Waits;

/// How a run came to be.
pub(crate) enum Origin {
    Unstored(Carried),
    Lazy,
    Leased(Box<Claimed>),
}

/// How many partial results there are, and their bytes.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) count: u64,
    pub(crate) bytes: usize,
}

pub(crate) struct Run {
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) attempt: u32,
    /// Errors of earlier attempts.
    pub(crate) errors: u32,
    pub(crate) retry: Option<Retry>,
    /// The mounted server whose code runs.
    pub(crate) namespace: Option<Arc<Namespace>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) shared: Arc<Shared>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// May become a task: everything but `Origin::Unstored`.
    storable: bool,
    /// The arguments with their secrets, and what must not be told; or why they cannot be opened.
    pub(crate) opened: Result<Opened, String>,
    /// The name of the undo that this is a run of, if it is one.
    pub(crate) undoes: Option<String>,
    lease: OnceLock<Lease>,
    /// Held while the record of a lazy run is written. `true` once the run has ended without one: from
    /// then on it must not get one, for nobody would finish it.
    pub(crate) writing: tokio::sync::Mutex<bool>,
    /// The record was written, but not whether it is there now: the reply got lost.
    doubtful: AtomicBool,
    /// Where the handler began what outlives it, before there was a record: see [`crate::begun`].
    pub(crate) begun_at: OnceLock<String>,
    /// What was recorded before this entry, and in it.
    journal: Mutex<HashMap<(JournalKind, String), JournalEntry>>,
    /// Names used in this entry: a second use is a mistake of the code.
    used: Mutex<HashSet<(JournalKind, String)>>,
    answers: Mutex<HashMap<String, Answer>>,
    /// The task's labels, with those that this entry gave it.
    labels: Mutex<BTreeMap<String, String>>,
    pub(crate) progress: ProgressCell,
    pub(crate) log: LogBuffer,
    /// The partial results that this entry has given out.
    pub(crate) partials: tokio::sync::Mutex<Given>,
    pub(crate) meter: Meter,
    /// Somebody asked for the task to be stopped.
    pub(crate) cancel: Stop,
    /// The handler has looked at the token, so it gets time to stop by itself.
    pub(crate) cancel_observed: AtomicBool,
    /// The lease is lost, or the run is over.
    pub(crate) lost: Stop,
    pub(crate) waits: Waits,
    pub(crate) steps_in_flight: AtomicUsize,
    /// Tells the driver that there is something to do.
    pub(crate) poke: Notify,
    /// The record has changed in a way that concerns the run: the driver must read it.
    pub(crate) look_again: AtomicBool,
    /// Kept as long as a thread runs this handler.
    pub(crate) slot: Mutex<Option<Slot>>,
}

impl Run {
    pub(crate) fn new(
        shared: Arc<Shared>,
        tool: &Tool,
        spec: Arc<TaskSpec>,
        origin: Origin,
        observer: Option<Arc<dyn Observer>>,
        slot: Option<Slot>,
    ) -> Arc<Self> {
        let opened = shared.vault.open_arguments(&spec);
        let (storable, claimed, carried) = match origin {
            Origin::Leased(claimed) => (true, Some(claimed), Carried::default()),
            Origin::Lazy => (true, None, Carried::default()),
            Origin::Unstored(carried) => (false, None, carried),
        };
        let task = claimed.as_ref().map(|claimed| &claimed.task);
        let now = shared.store.clock().now();
        let recorded_usage = task.and_then(|task| {
            let last = task.state.usage.last()?;
            (last.attempt == task.state.attempt).then_some(last.usage)
        });
        let run = Self {
            attempt: task.map_or(1, |task| task.state.attempt),
            errors: task.map_or(0, |task| task.state.errors),
            retry: tool.retry,
            namespace: tool.namespace.clone(),
            deadlines: Deadlines::new(tool.timeout, tool.idle_timeout, now),
            progress: ProgressCell::new(
                task.map(|task| task.state.progress.clone())
                    .unwrap_or_default(),
                now,
            ),
            answers: Mutex::new(match task {
                Some(task) => answers_of(task),
                None => carried.answers.into_iter().collect(),
            }),
            lease: claimed
                .as_ref()
                .map(|claimed| claimed.lease.into())
                .unwrap_or_default(),
            writing: tokio::sync::Mutex::default(),
            doubtful: AtomicBool::new(false),
            begun_at: OnceLock::new(),
            journal: Mutex::new(
                claimed
                    .map_or(carried.journal, |claimed| claimed.journal)
                    .into_iter()
                    .map(|entry| opened_entry(&shared, &spec, entry))
                    .map(|entry| ((entry.kind, entry.name.clone()), entry))
                    .collect(),
            ),
            used: Mutex::default(),
            labels: Mutex::new(spec.labels.clone()),
            log: LogBuffer::default(),
            partials: tokio::sync::Mutex::default(),
            meter: Meter::new(recorded_usage),
            cancel: Stop::default(),
            cancel_observed: AtomicBool::new(false),
            lost: Stop::default(),
            waits: Waits::default(),
            steps_in_flight: AtomicUsize::new(0),
            poke: Notify::new(),
            look_again: AtomicBool::new(false),
            slot: Mutex::new(slot),
            spec,
            shared,
            observer,
            storable,
            opened,
            undoes: None,
        };
        Arc::new(run)
    }

    /// What must not be told.
    pub(crate) fn mask(&self) -> &Mask {
        static NOTHING: Mask = Mask::NOTHING;
        self.opened.as_ref().map_or(&NOTHING, |opened| &opened.mask)
    }

    /// An entry of the journal as it was recorded, before it was sealed.
    pub(crate) fn opened_entry(&self, entry: JournalEntry) -> JournalEntry {
        opened_entry(&self.shared, &self.spec, entry)
    }

    /// The tool that the handler means by this name.
    pub(crate) fn tool_named(&self, name: &str) -> Option<Arc<Tool>> {
        Namespace::find(self.namespace.as_deref(), &self.shared.tools(), name)
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Something was reported or recorded: the attempt is not idle.
    pub(crate) fn sign_of_life(&self) {
        self.deadlines.sign_of_life(self.store().clock().now());
    }

    /// The lease, if there is a record already.
    pub(crate) fn lease(&self) -> Option<Lease> {
        self.lease.get().copied()
    }

    pub(crate) fn is_storable(&self) -> bool {
        self.storable
    }

    /// Whether this entry found something to replay.
    pub(crate) fn is_replay(&self) -> bool {
        !lock(&self.journal).is_empty()
    }

    /// The lease of the record, which is written now if there is none. `None` for a run that can
    /// never have one.
    ///
    /// Cancel safe: writing goes on in a task of its own, so a record can never be left behind that
    /// its run does not know.
    pub(crate) async fn persist(self: &Arc<Self>) -> Result<Option<Lease>> {
        if let Some(lease) = self.lease() {
            return Ok(Some(lease));
        }
        if !self.storable {
            return Ok(None);
        }
        let run = Arc::clone(self);
        let written = tokio::spawn(async move { run.write_down().await }).await;
        written
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::LeaseLost)))
            .map(Some)
    }

    async fn write_down(self: &Arc<Self>) -> Result<Lease> {
        let ended = self.writing.lock().await;
        if let Some(lease) = self.lease() {
            return Ok(lease);
        }
        if *ended {
            return Err(Error::new(ErrorKind::LeaseLost));
        }
        let by = self.shared.claim_by(false);
        let spec = TaskSpec {
            begun_at: self.begun_at.get().cloned(),
            ..TaskSpec::clone(&self.spec)
        };
        self.doubtful.store(true, Ordering::Release);
        let created = self.store().create(spec, Some(ClaimNow::Running(by))).await;
        let unknown = created
            .as_ref()
            .is_err_and(outlast_core::Error::is_retryable);
        self.doubtful.store(unknown, Ordering::Release);
        // A later lease is that of another attempt, which this worker may have claimed while the reply
        // was lost.
        let lease = created.map_err(from_store)?.lease;
        let lease = lease.filter(|lease| lease.epoch == 1);
        let lease = lease.ok_or_else(|| Error::new(ErrorKind::LeaseLost))?;
        // The lease first: whoever finds the run in the table may ask for it.
        self.lease
            .set(lease)
            .expect("only one writes, under the lock");
        self.shared.runs.insert(Arc::clone(self));
        if let Some(observer) = &self.observer {
            observer.stored(self.spec.id);
        }
        Ok(lease)
    }

    /// Writes on behalf of this run until the store has answered, as long as the run holds its lease:
    /// what was done before must not be done again because the store was away for a moment. `write`
    /// must be harmless to repeat.
    pub(crate) async fn insist<T, F>(&self, write: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, outlast_core::Error>>,
    {
        self.insist_raw(write).await.map_err(from_store)
    }

    /// [`Run::insist`], with the store's own error.
    pub(crate) async fn insist_raw<T, F>(
        &self,
        mut write: impl FnMut() -> F,
    ) -> Result<T, outlast_core::Error>
    where
        F: Future<Output = Result<T, outlast_core::Error>>,
    {
        let mut wait = Duration::from_millis(50);
        loop {
            match write().await {
                Err(error) if error.is_retryable() && !self.lost.is_cancelled() => {
                    tracing::warn!(task = %self.spec.id, %error, "could not store; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
                written => return written,
            }
        }
    }

    /// Whether a reply that got lost has left open whether the run has a record.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.lease().is_none() && self.doubtful.load(Ordering::Acquire)
    }

    /// Finds out whether the run has a record, if a reply that got lost has left that open: one that nobody
    /// ends would be run once more although its caller has been answered.
    ///
    /// # Errors
    /// There is one, and another attempt has it by now.
    pub(crate) async fn end_doubt(self: &Arc<Self>) -> Result<()> {
        while self.is_doubtful() {
            match self.persist().await {
                Ok(_) => break,
                Err(error) if matches!(error.kind(), ErrorKind::LeaseLost) => return Err(error),
                Err(_) => tokio::select! {
                    // Whoever starts next finds the record, as after a crash.
                    () = self.shared.releasing.cancelled() => break,
                    () = tokio::time::sleep(Duration::from_millis(200)) => {}
                },
            }
        }
        Ok(())
    }

    /// Ends the chance to get a record, and returns the lease of the one there is.
    pub(crate) async fn settled_lease(self: &Arc<Self>) -> Option<Lease> {
        if self.storable && self.lease().is_none() {
            if self.is_doubtful() {
                // Another attempt's record is none of this run's.
                let _ = Box::pin(self.end_doubt()).await;
            }
            match self.writing.try_lock() {
                Ok(mut ended) => *ended = true,
                Err(_) => *Box::pin(self.writing.lock()).await = true,
            }
        }
        self.lease()
    }

    /// The lease of a run that must have a record; `what` asked for it.
    pub(crate) async fn must_persist(self: &Arc<Self>, what: &'static str) -> Result<Lease> {
        self.persist()
            .await?
            .ok_or_else(|| Error::new(ErrorKind::NotATask(what)))
    }

    /// Takes a name of a slot for this entry and returns what is recorded under it.
    ///
    /// # Errors
    /// The name was used before in this entry.
    pub(crate) fn take_name(&self, kind: JournalKind, name: &str) -> Result<Option<JournalEntry>> {
        let key = (kind, name.to_owned());
        let journal = lock(&self.journal);
        let recorded = journal.get(&key).cloned();
        let other = [JournalKind::Step, JournalKind::Sleep, JournalKind::Value]
            .into_iter()
            .find(|other| *other != kind && journal.contains_key(&(*other, name.to_owned())));
        drop(journal);
        if let Some(other) = other {
            return Err(Error::new(ErrorKind::Journal(format!(
                "{name:?} is recorded as a {} and is now used as a {}: the code has changed under \
                 the task",
                other.as_str(),
                kind.as_str()
            ))));
        }
        if !lock(&self.used).insert(key) {
            return Err(Error::new(ErrorKind::Journal(format!(
                "the {} name {name:?} was used twice in one run; names must differ, for example \
                 by the number of the item",
                kind.as_str()
            ))));
        }
        Ok(recorded)
    }

    /// Whether something is recorded under a name that may be asked for more than once.
    pub(crate) fn ask_again(&self, kind: JournalKind, name: &str) -> bool {
        let key = (kind, name.to_owned());
        let is_recorded = lock(&self.journal).contains_key(&key);
        lock(&self.used).insert(key);
        is_recorded
    }

    /// Takes the next free name for a slot whose uses are told apart by counting them, and returns it
    /// with what is recorded under it.
    pub(crate) fn take_next_name(
        &self,
        kind: JournalKind,
        base: &str,
    ) -> (String, Option<JournalEntry>) {
        let mut used = lock(&self.used);
        let mut name = base.to_owned();
        let mut uses = 1;
        while !used.insert((kind, name.clone())) {
            uses += 1;
            name = format!("{base} #{uses}");
        }
        drop(used);
        let recorded = lock(&self.journal).get(&(kind, name.clone())).cloned();
        (name, recorded)
    }

    /// How many entries of a kind are recorded.
    pub(crate) fn recorded_of(&self, kind: JournalKind) -> usize {
        let journal = lock(&self.journal);
        journal.keys().filter(|(of, _)| *of == kind).count()
    }

    /// Remembers an entry that this run wrote.
    pub(crate) fn remember(&self, entry: JournalEntry) {
        lock(&self.journal).insert((entry.kind, entry.name.clone()), entry);
    }

    /// The labels that a child inherits.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        lock(&self.labels).clone()
    }

    /// Notes a label that the task has from now on.
    pub(crate) fn labelled(&self, key: String, value: String) {
        lock(&self.labels).insert(key, value);
    }

    /// Recorded entries that this entry never asked for.
    pub(crate) fn unasked(&self) -> Vec<String> {
        let used = lock(&self.used);
        let journal = lock(&self.journal);
        journal
            .keys()
            .filter(|key| !used.contains(*key))
            .map(|(kind, name)| format!("{} {name:?}", kind.as_str()))
            .collect()
    }

    pub(crate) fn answer_to(&self, key: &str) -> Option<Answer> {
        lock(&self.answers).get(key).cloned()
    }

    /// Takes the answer to a question of a run without a record. The first one counts.
    pub(crate) fn give(&self, key: String, answer: Answer) {
        lock(&self.answers).entry(key).or_insert(answer);
        self.waits.filled.notify_waiters();
        self.poke.notify_one();
    }

    /// What the run has recorded and been told so far.
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            journal: lock(&self.journal).values().cloned().collect(),
            answers: lock(&self.answers).clone().into_iter().collect(),
        }
    }

    /// The run has ended, and its end is stored: a handler that still blocks its thread is told, and waits for
    /// nothing more.
    pub(crate) fn over(&self) {
        self.lost.cancel();
        self.waits.filled.notify_waiters();
        self.waits.resolved.notify_waiters();
    }

    /// Takes over what the record knows.
    pub(crate) fn learn(&self, task: &Task) {
        if self.lease().is_some_and(|lease| !task.holds(&lease)) {
            self.lost.cancel();
            return;
        }
        // What is answered stays so, and what is read may be older than what is known.
        lock(&self.answers).extend(answers_of(task));
        if task.state.cancel.is_some() {
            self.cancel.cancel();
        }
        self.waits.filled.notify_waiters();
    }

    /// Makes the driver read the record.
    pub(crate) fn look_again(&self) {
        self.look_again.store(true, Ordering::Release);
        self.poke.notify_one();
    }

    /// Whether the handler waits for something in the store, with no step beside it.
    pub(crate) fn only_waits(&self) -> bool {
        self.waits.waiting_since().is_some() && !self.step_in_flight()
    }

    pub(crate) fn step_in_flight(&self) -> bool {
        self.steps_in_flight.load(Ordering::Acquire) > 0
    }
}

fn opened_entry(shared: &Shared, spec: &TaskSpec, entry: JournalEntry) -> JournalEntry {
    // Without secrets nothing was sealed.
    match &spec.sealed {
        Some(_) => shared.vault.open_recorded(spec.id, entry),
        None => entry,
    }
}

fn answers_of(task: &Task) -> HashMap<String, Answer> {
    let answered = |input: &Input| Some((input.request.key.clone(), input.answer.clone()?));
    task.state.inputs.iter().filter_map(answered).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}
