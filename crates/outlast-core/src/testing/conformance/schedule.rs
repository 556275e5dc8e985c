//! Schedules: each fire time is fired once, whoever tries, and a record is there with its task or not.

use std::time::Duration;

use super::rig::{Forked, Rig, json, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::id::TaskId;
use crate::limit::{Control, Key, Rule};
use crate::machine::Dependency;
use crate::same::{Same, Then};
use crate::schedule::{MAX_SCHEDULES, NewSchedule, Schedule};
use crate::store::{Notice, SchedulePut};
use crate::task::TaskSpec;
use crate::testing::join_all;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn hourly(name: &str) -> NewSchedule {
    NewSchedule::every(HOUR)
        .call("tool", &json(r#"{"a": [1, "ü"]}"#))
        .named(name)
        .label("team", "x")
}

async fn put(rig: &Rig, name: &str) -> Schedule {
    let schedule = Schedule::create(hourly(name), rig.clock.now());
    let done = rig.store.schedule_put(None, schedule.clone(), None).await;
    let Ok(SchedulePut::Done {
        schedule: written,
        created: None,
    }) = done
    else {
        panic!("a new schedule is written: {done:?}");
    };
    assert_eq!(written, schedule);
    schedule
}

/// What a process does with a schedule that is due.
async fn fire(rig: &Rig, found: &Schedule, task: TaskSpec) -> Result<SchedulePut, Error> {
    let mut after = found.clone();
    let fired = after.fire(found.state.open.clone(), rig.clock.now());
    after.started(fired.expect("it is due"), task.id);
    let expected = Some(found.state.version);
    rig.store.schedule_put(expected, after, Some(task)).await
}

async fn due(rig: &Rig) -> Vec<String> {
    let ticked = rig.store.tick(&[], HOUR, 100).await.unwrap();
    assert_eq!(ticked.now, rig.clock.now());
    let due = ticked.schedules.iter();
    due.map(|schedule| schedule.spec.name.clone()).collect()
}

pub(super) async fn a_schedule_is_kept_changed_and_removed(rig: Rig) -> Rig {
    let first = put(&rig, "b").await;
    let second = put(&rig, "a").await;
    let expected = [second, first.clone()];
    assert_eq!(rig.store.schedules().await.unwrap(), expected);
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    assert_eq!(rig.store.schedules().await.unwrap(), expected);
    assert_eq!(rig.store.schedule_get("c").await.unwrap(), None);
    let mut changed = first.clone();
    assert!(changed.pause(true, rig.clock.now()));
    let done = rig
        .store
        .schedule_put(Some(first.state.version), changed.clone(), None);
    assert!(matches!(done.await.unwrap(), SchedulePut::Done { .. }));
    assert_eq!(rig.store.schedule_get("b").await.unwrap(), Some(changed));
    assert!(rig.store.schedule_delete("b").await.unwrap());
    assert!(!rig.store.schedule_delete("b").await.unwrap());
    assert_eq!(rig.store.schedules().await.unwrap().len(), 1);
    rig
}

pub(super) async fn only_the_expected_version_is_replaced(rig: Rig) -> Rig {
    let first = put(&rig, "a").await;
    let version = first.state.version;
    let mut changed = first.clone();
    changed.pause(true, rig.clock.now());
    for wrong in [None, Some(version - 1), Some(version + 1)] {
        let stale = rig.store.schedule_put(wrong, changed.clone(), Some(spec()));
        let SchedulePut::Stale(Some(there)) = stale.await.unwrap() else {
            panic!("the version {wrong:?} is not there");
        };
        assert_eq!(there, first);
    }
    assert_eq!(rig.store.schedules().await.unwrap(), [first]);
    let mut other = changed;
    other.spec.name = "none".into();
    let stale = rig.store.schedule_put(Some(version), other, Some(spec()));
    assert!(matches!(stale.await.unwrap(), SchedulePut::Stale(None)));
    assert_eq!(rig.stats_of("queued").await, 0, "no task came of it");
    rig
}

pub(super) async fn a_schedule_is_due_at_its_time(rig: Rig) -> Rig {
    let late = put(&rig, "late").await;
    rig.advance(HOUR / 2);
    let later = put(&rig, "later").await;
    let next = rig.store.tick(&[], HOUR, 100).await.unwrap().next;
    assert_eq!(next, late.due_at());
    rig.noticed("the schedule's moment", |notice| {
        *notice == Notice::Due(later.due_at().unwrap())
    })
    .await;
    rig.advance(HOUR / 2 - Duration::from_millis(1));
    assert!(due(&rig).await.is_empty());
    rig.advance(Duration::from_millis(1));
    assert_eq!(due(&rig).await, ["late"]);
    assert_eq!(due(&rig).await, ["late"], "a tick does not fire it");
    let next = rig.store.tick(&[], HOUR, 100).await.unwrap().next;
    assert_eq!(next, later.due_at(), "what is due already does not wake");
    rig.advance(HOUR / 2);
    assert_eq!(due(&rig).await, ["late", "later"]);
    let one = rig.store.tick(&[], HOUR, 1).await.unwrap();
    // One that nobody here can fire must not keep the others from firing.
    assert_eq!(one.schedules.len(), 2, "whatever the budget");
    let mut paused = late.clone();
    paused.pause(true, rig.clock.now());
    let done = rig
        .store
        .schedule_put(Some(late.state.version), paused, None);
    assert!(matches!(done.await.unwrap(), SchedulePut::Done { .. }));
    assert_eq!(due(&rig).await, ["later"]);
    rig.store.schedule_delete("later").await.unwrap();
    assert!(due(&rig).await.is_empty());
    rig
}

pub(super) async fn of_many_processes_one_fires(rig: Rig) -> Rig {
    let schedule = put(&rig, "a").await;
    rig.advance(HOUR);
    let tries: Vec<_> = (0..20).map(|_| fire(&rig, &schedule, spec())).collect();
    let mut created = Vec::new();
    for fired in join_all(tries).await {
        match fired.unwrap() {
            SchedulePut::Done { created: one, .. } => created.extend(one),
            SchedulePut::Stale(there) => {
                let there = there.expect("it is there").state;
                assert!(there.version > schedule.state.version);
            }
        }
    }
    assert_eq!(created.len(), 1);
    let task = created[0].task.id();
    assert_eq!(rig.claim_all().await, [task]);
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    let there = rig.store.schedule_get("a").await.unwrap().unwrap();
    assert_eq!(there.state.last_task, Some(task));
    assert_eq!(there.state.open, [task]);
    assert_eq!(there.state.last_fire_at, schedule.state.next_at);
    assert!(due(&rig).await.is_empty());
    rig
}

pub(super) async fn a_refused_task_leaves_the_schedule(rig: Rig) -> Rig {
    let rule = Control::Rule("q".into(), Some(Rule::Queued(1)));
    rig.store.control(vec![rule]).await.unwrap();
    let full = || {
        let mut spec = spec();
        spec.keys.quotas = vec![Key::new("q", "")];
        spec
    };
    rig.create_spec(full()).await;
    let schedule = put(&rig, "a").await;
    rig.advance(HOUR);
    let refused = fire(&rig, &schedule, full()).await;
    assert!(matches!(refused, Err(Error::QueueFull { .. })));
    let mut orphan = spec();
    orphan.after = vec![Dependency::any_end(TaskId::random())];
    let refused = fire(&rig, &schedule, orphan).await;
    assert!(matches!(refused, Err(Error::Invalid(_))));
    let there = rig.store.schedule_get("a").await.unwrap();
    assert_eq!(there, Some(schedule.clone()));
    assert_eq!(due(&rig).await, ["a"]);
    let fired = fire(&rig, &schedule, spec()).await.unwrap();
    assert!(matches!(fired, SchedulePut::Done { .. }));
    rig
}

pub(super) async fn a_firing_may_mean_a_task_that_is_there(rig: Rig) -> Rig {
    let join = || TaskSpec {
        same: Some(Same {
            key: "work".into(),
            then: Then::Join,
        }),
        ..spec()
    };
    let there = rig.create_spec(join()).await.task.id();
    let schedule = put(&rig, "a").await;
    rig.advance(HOUR);
    let fired = fire(&rig, &schedule, join()).await.unwrap();
    let SchedulePut::Done { schedule, created } = fired else {
        panic!("it was due");
    };
    let created = created.expect("a task");
    assert!(created.joined && created.task.id() == there);
    assert_eq!(schedule.state.last_task, Some(there));
    assert_eq!(schedule.state.open, [there]);
    assert_eq!(
        rig.store.schedule_get("a").await.unwrap(),
        Some(schedule),
        "what is told is what is kept"
    );
    rig
}

pub(super) async fn there_may_be_only_so_many(rig: Rig) -> Rig {
    let names: Vec<_> = (0..MAX_SCHEDULES)
        .map(|number| format!("s{number}"))
        .collect();
    join_all(names.iter().map(|name| put(&rig, name))).await;
    let one_more = Schedule::create(hourly("more"), rig.clock.now());
    let refused = rig.store.schedule_put(None, one_more, Some(spec())).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(rig.stats_of("queued").await, 0);
    let mut changed = rig.store.schedule_get("s7").await.unwrap().unwrap();
    let version = changed.state.version;
    changed.pause(true, rig.clock.now());
    let done = rig.store.schedule_put(Some(version), changed, None).await;
    assert!(matches!(done, Ok(SchedulePut::Done { .. })));
    rig
}
