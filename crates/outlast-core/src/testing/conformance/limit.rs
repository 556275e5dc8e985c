//! Limits, rates, quotas and pauses: who may run beside whom, and in what order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rig::{Forked, LEASE, Rig, done, of, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::id::TaskId;
use crate::limit::{Control, Key, LimitKey, Queue, Rate, Rule};
use crate::machine::{AttemptEnd, CancelMode};
use crate::status::Phase;
use crate::store::{ClaimNow, Filter, Notice};
use crate::task::{Awaiting, Lease, Task, TaskSpec};
use crate::testing::wait::pause;
use crate::testing::{Random, seed};

const SECOND: Duration = Duration::from_secs(1);

async fn rules(rig: &Rig, rules: &[(&str, Rule)]) {
    let changes = rules
        .iter()
        .map(|(name, rule)| Control::Rule((*name).into(), Some(*rule)))
        .collect();
    rig.store.control(changes).await.unwrap();
}

/// A call under limit keys of these names.
fn limited(keys: &[(&str, &str)]) -> TaskSpec {
    let mut spec = spec();
    spec.keys.limits = keys
        .iter()
        .map(|(rule, value)| LimitKey {
            key: Key::new(*rule, *value),
            while_suspended: false,
        })
        .collect();
    spec
}

fn rated(rule: &str, value: &str) -> TaskSpec {
    let mut spec = spec();
    spec.keys.rates = vec![Key::new(rule, value)];
    spec
}

fn counted(rule: &str, value: &str) -> TaskSpec {
    let mut spec = spec();
    spec.keys.quotas = vec![Key::new(rule, value)];
    spec
}

fn rate(text: &str) -> Rule {
    Rule::Rate(text.parse::<Rate>().unwrap())
}

async fn created(rig: &Rig, spec: TaskSpec) -> TaskId {
    rig.create_spec(spec).await.task.id()
}

async fn claimed(rig: &Rig) -> Vec<TaskId> {
    let claimed = rig.claim(100).await;
    claimed.iter().map(|one| one.task.id()).collect()
}

pub(super) async fn a_limit_is_never_exceeded(rig: Rig) -> Rig {
    rules(&rig, &[("two", Rule::Running(2))]).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(created(&rig, limited(&[("two", "")])).await);
    }
    assert_eq!(claimed(&rig).await, ids[..2]);
    assert_eq!(claimed(&rig).await, []);
    assert_eq!(rig.phase(ids[2]).await, Phase::Queued);
    let lease = rig.task(ids[0]).await.lease().unwrap();
    rig.finish(&lease).await;
    assert_eq!(claimed(&rig).await, ids[2..3]);
    rig
}

pub(super) async fn values_are_apart(rig: Rig) -> Rig {
    rules(&rig, &[("customer", Rule::Running(1))]).await;
    let mut ids = Vec::new();
    for value in ["a", "a", "b", "a", "c"] {
        ids.push(created(&rig, limited(&[("customer", value)])).await);
    }
    assert_eq!(claimed(&rig).await, [ids[0], ids[2], ids[4]]);
    let lease = rig.task(ids[0]).await.lease().unwrap();
    rig.finish(&lease).await;
    assert_eq!(claimed(&rig).await, [ids[1]]);
    rig
}

pub(super) async fn nobody_waits_behind_another_key(rig: Rig) -> Rig {
    rules(
        &rig,
        &[("one", Rule::Running(1)), ("all", Rule::Running(2))],
    )
    .await;
    let first = created(&rig, limited(&[("one", "x"), ("all", "")])).await;
    let second = created(&rig, limited(&[("one", "x"), ("all", "")])).await;
    let third = created(&rig, limited(&[("one", "y"), ("all", "")])).await;
    let fourth = created(&rig, limited(&[("all", ""), ("one", "z")])).await;
    assert_eq!(claimed(&rig).await, [first, third]);
    // The second is free of its own key now, and `all` has one room; it stands before the fourth.
    let lease = rig.task(first).await.lease().unwrap();
    rig.finish(&lease).await;
    assert_eq!(claimed(&rig).await, [second]);
    let lease = rig.task(third).await.lease().unwrap();
    rig.finish(&lease).await;
    assert_eq!(claimed(&rig).await, [fourth]);
    rig
}

