//! Creation, alone and fused with the claim.

use std::time::Duration;

use super::rig::{LEASE, Rig, done, json, of, spec, with_priority};
use crate::clock::Clock;
use crate::event::EventKind;
use crate::id::{Owner, WorkerId};
use crate::status::{Era, Phase, TaskStatus};
use crate::store::{ClaimBy, ClaimNow};
use crate::task::{ReplyTo, TaskSpec};
use crate::testing::Random;

pub(super) async fn a_new_task_is_queued_with_its_first_event(rig: Rig) -> Rig {
    let asked = spec();
    let created = rig.create_spec(asked.clone()).await;
    assert!(created.lease.is_none());
    let task = rig.task(asked.id).await;
    assert_eq!(task, created.task);
    assert_eq!(*task.spec, asked);
    assert_eq!(task.state.phase, Phase::Queued);
    assert_eq!(task.state.version, 1);
    assert_eq!(task.state.attempt, 0);
    assert_eq!(task.state.created_at, rig.clock.now());
    assert_eq!(task.status(Era::Modern), TaskStatus::Working);
    let events = rig.events(asked.id).await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind, EventKind::Created);
    assert_eq!(events[0].at, rig.clock.now());
    rig
}

pub(super) async fn a_task_with_a_later_time_waits_for_it(rig: Rig) -> Rig {
    let run_at = rig.clock.now() + Duration::from_secs(60);
    let asked = TaskSpec {
        run_at: Some(run_at),
        ..spec()
    };
    let created = rig
        .store
        .create(asked.clone(), rig.if_next())
        .await
        .unwrap();
    assert!(created.lease.is_none());
    assert_eq!(created.task.state.phase, Phase::Scheduled);
    rig.advance(Duration::from_millis(59_999));
    rig.tick().await;
    assert!(rig.claim(1).await.is_empty());
    rig.advance(Duration::from_millis(1));
    rig.tick().await;
    assert_eq!(rig.claim_one().await.task.id(), asked.id);
    // A time that has passed is no time.
    let asked = TaskSpec {
        run_at: Some(run_at),
        ..spec()
    };
    assert_eq!(rig.create_spec(asked).await.task.state.phase, Phase::Queued);
    rig
}

