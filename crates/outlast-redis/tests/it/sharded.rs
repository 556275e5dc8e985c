//! Stores of several shards: what holds for every store holds for them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use outlast_core::archive::Archive;
use outlast_core::limit::{Control, Queue};
use outlast_core::machine::CancelMode;
use outlast_core::schedule::NewSchedule;
use outlast_core::store::{BeatReply, Filter, SchedulePut};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{
    Fixture, ManualClock, Reopened, block_on, conformance, count, eventually, model, seed,
};
use outlast_core::{Clock, Error, Owner, Schedule, Store, TaskId, TaskSpec};
use outlast_redis::{Options, RedisStore};

use crate::cost::{by, done, spec};
use crate::fleet::Cluster;
use crate::lasting;
use crate::server::Server;

/// How long leases run here.
const LEASE: Duration = Duration::from_secs(30);

/// How many shards the owners of the suite's tasks are divided among: all of the model's stand in one.
const SHARDS: usize = 3;

/// Stores of several shards on one server.
struct Stores {
    server: Arc<Server>,
    shards: usize,
}

pub(crate) fn open(address: &str, shards: usize, clock: Arc<dyn Clock>) -> Arc<dyn Archive> {
    let options = Options {
        clock: Some(clock),
        ..Options::new(format!("{address}&shards={shards}"), "test")
    };
    // Many are opened one after the other, on machines that may be busy with something else for a while.
    let opened = eventually("a store that opens", || {
        std::future::ready(match outlast_redis::open(options.clone()) {
            Err(error) if error.is_retryable() => None,
            opened => Some(opened),
        })
    });
    block_on(opened).expect("a store that opens")
}

#[async_trait]
impl Fixture for Stores {
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        open(&self.server.next_address(), self.shards, clock)
    }

    async fn reopen(&self, store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Reopened {
        let location = store.info().location;
        let prefix = location.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(Arc::strong_count(&store), 1, "nobody else uses it");
        store.close().await.expect("it closes");
        drop(store);
        Reopened::Next(open(&self.server.address(&prefix), self.shards, clock))
    }

    fn counts_by_itself(&self) -> bool {
        true
    }
}

#[test]
fn pass_the_conformance_suite() {
    // In two shards the owners of the suite stand apart.
    let server = Arc::new(Server::volatile());
    block_on(conformance(Stores {
        server: Arc::clone(&server),
        shards: 2,
    }));
    lasting::check(&server);
}

/// `OUTLAST_REDIS_MODEL_CASES` sets how many random sequences are compared.
#[test]
fn behave_as_the_model() {
    let (first, cases) = (seed(), count("OUTLAST_REDIS_MODEL_CASES", 60) / 2);
    let server = Arc::new(Server::volatile());
    let stores = Stores {
        server: Arc::clone(&server),
        shards: SHARDS,
    };
    block_on(model(stores, first..first + cases));
    lasting::check(&server);
}

fn of(owner: &str) -> TaskSpec {
    TaskSpec {
        owner: Owner::new(owner),
        ..spec()
    }
}

/// A task as the engine creates it.
async fn create(store: &dyn Archive, owner: &str) -> TaskId {
    let id = store.new_id(&Owner::new(owner));
    let task = TaskSpec { id, ..of(owner) };
    store.create(task, None).await.unwrap().task.id()
}

/// Owners of which some stand in each of three shards: 1, 1, 2, 0.
const OWNERS: [&str; 4] = ["local", "ann", "bob", "kim"];

/// The shard that an id names.
fn shard_of(id: &TaskId) -> usize {
    let bytes = id.as_bytes();
    usize::from(u16::from_be_bytes([bytes[14], bytes[15]])) % SHARDS
}

fn two(server: &Server, prefix: &str) -> [Arc<dyn Archive>; 2] {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    [(), ()].map(|()| open(&server.address(prefix), SHARDS, Arc::clone(&clock)))
}