pub(super) async fn room_comes_back_by_every_way_out(rig: Rig) -> Rig {
    rules(&rig, &[("one", Rule::Running(1))]).await;
    let one = || limited(&[("one", "")]);
    let mut last = created(&rig, one()).await;
    for way in 0..5 {
        let lease = rig.claim_one().await.lease;
        assert_eq!(lease.task, last);
        let next = created(&rig, one()).await;
        assert_eq!(claimed(&rig).await, [], "before way {way}");
        match way {
            0 => {
                let awaiting = Awaiting {
                    until: Some(rig.clock.now() + 1000 * SECOND),
                    ..Awaiting::default()
                };
                rig.store.suspend(&lease, awaiting).await.unwrap();
            }
            1 => {
                let at = rig.clock.now() + 1000 * SECOND;
                let message = "later".into();
                let end = AttemptEnd::Retry { message, at };
                rig.store.finish(&lease, end, None).await.unwrap();
            }
            2 => {
                let force = CancelMode::Force;
                rig.store.cancel(last, None, force).await.unwrap();
                // Its worker may be at work until its lease has run out.
                assert_eq!(claimed(&rig).await, []);
                rig.advance(LEASE);
                rig.tick().await;
            }
            3 => {
                // What was waiting is cancelled, and must not take the room with it.
                let between = created(&rig, one()).await;
                rig.store
                    .cancel(next, None, CancelMode::Force)
                    .await
                    .unwrap();
                rig.finish(&lease).await;
                last = between;
                continue;
            }
            _ => {
                // The lease runs out; the task goes back to its old place, before the other.
                rig.advance(LEASE);
                rig.tick().await;
                assert_eq!(claimed(&rig).await, [last]);
                continue;
            }
        }
        rig.noticed("room is announced", |notice| *notice == Notice::Ready)
            .await;
        last = next;
    }
    rig
}

/// Whoever runs a task that is ended over its head may not know before its lease has run out: until
/// then it is at work, and its keys are taken.
pub(super) async fn what_is_taken_away_holds_its_keys_as_long_as_its_lease(rig: Rig) -> Rig {
    rules(&rig, &[("one", Rule::Running(1))]).await;
    let one = || TaskSpec {
        retention: Duration::ZERO,
        ..limited(&[("one", "")])
    };
    let mut rig = rig;
    for way in 0..3 {
        let max_age = if way == 2 { SECOND } else { one().max_age };
        let (first, _) = rig.run_spec(TaskSpec { max_age, ..one() }).await;
        let second = created(&rig, one()).await;
        let mode = match way {
            0 => Some(CancelMode::Force),
            1 => Some(CancelMode::Ask(SECOND)),
            _ => None,
        };
        if let Some(mode) = mode {
            rig.store.cancel(first, None, mode).await.unwrap();
        }
        rig.advance(SECOND);
        rig.tick().await;
        assert_eq!(claimed(&rig).await, [], "way {way}");
        rig = match rig.fork().await {
            Forked::Reopened(rig) | Forked::Same(rig) => rig,
        };
        rig.advance(LEASE - 2 * SECOND);
        rig.tick().await;
        assert_eq!(claimed(&rig).await, [], "way {way}");
        assert!(rig.stats_of("finished").await > 0, "nor is it forgotten");
        let before = rig.notices().len();
        rig.advance(SECOND);
        rig.tick().await;
        rig.noticed("room is announced", |notice| *notice == Notice::Ready)
            .await;
        assert!(rig.notices().len() > before);
        let lease = rig.claim_one().await.lease;
        assert_eq!(lease.task, second, "way {way}");
        rig.finish(&lease).await;
        rig.tick().await;
    }
    rig
}

/// A record is not deleted as long as it holds keys for a worker that may be at work.
pub(super) async fn what_holds_keys_for_its_last_worker_is_not_deleted(rig: Rig) -> Rig {
    rules(&rig, &[("one", Rule::Running(1))]).await;
    let (first, _) = rig.run_spec(limited(&[("one", "")])).await;
    let second = created(&rig, limited(&[("one", "")])).await;
    let force = CancelMode::Force;
    rig.store.cancel(first, None, force).await.unwrap();
    let refused = rig.store.delete(first).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    assert_eq!(claimed(&rig).await, []);
    rig.advance(LEASE);
    // Whether the clock was looked at or not, its time is over.
    assert!(rig.store.delete(first).await.unwrap());
    assert_eq!(claimed(&rig).await, [second]);
    rig
}