pub(super) async fn everything_asked_for_is_kept(rig: Rig) -> Rig {
    let text = "x".repeat(3_000_000);
    let mut asked = TaskSpec {
        tool_version: "2 β".into(),
        arguments: json(&format!(
            r#"{{ "big":"{text}", "n": 1.10, "u": 18446744073709551615 , "s":"\u0000\ud83d\ude00"}}"#
        )),
        owner: Owner::new("issuer|sübject 'quoted' \"twice\""),
        client: Some(json(r#"{"name":"c","version":"0"}"#)),
        request_meta: Some(json(r#"{"a/b":  [1,2 , 3]}"#)),
        reply_to: Some(ReplyTo {
            session: "s-1".into(),
            progress_token: Some(json("7")),
        }),
        priority: i16::MIN,
        ttl: Some(Duration::from_millis(1)),
        retention: Duration::from_secs(7),
        max_age: Duration::from_secs(8),
        queue_timeout: Some(Duration::from_millis(9)),
        max_crashes: u32::MAX,
        ..of("tööl; DROP TABLE task")
    };
    asked.first_answers.insert("k".into(), json("null"));
    asked.labels.insert("".into(), "\n".into());
    rig.create_spec(asked.clone()).await;
    assert_eq!(*rig.task(asked.id).await.spec, asked);
    rig
}

pub(super) async fn creating_twice_returns_the_task_as_it_is(rig: Rig) -> Rig {
    let asked = spec();
    let first = rig.create_spec(asked.clone()).await;
    let again = rig.create_spec(asked.clone()).await;
    assert_eq!(first.task, again.task);
    let claimed = rig.claim_one().await;
    rig.finish(&claimed.lease).await;
    let other = TaskSpec {
        id: asked.id,
        ..with_priority(9)
    };
    let last = rig.store.create(other, rig.if_next()).await.unwrap();
    assert!(last.lease.is_none());
    assert_eq!(*last.task.spec, asked);
    assert_eq!(last.task, rig.task(asked.id).await);
    assert!(rig.claim(1).await.is_empty());
    rig
}

pub(super) async fn a_repeated_creation_gives_the_lease_to_its_worker_alone(rig: Rig) -> Rig {
    let asked = spec();
    let first = rig
        .store
        .create(asked.clone(), rig.if_next())
        .await
        .unwrap();
    let lease = first.lease.expect("nothing stood before it");
    let again = rig
        .store
        .create(asked.clone(), rig.if_next())
        .await
        .unwrap();
    assert_eq!(again.lease, Some(lease), "as after a lost reply");
    assert_eq!(again.task, first.task);
    let stranger = ClaimBy {
        worker: WorkerId::random(),
        ..rig.by()
    };
    for claim in [None, Some(ClaimNow::IfNext(stranger))] {
        let other = rig.store.create(asked.clone(), claim).await.unwrap();
        assert_eq!(other.lease, None);
    }
    rig
}

pub(super) async fn a_fused_creation_takes_its_turn(rig: Rig) -> Rig {
    let created = rig.store.create(spec(), rig.if_next()).await.unwrap();
    let lease = created.lease.expect("nothing stood before it");
    let task = rig.task(lease.task).await;
    assert_eq!(task, created.task);
    assert!(task.holds(&lease));
    assert_eq!(task.state.attempt, 1);
    assert_eq!(task.state.started_at, Some(rig.clock.now()));
    let kinds: Vec<_> = rig.events(lease.task).await;
    assert_eq!(kinds[0].kind, EventKind::Created);
    assert_eq!(kinds[1].kind, EventKind::Started { attempt: 1 });
    assert!(rig.claim(1).await.is_empty());
    rig.finish(&lease).await;
    rig
}

pub(super) async fn a_fused_creation_waits_behind_ready_tasks(rig: Rig) -> Rig {
    let first = rig.create().await;
    let behind = rig.store.create(spec(), rig.if_next()).await.unwrap();
    assert!(behind.lease.is_none(), "an older task is ready (I4)");
    let before = rig
        .store
        .create(with_priority(1), rig.if_next())
        .await
        .unwrap();
    assert!(before.lease.is_some(), "a larger priority stands before");
    let low = rig
        .store
        .create(with_priority(-1), rig.if_next())
        .await
        .unwrap();
    assert!(low.lease.is_none());
    assert_eq!(
        rig.claim_all().await,
        [first, behind.task.id(), low.task.id()]
    );
    rig
}

pub(super) async fn a_fused_creation_passes_tasks_of_others(rig: Rig) -> Rig {
    for _ in 0..50 {
        rig.create_spec(of("foreign")).await;
        let other = TaskSpec {
            tool_version: "2".into(),
            ..with_priority(5)
        };
        rig.create_spec(other).await;
    }
    let created = rig.store.create(spec(), rig.if_next()).await.unwrap();
    assert!(created.lease.is_some(), "none before it is this worker's");
    rig
}

pub(super) async fn a_fused_creation_of_an_unknown_tool_stays_ready(rig: Rig) -> Rig {
    let created = rig
        .store
        .create(of("foreign"), rig.if_next())
        .await
        .unwrap();
    assert!(created.lease.is_none());
    assert_eq!(created.task.state.phase, Phase::Queued);
    rig
}

pub(super) async fn a_running_creation_is_always_claimed(rig: Rig) -> Rig {
    rig.create().await;
    let claim = Some(ClaimNow::Running(rig.by()));
    let created = rig.store.create(with_priority(-5), claim).await.unwrap();
    let lease = created.lease.expect("it runs already");
    assert!(rig.task(lease.task).await.holds(&lease));
    let claim = Some(ClaimNow::Running(rig.by()));
    let created = rig.store.create(of("foreign"), claim).await.unwrap();
    assert!(created.lease.is_some());
    rig
}

pub(super) async fn a_running_creation_with_a_later_time_is_not(rig: Rig) -> Rig {
    let asked = TaskSpec {
        run_at: Some(rig.clock.now() + LEASE),
        ..spec()
    };
    let claim = Some(ClaimNow::Running(rig.by()));
    let created = rig.store.create(asked, claim).await.unwrap();
    assert!(created.lease.is_none());
    assert_eq!(created.task.state.phase, Phase::Scheduled);
    rig
}

/// One worker with one slot gets the same tasks in the same order, whether creations claim or not.
pub(super) async fn fusing_changes_no_order(rig: Rig) -> Rig {
    let mut orders = Vec::new();
    for fused in [false, true] {
        let mut random = Random::new(17);
        let mut running = None;
        let (mut order, mut names) = (Vec::new(), Vec::new());
        for _ in 0..120 {
            if random.one_in(3) {
                if let Some(lease) = running.take() {
                    let by = rig.by();
                    let reply = rig.store.finish(&lease, done(""), Some(&by)).await.unwrap();
                    if let Some(next) = reply.next {
                        order.push(next.lease.task);
                        running = Some(next.lease);
                    }
                }
                continue;
            }
            let priority = i16::try_from(random.below(3)).unwrap();
            let claim = rig.if_next().filter(|_| fused && running.is_none());
            let created = rig
                .store
                .create(with_priority(priority), claim)
                .await
                .unwrap();
            names.push(created.task.id());
            if created.lease.is_none() && running.is_none() {
                running = rig.claim(1).await.pop().map(|one| one.lease);
                order.extend(running.map(|lease| lease.task));
            } else if let Some(lease) = created.lease {
                order.push(lease.task);
                running = Some(lease);
            }
        }
        order.extend(rig.claim_all().await);
        let place = |id| names.iter().position(|name| *name == id);
        orders.push(order.into_iter().map(place).collect::<Vec<_>>());
    }
    assert_eq!(orders[0], orders[1]);
    rig
}
