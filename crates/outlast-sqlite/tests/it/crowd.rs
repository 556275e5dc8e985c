//! A crowd of tasks behind limits: nothing is written while they wait, and all of them finish.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::limit::{Control, Key, LimitKey, Rule};
use outlast_core::machine::AttemptEnd;
use outlast_core::store::{ClaimBy, Claimed, Reads, Store, ToolVersion};
use outlast_core::testing::{ManualClock, block_on, join_all};
use outlast_core::{Outcome, RawJson, TaskSpec, ToolResult};

use crate::support::{Files, open};

const CUSTOMERS: usize = 300;
const TASKS: usize = 3000;

fn spec(customer: usize) -> TaskSpec {
    let mut spec = TaskSpec::new("tool", RawJson::empty_object());
    spec.keys.limits = [("all", String::new()), ("customer", customer.to_string())]
        .into_iter()
        .map(|(rule, value)| LimitKey {
            key: Key::new(rule, value),
            while_suspended: false,
        })
        .collect();
    spec
}

/// Through two processes, so that the second builds everything again from the file.
#[test]
fn a_crowd_behind_limits_finishes_and_waits_for_nothing() {
    let files = Files::in_memory();
    let path = files.next_path();
    let clock = Arc::new(ManualClock::default());
    let tool = ToolVersion {
        tool: "tool".into(),
        version: "1".into(),
    };
    let by = ClaimBy {
        worker: WorkerId::random(),
        tools: Arc::new([tool].into()),
        lease: Duration::from_secs(30),
        suspects: true,
    };
    let mut finished = 0;
    let mut order: BTreeMap<String, u64> = BTreeMap::new();
    let mut begin = |claimed: &Claimed| {
        let state = &claimed.task.state;
        assert_eq!(state.version, 2, "waiting left no trace");
        let customer = claimed.task.spec.keys.limits[1].key.value.clone();
        let before = order.insert(customer, state.sequence);
        assert!(
            before.is_none_or(|before| before < state.sequence),
            "in order"
        );
    };
    block_on(async {
        let store = open(&path, Arc::clone(&clock) as Arc<_>);
        let rule = |name: &str, max| Control::Rule(name.into(), Some(Rule::Running(max)));
        let rules = vec![rule("all", 7), rule("customer", 1)];
        store.control(rules).await.unwrap();
        for from in (0..TASKS).step_by(250) {
            let calls = (from..from + 250).map(|n| store.create(spec(n % CUSTOMERS), None));
            for created in join_all(calls.collect::<Vec<_>>()).await {
                created.unwrap();
            }
        }
        let mut running = store.claim(&by, 100).await.unwrap();
        assert_eq!(running.len(), 7);
        running.iter().for_each(&mut begin);
        while finished < TASKS / 2 {
            let one = running.remove(0);
            let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text("done")));
            let reply = store.finish(&one.lease, end, Some(&by)).await.unwrap();
            finished += 1;
            let next = reply.next.expect("somebody always has room");
            begin(&next);
            running.push(next);
        }
        for one in running {
            let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text("done")));
            store.finish(&one.lease, end, None).await.unwrap();
            finished += 1;
        }
        drop(store);
        let store = open(&path, Arc::clone(&clock) as Arc<_>);
        loop {
            let running = store.claim(&by, 100).await.unwrap();
            if running.is_empty() {
                break;
            }
            assert!(running.len() <= 7);
            for one in running {
                begin(&one);
                let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text("done")));
                store.finish(&one.lease, end, None).await.unwrap();
                finished += 1;
            }
        }
        assert_eq!(finished, TASKS);
        let stats = store.stats().await.unwrap();
        assert_eq!(stats.phases().get("finished"), Some(&(TASKS as u64)));
    });
}