/// What a task did is undone before anything else that needs its keys runs.
pub(super) async fn keys_are_kept_for_the_undos(rig: Rig) -> Rig {
    rules(&rig, &[("one", Rule::Running(1))]).await;
    for suspended in [false, true] {
        let mut spec = limited(&[("one", "")]);
        spec.keys.limits[0].while_suspended = suspended;
        let (first, lease) = rig.run_spec(spec).await;
        rig.undo(&lease, "a").await;
        let mut urgent = limited(&[("one", "")]);
        urgent.priority = 1;
        let second = created(&rig, urgent).await;
        if suspended {
            rig.ask(&lease, &["k"]).await;
            rig.suspend_on(&lease, &["k"]).await;
        }
        let force = CancelMode::Force;
        rig.store.cancel(first, None, force).await.unwrap();
        if !suspended {
            assert_eq!(claimed(&rig).await, []);
            rig.advance(LEASE);
            rig.tick().await;
        }
        assert_eq!(claimed(&rig).await, [first], "its undo");
        // A worker that hands the undos back, or must try again later, does not give the keys away.
        let lease = rig.task(first).await.lease().unwrap();
        let release = AttemptEnd::Release;
        rig.store.finish(&lease, release, None).await.unwrap();
        assert_eq!(claimed(&rig).await, [first]);
        let lease = rig.task(first).await.lease().unwrap();
        let (message, at) = ("later".into(), rig.clock.now() + SECOND);
        let retry = AttemptEnd::Retry { message, at };
        rig.store.finish(&lease, retry, None).await.unwrap();
        assert_eq!(claimed(&rig).await, []);
        rig.advance(SECOND);
        rig.tick().await;
        assert_eq!(claimed(&rig).await, [first]);
        let lease = rig.task(first).await.lease().unwrap();
        let done = AttemptEnd::CleanedUp;
        rig.store.finish(&lease, done, None).await.unwrap();
        assert_eq!(claimed(&rig).await, [second]);
        let lease = rig.task(second).await.lease().unwrap();
        rig.finish(&lease).await;
    }
    rig
}

pub(super) async fn a_key_may_be_held_while_suspended(rig: Rig) -> Rig {
    rules(&rig, &[("one", Rule::Running(1))]).await;
    let mut keeping = limited(&[("one", "")]);
    keeping.keys.limits[0].while_suspended = true;
    let (first, lease) = rig.run_spec(keeping).await;
    let second = created(&rig, limited(&[("one", "")])).await;
    rig.ask(&lease, &["k"]).await;
    rig.suspend_on(&lease, &["k"]).await;
    assert_eq!(claimed(&rig).await, []);
    rig.store
        .answer(first, super::rig::answers(&[("k", "1")]))
        .await
        .unwrap();
    // It holds the key while it waits for a worker, so nothing stands in its way.
    assert_eq!(claimed(&rig).await, [first]);
    let lease = rig.task(first).await.lease().unwrap();
    rig.finish(&lease).await;
    assert_eq!(claimed(&rig).await, [second]);
    rig
}

pub(super) async fn a_resumed_task_keeps_its_place_behind_a_limit(rig: Rig) -> Rig {
    rules(&rig, &[("one", Rule::Running(1))]).await;
    let (first, lease) = rig.run_spec(limited(&[("one", "")])).await;
    let second = created(&rig, limited(&[("one", "")])).await;
    let third = created(&rig, limited(&[("one", "")])).await;
    rig.ask(&lease, &["k"]).await;
    rig.suspend_on(&lease, &["k"]).await;
    assert_eq!(claimed(&rig).await, [second], "the key is free meanwhile");
    rig.store
        .answer(first, super::rig::answers(&[("k", "1")]))
        .await
        .unwrap();
    assert_eq!(claimed(&rig).await, []);
    let lease = rig.task(second).await.lease().unwrap();
    rig.finish(&lease).await;
    assert_eq!(claimed(&rig).await, [first]);
    assert_eq!(rig.phase(third).await, Phase::Queued);
    rig
}

pub(super) async fn a_raised_limit_holds_at_once(rig: Rig) -> Rig {
    rules(&rig, &[("n", Rule::Running(1))]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(created(&rig, limited(&[("n", "")])).await);
    }
    assert_eq!(claimed(&rig).await, ids[..1]);
    rules(&rig, &[("n", Rule::Running(3))]).await;
    assert_eq!(claimed(&rig).await, ids[1..3]);
    rig.store
        .control(vec![Control::Rule("n".into(), None)])
        .await
        .unwrap();
    assert_eq!(claimed(&rig).await, ids[3..]);
    rig
}

