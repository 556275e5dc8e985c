//! What a case works with: a store, its clock, a worker, and the notices that came.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Fixture, Reopened, check_invariants};
use crate::event::Event;
use crate::id::{TaskId, WorkerId};
use crate::input::{Answer, InputRequest};
use crate::journal::{JournalKind, Recorded};
use crate::json::RawJson;
use crate::machine::AttemptEnd;
use crate::outcome::{Outcome, ToolResult};
use crate::status::Phase;
use crate::store::{ClaimBy, ClaimNow, Claimed, Created, Notice, NoticeSink, Store, ToolVersion};
use crate::task::{Awaiting, Lease, Task, TaskSpec};
use crate::testing::{ManualClock, eventually};

/// How long leases run here.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// One store under test.
pub(super) struct Rig {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) worker: WorkerId,
    notices: Arc<Notices>,
    fixture: Arc<dyn Fixture>,
}

/// What came of reopening.
pub(super) enum Forked {
    /// The next process.
    Reopened(Rig),
    /// The store ends with its process; this is the same one.
    Same(Rig),
}

#[derive(Default)]
struct Notices(Mutex<Vec<Notice>>);

impl NoticeSink for Notices {
    fn notice(&self, notice: Notice) {
        self.0.lock().expect("no holder panics").push(notice);
    }
}

impl Rig {
    pub(super) async fn new(fixture: Arc<dyn Fixture>) -> Self {
        let clock = Arc::new(ManualClock::default());
        let store = fixture.fresh(Arc::clone(&clock)).await;
        Self::over(store, clock, fixture)
    }

    fn over(store: Arc<dyn Store>, clock: Arc<ManualClock>, fixture: Arc<dyn Fixture>) -> Self {
        let notices = Arc::new(Notices::default());
        store.subscribe(Arc::clone(&notices) as Arc<dyn NoticeSink>);
        Self {
            store,
            clock,
            worker: WorkerId::random(),
            notices,
            fixture,
        }
    }

    /// The next process on the same store, if the store outlives its process.
    pub(super) async fn fork(self) -> Forked {
        let Self {
            store,
            clock,
            worker,
            notices,
            fixture,
        } = self;
        match fixture.reopen(store, Arc::clone(&clock)).await {
            Reopened::Next(store) => Forked::Reopened(Self::over(store, clock, fixture)),
            Reopened::Never(store) => Forked::Same(Self {
                store,
                clock,
                worker,
                notices,
                fixture,
            }),
        }
    }

    /// What must hold after every case.
    pub(super) async fn check(&self) {
        // A case may have closed its store.
        if self.store.stats().await.is_ok() {
            check_invariants(&*self.store).await;
        }
    }

    /// A worker that knows `tool` in version 1.
    pub(super) fn by(&self) -> ClaimBy {
        self.knowing(&["tool"])
    }

    pub(super) fn knowing(&self, tools: &[&str]) -> ClaimBy {
        let version = |tool: &&str| ToolVersion {
            tool: (*tool).to_owned(),
            version: "1".into(),
        };
        ClaimBy {
            worker: self.worker,
            tools: Arc::new(tools.iter().map(version).collect::<BTreeSet<_>>()),
            lease: LEASE,
            suspects: true,
        }
    }

    pub(super) fn if_next(&self) -> Option<ClaimNow> {
        Some(ClaimNow::IfNext(self.by()))
    }

    /// Creates a task of `tool`.
    pub(super) async fn create(&self) -> TaskId {
        self.create_spec(spec()).await.task.id()
    }

    pub(super) async fn create_spec(&self, spec: TaskSpec) -> Created {
        self.store.create(spec, None).await.expect("a creation")
    }

    /// Creates a task and claims it. There must be no other ready task.
    pub(super) async fn run(&self) -> (TaskId, Lease) {
        self.run_spec(spec()).await
    }

    pub(super) async fn run_spec(&self, spec: TaskSpec) -> (TaskId, Lease) {
        let id = self.create_spec(spec).await.task.id();
        let claimed = self.claim_one().await;
        assert_eq!(claimed.task.id(), id, "no other task was ready");
        (id, claimed.lease)
    }

    pub(super) async fn claim(&self, limit: usize) -> Vec<Claimed> {
        self.store.claim(&self.by(), limit).await.expect("a claim")
    }

    pub(super) async fn claim_one(&self) -> Claimed {
        let mut claimed = self.claim(1).await;
        assert_eq!(claimed.len(), 1, "one task is ready");
        claimed.remove(0)
    }

    /// Claims everything that is ready and returns it in order.
    pub(super) async fn claim_all(&self) -> Vec<TaskId> {
        let mut ids = Vec::new();
        loop {
            let claimed = self.claim(7).await;
            if claimed.is_empty() {
                return ids;
            }
            ids.extend(claimed.iter().map(|one| one.task.id()));
        }
    }

