//! Changes of tasks, each in the shard of its owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use outlast_core::id::WorkerId;
use outlast_core::input::{Answer, InputRequest};
use outlast_core::limit::{Control, Controls};
use outlast_core::machine::{Answered, AttemptEnd, CancelMode};
use outlast_core::no_worker::Missing;
use outlast_core::store::{
    BeatReply, CancelReply, ClaimBy, ClaimNow, Claimed, Created, FinishReply, NoticeSink,
    Recovered, Report, SchedulePut, Signalled, Store, StoreInfo, SuspendReply, Ticked,
};
use outlast_core::task::{Awaiting, Lease, NewTask};
use outlast_core::webhook::{DeliveryEnd, Taken};
use outlast_core::worker::WorkerSign;
use outlast_core::{
    Clock, Error, JournalEntry, JournalKind, NewSignal, Owner, Recorded, Result, Schedule, Task,
    TaskId,
};

use super::{ROUND, Sharded, merge, slot};
use crate::store::RedisStore;

/// After how long a tick looks again that has left out a shard.
const AGAIN: Duration = Duration::from_secs(1);

/// What a claim was given so far: it goes back if nobody takes it.
struct Given<'a> {
    claimed: Vec<(&'a RedisStore, Claimed)>,
}

impl Given<'_> {
    fn take(mut self) -> Vec<Claimed> {
        let claimed = std::mem::take(&mut self.claimed).into_iter();
        claimed.map(|(_, claimed)| claimed).collect()
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        for (shard, claimed) in &self.claimed {
            shard.give_back(claimed.lease);
        }
    }
}

impl Sharded {
    /// Renews the leases of one shard.
    async fn renew(
        &self,
        shard: usize,
        leases: Vec<Lease>,
        length: Duration,
    ) -> Result<Vec<BeatReply>> {
        let mut replies = self.shards[shard].heartbeat(leases.clone(), length).await?;
        for (lease, reply) in leases.iter().zip(&mut replies) {
            if *reply != BeatReply::Lost {
                continue;
            }
            *reply = match self.elsewhere(lease.task, shard).await {
                Ok(None) => BeatReply::Lost,
                Ok(Some(other)) => {
                    let again = self.shards[other].heartbeat(vec![*lease], length).await;
                    again
                        .ok()
                        .and_then(|mut replies| replies.pop())
                        .unwrap_or(BeatReply::Unknown)
                }
                Err(_) => BeatReply::Unknown,
            };
        }
        Ok(replies)
    }
}

