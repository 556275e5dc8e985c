//! What tasks cost Redis in memory and in time, for the figures in `docs/scaling.md`.
//!
//! `cargo nextest run -p outlast-redis --run-ignored only size` prints them; `OUTLAST_TASKS` sets how many
//! tasks (100,000).

use std::time::Instant;

use outlast_core::RawJson;
use outlast_core::store::{ClaimNow, Reads, Store};
use outlast_core::testing::{block_on, count, join_all};
use outlast_core::{JournalKind, Recorded, TaskSpec};
use outlast_redis::{Options, RedisStore};

use crate::cost::{by, done, spec};
use crate::server::Server;

/// A line of INFO.
fn info(server: &Server, section: &str, name: &str) -> String {
    let text = match server.call(&["INFO", section]) {
        redis::Value::BulkString(text) => String::from_utf8(text).unwrap(),
        redis::Value::VerbatimString { text, .. } => text,
        other => panic!("{other:?}"),
    };
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim_start_matches(':').to_owned()
}

fn used(server: &Server) -> u64 {
    info(server, "memory", "used_memory:").parse().unwrap()
}

/// Calls of scripts so far, and the microseconds they took.
fn scripts(server: &Server) -> (u64, u64) {
    let line = info(server, "commandstats", "cmdstat_evalsha:");
    let field = |name: &str| {
        let found = line.split(',').find_map(|field| field.strip_prefix(name));
        found.map_or(0, |figure| figure.parse().unwrap())
    };
    (field("calls="), field("usec="))
}

#[test]
#[ignore = "prints figures and asserts little; takes minutes"]
fn tasks_in_memory_and_time() {
    let tasks = count("OUTLAST_TASKS", 100_000);
    let server = Server::volatile();
    let address = server.address("size");
    let store = RedisStore::open(Options::new(address, "test")).unwrap();
    let arguments = RawJson::of(&serde_json::json!({"path": "/srv/data/report.csv", "pages": 12}));
    let arguments = arguments.unwrap();
    let call = || TaskSpec::new("tool", arguments.clone());
    block_on(async {
        let empty = used(&server);
        let (before, begun) = (scripts(&server), Instant::now());
        join_all((0..16).map(|_| async {
            for _ in 0..tasks / 16 {
                store.create(call(), None).await.unwrap();
            }
        }))
        .await;
        let (after, made) = (scripts(&server), tasks / 16 * 16);
        let queued = used(&server);
        println!("{made} queued: {} bytes a task", (queued - empty) / made);
        println!(
            "create: {} us of script time, {:.0} a second",
            (after.1 - before.1) / made,
            made as f64 / begun.elapsed().as_secs_f64()
        );
        let (before, begun) = (scripts(&server), Instant::now());
        join_all((0..16).map(|_| async {
            let by = by();
            let mut next = store.claim(&by, 1).await.unwrap().pop();
            while let Some(claimed) = next {
                next = store
                    .finish(&claimed.lease, done(), Some(&by))
                    .await
                    .unwrap()
                    .next;
            }
        }))
        .await;
        let after = scripts(&server);
        let finished = used(&server);
        println!(
            "{made} finished: {} bytes a task",
            (finished - empty) / made
        );
        println!(
            "end and next claim: {} us of script time, {:.0} a second",
            (after.1 - before.1) / made,
            made as f64 / begun.elapsed().as_secs_f64()
        );
        let begun = Instant::now();
        assert_eq!(store.stats().await.unwrap().phases()["finished"], made);
        println!("stats: {:?}", begun.elapsed());

        // One lifecycle at a time, as calls that are claimed with their creation.
        let (before, begun, rounds) = (scripts(&server), Instant::now(), 2_000);
        let trips = store.round_trips();
        for _ in 0..rounds {
            let now = Some(ClaimNow::IfNext(by()));
            let created = store.create(spec(), now).await.unwrap();
            let lease = created.lease.unwrap();
            store.finish(&lease, done(), None).await.unwrap();
            store.get(lease.task).await.unwrap().unwrap();
        }
        let after = scripts(&server);
        println!(
            "lifecycle beside {made} finished: {} round trips, {} us of script time, {:?}",
            (store.round_trips() - trips) / rounds,
            (after.1 - before.1) / rounds as u64,
            begun.elapsed() / rounds as u32
        );
        let lease = store
            .create(spec(), Some(ClaimNow::IfNext(by())))
            .await
            .unwrap();
        let lease = lease.lease.unwrap();
        let before = scripts(&server);
        for number in 0..1_000 {
            let value = Recorded::Value(RawJson::of(&number).unwrap());
            let name = format!("step {number}");
            let put = store.journal_put(&lease, JournalKind::Step, &name, None, value, None);
            put.await.unwrap();
        }
        println!(
            "step: {} us of script time",
            (scripts(&server).1 - before.1) / 1_000
        );
    });
}