    /// Records an undo with this name.
    pub(super) async fn undo(&self, lease: &Lease, name: &str) {
        let call = r#"{"tool": "restore", "version": "1", "arguments": {}}"#;
        let recorded = Recorded::Value(json(call));
        self.put(lease, JournalKind::Undo, name, recorded).await;
    }

    pub(super) async fn put(
        &self,
        lease: &Lease,
        kind: JournalKind,
        name: &str,
        recorded: Recorded,
    ) {
        self.store
            .journal_put(lease, kind, name, None, recorded, None)
            .await
            .expect("its lease holds");
    }

    pub(super) async fn finish(&self, lease: &Lease) -> Arc<Task> {
        let reply = self.store.finish(lease, done("done"), None).await;
        reply.expect("its lease holds").task
    }

    /// A finished task.
    pub(super) async fn finished(&self, spec: TaskSpec) -> TaskId {
        let (id, lease) = self.run_spec(spec).await;
        self.finish(&lease).await;
        id
    }

    /// A task that waits for the answer to the question `key`.
    pub(super) async fn suspended(&self, key: &str) -> TaskId {
        let (id, lease) = self.run().await;
        self.ask(&lease, &[key]).await;
        self.suspend_on(&lease, &[key]).await;
        assert_eq!(self.task(id).await.state.phase, Phase::Suspended);
        id
    }

    pub(super) async fn ask(&self, lease: &Lease, keys: &[&str]) {
        let questions = keys.iter().map(|key| question(key)).collect();
        self.store
            .ask(lease, questions)
            .await
            .expect("its lease holds");
    }

    pub(super) async fn suspend_on(&self, lease: &Lease, keys: &[&str]) {
        let awaiting = awaiting(keys);
        self.store
            .suspend(lease, awaiting)
            .await
            .expect("its lease holds");
    }

    pub(super) async fn task(&self, id: TaskId) -> Arc<Task> {
        self.store
            .get(id)
            .await
            .expect("a read")
            .expect("the task is there")
    }

    pub(super) async fn phase(&self, id: TaskId) -> Phase {
        self.task(id).await.state.phase
    }

    pub(super) async fn events(&self, id: TaskId) -> Vec<Event> {
        self.store.events(id, 0, usize::MAX).await.expect("a read")
    }

    /// How many tasks are in a phase.
    pub(super) async fn stats_of(&self, phase: &str) -> u64 {
        let stats = self.store.stats().await.expect("counts");
        stats.phases().get(phase).copied().unwrap_or_default()
    }

    /// Does everything that is due, as another process would.
    pub(super) async fn tick(&self) {
        for _ in 0..100 {
            let ticked = self.store.tick(&[], LEASE, 100).await.expect("a tick");
            if ticked.changed + ticked.deleted == 0 {
                return;
            }
        }
        panic!("ticks without an end");
    }

    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Waits until a notice of this kind has come.
    pub(super) async fn noticed(&self, what: &str, wanted: impl Fn(&Notice) -> bool) {
        eventually(what, || {
            let notices = self.notices.0.lock().expect("no holder panics");
            let came = notices.iter().any(&wanted);
            drop(notices);
            std::future::ready(came.then_some(()))
        })
        .await;
    }

    /// The notices so far.
    pub(super) fn notices(&self) -> Vec<Notice> {
        self.notices.0.lock().expect("no holder panics").clone()
    }
}

/// A call of `tool`.
pub(super) fn spec() -> TaskSpec {
    TaskSpec::new("tool", RawJson::empty_object())
}

pub(super) fn of(tool: &str) -> TaskSpec {
    TaskSpec::new(tool, RawJson::empty_object())
}

pub(super) fn with_priority(priority: i16) -> TaskSpec {
    TaskSpec { priority, ..spec() }
}

pub(super) fn done(text: &str) -> AttemptEnd {
    AttemptEnd::Done(Outcome::Completed(ToolResult::text(text)))
}

pub(super) fn json(text: &str) -> RawJson {
    RawJson::parse(text).expect("JSON")
}

pub(super) fn question(key: &str) -> InputRequest {
    InputRequest::new(key, "elicitation/create", json(r#"{"message": "Really?"}"#))
}

pub(super) fn awaiting(keys: &[&str]) -> Awaiting {
    Awaiting {
        inputs: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..Awaiting::default()
    }
}

pub(super) fn given(text: &str) -> Answer {
    Answer::Given(json(text))
}

pub(super) fn answers(pairs: &[(&str, &str)]) -> BTreeMap<String, Answer> {
    pairs
        .iter()
        .map(|(key, text)| ((*key).to_owned(), given(text)))
        .collect()
}