#[async_trait]
impl Store for Sharded {
    fn info(&self) -> StoreInfo {
        let durable = self.shards.iter().all(|shard| shard.info().durable);
        StoreInfo {
            kind: "redis",
            location: self.location.clone(),
            durable,
            shards: self.shards.len(),
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.shards[0].clock()
    }

    fn new_id(&self, owner: &Owner) -> TaskId {
        let shard = self.of_owner(owner);
        loop {
            let id = TaskId::random();
            if slot::of_id(id, self.shards.len()) == shard {
                return id;
            }
        }
    }

    fn subscribe(&self, sink: Arc<dyn NoticeSink>) {
        for shard in &self.shards {
            shard.subscribe(Arc::clone(&sink));
        }
    }

    async fn recover(&self, worker: WorkerId) -> Result<Recovered> {
        let recovered = self.all(|shard| shard.recover(worker)).await?;
        self.settle().await?;
        Ok(merge::recovered(recovered))
    }

    async fn create(&self, task: NewTask, claim: Option<ClaimNow>) -> Result<Created> {
        let shard = self.of_owner(&task.owner);
        let created = self.shards[shard].create(task, claim).await?;
        self.note(created.task.id(), shard);
        Ok(created)
    }

    async fn claim(&self, by: &ClaimBy, limit: usize) -> Result<Vec<Claimed>> {
        let mut by = by.clone();
        let mut given = Given {
            claimed: Vec::new(),
        };
        let mut failed = None;
        for shard in self.answering(self.next_turn()) {
            let left = limit.saturating_sub(given.claimed.len());
            if left == 0 {
                break;
            }
            let store = &self.shards[shard];
            let claimed = match store.claim(&by, left).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            for one in claimed {
                self.note(one.lease.task, shard);
                // Of several suspects only the first may run.
                by.suspects &= !one.task.state.suspect;
                given.claimed.push((store, one));
            }
        }
        if given.claimed.len() == limit || (failed.is_some() && !given.claimed.is_empty()) {
            // There may be more in a shard that was not asked, or could not answer.
            self.shards[0].look_for_ready();
        }
        match failed.filter(|_| given.claimed.is_empty()) {
            Some(error) => Err(error),
            None => Ok(given.take()),
        }
    }

    async fn heartbeat(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<BeatReply>> {
        let answering = self.answering(0);
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, lease) in leases.iter().enumerate() {
            parts.entry(self.route(lease.task)).or_default().push(at);
        }
        let renewals = parts.into_iter().map(async |(shard, places)| {
            if !answering.contains(&shard) {
                return (places, Ok(Vec::new()));
            }
            let part = places.iter().map(|at| leases[*at]).collect();
            (places, self.renew(shard, part, length).await)
        });
        let mut replies = vec![BeatReply::Unknown; leases.len()];
        let mut failed = None;
        let mut answered = leases.is_empty();
        for (places, renewed) in join_all(renewals).await {
            match renewed {
                Ok(renewed) => {
                    answered |= !renewed.is_empty();
                    for (at, reply) in places.into_iter().zip(renewed) {
                        replies[at] = reply;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed.filter(|_| !answered) {
            Some(error) => Err(error),
            None => Ok(replies),
        }
    }

    async fn report(&self, lease: &Lease, report: Report) -> Result<()> {
        let report = &report;
        self.with(lease.task, |shard| shard.report(lease, report.clone()))
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
        let recorded = &recorded;
        self.with(lease.task, |shard| {
            shard.journal_put(lease, kind, name, input_hash, recorded.clone(), took)
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
        let (id, spec) = (child.id, &child);
        let spawned = self
            .with(lease.task, |shard| {
                shard.spawn(lease, name, input_hash, spec.clone(), detached)
            })
            .await?;
        self.note(id, self.route(lease.task));
        Ok(spawned)
    }

    async fn ask(&self, lease: &Lease, questions: Vec<InputRequest>) -> Result<Arc<Task>> {
        let questions = &questions;
        self.with(lease.task, |shard| shard.ask(lease, questions.clone()))
            .await
    }

    async fn suspend(&self, lease: &Lease, awaiting: Awaiting) -> Result<SuspendReply> {
        let awaiting = &awaiting;
        self.with(lease.task, |shard| shard.suspend(lease, awaiting.clone()))
            .await
    }

    async fn ask_and_suspend(
        &self,
        lease: &Lease,
        questions: Vec<InputRequest>,
        awaiting: Awaiting,
    ) -> Result<SuspendReply> {
        let (questions, awaiting) = (&questions, &awaiting);
        self.with(lease.task, |shard| {
            shard.ask_and_suspend(lease, questions.clone(), awaiting.clone())
        })
        .await
    }

    async fn finish(
        &self,
        lease: &Lease,
        end: AttemptEnd,
        next: Option<&ClaimBy>,
    ) -> Result<FinishReply> {
        let goes_round = next.is_some()
            && self
                .ends
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(ROUND);
        let (end, here) = (&end, next.filter(|_| !goes_round));
        let mut reply = self
            .with(lease.task, |shard| shard.finish(lease, end.clone(), here))
            .await?;
        if let Some(next) = &reply.next {
            self.note(next.lease.task, self.route(lease.task));
        }
        if let Some(by) = next.filter(|_| goes_round && reply.task.lease().is_none()) {
            // The end stands, whatever comes of this.
            reply.next = self.claim(by, 1).await.unwrap_or_default().pop();
        }
        Ok(reply)
    }

    async fn answer(&self, task: TaskId, answers: BTreeMap<String, Answer>) -> Result<Answered> {
        let answers = &answers;
        self.with(task, |shard| shard.answer(task, answers.clone()))
            .await
    }

    async fn signal(&self, task: TaskId, signal: NewSignal) -> Result<Signalled> {
        let signal = &signal;
        self.with(task, |shard| shard.signal(task, signal.clone()))
            .await
    }

    async fn cancel(
        &self,
        task: TaskId,
        reason: Option<String>,
        mode: CancelMode,
    ) -> Result<CancelReply> {
        let reason = &reason;
        self.with(task, |shard| shard.cancel(task, reason.clone(), mode))
            .await
    }

    async fn delete(&self, task: TaskId) -> Result<bool> {
        self.with(task, |shard| shard.delete(task)).await
    }

    async fn tick(&self, alive: &[Lease], length: Duration, budget: usize) -> Result<Ticked> {
        self.settle_sometimes().await;
        let answering = self.answering(0);
        let ticks = answering
            .iter()
            .map(|shard| self.shards[*shard].tick(alive, length, budget));
        let (mut ticked, mut failed) = (Vec::new(), None);
        for tick in join_all(ticks).await {
            match tick {
                Ok(one) => ticked.push(one),
                Err(error) => failed = Some(error),
            }
        }
        let is_whole = ticked.len() == self.shards.len();
        if let Some(error) = failed {
            if ticked.is_empty() {
                return Err(error);
            }
            tracing::warn!(%error, "a shard of the task store is left out until it answers");
        }
        let schedules = ticked
            .iter_mut()
            .map(|one| std::mem::take(&mut one.schedules));
        let schedules = merge::schedules(schedules.collect());
        let mut ticked = merge::ticked(ticked);
        ticked.schedules = schedules;
        if !is_whole {
            let again = ticked.now + AGAIN;
            ticked.next = Some(ticked.next.map_or(again, |next| next.min(again)));
        }
        Ok(ticked)
    }

    async fn note_no_worker(&self, tasks: Vec<TaskId>, missing: Option<Missing>) -> Result<usize> {
        let mut parts: BTreeMap<usize, Vec<TaskId>> = BTreeMap::new();
        let places = tasks.iter().map(|task| self.locate(*task));
        for (task, shard) in tasks.iter().zip(join_all(places).await) {
            parts.entry(shard?).or_default().push(*task);
        }
        let mut changed = 0;
        for (shard, tasks) in parts {
            let noted = self.shards[shard].note_no_worker(tasks, missing.clone());
            changed += noted.await?;
        }
        Ok(changed)
    }

    async fn delivery_put(&self, task: TaskId, taken: Taken, end: DeliveryEnd) -> Result<bool> {
        let end = &end;
        self.at(
            task,
            |shard| shard.delivery_put(task, taken, end.clone()),
            |put| matches!(put, Ok(false)),
        )
        .await
    }

    async fn schedule_put(
        &self,
        expected: Option<u64>,
        schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut> {
        self.put_schedule(expected, schedule, task).await
    }

    async fn schedule_delete(&self, name: &str) -> Result<bool> {
        self.delete_schedule(name).await
    }

    async fn control(&self, changes: Vec<Control>) -> Result<Controls> {
        self.control_all(changes).await
    }

    async fn worker_put(&self, sign: WorkerSign) -> Result<()> {
        let answering = self.answering(0);
        let puts = answering
            .iter()
            .map(|shard| self.shards[*shard].worker_put(sign.clone()));
        let puts = join_all(puts).await;
        if puts.iter().any(Result::is_ok) {
            return Ok(());
        }
        puts.into_iter().collect()
    }

    async fn close(&self) -> Result<()> {
        let closed = join_all(self.shards.iter().map(Store::close)).await;
        closed.into_iter().collect::<Result<_, Error>>()
    }
}