pub(super) async fn fusing_obeys_limits(rig: Rig) -> Rig {
    rules(&rig, &[("one", Rule::Running(1))]).await;
    let one = || limited(&[("one", "")]);
    let first = rig.store.create(one(), rig.if_next()).await.unwrap();
    let lease = first.lease.expect("there is room");
    let second = rig.store.create(one(), rig.if_next()).await.unwrap();
    assert!(second.lease.is_none());
    let running = ClaimNow::Running(rig.by());
    let third = rig.store.create(one(), Some(running)).await.unwrap();
    assert!(third.lease.is_none());
    // A task that needs no key passes those that wait for one.
    let free = rig.store.create(spec(), rig.if_next()).await.unwrap();
    assert!(free.lease.is_some());
    let by = rig.by();
    let reply = rig.store.finish(&lease, done("done"), Some(&by)).await;
    let next = reply.unwrap().next.expect("its end made room");
    assert_eq!(next.task.id(), second.task.id());
    rig
}

pub(super) async fn a_rate_delays_and_is_exact(rig: Rig) -> Rig {
    rules(&rig, &[("r", rate("2/s"))]).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(created(&rig, rated("r", "")).await);
    }
    assert_eq!(claimed(&rig).await, ids[..2], "the burst");
    let ticked = rig.store.tick(&[], LEASE, 10).await.unwrap();
    assert_eq!(ticked.next, Some(rig.clock.now() + SECOND / 2));
    rig.advance(Duration::from_millis(499));
    assert_eq!(claimed(&rig).await, []);
    rig.advance(Duration::from_millis(1));
    assert_eq!(claimed(&rig).await, ids[2..3]);
    assert_eq!(claimed(&rig).await, []);
    rig.advance(10 * SECOND);
    let ready = |rig: &Rig| {
        let notices = rig.notices();
        notices.iter().filter(|one| **one == Notice::Ready).count()
    };
    let before = ready(&rig);
    rig.tick().await;
    for _ in 0..100 {
        if ready(&rig) > before {
            break;
        }
        pause().await;
    }
    assert!(ready(&rig) > before, "the opening is announced");
    assert_eq!(claimed(&rig).await, ids[3..], "no more than a burst");
    assert_eq!(claimed(&rig).await, []);
    rig
}

pub(super) async fn a_rate_counts_starts_and_not_wakings(rig: Rig) -> Rig {
    rules(&rig, &[("r", rate("1/h"))]).await;
    let (first, lease) = rig.run_spec(rated("r", "a")).await;
    rig.ask(&lease, &["k"]).await;
    rig.suspend_on(&lease, &["k"]).await;
    rig.store
        .answer(first, super::rig::answers(&[("k", "1")]))
        .await
        .unwrap();
    assert_eq!(claimed(&rig).await, [first], "it started before");
    let other = created(&rig, rated("r", "b")).await;
    let same = created(&rig, rated("r", "a")).await;
    assert_eq!(claimed(&rig).await, [other], "each value has its own rate");
    assert_eq!(rig.phase(same).await, Phase::Queued);
    for id in [first, other] {
        let lease = rig.task(id).await.lease().unwrap();
        rig.finish(&lease).await;
    }
    rig.advance(3600 * SECOND);
    assert_eq!(claimed(&rig).await, [same]);
    rig
}

pub(super) async fn a_full_queue_refuses(rig: Rig) -> Rig {
    rules(&rig, &[("q", Rule::Queued(2))]).await;
    created(&rig, counted("q", "a")).await;
    let mut later = counted("q", "a");
    later.run_at = Some(rig.clock.now() + 60 * SECOND);
    let later = created(&rig, later).await;
    let refused = counted("q", "a");
    let id = refused.id;
    match rig.store.create(refused.clone(), None).await {
        Err(Error::QueueFull {
            key,
            max,
            retry_after,
        }) => {
            assert_eq!((key, max), (Key::new("q", "a"), 2));
            assert!(retry_after > Duration::ZERO);
        }
        other => panic!("a third task waits: {other:?}"),
    }
    assert!(rig.store.get(id).await.unwrap().is_none(), "nothing stored");
    created(&rig, counted("q", "b")).await;
    // What does not have to wait needs no room, and what has started has left the queue.
    claimed(&rig).await;
    let fused = rig.store.create(refused, rig.if_next()).await.unwrap();
    assert!(fused.lease.is_some());
    created(&rig, counted("q", "a")).await;
    assert!(rig.store.create(counted("q", "a"), None).await.is_err());
    rig.store
        .cancel(later, None, CancelMode::Force)
        .await
        .unwrap();
    created(&rig, counted("q", "a")).await;
    rig
}

