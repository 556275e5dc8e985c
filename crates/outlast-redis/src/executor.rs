//! How an operation is carried out: read what it needs, decide, commit, and decide again if something
//! has changed in the meantime.
//!
//! Records that this process holds leases on are remembered as they were after its last write, so that
//! most operations of an attempt begin with the commit. A remembered record may be out of date; the
//! commit finds that out, and an operation that has nothing to commit is decided again from what was
//! just read.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use outlast_core::store::{ClaimBy, Claimed, Notice, ToolVersion};
use outlast_core::{Clock, Error, JournalEntry, Result, Schedule, Task, TaskId};
use redis::Value;

use crate::ahead::PAGE;
use crate::connection::Link;
use crate::failure::Failure;
use crate::lease::Strays;
use crate::limit;
use crate::notify::{self, Sink};
use crate::row::{self, Known};
use crate::schema::Part;
use crate::script::{Arguments, Script};
use crate::seen::{Need, Seen};
use crate::unit::{Commit, Running, Unit};

/// How often an operation is decided from something that has changed meanwhile before the caller is told to
/// try again. To ask for something that was not read yet is no try: it happens once for each thing.
const TRIES: u32 = 200;
/// After so many tries in vain an operation steps back for a moment, so that somebody gets through.
const PATIENT: u32 = 4;

/// Everything that operations share.
pub(crate) struct Executor {
    pub(crate) link: Arc<Link>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sink: Sink,
    /// The name of this store among those that use the same keys.
    pub(crate) origin: String,
    /// Whether the store goes by the time of the server.
    pub(crate) is_server_time: bool,
    pub(crate) strays: Strays,
    part: Part,
    /// The last place in the order of creation that this process knows of, in any shard of the store.
    place: Arc<AtomicU64>,
    held: Mutex<Held>,
    /// Who has claimed last: mostly it is one worker, with the same tools each time.
    tools: Mutex<Option<Tools>>,
    /// Tasks that this process was given and whose journal cannot be read.
    torn: Mutex<BTreeSet<TaskId>>,
}

/// The records that this process holds leases on, as they were read on one connection.
#[derive(Default)]
struct Held {
    connection: usize,
    records: HashMap<TaskId, Known>,
}

impl Held {
    /// Those of this connection. What was read on an earlier one may never have been true.
    fn on(&mut self, connection: usize) -> &mut HashMap<TaskId, Known> {
        if self.connection < connection {
            self.connection = connection;
            self.records.clear();
        }
        &mut self.records
    }
}

/// What the commit came to.
#[derive(Default, Debug)]
pub(crate) struct Done {
    /// Sequences of new records, or ends of logs.
    pub(crate) numbers: Vec<u64>,
    /// What was claimed with it.
    pub(crate) given: Vec<Claimed>,
}

/// Why a commit changed nothing.
enum Refused {
    /// Something has changed since it was read.
    Stale,
    /// The lease does not hold.
    Lost,
    /// The journal has an entry under this name.
    There(JournalEntry),
    Told(Error),
}

/// Why an operation was given up although Redis answers: others were faster each time.
#[derive(Debug)]
struct Contended;

impl fmt::Display for Contended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what it was decided from changed {TRIES} times")
    }
}

impl std::error::Error for Contended {}

/// Whether an operation failed for the sake of its own tasks alone, so that the next may succeed.
pub(crate) fn is_contended(error: &Error) -> bool {
    let Error::Store { source, .. } = error else {
        return false;
    };
    source
        .as_ref()
        .is_some_and(|source| source.is::<Contended>())
}

/// What an operation came to.
pub(crate) enum Outcome<T> {
    Done(T, Done),
    /// It was to record something that is recorded already.
    There(JournalEntry),
    /// The lease does not hold.
    Lost,
}

impl Executor {
    /// An executor whose clock is the server's, unless there is another.
    pub(crate) fn new(
        link: Arc<Link>,
        clock: Option<Arc<dyn Clock>>,
        sink: Sink,
        origin: String,
        part: Part,
        place: Arc<AtomicU64>,
    ) -> Self {
        let is_server_time = clock.is_none();
        let clock = clock.unwrap_or_else(|| Arc::clone(&link.server_clock) as Arc<dyn Clock>);
        Self {
            link,
            clock,
            sink,
            origin,
            is_server_time,
            strays: Strays::default(),
            part,
            place,
            held: Mutex::default(),
            tools: Mutex::default(),
            torn: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nothing panics under this lock")
    }

    fn torn(&self) -> MutexGuard<'_, BTreeSet<TaskId>> {
        self.torn.lock().expect("nothing panics under this lock")
    }

