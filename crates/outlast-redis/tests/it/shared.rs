//! Several stores on the same keys, as several processes have them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::store::{ClaimBy, Notice, NoticeSink, Reads, Store};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on, eventually, join_all};
use outlast_core::worker::WorkerSign;
use outlast_core::{Clock, Error, Phase, TaskId};

use crate::cost::{by, done, spec};
use crate::server::{Server, open};

#[derive(Default)]
struct Heard(Mutex<Vec<Notice>>);

impl NoticeSink for Heard {
    fn notice(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
}

impl Heard {
    async fn hears(&self, what: &str, wanted: impl Fn(&Notice) -> bool) {
        eventually(what, || {
            let heard = self.0.lock().unwrap().iter().any(&wanted);
            std::future::ready(heard.then_some(()))
        })
        .await;
    }
}

fn changed(id: TaskId, wanted: u64) -> impl Fn(&Notice) -> bool {
    move |notice| matches!(notice, Notice::Changed { task, version } if *task == id && *version == wanted)
}

#[test]
fn what_one_does_the_other_hears_and_sees() {
    let server = Server::volatile();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let [first, second] = [0, 1].map(|_| open(&server.address("shared"), Arc::clone(&clock)));
    let heard = Arc::new(Heard::default());
    second.subscribe(Arc::clone(&heard) as Arc<dyn NoticeSink>);
    block_on(async {
        let id = first.create(spec(), None).await.unwrap().task.id();
        heard.hears("the creation", changed(id, 1)).await;
        heard
            .hears("a ready task", |notice| *notice == Notice::Ready)
            .await;
        let lease = first.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
        heard.hears("the start", changed(id, 2)).await;
        assert_eq!(
            second.get(id).await.unwrap().unwrap().state.phase,
            Phase::Running
        );
        // The second changes what the first remembers: the first decides again.
        let patience = outlast_core::machine::CancelMode::Ask(Duration::from_secs(1));
        second.cancel(id, None, patience).await.unwrap();
        heard.hears("the cancel", changed(id, 3)).await;
        let ended = first.finish(&lease, done(), None).await.unwrap().task;
        let cancelled = matches!(
            ended.outcome.as_deref(),
            Some(outlast_core::Outcome::Cancelled { .. })
        );
        assert!(cancelled, "{ended:?}");
        let late = second.finish(&by_lease(&lease), done(), None).await;
        assert!(matches!(late, Err(Error::LeaseLost(_))));
        check_invariants(&second).await;
    });
}

fn by_lease(lease: &outlast_core::Lease) -> outlast_core::Lease {
    outlast_core::Lease {
        nonce: lease.nonce ^ 1,
        ..*lease
    }
}

#[test]
fn a_worker_whose_process_lives_keeps_its_tasks() {
    let server = Server::volatile();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let [first, second] = [0, 1].map(|_| open(&server.address("shared"), Arc::clone(&clock)));
    block_on(async {
        let mine = by();
        first.recover(mine.worker).await.unwrap();
        first.create(spec(), None).await.unwrap();
        let lease = first.claim(&mine, 1).await.unwrap().pop().unwrap().lease;
        let recovered = second.recover(WorkerId::random()).await.unwrap();
        assert_eq!(recovered.rescued, 0, "its process lives");
        first.close().await.unwrap();
        let recovered = second.recover(WorkerId::random()).await.unwrap();
        assert_eq!(recovered.rescued, 1, "it has said that it is done");
        let task = second.get(lease.task).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Queued);
    });
}

#[test]
fn many_claimers_in_many_stores_never_share_a_task() {
    let server = Server::volatile();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let stores: Vec<_> = (0..4)
        .map(|_| open(&server.address("shared"), Arc::clone(&clock)))
        .collect();
    block_on(async {
        join_all((0..200).map(|index| stores[index % 4].create(spec(), None))).await;
        let worked = join_all(stores.iter().map(|store| async {
            let by = by();
            let mut ended = Vec::new();
            let mut next = store.claim(&by, 1).await.unwrap().pop();
            while let Some(claimed) = next {
                let reply = store
                    .finish(&claimed.lease, done(), Some(&by))
                    .await
                    .unwrap();
                ended.push(reply.task.id());
                next = reply.next;
            }
            ended
        }))
        .await;
        let mut ended: Vec<_> = worked.into_iter().flatten().collect();
        ended.sort_unstable();
        ended.dedup();
        assert_eq!(ended.len(), 200);
        check_invariants(&stores[0]).await;
    });
}

#[test]
fn many_children_that_end_at_once_tell_their_parent_each() {
    let server = Server::volatile();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let stores: Vec<_> = (0..3)
        .map(|_| open(&server.address("shared"), Arc::clone(&clock)))
        .collect();
    block_on(async {
        let by: ClaimBy = by();
        stores[0].create(spec(), None).await.unwrap();
        let parent = stores[0].claim(&by, 1).await.unwrap().pop().unwrap().lease;
        for number in 0..30 {
            let name = number.to_string();
            stores[0]
                .spawn(&parent, &name, None, spec(), false)
                .await
                .unwrap();
        }
        let children = stores[1].claim(&by, 30).await.unwrap();
        let ends = children.iter().enumerate().map(|(index, child)| {
            let store = &stores[index % 3];
            async move { store.finish(&child.lease, done(), None).await.unwrap() }
        });
        join_all(ends).await;
        let record = stores[2].get(parent.task).await.unwrap().unwrap();
        assert_eq!(record.state.children.ended, 30);
        check_invariants(&stores[2]).await;
    });
}

#[test]
fn workers_show_themselves_to_each_other() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let [first, second] = [0, 1].map(|_| {
        open(
            &server.address("shared"),
            Arc::clone(&clock) as Arc<dyn Clock>,
        )
    });
    let lease = Duration::from_secs(30);
    let sign = |name: &str, worker: WorkerId| WorkerSign {
        worker,
        name: name.into(),
        version: "1".into(),
        machine: "here".into(),
        pid: 7,
        since: clock.now(),
        seen_at: clock.now(),
        until: clock.now() + lease,
        slots: 4,
        slots_taken: 1,
        attempts: 9,
        retries: 1,
        leases_lost: 0,
        labels: vec!["gpu".into()],
        tools: vec!["tool".into()],
        runs: by().tools.as_ref().clone(),
    };
    block_on(async {
        let [one, two] = [WorkerId::random(), WorkerId::random()];
        let names = async |store: &dyn Store| -> Vec<String> {
            let workers = store.workers().await.unwrap();
            workers.into_iter().map(|sign| sign.name).collect()
        };
        first.worker_put(sign("one", one)).await.unwrap();
        clock.advance(lease / 2);
        second.worker_put(sign("two", two)).await.unwrap();
        assert_eq!(names(&first).await, ["one", "two"]);
        let told = first.workers().await.unwrap().pop().unwrap();
        assert_eq!(told, sign("two", two), "as it was said");
        clock.advance(lease / 2);
        assert_eq!(names(&first).await, ["two"], "the other is silent");
        first.worker_put(sign("one", one)).await.unwrap();
        assert_eq!(names(&second).await.len(), 2, "it is there again");
        let goes = WorkerSign {
            until: clock.now(),
            ..sign("two", two)
        };
        second.worker_put(goes).await.unwrap();
        assert_eq!(names(&first).await, ["one"], "it said so");
    });
}