pub(super) async fn a_repeated_creation_needs_no_room(rig: Rig) -> Rig {
    rules(&rig, &[("q", Rule::Queued(1))]).await;
    let asked = counted("q", "");
    created(&rig, asked.clone()).await;
    let again = rig.store.create(asked.clone(), None).await.unwrap();
    assert_eq!(again.task.id(), asked.id);
    rig
}

pub(super) async fn a_paused_tool_is_not_claimed(rig: Rig) -> Rig {
    let (running, lease) = rig.run().await;
    let pause = |queue| vec![Control::Pause(queue)];
    let resume = |queue| vec![Control::Resume(queue)];
    let tool = || Queue::Tool("tool".into());
    let controls = rig.store.control(pause(tool())).await.unwrap();
    assert!(controls.is_paused("tool") && !controls.is_paused("other"));
    let waiting = rig.create().await;
    let fused = rig.store.create(spec(), rig.if_next()).await.unwrap();
    assert!(fused.lease.is_none());
    let other = created(&rig, of("other")).await;
    let by = rig.knowing(&["tool", "other"]);
    let reply = rig.store.finish(&lease, done("done"), Some(&by)).await;
    let reply = reply.unwrap();
    assert_eq!(reply.task.id(), running, "what runs goes on");
    assert_eq!(reply.next.unwrap().task.id(), other);
    assert_eq!(claimed(&rig).await, []);
    rig.store.control(pause(Queue::All)).await.unwrap();
    rig.store.control(resume(tool())).await.unwrap();
    assert_eq!(claimed(&rig).await, []);
    assert_eq!(
        rig.store.controls().await.unwrap().paused,
        [Queue::All].into()
    );
    rig.store.control(resume(Queue::All)).await.unwrap();
    assert_eq!(claimed(&rig).await, [waiting, fused.task.id()]);
    rig
}

pub(super) async fn limits_outlive_the_process(rig: Rig) -> Rig {
    rules(
        &rig,
        &[
            ("one", Rule::Running(1)),
            ("r", rate("1/h")),
            ("q", Rule::Queued(1)),
        ],
    )
    .await;
    let tool = Queue::Tool("paused".into());
    rig.store.control(vec![Control::Pause(tool)]).await.unwrap();
    let (first, _) = rig.run_spec(limited(&[("one", "")])).await;
    rig.run_spec(rated("r", "")).await;
    let second = created(&rig, limited(&[("one", "")])).await;
    let slow = created(&rig, rated("r", "")).await;
    created(&rig, counted("q", "")).await;
    created(&rig, of("paused")).await;
    let controls = rig.store.controls().await.unwrap();
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    assert_eq!(rig.store.controls().await.unwrap(), controls);
    assert!(rig.store.create(counted("q", ""), None).await.is_err());
    let by = rig.knowing(&["tool", "paused"]);
    let claimed = rig.store.claim(&by, 100).await.unwrap();
    let ids: Vec<_> = claimed.iter().map(|one| one.task.id()).collect();
    assert!(!ids.contains(&second), "the first still holds its key");
    assert!(!ids.contains(&slow));
    assert_eq!(ids.len(), 1, "only the counted one is free");
    let lease = rig.task(first).await.lease().unwrap();
    rig.finish(&lease).await;
    assert_eq!(rig.claim(100).await[0].task.id(), second);
    rig
}