#[test]
fn owners_in_different_shards_have_one_store() {
    let server = Server::volatile();
    let [one, other] = two(&server, "one");
    block_on(async {
        let mut created = Vec::new();
        for number in 0..23 {
            created.push(create(&*one, OWNERS[number % OWNERS.len()]).await);
        }
        for oldest_first in [true, false] {
            let filter = Filter {
                oldest_first,
                ..Filter::default()
            };
            let (mut listed, mut cursor) = (Vec::new(), None);
            loop {
                let page = other.list(&filter, cursor, 4).await.unwrap();
                listed.extend(page.tasks.iter().map(|task| task.id()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            if !oldest_first {
                listed.reverse();
            }
            assert_eq!(listed, created, "in the order of creation over all shards");
        }
        let stats = other.stats().await.unwrap();
        assert_eq!(stats.phases()["queued"], 23);
        let pause = vec![Control::Pause(Queue::All)];
        one.control(pause.clone()).await.unwrap();
        assert!(
            other.claim(&by(), 9).await.unwrap().is_empty(),
            "in every shard"
        );
        assert!(other.controls().await.unwrap().paused.contains(&Queue::All));
        one.control(vec![Control::Resume(Queue::All)])
            .await
            .unwrap();
        let claimed = other.claim(&by(), 30).await.unwrap();
        assert_eq!(claimed.len(), 23);
        for owner in OWNERS {
            let of_owner = claimed
                .iter()
                .filter(|one| one.task.spec.owner.as_str() == owner);
            assert!(
                of_owner.is_sorted_by_key(|one| one.task.state.sequence),
                "{owner}"
            );
        }
        for claimed in claimed {
            let lease = claimed.lease;
            // Through either process, and each finds what the other has done.
            other.heartbeat(vec![lease], LEASE).await.unwrap();
            one.finish(&lease, done(), None).await.unwrap();
            let task = other.get(lease.task).await.unwrap().unwrap();
            assert!(task.is_finished());
            assert_eq!(
                other
                    .events(lease.task, task.state.version, 9)
                    .await
                    .unwrap(),
                []
            );
        }
        check_invariants(&*one).await;
    });
}

#[test]
fn ids_of_the_store_name_their_shard_and_any_other_is_found() {
    let server = Server::volatile();
    let [one, other] = two(&server, "found");
    block_on(async {
        for owner in OWNERS {
            let drawn = create(&*one, owner).await;
            let name = server.call(&["KEYS", &format!("*:t:{drawn}")]);
            let name: Vec<String> = redis::from_redis_value(name).unwrap();
            let shard = format!("{{found:{}", shard_of(&drawn));
            assert!(name[0].starts_with(&shard), "{name:?}");
            for shard in 0..SHARDS {
                let mut asked = of(owner);
                while shard_of(&asked.id) != shard {
                    asked.id = TaskId::random();
                }
                let id = one.create(asked.clone(), None).await.unwrap().task.id();
                let found = other.get(id).await.unwrap().unwrap();
                assert_eq!(found.spec.owner.as_str(), owner);
                assert_eq!(other.events(id, 0, 9).await.unwrap().len(), 1);
                assert!(other.events(id, 1, 9).await.unwrap().is_empty());
                let again = one.create(asked, None).await.unwrap();
                assert_eq!(again.task.id(), id, "it is there already");
                other.cancel(id, None, CancelMode::Force).await.unwrap();
                assert!(one.get(id).await.unwrap().unwrap().is_finished());
            }
            let by = by();
            while let Some(claimed) = other.claim(&by, 1).await.unwrap().pop() {
                other.finish(&claimed.lease, done(), None).await.unwrap();
            }
        }
        assert!(one.get(TaskId::random()).await.unwrap().is_none());
        let error = one.cancel(TaskId::random(), None, CancelMode::Force).await;
        assert!(matches!(error, Err(Error::NotFound(_))), "{error:?}");
        check_invariants(&*other).await;
    });
}

#[test]
fn a_long_queue_holds_up_no_other_shard() {
    let server = Server::volatile();
    let [store, _] = two(&server, "fair");
    block_on(async {
        let by = by();
        for _ in 0..30 {
            create(&*store, "local").await;
        }
        let first = store.claim(&by, 1).await.unwrap().pop().unwrap();
        let late = create(&*store, "bob").await;
        let (mut next, mut ends) = (Some(first), 0);
        while let Some(claimed) = next.take() {
            if claimed.lease.task == late {
                break;
            }
            let reply = store
                .finish(&claimed.lease, done(), Some(&by))
                .await
                .unwrap();
            next = reply.next;
            ends += 1;
        }
        // Two in four at the worst: the turn may be the long queue's own once.
        assert!(ends <= 4 * SHARDS, "it came after {ends} others");
    });
}

#[test]
fn another_number_of_shards_is_refused_and_writes_nothing() {
    let server = Server::volatile();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let whole = server.address("whole");
    drop(crate::server::open(&whole, Arc::clone(&clock)));
    let divided = server.address("divided");
    drop(open(&divided, SHARDS, clock));
    let keys = || {
        let mut keys: Vec<_> = server.snapshot().into_iter().map(|(key, _)| key).collect();
        keys.sort();
        keys
    };
    let before = keys();
    for (address, shards, there) in [(&whole, 3, 1), (&divided, 1, 3), (&divided, 2, 3)] {
        let options = Options::new(format!("{address}&shards={shards}"), "test");
        let examined = RedisStore::examine(&options).unwrap();
        let Err(error) = outlast_redis::open(options) else {
            panic!("{address} has {there} shards, and not {shards}");
        };
        let said = error.to_string();
        assert!(said.contains(&format!("?shards={there}")), "{said}");
        assert!(said.contains("outlast store copy"), "{said}");
        let told = examined.problems.iter().any(|one| said.contains(&one.said));
        assert!(told, "{:?}", examined.problems);
    }
    assert_eq!(keys(), before);
    let right = RedisStore::examine(&Options::new(format!("{divided}&shards=3"), "test"));
    assert_eq!(right.unwrap().problems, []);
}

#[test]
fn schedules_have_one_name_over_all_shards() {
    let server = Server::volatile();
    let [one, other] = two(&server, "names");
    let schedule = |name: &str, owner: &str| {
        let mut spec = NewSchedule::cron("* * * * *").call("tool", &());
        (spec.name, spec.owner) = (name.into(), Owner::new(owner));
        Schedule::create(spec, one.clock().now())
    };
    block_on(async {
        let put = one.schedule_put(None, schedule("a", "local"), None).await;
        assert!(matches!(put, Ok(SchedulePut::Done { .. })));
        let put = other.schedule_put(None, schedule("a", "bob"), None).await;
        let Ok(SchedulePut::Stale(Some(there))) = put else {
            panic!("the name is taken: {put:?}");
        };
        assert_eq!(there.spec.owner, Owner::local());
        let version = Some(there.state.version);
        let moved = other
            .schedule_put(version, schedule("a", "bob"), None)
            .await;
        let said = moved.unwrap_err().to_string();
        assert!(said.contains("another shard"), "{said}");
        let put = other.schedule_put(None, schedule("b", "bob"), None).await;
        assert!(matches!(put, Ok(SchedulePut::Done { .. })));
        // At once, in two shards: one of them at most stays.
        for round in 0..20 {
            let name = format!("race {round}");
            let (first, second) = futures_util::future::join(
                one.schedule_put(None, schedule(&name, "local"), None),
                other.schedule_put(None, schedule(&name, "bob"), None),
            )
            .await;
            let done = [first.unwrap(), second.unwrap()];
            let done = done
                .iter()
                .filter(|put| matches!(put, SchedulePut::Done { .. }));
            let there = one.schedule_get(&name).await.unwrap();
            assert_eq!(done.count(), usize::from(there.is_some()), "{name}");
            one.schedule_delete(&name).await.unwrap();
        }
        let names = one.schedules().await.unwrap();
        let names: Vec<_> = names.iter().map(|one| one.spec.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(other.schedule_delete("a").await.unwrap());
        assert!(one.schedule_get("a").await.unwrap().is_none());
    });
}

/// Whether the shard of an owner answers through this store.
async fn answers(store: &dyn Archive, owner: &str) -> bool {
    store.create(of(owner), None).await.is_ok()
}

#[test]
fn a_node_that_dies_holds_up_no_other_shard() {
    let mut cluster = Cluster::quick();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let store = open(&cluster.address("spread"), SHARDS, clock);
    block_on(async {
        let by = by();
        let mut leases = Vec::new();
        for owner in ["local", "bob", "kim"] {
            let id = create(&*store, owner).await;
            let claimed = store.claim(&by, 1).await.unwrap().pop().unwrap();
            assert_eq!(claimed.lease.task, id);
            leases.push(claimed.lease);
        }
        // Its replica has everything by then.
        let number_behind = |word: &str| {
            let info = cluster.nodes[0].text(&["INFO", "replication"]);
            let (_, rest) = info.split_once(word)?;
            let digits = rest.split(|one: char| !one.is_ascii_digit()).next()?;
            digits.parse::<u64>().ok()
        };
        let written = number_behind("master_repl_offset:").unwrap();
        eventually("the replica has caught up", async || {
            number_behind(",offset=").filter(|received| *received >= written)
        })
        .await;
        cluster.kill_owner();
        // Shards lie on different nodes, so two go on, whether or not the third is back already. On a busy
        // machine nodes may take each other for dead for a moment.
        eventually("two of three answer", async || {
            let mut answering = 0;
            for owner in ["local", "bob", "kim"] {
                answering += usize::from(answers(&*store, owner).await);
            }
            (answering >= 2).then_some(())
        })
        .await;
        eventually("two of three are renewed", async || {
            let replies = store.heartbeat(leases.clone(), LEASE).await.ok()?;
            assert!(!replies.contains(&BeatReply::Lost), "{replies:?}");
            let held = replies.iter().filter(|reply| **reply == BeatReply::Held);
            (held.count() >= 2).then_some(())
        })
        .await;
        eventually("it ticks", async || {
            store.tick(&leases, LEASE, 9).await.ok()
        })
        .await;
        eventually("the replica has taken its place", async || {
            let replies = store.heartbeat(leases.clone(), LEASE).await.ok()?;
            replies
                .iter()
                .all(|reply| *reply == BeatReply::Held)
                .then_some(())
        })
        .await;
        for lease in leases {
            eventually("its end is stored", async || {
                store.finish(&lease, done(), None).await.ok()
            })
            .await;
        }
        eventually("all shards answer", async || store.stats().await.ok()).await;
        check_invariants(&*store).await;
    });
}
