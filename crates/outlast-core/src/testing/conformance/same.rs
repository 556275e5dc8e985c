//! Calls that mean the same: idempotency keys, joining, replacing, debouncing.

use std::time::Duration;

use super::rig::{Forked, Rig, done, json, of, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::event::EventKind;
use crate::id::{Owner, TaskId};
use crate::limit::{Control, Key, LimitKey, Rule};
use crate::machine::{CancelMode, Dependency};
use crate::outcome::Outcome;
use crate::same::{IdempotencyKey, Same, Then};
use crate::status::Phase;
use crate::store::{Created, Filter, ToolVersion};
use crate::task::{ReplyTo, TaskSpec};
use crate::testing::join_all;
use crate::webhook::{MAX_RECEIVERS, Receiver, Webhook, WebhookEvent};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

fn named(key: &str, digest: &str) -> TaskSpec {
    TaskSpec {
        idempotency: Some(IdempotencyKey {
            key: key.into(),
            window: HOUR,
            digest: digest.into(),
        }),
        ..spec()
    }
}

fn same(key: &str, then: Then) -> TaskSpec {
    TaskSpec {
        same: Some(Same {
            key: key.into(),
            then,
        }),
        ..spec()
    }
}

fn debounce(arguments: &str, at_most: Option<Duration>) -> TaskSpec {
    TaskSpec {
        arguments: json(arguments),
        ..same(
            "k",
            Then::Debounce {
                delay: 10 * SECOND,
                at_most,
            },
        )
    }
}

async fn create(rig: &Rig, spec: TaskSpec) -> Created {
    rig.store.create(spec, None).await.unwrap()
}

pub(super) async fn a_key_means_its_task(rig: Rig) -> Rig {
    let first = create(&rig, named("k", "1")).await;
    assert!(!first.joined);
    let again = rig.store.create(named("k", "1"), rig.if_next()).await;
    let again = again.unwrap();
    assert!(again.joined && again.lease.is_none());
    assert_eq!(again.task.id(), first.task.id());
    let refused = named("k", "2");
    let id = refused.id;
    match rig.store.create(refused, None).await {
        Err(Error::KeyReused { key, task }) => {
            assert_eq!((key.as_str(), task), ("k", first.task.id()));
        }
        other => panic!("other arguments under the same key: {other:?}"),
    }
    assert!(rig.store.get(id).await.unwrap().is_none());
    // Finished or not, and apart by owner and tool.
    let lease = rig.claim_one().await.lease;
    rig.finish(&lease).await;
    assert!(create(&rig, named("k", "1")).await.joined);
    let mut other = named("k", "1");
    other.owner = Owner::new("ann");
    assert!(!create(&rig, other).await.joined);
    let mut other = named("k", "1");
    other.tool = "other".into();
    assert!(!create(&rig, other).await.joined);
    rig
}

pub(super) async fn a_key_lasts_its_window(rig: Rig) -> Rig {
    let mut short = named("k", "1");
    short.retention = SECOND;
    let (first, lease) = rig.run_spec(short).await;
    rig.finish(&lease).await;
    rig.advance(HOUR - SECOND);
    rig.tick().await;
    let again = create(&rig, named("k", "1")).await;
    assert_eq!(again.task.id(), first, "it is kept as long as its key");
    rig.advance(SECOND);
    rig.tick().await;
    let other = create(&rig, named("k", "2")).await;
    assert!(!other.joined, "the key is free again");
    assert_ne!(other.task.id(), first);
    rig
}

pub(super) async fn a_deleted_task_frees_its_key(rig: Rig) -> Rig {
    let (first, lease) = rig.run_spec(named("k", "1")).await;
    rig.finish(&lease).await;
    assert!(rig.store.delete(first).await.unwrap());
    assert!(!create(&rig, named("k", "2")).await.joined);
    rig
}

pub(super) async fn of_many_calls_one_makes_the_task(rig: Rig) -> Rig {
    let calls: Vec<_> = (0..20)
        .map(|_| rig.store.create(named("k", "1"), rig.if_next()))
        .collect();
    let created: Vec<_> = join_all(calls).await;
    let created: Vec<Created> = created.into_iter().map(Result::unwrap).collect();
    assert_eq!(created.iter().filter(|one| !one.joined).count(), 1);
    assert!(
        created
            .iter()
            .all(|one| one.task.id() == created[0].task.id())
    );
    rig
}

pub(super) async fn a_call_joins_unfinished_work(rig: Rig) -> Rig {
    let join = || same("work", Then::Join);
    let first = create(&rig, join()).await.task.id();
    assert_eq!(create(&rig, join()).await.task.id(), first);
    let lease = rig.claim_one().await.lease;
    let joined = create(&rig, join()).await;
    assert!(joined.joined && joined.task.state.phase == Phase::Running);
    assert!(!create(&rig, same("other", Then::Join)).await.joined);
    rig.finish(&lease).await;
    let second = create(&rig, join()).await;
    assert!(!second.joined, "the work is done");
    // A key that came with a joined call means the joined task.
    let mut keyed = join();
    keyed.idempotency = named("k", "1").idempotency;
    assert_eq!(create(&rig, keyed).await.task.id(), second.task.id());
    assert_eq!(
        create(&rig, named("k", "1")).await.task.id(),
        second.task.id()
    );
    rig
}

pub(super) async fn a_newer_call_replaces_the_older(rig: Rig) -> Rig {
    let replace = || same("work", Then::Replace);
    let first = create(&rig, replace()).await.task.id();
    let second = create(&rig, replace()).await.task.id();
    match rig.task(first).await.outcome.as_deref() {
        Some(Outcome::Cancelled { reason }) => {
            assert_eq!(
                reason.as_deref(),
                Some(format!("replaced by task {second}").as_str())
            );
        }
        other => panic!("the older one is cancelled: {other:?}"),
    }
    let lease = rig.claim_one().await.lease;
    assert_eq!(lease.task, second);
    let third = create(&rig, replace()).await.task.id();
    assert!(
        rig.task(second).await.state.cancel.is_some(),
        "asked to stop"
    );
    assert_eq!(rig.phase(third).await, Phase::Queued);
    let second = rig.finish(&lease).await;
    assert!(matches!(
        second.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
    rig
}

pub(super) async fn a_replacement_takes_the_place_in_the_queue(rig: Rig) -> Rig {
    let rule = Control::Rule("q".into(), Some(Rule::Queued(1)));
    rig.store.control(vec![rule]).await.unwrap();
    let replace = || {
        let mut spec = same("work", Then::Replace);
        spec.keys.quotas = vec![Key::new("q", "")];
        spec
    };
    let first = create(&rig, replace()).await.task.id();
    let second = create(&rig, replace()).await.task.id();
    assert_eq!(rig.phase(first).await, Phase::Finished);
    let mut other = replace();
    other.same = None;
    assert!(rig.store.create(other, None).await.is_err());
    assert_eq!(rig.phase(second).await, Phase::Queued);
    rig
}

pub(super) async fn a_replacement_cannot_come_after_what_it_ends(rig: Rig) -> Rig {
    let replace = |after: Vec<Dependency>| TaskSpec {
        after,
        ..same("work", Then::Replace)
    };
    let after = |after: Vec<Dependency>| TaskSpec { after, ..spec() };
    let (old, lease) = rig.run_spec(replace(Vec::new())).await;
    let spawned = of("child");
    let child = spawned.id;
    let entry = rig.store.spawn(&lease, "child", None, spawned, false);
    entry.await.unwrap();
    let behind = create(&rig, after(vec![Dependency::success(old)])).await;
    let behind = create(&rig, after(vec![Dependency::success(behind.task.id())])).await;
    let free = create(&rig, after(vec![Dependency::any_end(old)])).await;
    for named in [old, behind.task.id(), child] {
        for edge in [Dependency::success(named), Dependency::any_end(named)] {
            let refused = replace(vec![edge]);
            let id = refused.id;
            let error = rig.store.create(refused, None).await.unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{error}");
            assert!(error.to_string().contains(&named.to_string()), "{error}");
            assert!(rig.store.get(id).await.unwrap().is_none());
        }
    }
    let untouched = rig.task(old).await;
    assert!(untouched.state.cancel.is_none() && !untouched.is_finished());
    // What only waits for its end lives on.
    let edge = Dependency::success(free.task.id());
    let newer = create(&rig, replace(vec![edge])).await.task.id();
    assert!(rig.task(old).await.state.cancel.is_some());
    rig.finish(&lease).await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), free.task.id());
    rig.finish(&claimed.lease).await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), newer);
    rig.finish(&claimed.lease).await;
    rig
}