/// Random work under random keys: I3, I4 and I5 after each step, fused or not.
pub(super) async fn random_work_keeps_order_and_limits(rig: Rig) -> Rig {
    let seed = seed();
    println!("limit: OUTLAST_SEED={seed}");
    let mut random = Random::new(seed);
    let maxima = [("a", 1), ("b", 2), ("c", 3)];
    let all = maxima.map(|(name, max)| (name, Rule::Running(max)));
    rules(&rig, &all).await;
    for step in 0..400 {
        let fuse = random.one_in(2);
        match random.below(10) {
            0..4 => {
                let mut keys = Vec::new();
                for (name, _) in maxima {
                    if random.one_in(2) {
                        keys.push((name, random.pick(&["x", "y"])));
                    }
                }
                let mut spec = limited(&keys);
                spec.priority = random.pick(&[0, 0, 1]);
                if let Some(limit) = spec.keys.limits.first_mut() {
                    limit.while_suspended = random.one_in(2);
                }
                let claim = fuse.then(|| rig.if_next()).flatten();
                rig.store.create(spec, claim).await.unwrap();
            }
            4..6 => drop(rig.claim(1).await),
            6..8 => {
                if let Some(task) = one_of(&rig, Phase::Running, &mut random).await {
                    let next = fuse.then(|| rig.by());
                    let lease = task.lease().unwrap();
                    let end = if random.one_in(4) {
                        AttemptEnd::Release
                    } else {
                        done("done")
                    };
                    rig.store.finish(&lease, end, next.as_ref()).await.unwrap();
                }
            }
            8 => {
                if let Some(task) = one_of(&rig, Phase::Running, &mut random).await {
                    let awaiting = Awaiting {
                        until: Some(rig.clock.now() + SECOND),
                        ..Awaiting::default()
                    };
                    let lease = task.lease().unwrap();
                    rig.store.suspend(&lease, awaiting).await.unwrap();
                }
            }
            _ => {
                if let Some(task) = one_of(&rig, Phase::Queued, &mut random).await {
                    let force = CancelMode::Force;
                    rig.store.cancel(task.id(), None, force).await.unwrap();
                }
                rig.advance(SECOND);
                let alive = alive(&rig).await;
                rig.store.tick(&alive, LEASE, 100).await.unwrap();
            }
        }
        check_limits(&rig, &maxima, step).await;
    }
    // Nothing is stranded: everything comes to its end by claims alone.
    loop {
        rig.advance(SECOND);
        let alive = alive(&rig).await;
        rig.store.tick(&alive, LEASE, 100).await.unwrap();
        let running = tasks(&rig, &[Phase::Running]).await;
        let claimed = rig.claim(5).await;
        if running.is_empty() && claimed.is_empty() {
            break;
        }
        for lease in running.iter().filter_map(Task::lease) {
            rig.finish(&lease).await;
        }
    }
    let left = [Phase::Queued, Phase::Suspended, Phase::Scheduled];
    assert_eq!(tasks(&rig, &left).await, []);
    rig
}

async fn tasks(rig: &Rig, phases: &[Phase]) -> Vec<Task> {
    let filter = Filter {
        phases: phases.to_vec(),
        ..Filter::default()
    };
    let page = rig.store.list(&filter, None, 10_000).await.unwrap();
    page.tasks.iter().map(|task| Task::clone(task)).collect()
}

async fn one_of(rig: &Rig, phase: Phase, random: &mut Random) -> Option<Task> {
    let tasks = tasks(rig, &[phase]).await;
    (!tasks.is_empty()).then(|| tasks[random.index(tasks.len())].clone())
}

async fn check_limits(rig: &Rig, maxima: &[(&str, u32)], step: usize) {
    let alive = [Phase::Queued, Phase::Running, Phase::Suspended];
    let tasks = tasks(rig, &alive).await;
    let mut held: BTreeMap<&Key, u32> = BTreeMap::new();
    for task in &tasks {
        for key in task.held_keys() {
            *held.entry(key).or_default() += 1;
        }
    }
    let max = |key: &Key| maxima.iter().find(|(name, _)| *name == key.rule).unwrap().1;
    for (key, held) in &held {
        assert!(*held <= max(key), "step {step}: {held} hold {key} (I3)");
    }
    // I4 and I5: the next claim is the first in order whose keys have room, if there is one.
    let has_room = |task: &&Task| {
        let wanted = task.spec.keys.limits.iter();
        let mut missing = wanted.filter(|limit| task.held_keys().all(|key| *key != limit.key));
        missing.all(|limit| held.get(&limit.key).copied().unwrap_or(0) < max(&limit.key))
    };
    let next = tasks
        .iter()
        .filter(|task| task.state.phase == Phase::Queued)
        .filter(has_room)
        .min_by_key(|task| {
            let priority = std::cmp::Reverse(task.spec.priority);
            (priority, task.state.sequence)
        });
    let claimed = rig.claim(1).await;
    assert_eq!(
        claimed.first().map(|one| one.task.id()),
        next.map(Task::id),
        "step {step}: the next in order that has room"
    );
    for one in claimed {
        // Back to its place, as if nobody had looked.
        let release = AttemptEnd::Release;
        rig.store.finish(&one.lease, release, None).await.unwrap();
    }
}

/// The leases of everything that runs.
async fn alive(rig: &Rig) -> Vec<Lease> {
    let running = tasks(rig, &[Phase::Running]).await;
    running.iter().filter_map(Task::lease).collect()
}
