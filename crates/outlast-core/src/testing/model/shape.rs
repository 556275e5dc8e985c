//! The calls of this world.

use std::time::Duration;

use super::world::{KEYS, RULES, TASKS, TOOLS, moment, task_id};
use crate::clock::Timestamp;
use crate::id::Owner;
use crate::json::RawJson;
use crate::limit::{Key, Keys, LimitKey};
use crate::machine::Dependency;
use crate::same::{IdempotencyKey, Same, Then};
use crate::task::TaskSpec;
use crate::testing::Random;
use crate::webhook::{Receiver, Webhook, WebhookEvent};

/// The parts of a call that matter to a store.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) tool: &'static str,
    pub(super) version: &'static str,
    pub(super) owner: &'static str,
    priority: i16,
    run_in: Option<Duration>,
    pub(super) after: Vec<(u64, bool)>,
    ttl: Option<Duration>,
    retention: Duration,
    max_age: Duration,
    queue_timeout: Option<Duration>,
    no_worker_timeout: Option<Duration>,
    max_crashes: u32,
    repeatable: bool,
    confirmed_by: Option<&'static str>,
    keys: Keys,
    idempotency: Option<IdempotencyKey>,
    pub(super) same: Option<Same>,
    webhooks: Vec<Webhook>,
}

impl Shape {
    pub(super) fn spec(&self, task: u64, now: Timestamp) -> TaskSpec {
        TaskSpec {
            id: task_id(task),
            tool_version: self.version.into(),
            owner: Owner::new(self.owner),
            priority: self.priority,
            run_at: self.run_in.map(|wait| now + wait),
            after: self.after.iter().map(dependency).collect(),
            ttl: self.ttl,
            retention: self.retention,
            max_age: self.max_age,
            queue_timeout: self.queue_timeout,
            no_worker_timeout: self.no_worker_timeout,
            max_crashes: self.max_crashes,
            repeatable: self.repeatable,
            confirmed_by: self.confirmed_by.map(str::to_owned),
            keys: self.keys.clone(),
            idempotency: self.idempotency.clone(),
            same: self.same.clone(),
            webhooks: self.webhooks.clone(),
            ..TaskSpec::new(self.tool, RawJson::empty_object())
        }
    }

    pub(super) fn draw(random: &mut Random) -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            tool: random.pick(&["a", "a", "a", "b", TOOLS[2]]),
            version: if random.one_in(5) { "2" } else { "1" },
            owner: if random.one_in(5) { "ann" } else { "local" },
            priority: random.pick(&[0, 0, 0, 1, -1, i16::MAX]),
            run_in: random.one_in(5).then(|| moment(random)),
            after: if random.one_in(3) {
                (0..random.below(4))
                    .map(|_| (random.below(TASKS), random.one_in(2)))
                    .collect()
            } else {
                Vec::new()
            },
            ttl: random.one_in(4).then(|| moment(random)),
            retention: if random.one_in(3) {
                moment(random)
            } else {
                day
            },
            max_age: if random.one_in(4) {
                moment(random)
            } else {
                30 * day
            },
            queue_timeout: random.one_in(6).then(|| moment(random)),
            no_worker_timeout: random.one_in(6).then(|| moment(random)),
            max_crashes: random.pick(&[1, 2, 3, u32::MAX]),
            repeatable: !random.one_in(4),
            confirmed_by: random.one_in(3).then(|| random.pick(&KEYS)),
            keys: limit_keys(random),
            idempotency: random.one_in(5).then(|| IdempotencyKey {
                key: random.pick(&KEYS[..2]).into(),
                window: moment(random),
                digest: random.pick(&["1", "1", "2"]).into(),
            }),
            same: random.one_in(4).then(|| Same {
                key: random.pick(&KEYS[..2]).into(),
                then: then(random),
            }),
            webhooks: webhooks(random),
        }
    }
}

pub(super) fn then(random: &mut Random) -> Then {
    match random.below(3) {
        0 => Then::Join,
        1 => Then::Replace,
        _ => Then::Debounce {
            delay: moment(random),
            at_most: random.one_in(2).then(|| moment(random)),
        },
    }
}

fn dependency((task, success): &(u64, bool)) -> Dependency {
    match success {
        true => Dependency::success(task_id(*task)),
        false => Dependency::any_end(task_id(*task)),
    }
}

fn limit_keys(random: &mut Random) -> Keys {
    if random.one_in(2) {
        return Keys::default();
    }
    let mut keys = |most| -> Vec<Key> {
        (0..random.below(most))
            .map(|_| Key::new(random.pick(&RULES), random.pick(&["", "", "v"])))
            .collect()
    };
    let (mut limits, rates, quotas) = (keys(3), keys(2), keys(2));
    limits.sort();
    limits.dedup();
    Keys {
        limits: limits
            .into_iter()
            .map(|key| LimitKey {
                key,
                while_suspended: random.one_in(3),
            })
            .collect(),
        rates,
        quotas,
    }
}

fn webhooks(random: &mut Random) -> Vec<Webhook> {
    if !random.one_in(4) {
        return Vec::new();
    }
    let one = |random: &mut Random| Webhook {
        to: Receiver::Server(random.pick(&KEYS).into()),
        events: WebhookEvent::ALL
            .into_iter()
            .filter(|_| !random.one_in(4))
            .collect(),
    };
    (0..1 + random.below(2)).map(|_| one(random)).collect()
}
