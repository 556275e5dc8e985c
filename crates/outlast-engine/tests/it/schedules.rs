//! Schedules at work: declared, fired, stopped, and changed by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outlast_core::limit::Queue;
use outlast_core::schedule::{CatchUp, Overlap};
use outlast_core::store::Filter;
use outlast_core::testing::{ManualClock, MemoryStore};
use outlast_core::{Error, NewSchedule, Owner, Phase, RawJson, Reads, Schedule, Task};
use outlast_engine::{Cx, Engine, Handle, TaskSupport, Tool};

use crate::support::{builder, engine_with_clock, eventually, finished, get, tool};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn hourly() -> NewSchedule {
    NewSchedule::every(HOUR).call("work", &RawJson::empty_object())
}

fn quick() -> Tool {
    tool(|_: Cx| async { Ok(String::new()) })
}

/// A tool whose handler ends when it is cancelled.
fn endless() -> Tool {
    tool(|cx: Cx| async move {
        cx.cancelled().await;
        Err(cx.cancelled_error())
    })
}

/// Waits until the schedule is as `wanted` says.
async fn schedule(handle: &Handle, name: &str, wanted: impl Fn(&Schedule) -> bool) -> Schedule {
    outlast_core::testing::eventually("the schedule", || async {
        let found = handle.schedules().get(name).await.unwrap();
        wanted(&found).then_some(found)
    })
    .await
}

async fn tasks(handle: &Handle) -> Vec<Arc<Task>> {
    let filter = Filter::default();
    let page = handle.list(&Owner::local(), filter, None, 1000).await;
    let mut tasks = page.unwrap().tasks;
    tasks.reverse();
    tasks
}

fn advance(engine: &Engine, clock: &ManualClock, by: Duration) {
    clock.advance(by);
    engine.run_due();
}

#[tokio::test]
async fn each_fire_time_makes_one_task() {
    let (engine, clock) = engine_with_clock(quick()).await;
    let handle = engine.handle();
    let made = handle.schedules().put(hourly().label("team", "x")).await;
    let mut due = made.unwrap().due_at().unwrap();
    for fired in 1..=3 {
        advance(&engine, &clock, HOUR);
        let now = schedule(&handle, "work", |found| found.state.fired == fired).await;
        assert_eq!(now.state.last_fire_at, Some(due));
        let task = finished(&handle, now.state.last_task.unwrap()).await;
        assert_eq!(task.spec.labels["schedule"], "work");
        assert_eq!(task.spec.labels["scheduled-for"], due.to_string());
        assert_eq!(task.spec.labels["team"], "x");
        due = due + HOUR;
    }
    assert_eq!(tasks(&handle).await.len(), 3);
}

#[tokio::test]
async fn an_unfinished_task_is_in_the_way() {
    let (engine, clock) = engine_with_clock(endless()).await;
    let handle = engine.handle();
    handle.schedules().put(hourly()).await.unwrap();
    let queued = hourly().named("queued").overlap(Overlap::Queue);
    handle.schedules().put(queued).await.unwrap();
    advance(&engine, &clock, HOUR);
    let first = schedule(&handle, "work", |found| found.state.fired == 1).await;
    schedule(&handle, "queued", |found| found.state.fired == 1).await;
    advance(&engine, &clock, HOUR);
    let skipped = schedule(&handle, "work", |found| {
        found.state.next_at > Some(clock_now(&clock))
    })
    .await;
    assert_eq!(skipped.state.fired, 1);
    assert!(skipped.state.note.unwrap().contains("unfinished"));
    assert_eq!(skipped.state.last_task, first.state.last_task);
    let second = schedule(&handle, "queued", |found| found.state.fired == 2).await;
    let [before, behind] = second.state.open[..] else {
        panic!("two are open: {:?}", second.state.open);
    };
    eventually(&handle, behind, |task| task.state.phase == Phase::Blocked).await;
    let by = outlast_engine::CancelBy::Request;
    let owner = Owner::local();
    handle.cancel(&owner, before, None, by).await.unwrap();
    eventually(&handle, behind, |task| task.state.phase == Phase::Running).await;
}

