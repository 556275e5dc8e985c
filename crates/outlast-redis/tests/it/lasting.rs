//! What stays: whatever a run of tests leaves behind expires by itself, but for what docs/scaling.md names and
//! what belongs to tasks that have not ended.

use std::sync::Arc;

use outlast_core::Clock;
use outlast_core::limit::{Control, Key, Rule};
use outlast_core::store::Store;
use outlast_core::testing::{ManualClock, block_on};

use crate::cost::{by, done, spec};
use crate::server::Server;

/// Keys of a store that never expire, and what families of them begin with, as docs/scaling.md has them.
const LASTING: [&str; 24] = [
    "all",
    "blobs",
    "clock",
    "controls",
    "counts",
    "due",
    "groups",
    "held",
    "kids",
    "meta",
    "opening",
    "own",
    "owners",
    "p",
    "paused",
    "processes",
    "rates",
    "rules",
    "sch",
    "schedules",
    "sequence",
    "waiting",
    "workers",
    "x",
];

/// What families of keys begin with that say who is next. They go with the last task, or when the gate that
/// tasks stood behind opens again.
const READY: [&str; 7] = ["r", "ro", "rp", "rg", "rf", "rx", "rb"];

/// Fails if a key never expires that must.
pub(crate) fn check(server: &Server) {
    let strange: Vec<_> = without_expiry(server)
        .into_iter()
        .filter(|key| !may_stay(server, key))
        .collect();
    assert!(
        strange.is_empty(),
        "these never expire, and no task needs them: {strange:#?}"
    );
}

/// All keys that never expire.
fn without_expiry(server: &Server) -> Vec<String> {
    let script = "local all = {} \
                  for _, key in ipairs(redis.call('KEYS', '*')) do \
                    if redis.call('PTTL', key) == -1 then all[#all + 1] = key end \
                  end \
                  return all";
    redis::from_redis_value(server.call(&["EVAL", script, "0"])).expect("names")
}

fn may_stay(server: &Server, key: &str) -> bool {
    let (prefix, name) = key.split_once("}:").expect("a prefix and a name");
    let family = name.split(':').next().unwrap_or_default();
    if LASTING.contains(&family) {
        return true;
    }
    if READY.contains(&family) {
        let size = |set: &str| server.call(&["ZCARD", &format!("{prefix}}}:{set}")]);
        let unfinished = ["scheduled", "queued", "blocked", "running", "suspended"];
        let sets = unfinished.map(|phase| format!("p:{phase}"));
        return sets
            .iter()
            .map(String::as_str)
            .chain(["opening"])
            .any(|set| size(set) != redis::Value::Int(0));
    }
    // A finished task that still holds limits is looked at again when it does not.
    let is_needed = |id: &str| {
        let task = format!("{prefix}}}:t:{id}");
        let fields = server.call(&["HMGET", &task, "phase", "held_over"]);
        let fields: Vec<Option<String>> = redis::from_redis_value(fields).expect("two fields");
        match &fields[..] {
            [Some(phase), Some(held_over)] => phase != "finished" || !held_over.is_empty(),
            _ => false,
        }
    };
    if family == "same" {
        // It names the task that calls of the same work join, and goes with its end.
        let named: String = redis::from_redis_value(server.call(&["GET", key])).unwrap_or_default();
        return named.get(..36).is_some_and(is_needed);
    }
    // What belongs to one task has its id in its name.
    name.split(':')
        .filter(|part| part.len() == 36)
        .any(is_needed)
}

#[test]
fn nothing_is_left_behind_a_rate_that_was_taken_back() {
    let server = Server::volatile();
    let store = crate::server::open(
        &server.address("rate"),
        Arc::new(ManualClock::default()) as Arc<dyn Clock>,
    );
    block_on(async {
        let rule = |rate: Option<&str>| {
            let rate = rate.map(|rate| Rule::Rate(rate.parse().unwrap()));
            vec![Control::Rule("often".into(), rate)]
        };
        store.control(rule(Some("1/h"))).await.unwrap();
        for _ in 0..2 {
            let mut spec = spec();
            spec.keys.rates = vec![Key::new("often", "")];
            store.create(spec, None).await.unwrap();
        }
        // The second is parked behind the rate.
        let mut claimed = store.claim(&by(), 2).await.unwrap();
        assert_eq!(claimed.len(), 1);
        store.control(rule(None)).await.unwrap();
        claimed.extend(store.claim(&by(), 2).await.unwrap());
        assert_eq!(claimed.len(), 2);
        for one in claimed {
            store.finish(&one.lease, done(), None).await.unwrap();
        }
        let left = server.call(&["KEYS", "{rate}:rb:*"]);
        assert_eq!(left, redis::Value::Array(Vec::new()));
    });
}