pub(super) async fn the_last_arguments_win(rig: Rig) -> Rig {
    let first = create(&rig, debounce(r#"{"n":1}"#, None)).await;
    assert_eq!(first.task.state.phase, Phase::Scheduled);
    rig.advance(9 * SECOND);
    rig.tick().await;
    let second = create(&rig, debounce(r#"{"n":2}"#, None)).await;
    assert!(second.joined);
    assert_eq!(second.task.id(), first.task.id());
    assert_eq!(
        second.task.state.run_at,
        Some(rig.clock.now() + 10 * SECOND)
    );
    rig.advance(9 * SECOND);
    rig.tick().await;
    assert_eq!(rig.claim_all().await, [], "the delay began again");
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    rig.advance(SECOND);
    rig.tick().await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), first.task.id());
    assert_eq!(claimed.task.spec.arguments, json(r#"{"n":2}"#));
    let events = rig.events(first.task.id()).await;
    assert!(
        events
            .iter()
            .any(|event| matches!(event.kind, EventKind::Postponed { .. }))
    );
    // It has started: the next call is another one.
    let third = create(&rig, debounce(r#"{"n":3}"#, None)).await;
    assert!(!third.joined);
    rig
}

pub(super) async fn a_delay_has_an_end(rig: Rig) -> Rig {
    let at_most = Some(25 * SECOND);
    let first = create(&rig, debounce("{}", at_most)).await;
    let latest = first.task.state.created_at + 25 * SECOND;
    let mut last = first.task;
    for _ in 0..4 {
        rig.advance(8 * SECOND);
        last = create(&rig, debounce("{}", at_most)).await.task;
        if last.state.phase == Phase::Queued {
            break;
        }
        assert!(last.state.run_at.is_some_and(|at| at <= latest));
    }
    rig.advance(SECOND);
    rig.tick().await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), last.id());

    // A caller who names a moment does not put off: it is not before that moment, however late that is.
    create(&rig, debounce("{}", at_most)).await;
    let tomorrow = rig.clock.now() + 86_400 * SECOND;
    let mut named = debounce("{}", at_most);
    named.run_at = Some(tomorrow);
    let joined = create(&rig, named).await;
    assert!(joined.joined);
    assert_eq!(joined.task.state.run_at, Some(tomorrow));
    rig
}

/// A call that is taken over is taken over whole: who may run beside it, when, and for whom.
pub(super) async fn the_newest_call_is_taken_over_whole(rig: Rig) -> Rig {
    let rules = [("one", Rule::Running(1)), ("q", Rule::Queued(1))];
    let rules = rules.map(|(name, rule)| Control::Rule(name.into(), Some(rule)));
    rig.store.control(rules.into()).await.unwrap();
    let keyed = |value: &str| {
        let mut spec = debounce("{}", None);
        spec.keys.limits = vec![LimitKey {
            key: Key::new("one", value),
            while_suspended: false,
        }];
        spec.keys.quotas = vec![Key::new("q", value)];
        spec
    };
    let busy = TaskSpec {
        same: None,
        ..keyed("2")
    };
    let (_, busy) = rig.run_spec(busy).await;
    let older = TaskSpec {
        labels: [("of".to_owned(), "1".to_owned())].into(),
        ..keyed("1")
    };
    let first = create(&rig, older).await.task;
    let newest = TaskSpec {
        sealed: Some("2".into()),
        tool_version: "2".into(),
        priority: 2,
        reply_to: Some(ReplyTo {
            session: "2".into(),
            progress_token: None,
        }),
        labels: [("of".to_owned(), "2".to_owned())].into(),
        queue_timeout: Some(HOUR),
        max_crashes: 7,
        ..keyed("2")
    };
    let task = create(&rig, newest.clone()).await.task;
    assert_eq!(task.id(), first.id());
    let kept = TaskSpec {
        id: first.id(),
        sealed_for: Some(newest.id),
        ..newest.clone()
    };
    assert_eq!(*task.spec, kept);
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    assert_eq!(*rig.task(first.id()).await.spec, kept);
    let labelled = |value: &str| Filter {
        labels: [("of".to_owned(), value.to_owned())].into(),
        ..Filter::default()
    };
    for (value, found) in [("1", 0), ("2", 1)] {
        let page = rig.store.list(&labelled(value), None, 9).await.unwrap();
        assert_eq!(page.tasks.len(), found, "of {value}");
    }
    // It waits under the quota of the newest call, and no more under that of the first.
    let plain = |value| TaskSpec {
        same: None,
        ..keyed(value)
    };
    let full = rig.store.create(plain("2"), None).await;
    assert!(matches!(full, Err(Error::QueueFull { .. })), "{full:?}");
    let other = create(&rig, plain("1")).await.task;
    rig.advance(10 * SECOND);
    rig.tick().await;
    let mut by = rig.by();
    let tool = ToolVersion {
        tool: "tool".into(),
        version: "2".into(),
    };
    by.tools = std::sync::Arc::new([tool].into());
    assert!(
        rig.store.claim(&by, 9).await.unwrap().is_empty(),
        "it waits"
    );
    assert_eq!(rig.claim_one().await.task.id(), other.id());
    let reply = rig.store.finish(&busy, done("done"), Some(&by)).await;
    let next = reply.unwrap().next.expect("its key is free");
    assert_eq!(next.task.id(), first.id());
    rig.finish(&next.lease).await;
    rig
}

/// A task tells everybody whom any of the calls named that it has taken in, and each once.
pub(super) async fn whoever_was_taken_in_is_told_too(mut rig: Rig) -> Rig {
    let of_call = |spec: TaskSpec, wanted: u64| TaskSpec {
        webhooks: vec![
            Webhook {
                to: Receiver::Server("ops".into()),
                events: WebhookEvent::ALL.into(),
            },
            Webhook {
                to: Receiver::Call {
                    origin: "https://me.example".into(),
                    sealed: format!("sealed {wanted}"),
                    sealed_for: spec.id,
                },
                events: [WebhookEvent::Completed].into(),
            },
        ],
        ..spec
    };
    let debounced = Then::Debounce {
        delay: SECOND,
        at_most: None,
    };
    for (key, then) in [("joined", Then::Join), ("debounced", debounced)] {
        let call = |wanted| of_call(same(key, then), wanted);
        let first = call(1);
        let task = create(&rig, first.clone()).await.task;
        let second = call(2);
        // Its answer may be lost, and the call made again.
        for _ in 0..2 {
            let joined = create(&rig, second.clone()).await.task;
            assert_eq!(joined.id(), task.id());
        }
        let mut wanted = first.webhooks.clone();
        wanted.push(second.webhooks[1].clone());
        let (Forked::Reopened(forked) | Forked::Same(forked)) = rig.fork().await;
        rig = forked;
        assert_eq!(rig.task(task.id()).await.spec.webhooks, wanted);

        rig.advance(SECOND);
        rig.tick().await;
        let claimed = rig.claim_one().await;
        assert_eq!(claimed.task.id(), task.id());
        rig.finish(&claimed.lease).await;
        let ended = rig.task(task.id()).await;
        let told: Vec<_> = ended
            .state
            .deliveries
            .iter()
            .map(|one| one.webhook)
            .collect();
        assert_eq!(told, [0, 1, 2]);
    }
    // One task can have so many only; a call that brings more is work of its own.
    let call = |wanted| of_call(same("many", Then::Join), wanted);
    let task = create(&rig, call(0)).await.task;
    for wanted in 1..MAX_RECEIVERS as u64 - 1 {
        let joined = create(&rig, call(wanted)).await.task;
        assert_eq!(joined.id(), task.id());
    }
    assert_eq!(rig.task(task.id()).await.spec.webhooks.len(), MAX_RECEIVERS);
    let without = create(&rig, same("many", Then::Join)).await.task;
    assert_eq!(without.id(), task.id(), "it brings none");
    let other = create(&rig, call(99)).await.task;
    assert_ne!(other.id(), task.id());
    rig
}

/// Whoever joined a task under a key finds it as long as the key lasts, as do those who asked for a
/// `ttl`.
pub(super) async fn a_key_of_a_joined_call_lasts_its_window(mut rig: Rig) -> Rig {
    let second = SECOND;
    let debounced = Then::Debounce {
        delay: second,
        at_most: None,
    };
    for (then, ttl) in [
        (Then::Join, None),
        (debounced, None),
        (Then::Join, Some(2 * HOUR)),
    ] {
        let brief = || TaskSpec {
            retention: second,
            ..same("work", then)
        };
        let first = create(&rig, brief()).await.task.id();
        let mut keyed = brief();
        keyed.idempotency = named("k", "1").idempotency;
        keyed.ttl = ttl;
        rig.advance(second / 2);
        let joined = rig.clock.now();
        assert_eq!(create(&rig, keyed.clone()).await.task.id(), first);
        rig.advance(second);
        rig.tick().await;
        let lease = rig.claim_one().await.lease;
        let task = rig.finish(&lease).await;
        let until = joined + ttl.unwrap_or(HOUR);
        assert_eq!(task.state.expire_at, Some(until));
        let (Forked::Reopened(next) | Forked::Same(next)) = rig.fork().await;
        rig = next;
        rig.advance(HOUR - 2 * second);
        rig.tick().await;
        keyed.id = TaskId::random();
        assert_eq!(create(&rig, keyed).await.task.id(), first, "{then:?}");
        rig.advance(2 * HOUR);
        rig.tick().await;
        assert!(rig.store.get(first).await.unwrap().is_none());
    }
    rig
}

/// Whoever calls while the same work is being cancelled wants it done: a task that can only end
/// cancelled is none to join.
pub(super) async fn a_task_that_is_being_cancelled_is_not_joined(rig: Rig) -> Rig {
    let join = || same("work", Then::Join);
    let (first, lease) = rig.run_spec(join()).await;
    let patience = CancelMode::Ask(HOUR);
    rig.store.cancel(first, None, patience).await.unwrap();
    let second = create(&rig, join()).await;
    assert!(!second.joined);
    assert_eq!(create(&rig, join()).await.task.id(), second.task.id());
    let ended = rig.finish(&lease).await;
    assert!(matches!(
        ended.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
    // The end of the older one does not make the work forgotten.
    assert_eq!(create(&rig, join()).await.task.id(), second.task.id());
    assert_eq!(rig.claim_one().await.task.id(), second.task.id());
    rig
}

/// A creation may end at once; the work that is under way is not forgotten for it.
pub(super) async fn what_ends_with_its_creation_takes_no_key(rig: Rig) -> Rig {
    let join = || same("k", Then::Join);
    let cancelled = rig.create().await;
    let at_once = CancelMode::Ask(HOUR);
    rig.store.cancel(cancelled, None, at_once).await.unwrap();
    let (running, lease) = rig.run_spec(join()).await;
    // It has started, so a call that is postponed makes a task of its own.
    let stillborn = TaskSpec {
        after: vec![Dependency::success(cancelled)],
        ..debounce("{}", None)
    };
    let stillborn = create(&rig, stillborn).await;
    assert!(!stillborn.joined && stillborn.task.is_finished());
    assert_eq!(create(&rig, join()).await.task.id(), running);
    rig.finish(&lease).await;
    assert!(!create(&rig, join()).await.joined);
    rig
}

/// The time to be started in counts from when a task stands ready for good.
pub(super) async fn what_is_postponed_does_not_stand_ready(rig: Rig) -> Rig {
    let call = || TaskSpec {
        queue_timeout: Some(5 * SECOND),
        ..debounce("{}", None)
    };
    let first = create(&rig, call()).await.task.id();
    rig.advance(10 * SECOND);
    rig.tick().await;
    assert_eq!(rig.phase(first).await, Phase::Queued);
    rig.advance(SECOND);
    assert_eq!(create(&rig, call()).await.task.id(), first);
    rig.advance(9 * SECOND);
    rig.tick().await;
    assert_eq!(rig.phase(first).await, Phase::Scheduled);
    rig.advance(SECOND);
    rig.tick().await;
    rig.advance(4 * SECOND);
    rig.tick().await;
    assert_eq!(rig.phase(first).await, Phase::Queued);
    rig.advance(SECOND);
    rig.tick().await;
    assert_eq!(rig.phase(first).await, Phase::Finished, "nobody started it");
    rig
}

/// A task whose delay is over and that still waits for another has not started.
pub(super) async fn what_is_blocked_is_postponed_too(rig: Rig) -> Rig {
    let (other, lease) = rig.run().await;
    let call = |n: u32| TaskSpec {
        after: vec![Dependency::success(other)],
        ..debounce(&format!(r#"{{"n":{n}}}"#), None)
    };
    let first = create(&rig, call(1)).await.task.id();
    rig.advance(10 * SECOND);
    rig.tick().await;
    assert_eq!(rig.phase(first).await, Phase::Blocked);
    let second = create(&rig, call(2)).await;
    assert!(second.joined);
    assert_eq!(second.task.id(), first);
    assert_eq!(second.task.state.phase, Phase::Scheduled);
    rig.advance(10 * SECOND);
    rig.tick().await;
    assert_eq!(rig.phase(first).await, Phase::Blocked, "as before");
    rig.finish(&lease).await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), first);
    assert_eq!(claimed.task.spec.arguments, json(r#"{"n":2}"#));
    rig
}

/// A task comes after what it was created to come after. A call that would have to wait for more is none that
/// it can take in.
pub(super) async fn no_call_is_taken_in_that_waits_for_more(rig: Rig) -> Rig {
    let (one, one_lease) = rig.run().await;
    let (other, _) = rig.run().await;
    let debounced = Then::Debounce {
        delay: SECOND,
        at_most: None,
    };
    for then in [Then::Join, debounced] {
        let call = |after: &[Dependency]| TaskSpec {
            after: after.to_vec(),
            ..same("work", then)
        };
        let there = create(&rig, call(&[Dependency::success(one)])).await.task;
        let joins = [&[][..], &[Dependency::success(one)]];
        for after in joins {
            let joined = create(&rig, call(after)).await;
            assert!(joined.joined, "{then:?} {after:?}");
            assert_eq!(joined.task.id(), there.id());
            assert_eq!(joined.task.spec.after, there.spec.after);
        }
        let before = rig.task(there.id()).await;
        let waits_for_more = [
            &[Dependency::success(other)][..],
            &[Dependency::success(one), Dependency::success(other)],
            &[Dependency::any_end(one)],
        ];
        for after in waits_for_more {
            let refused = rig.store.create(call(after), None).await;
            let Err(Error::Invalid(said)) = refused else {
                panic!("{then:?} {after:?}: {refused:?}");
            };
            assert!(said.contains("does not come after"), "{said}");
        }
        assert_eq!(*rig.task(there.id()).await, *before, "nothing has changed");
        let behind = create(&rig, call(&[Dependency::any_end(there.id())])).await;
        assert_eq!(behind.task.id(), there.id(), "that is what it waits for");
        let ended = rig.store.cancel(there.id(), None, CancelMode::Force);
        ended.await.unwrap();
    }
    rig.finish(&one_lease).await;
    rig
}