#[tokio::test]
async fn a_change_of_owner_leaves_nothing_to_wait_for() {
    let (engine, clock) = engine_with_clock(endless()).await;
    let handle = engine.handle();
    let queued = || hourly().overlap(Overlap::Queue);
    handle.schedules().put(queued()).await.unwrap();
    advance(&engine, &clock, HOUR);
    let first = schedule(&handle, "work", |found| found.state.fired == 1).await;
    let [before] = first.state.open[..] else {
        panic!("one is open: {:?}", first.state.open);
    };
    let ann = || Owner::new("ann");
    let moved = queued().owner(ann());
    handle.schedules().put(moved.clone()).await.unwrap();
    advance(&engine, &clock, HOUR);
    let second = schedule(&handle, "work", |found| found.state.fired == 2).await;
    let task = second.state.last_task.unwrap();
    assert_eq!(second.state.open, [task], "the older one is not waited for");
    let store = engine.handle();
    let task = store.get(&ann(), task).await.unwrap();
    assert!(task.spec.after.is_empty());
    assert!(!get(&handle, before).await.is_finished());
    // One that is to be skipped is the same work, whoever it is for.
    let skipping = moved.overlap(Overlap::Skip).owner(Owner::local());
    handle.schedules().put(skipping).await.unwrap();
    advance(&engine, &clock, HOUR);
    let third = schedule(&handle, "work", |found| {
        found.state.next_at > Some(clock_now(&clock))
    })
    .await;
    assert_eq!(third.state.fired, 2);
}

fn clock_now(clock: &ManualClock) -> outlast_core::Timestamp {
    use outlast_core::Clock;
    clock.now()
}

#[tokio::test]
async fn what_was_missed_is_caught_up_in_order() {
    let (engine, clock) = engine_with_clock(quick()).await;
    let handle = engine.handle();
    let all = hourly().catch_up(CatchUp::All).overlap(Overlap::Queue);
    let first = handle.schedules().put(all).await.unwrap().due_at().unwrap();
    advance(&engine, &clock, 5 * HOUR + HOUR / 2);
    let done = schedule(&handle, "work", |found| found.state.fired == 5).await;
    assert_eq!(done.due_at(), Some(first + 5 * HOUR));
    let fired_for: Vec<_> = tasks(&handle)
        .await
        .iter()
        .map(|task| task.spec.labels["scheduled-for"].clone())
        .collect();
    let wanted: Vec<_> = (0..5).map(|n| (first + n * HOUR).to_string()).collect();
    assert_eq!(fired_for, wanted);
}

#[tokio::test]
async fn a_schedule_is_paused_resumed_run_and_removed() {
    let (engine, clock) = engine_with_clock(quick()).await;
    let (handle, schedules) = (engine.handle(), engine.handle().schedules());
    schedules.put(hourly()).await.unwrap();
    schedules.put(hourly().named("other")).await.unwrap();
    let paused = schedules.pause("work").await.unwrap();
    assert_eq!(schedules.pause("work").await.unwrap(), paused);
    advance(&engine, &clock, HOUR);
    schedule(&handle, "other", |found| found.state.fired == 1).await;
    assert_eq!(schedules.get("work").await.unwrap(), paused);
    let task = schedules.run("work").await.unwrap();
    let task = finished(&handle, task.id()).await;
    assert_eq!(task.spec.labels.get("scheduled-for"), None);
    let ran = schedules.get("work").await.unwrap();
    assert_eq!(ran.state.last_task, Some(task.id()));
    let resumed = schedules.resume("work").await.unwrap();
    assert!(resumed.due_at() > Some(clock_now(&clock)));
    schedules.remove("work").await.unwrap();
    for refused in [
        schedules.get("work").await.err(),
        schedules.pause("work").await.err(),
        schedules.run("work").await.err(),
        schedules.remove("work").await.err(),
    ] {
        assert!(refused.unwrap().to_string().contains("\"work\""));
    }
    assert_eq!(schedules.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_full_queue_delays_a_firing_and_loses_nothing() {
    let one = Tool {
        order: outlast_engine::Order::new().max_queued(1),
        ..quick()
    };
    let (engine, clock) = engine_with_clock(one).await;
    let handle = engine.handle();
    handle.pause(Queue::All).await.unwrap();
    let waiting = handle.create(crate::support::call(&handle)).await.unwrap();
    let due = handle.schedules().put(hourly()).await.unwrap().due_at();
    advance(&engine, &clock, HOUR);
    let held = schedule(&handle, "work", |found| found.state.retry_at.is_some()).await;
    assert!(held.state.note.unwrap().contains("queue is full"));
    handle.resume(Queue::All).await.unwrap();
    finished(&handle, waiting.id()).await;
    let until = held.state.retry_at.unwrap();
    advance(&engine, &clock, until.since(clock_now(&clock)));
    let fired = schedule(&handle, "work", |found| found.state.fired == 1).await;
    assert_eq!(fired.state.last_fire_at, due);
}

#[tokio::test]
async fn what_a_server_declares_is_what_the_store_holds() {
    let clock = Arc::new(ManualClock::default());
    let mut store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<_>));
    let start = async |store: &Arc<MemoryStore>, schedules| {
        let built = builder(store, quick()).schedules(schedules);
        built.start().await.unwrap()
    };
    let engine = start(&store, vec![hourly(), hourly().named("gone")]).await;
    let schedules = engine.handle().schedules();
    schedules.put(hourly().named("mine")).await.unwrap();
    schedules.pause("work").await.unwrap();
    schedules.run("work").await.unwrap();
    let refused = schedules.put(hourly()).await.unwrap_err();
    assert!(refused.to_string().contains("declared"), "{refused}");
    let refused = schedules.remove("work").await.unwrap_err();
    assert!(refused.to_string().contains("declared"), "{refused}");
    let before = schedules.get("work").await.unwrap();
    engine.abandon().await;

    store = Arc::new(store.successor());
    let changed = hourly().priority(7);
    let engine = start(&store, vec![changed]).await;
    let names: Vec<_> = store.schedules().await.unwrap();
    let names: Vec<_> = names.iter().map(|one| one.spec.name.as_str()).collect();
    assert_eq!(names, ["mine", "work"]);
    let after = engine.handle().schedules().get("work").await.unwrap();
    assert_eq!(after.spec.priority, Some(7));
    assert!(after.state.paused);
    assert_eq!(after.state.last_task, before.state.last_task);
}

