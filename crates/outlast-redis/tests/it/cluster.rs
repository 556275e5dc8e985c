//! A store in a cluster: found at whatever node has its slot, and whole while that moves.

use std::sync::Arc;

use async_trait::async_trait;
use outlast_core::Clock;
use outlast_core::store::{Reads, Store};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{Fixture, ManualClock, Reopened, block_on, conformance, eventually};
use outlast_redis::{Options, RedisStore};

use crate::cost::{by, done, spec};
use crate::fleet::{Cluster, Node, Watched};
use crate::server::open;

/// Stores on one cluster.
struct Stores(Cluster);

#[async_trait]
impl Fixture for Stores {
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        Arc::new(open(&self.0.next_address(), clock))
    }

    async fn reopen(&self, store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Reopened {
        let location = store.info().location;
        let prefix = location.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(Arc::strong_count(&store), 1, "nobody else uses it");
        store.close().await.expect("it closes");
        drop(store);
        Reopened::Next(Arc::new(open(&self.0.address(&prefix), clock)))
    }
}

#[test]
fn a_store_in_a_cluster_passes_the_conformance_suite() {
    block_on(conformance(Stores(Cluster::patient())));
}

#[test]
fn while_a_slot_moves_nothing_is_half_done() {
    let cluster = Cluster::patient();
    let prefix = cluster.prefix_of_first();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let store = open(&cluster.address(&prefix), clock);
    let (from, to) = (&cluster.nodes[0], &cluster.nodes[1]);
    let slot = cluster.slot_of(&prefix).to_string();
    let [from_id, to_id] = [from, to].map(|node| node.text(&["CLUSTER", "MYID"]));
    let to_port = to.port.to_string();
    // Moves some keys; `false` if there are no more.
    let move_keys = |count: &str| {
        let keys = from.list(&["CLUSTER", "GETKEYSINSLOT", &slot, count]);
        let mut words = vec!["MIGRATE", "127.0.0.1", &to_port, "", "0", "60000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        !keys.is_empty() && {
            from.call(&words);
            true
        }
    };
    block_on(async {
        let first = store.create(spec(), None).await.unwrap().task.id();
        let lease = store.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
        to.call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        from.call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        assert!(move_keys("5"), "there are some");
        let asked = spec();
        let error = store.create(asked.clone(), None).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("on its way"), "{error}");
        let error = store.finish(&lease, done(), None).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        // Whoever comes now waits as well, and does not begin a second store beside the first.
        let late = RedisStore::open(Options::new(cluster.address(&prefix), "test"));
        assert!(late.unwrap_err().is_retryable());
        while move_keys("100") {}
        for node in [to, from, &cluster.nodes[2]] {
            node.call(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
        eventually("it has arrived", async || store.stats().await.ok()).await;
        assert!(
            store.get(asked.id).await.unwrap().is_none(),
            "nothing of it was done"
        );
        let task = store.get(first).await.unwrap().unwrap();
        assert_eq!(task.lease(), Some(lease));
        store.finish(&lease, done(), None).await.unwrap();
        store.create(asked, None).await.unwrap();
        check_invariants(&store).await;
    });
}

fn refused(address: &str) -> String {
    let opened = RedisStore::open(Options::new(address, "test"));
    opened.expect_err("it cannot be opened").to_string()
}

#[test]
fn who_is_named_for_another_is_told_apart() {
    let cluster = Cluster::patient();
    let prefix = cluster.prefix_of_first();
    let (other, port) = (&cluster.nodes[1], cluster.nodes[1].port);
    let said = refused(&format!(
        "redis://127.0.0.1:{port}?volatile=true&prefix={prefix}"
    ));
    assert!(said.contains("redis+cluster://"), "{said}");
    let said = refused(&format!("redis+sentinel://127.0.0.1:{}/main", other.port));
    assert!(said.contains("is no sentinel"), "{said}");
    let alone = Node::with(&["--save", ""]);
    let said = refused(&format!("redis+cluster://127.0.0.1:{}", alone.port));
    assert!(said.contains("no node of a cluster"), "{said}");
}

#[test]
fn sentinels_have_a_password_of_their_own() {
    let watched = Watched::with_passwords("s/1", "p@2");
    let right = watched.address("kept").replace("://", "://:p%402@");
    let right = format!("{right}&sentinel_password=s%2F1");
    let store = RedisStore::open(Options::new(&right, "test")).unwrap();
    block_on(store.create(spec(), None)).unwrap();
    let location = store.info().location;
    assert!(
        ["%40", "p@", "%2F1", "s/1"]
            .iter()
            .all(|part| !location.contains(part)),
        "{location}"
    );
    for (right_word, wrong) in [("p%402", "other"), ("s%2F1", "other")] {
        let said = refused(&right.replace(right_word, wrong));
        assert!(
            said.contains("refuses the user name or the password"),
            "{said}"
        );
    }
    let said = refused(&right.replace("/main", "/unknown"));
    assert!(said.contains("\"unknown\""), "{said}");
}