    /// Tasks that were given to this process and cannot run, since the last time somebody asked.
    pub(crate) fn take_torn(&self) -> BTreeSet<TaskId> {
        std::mem::take(&mut self.torn())
    }

    /// Remembers a record as it was told on a connection while it runs, and forgets it when it does
    /// not.
    fn remember(&self, id: TaskId, known: Option<Known>, connection: usize) {
        let running = known.filter(|known| known.task.state.held.is_some());
        let mut held = self.held();
        if connection < held.connection {
            return;
        }
        let records = held.on(connection);
        match running {
            Some(known) => records.insert(id, known),
            None => records.remove(&id),
        };
    }

    /// Notes a renewal that led from one revision to the next.
    pub(crate) fn renewed(&self, id: TaskId, revision: u64, until: outlast_core::Timestamp) {
        let mut held = self.held();
        let Some(known) = held.records.get_mut(&id) else {
            return;
        };
        if known.revision + 1 != revision {
            held.records.remove(&id);
            return;
        }
        known.revision = revision;
        if let Some(lease) = &mut Arc::make_mut(&mut known.task).state.held {
            lease.until = until;
        }
    }

    /// Carries out an operation. `claim` asks for a task to be claimed after it, if the operation says
    /// so in what it returns.
    ///
    /// # Errors
    /// The operation's, and those of Redis.
    pub(crate) async fn run<T>(
        &self,
        operation: impl Fn(&mut Unit<'_>) -> Result<T, Failure>,
        claim: impl Fn(&T) -> Option<ClaimBy>,
    ) -> Result<Outcome<T>> {
        self.run_seen(Seen::default(), operation, claim).await
    }

    /// [`Executor::run`] for an operation of which some was read before.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub(crate) async fn run_seen<T>(
        &self,
        mut seen: Seen,
        operation: impl Fn(&mut Unit<'_>) -> Result<T, Failure>,
        claim: impl Fn(&T) -> Option<ClaimBy>,
    ) -> Result<Outcome<T>> {
        // Whether every record was read for this operation.
        let mut fresh = false;
        let mut connection = self.link.latest();
        let mut tries = 0;
        while tries < TRIES {
            let mut unit = Unit::new(&seen, self.clock.now());
            match operation(&mut unit) {
                Err(Failure::Need(needs)) => {
                    drop(unit);
                    self.read(&mut seen, needs, fresh).await?;
                    continue;
                }
                Err(Failure::Told(error)) => {
                    if !seen.remembered {
                        return Err(error);
                    }
                }
                Ok(value) if unit.is_empty() && unit.has_no_guards() => {
                    // It may have been done before by a call that was told to try again.
                    if !seen.remembered && self.link.replicated(connection).await? {
                        return Ok(Outcome::Done(value, Done::default()));
                    }
                }
                Ok(value) => {
                    let next = claim(&value);
                    let commit = unit.commit()?;
                    let read = commit.read.clone();
                    match self.commit(commit, next, connection).await {
                        Ok(done) => return Ok(Outcome::Done(value, done)),
                        Err(Refused::There(entry)) => return Ok(Outcome::There(entry)),
                        Err(Refused::Lost) => return Ok(Outcome::Lost),
                        Err(Refused::Told(error)) => {
                            // It may have been carried out all the same.
                            self.forget(&read);
                            return Err(error);
                        }
                        Err(Refused::Stale) => {
                            self.forget(&read);
                            self.step_back(tries).await;
                            tries += 1;
                            seen.forget_all();
                            connection = self.link.latest();
                            let needs = read.into_iter().map(Need::Record).collect();
                            fresh = true;
                            self.read(&mut seen, needs, fresh).await?;
                            continue;
                        }
                    }
                }
            }
            // Decided from what was remembered: decide again from what is.
            tries += 1;
            let needs: Vec<_> = seen.records.keys().copied().map(Need::Record).collect();
            seen.forget_all();
            connection = self.link.latest();
            fresh = true;
            self.read(&mut seen, needs, fresh).await?;
        }
        Err(Error::unavailable(
            format!(
                "the task store {} is too busy with the same tasks: try again",
                self.link.location
            ),
            Contended,
        ))
    }

    fn forget(&self, ids: &BTreeSet<TaskId>) {
        let mut held = self.held();
        for id in ids {
            held.records.remove(id);
        }
    }

    async fn step_back(&self, attempt: u32) {
        if attempt >= PATIENT {
            let spread = u64::from(random() as u32 % (attempt.min(50) * 200));
            tokio::time::sleep(Duration::from_micros(spread)).await;
        }
    }

    /// Reads what an operation needs.
    pub(crate) async fn read(&self, seen: &mut Seen, needs: Vec<Need>, fresh: bool) -> Result<()> {
        let mut records = Vec::new();
        for need in needs {
            match need {
                Need::Record(id) => {
                    let latest = self.link.latest();
                    let known = self.held().on(latest).get(&id).cloned();
                    let known = known.filter(|_| !fresh);
                    match known {
                        Some(known) => {
                            seen.remembered = true;
                            seen.records.insert(id, Some(known));
                        }
                        None => records.push(id),
                    }
                }
                Need::Related(relation, id) => {
                    self.read_related(seen, relation, id).await?;
                }
                Need::Name(name) => {
                    let get = redis::cmd("GET").arg(self.link.key(&name)).take();
                    let value = self.link.command(&get).await?;
                    let value = (value != Value::Nil).then(|| row::text(&value));
                    seen.names.insert(name, value);
                }
                Need::Entry(id, name) => {
                    let entry = self.entry(id, &name).await?;
                    seen.entries.insert((id, name), entry);
                }
                Need::SignalId(id, signal) => {
                    let key = self.link.key(&format!("s:{id}"));
                    let field = format!("i{signal}");
                    let get = redis::cmd("HGET").arg(key).arg(field).take();
                    let number = self.link.command(&get).await?;
                    let number = (number != Value::Nil).then(|| row::int(&number));
                    seen.signals.insert((id, signal), number);
                }
            }
        }
        for ids in records.chunks(PAGE) {
            let loaded = self.load(ids).await?;
            for (id, known) in ids.iter().zip(loaded) {
                let known = match known {
                    Ok(known) => known,
                    Err(error) => self.read_unreadable(*id, seen, error).await?,
                };
                seen.records.insert(*id, known);
            }
        }
        Ok(())
    }

    /// A record that could not be read, after it has failed for that.
    async fn read_unreadable(
        &self,
        id: TaskId,
        seen: &Seen,
        error: Error,
    ) -> Result<Option<Known>> {
        if seen.setting_aside.contains(&id) {
            return self.salvage(id).await;
        }
        tracing::error!(%error, task = %id, "a task fails because it cannot be read");
        self.set_aside(id, seen).await?;
        self.load(&[id]).await?.pop().unwrap_or(Ok(None))
    }

    /// Records as they stand at one moment. One that is broken is an error of its own.
    pub(crate) async fn load(&self, ids: &[TaskId]) -> Result<Vec<Result<Option<Known>>>> {
        let names = ids.iter().map(ToString::to_string);
        let loaded = self.link.script(Script::Load, names).await?;
        let loaded = row::array(loaded).into_iter();
        Ok(loaded.map(row::decode_record).collect())
    }

    /// Whether there is anything under this id, readable or not.
    pub(crate) async fn has(&self, id: TaskId) -> Result<bool> {
        let key = self.link.key(&format!("t:{id}"));
        let exists = redis::cmd("EXISTS").arg(key).take();
        Ok(row::int(&self.link.command(&exists).await?) == 1)
    }

    /// A journal entry by its name in the hash.
    pub(crate) async fn entry(&self, id: TaskId, name: &str) -> Result<Option<JournalEntry>> {
        let key = self.link.key(&format!("j:{id}"));
        let get = redis::cmd("HGET").arg(key).arg(name).take();
        match self.link.command(&get).await? {
            Value::Nil => Ok(None),
            entry => Ok(Some(row::decode_entry(row::bytes(&entry))?.1)),
        }
    }

    /// Commits what was decided from what was read on `connection`.
    async fn commit(
        &self,
        commit: Commit,
        next: Option<ClaimBy>,
        connection: usize,
    ) -> Result<Done, Refused> {
        let notices = notify::encode(&commit.notices);
        let limit = usize::from(next.is_some());
        // Whoever claims with a creation because it runs already repeats it.
        let can_stray = next.is_some() || commit.claims_next;
        let by = next.or(commit.by);
        let nonces = match &commit.running {
            Some(running) => Nonces(vec![running.nonce.to_string()]),
            None => Nonces::new(limit),
        };
        let mut arguments = Arguments::default();
        arguments.push(row::millis(self.clock.now()));
        arguments.push(&self.origin);
        arguments.push(notices);
        arguments.push(self.shard_word());
        self.push_claimant(&mut arguments, by.as_ref(), &nonces);
        arguments.push(limit.to_string());
        arguments.append_counted(commit.guards);
        arguments.append_counted(commit.operations);
        let frees = commit.after.iter().all(|(_, after)| after.is_none());
        let script = if frees && !commit.after.is_empty() {
            Script::Free
        } else {
            Script::Commit
        };
        // A process that has never had a connection has read nothing on one.
        let only = (connection > 0).then_some(connection);
        let answer = self.link.script_on(only, script, arguments.words()).await;
        if can_stray {
            self.watch(&nonces, &answer);
        }
        let Some((answer, connection)) = answer.map_err(Refused::Told)? else {
            return Err(Refused::Stale);
        };
        let mut parts = row::array(answer).into_iter();
        let mut part = || parts.next().unwrap_or(Value::Nil);
        let word = part();
        match row::bytes(&word) {
            b"ok" => {}
            b"stale" => return Err(Refused::Stale),
            b"lost" => return Err(Refused::Lost),
            b"there" => {
                let entry = row::decode_entry(row::bytes(&part())).map_err(Refused::Told)?;
                return Err(Refused::There(entry.1));
            }
            b"many" => {
                let there = usize::try_from(row::int(&part())).unwrap_or(usize::MAX);
                let refused = Schedule::check_number(there).err();
                return Err(refused.map_or(Refused::Stale, Refused::Told));
            }
            b"full" => {
                let (key, max, room) = (part(), part(), part());
                let room = row::text(&room).parse().unwrap_or(0);
                let full = limit::full(&row::text(&key), row::int(&max), room);
                return Err(Refused::Told(full));
            }
            _ => {
                let message = "the task store gave an answer that is none of its script's";
                return Err(Refused::Told(Error::broken(message)));
            }
        }
        let (numbers, given, told, fused) = (part(), part(), part(), part());
        let numbers: Vec<_> = row::array(numbers).iter().map(row::int).collect();
        for (id, known) in commit.after {
            self.remember(id, known, connection);
        }
        let mut given = self.given(given, connection).map_err(Refused::Told)?;
        let running = commit.running.filter(|_| row::int(&fused) == 1);
        let notices = match running {
            None => commit.notices,
            Some(Running {
                mut task, notices, ..
            }) => {
                Arc::make_mut(&mut task).state.sequence = numbers.first().copied().unwrap_or(0);
                given.extend(self.begun(task, connection));
                notices
            }
        };
        self.sink.tell(notices);
        self.sink.tell(notify::decode_all(told));
        if let Some(place) = numbers.first().filter(|_| commit.creates) {
            self.place.fetch_max(*place, Ordering::Relaxed);
        }
        Ok(Done { numbers, given })
    }

    /// Gives up to `limit` ready tasks to a worker.
    pub(crate) async fn claim(&self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let nonces = Nonces::new(limit);
        let mut arguments = Arguments::default();
        arguments.push(row::millis(self.clock.now()));
        arguments.push(&self.origin);
        arguments.push(limit.to_string());
        self.push_claimant(&mut arguments, Some(by), &nonces);
        let called = self.link.script_on(None, Script::Claim, arguments.words());
        let answer = called.await;
        self.watch(&nonces, &answer);
        let (answer, connection) = answer?.expect("any connection will do");
        let mut parts = row::array(answer).into_iter();
        let given = self.given(parts.next().unwrap_or(Value::Nil), connection)?;
        self.sink
            .tell(notify::decode_all(parts.next().unwrap_or(Value::Nil)));
        Ok(given)
    }

    /// Of how many shards the store is, which one it is, and the place in the order of creation behind which
    /// new tasks stand; nothing if it is not of several.
    fn shard_word(&self) -> String {
        match self.part {
            Part::Whole | Part::Root(_) => String::new(),
            Part::Shard { number, of } => {
                let place = self.place.load(Ordering::Relaxed);
                format!("{of} {number} {place}")
            }
        }
    }

    /// Who claims, as scripts read it; an empty word for nobody.
    fn push_claimant(&self, arguments: &mut Arguments, by: Option<&ClaimBy>, nonces: &Nonces) {
        let Some(by) = by else {
            return arguments.push("");
        };
        let lease = i64::try_from(by.lease.as_millis()).unwrap_or(i64::MAX);
        arguments.push(by.worker.to_string());
        arguments.push(lease.to_string());
        arguments.push(if by.suspects { "1" } else { "0" });
        arguments.push(self.tools_of(by).as_bytes());
        arguments.list(&nonces.0);
    }

    /// The tools of a worker, in the text that was made of them the last time if they are the same.
    fn tools_of(&self, by: &ClaimBy) -> Arc<str> {
        let mut known = self.tools.lock().expect("nothing panics under this lock");
        match &*known {
            Some((tools, text)) if Arc::ptr_eq(tools, &by.tools) => Arc::clone(text),
            _ => {
                let text = tools_text(&by.tools);
                *known = Some((Arc::clone(&by.tools), Arc::clone(&text)));
                text
            }
        }
    }

    /// Looks later for what a call may have claimed that has brought no answer.
    fn watch<T>(&self, nonces: &Nonces, answer: &Result<T>) {
        if answer.as_ref().is_err_and(Error::is_retryable) {
            self.strays.note(nonces.0.iter().cloned());
        }
    }

    /// A task that was claimed with its creation.
    fn begun(&self, task: Arc<Task>, connection: usize) -> Option<Claimed> {
        let lease = task.lease()?;
        let known = Known {
            task: Arc::clone(&task),
            revision: 1,
            awaited: false,
            is_whole: true,
        };
        self.remember(lease.task, Some(known), connection);
        Some(Claimed {
            task,
            lease,
            journal: Vec::new(),
        })
    }

    /// What a script has given to a worker of this process. Where one cannot be read, there may be more than
    /// these, and the worker is told to ask again.
    fn given(&self, given: Value, connection: usize) -> Result<Vec<Claimed>> {
        let mut claimed = Vec::new();
        for one in row::array(given) {
            let mut parts = row::array(one);
            let journal = parts.pop().unwrap_or(Value::Nil);
            let known = match row::decode_record(Value::Array(parts)) {
                Ok(Some(known)) => known,
                Ok(None) => continue,
                Err(error) => {
                    // The others go on; this one comes back with its lease, until it is too old.
                    tracing::error!(%error, "a task that was claimed cannot be read");
                    self.sink.tell([Notice::Ready]);
                    continue;
                }
            };
            let Some(lease) = known.task.lease() else {
                continue;
            };
            self.remember(lease.task, Some(known.clone()), connection);
            let journal = match row::decode_journal(journal) {
                Ok(journal) => journal,
                Err(error) => {
                    tracing::error!(%error, task = %lease.task, "a journal cannot be read");
                    self.torn().insert(lease.task);
                    self.sink.tell([Notice::Ready]);
                    continue;
                }
            };
            claimed.push(Claimed {
                task: known.task,
                lease,
                journal,
            });
        }
        Ok(claimed)
    }

    /// Those of some tasks that there are and that can be read, in their order.
    pub(crate) async fn readable(&self, ids: &[TaskId]) -> Result<Vec<Arc<Task>>> {
        let mut tasks = Vec::new();
        for ids in ids.chunks(PAGE) {
            for (id, one) in ids.iter().zip(self.load(ids).await?) {
                match one {
                    Ok(known) => tasks.extend(known.map(|known| known.task)),
                    Err(error) => tracing::error!(%error, task = %id, "a task cannot be read"),
                }
            }
        }
        Ok(tasks)
    }
}

/// Tool versions, and the text that scripts know them by.
type Tools = (Arc<BTreeSet<ToolVersion>>, Arc<str>);

/// Tool versions in one text, each between two ends of lines.
fn tools_text(tools: &BTreeSet<ToolVersion>) -> Arc<str> {
    let mut text = String::from("\n");
    for known in tools {
        text.push_str(&row::known_name(known));
        text.push('\n');
    }
    text.into()
}

/// The nonces of the leases that a call may give.
struct Nonces(Vec<String>);

impl Nonces {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| random().to_string()).collect())
    }
}

/// What came of an operation that neither records nor names a lease to the script.
pub(crate) fn done<T>(outcome: Outcome<T>) -> (T, Done) {
    match outcome {
        Outcome::Done(value, done) => (value, done),
        Outcome::There(_) | Outcome::Lost => unreachable!("no such guard was given"),
    }
}

/// A random number of the operating system.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    u64::from_le_bytes(bytes)
}