#[tokio::test]
async fn what_cannot_hold_refuses_the_start() {
    struct Picky;
    impl outlast_engine::Handler for Picky {
        fn check(&self, arguments: &RawJson) -> Result<(), String> {
            match arguments.as_str() {
                "{}" => Ok(()),
                _ => Err("n must be a number".into()),
            }
        }

        fn call(
            &self,
            _: RawJson,
            _: Cx,
        ) -> outlast_engine::BoxFuture<'static, outlast_engine::Result<outlast_core::ToolResult>>
        {
            unreachable!("nothing is started")
        }
    }
    let schema = r#"{"type":"object","properties":{"token":{"writeOnly":true}}}"#;
    let secret = Tool {
        input_schema: RawJson::parse(schema).unwrap(),
        ..quick()
    };
    let picky = || Tool {
        task: TaskSupport::Optional,
        ..Tool::new("work", Arc::new(Picky))
    };
    let inline = Tool {
        task: TaskSupport::Forbidden,
        ..quick()
    };
    let json = |text: &str| RawJson::parse(text).unwrap();
    let wrong = [
        (quick(), hourly().call("nothing", &json("{}")), "nothing"),
        (inline, hourly(), "never runs as a task"),
        (
            picky(),
            hourly().call("work", &json(r#"{"n":"x"}"#)),
            "n must be",
        ),
        (quick(), hourly().priority(101), "101"),
        (
            secret,
            hourly().call("work", &json(r#"{"token":"x"}"#)),
            "secret",
        ),
    ];
    for (tool, schedule, part) in wrong {
        let store = Arc::new(MemoryStore::default());
        let built = builder(&store, tool).schedules(vec![schedule]);
        let Err(refused) = built.start().await else {
            panic!("it starts without {part:?}");
        };
        assert!(matches!(refused, Error::Invalid(_)));
        assert!(refused.to_string().contains(part), "{refused}");
        assert!(store.schedules().await.unwrap().is_empty());
    }
    let twice = vec![hourly(), hourly()];
    let built = builder(&Arc::new(MemoryStore::default()), quick()).schedules(twice);
    assert!(built.start().await.is_err());
}

#[tokio::test]
async fn arguments_that_no_longer_fit_are_said_and_passed_over() {
    let (engine, clock) = engine_with_clock(quick()).await;
    let handle = engine.handle();
    handle.schedules().put(hourly()).await.unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let inline = Tool {
        task: TaskSupport::Forbidden,
        ..tool(move |_: Cx| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Ok(String::new()) }
        })
    };
    handle.set_tools(outlast_engine::Tools::new([inline]).unwrap());
    advance(&engine, &clock, HOUR);
    let passed = schedule(&handle, "work", |found| found.state.note.is_some()).await;
    assert!(passed.state.note.unwrap().contains("never runs as a task"));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert!(tasks(&handle).await.is_empty());
}
