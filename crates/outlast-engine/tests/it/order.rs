//! Limits, rates, quotas, pauses and sameness, as calls of an engine see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outlast_core::limit::Queue;
use outlast_core::same::Then;
use outlast_core::testing::{ManualClock, MemoryStore};
use outlast_core::{Error, Outcome, Owner, Phase, RawJson, Timestamp};
use outlast_engine::{Cx, Engine, Handle, Limit, NewCall, OnDrop, Order, Per, Sameness, Tool};
use tokio::sync::Semaphore;

use crate::support::{builder, call, engine, eventually, finished, get, text, tool};

/// A tool that runs until it is let go, and how many run, ran most at a time, and ran at all.
struct Gated {
    go: Arc<Semaphore>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Gated {
    fn new() -> Self {
        Self {
            go: Arc::new(Semaphore::new(0)),
            now: Arc::default(),
            most: Arc::default(),
            all: Arc::default(),
        }
    }

    fn tool(&self, order: Order) -> Tool {
        let (go, now) = (Arc::clone(&self.go), Arc::clone(&self.now));
        let (most, all) = (Arc::clone(&self.most), Arc::clone(&self.all));
        let work = move |cx: Cx| {
            let (go, now) = (Arc::clone(&go), Arc::clone(&now));
            let (most, all) = (Arc::clone(&most), Arc::clone(&all));
            async move {
                let running = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(running, Ordering::SeqCst);
                all.fetch_add(1, Ordering::SeqCst);
                go.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
                cx.progress().message("over");
                Ok("done".into())
            }
        };
        Tool {
            order,
            ..tool(work)
        }
    }
}

fn limited(max: u32, per: Per) -> Order {
    Order {
        limits: vec![Limit {
            max,
            per,
            while_suspended: false,
        }],
        ..Order::default()
    }
}

fn call_with(handle: &Handle, arguments: &str) -> NewCall {
    NewCall {
        arguments: RawJson::parse(arguments).unwrap(),
        ..call(handle)
    }
}

#[tokio::test]
async fn a_limit_holds_for_tasks_and_for_waiting_callers() {
    let gated = Gated::new();
    let engine = engine(gated.tool(limited(2, Per::Tool))).await;
    let handle = engine.handle();
    let mut tasks = Vec::new();
    for _ in 0..6 {
        tasks.push(handle.create(call(&handle)).await.unwrap().id());
    }
    let synchronous = tokio::spawn(handle.call(call(&handle), None, OnDrop::Cancel));
    gated.go.add_permits(7);
    for id in tasks {
        assert_eq!(text(&*finished(&handle, id).await), "done");
    }
    assert!(matches!(synchronous.await.unwrap(), Outcome::Completed(_)));
    assert_eq!(gated.most.load(Ordering::SeqCst), 2);
    assert_eq!(gated.all.load(Ordering::SeqCst), 7);
}

#[tokio::test]
async fn keys_come_from_arguments_and_functions() {
    let gated = Gated::new();
    let engine = engine(gated.tool(limited(1, Per::Argument("who.id".into())))).await;
    let handle = engine.handle();
    let mut tasks = Vec::new();
    for who in [
        r#"{"who":{"id":"a"}}"#,
        r#"{"who":{"id":"a"}}"#,
        r#"{"who":{"id":7}}"#,
    ] {
        let call = call_with(&handle, who);
        tasks.push(handle.create(call).await.unwrap().id());
    }
    let running = |phase: Phase| move |task: &outlast_core::Task| task.state.phase == phase;
    eventually(&handle, tasks[0], running(Phase::Running)).await;
    eventually(&handle, tasks[2], running(Phase::Running)).await;
    assert_eq!(get(&handle, tasks[1]).await.state.phase, Phase::Queued);
    gated.go.add_permits(3);
    for id in tasks {
        finished(&handle, id).await;
    }
}

#[tokio::test]
async fn owners_have_limits_over_all_tools() {
    let gated = Gated::new();
    let store = Arc::new(MemoryStore::default());
    let engine = builder(&store, gated.tool(Order::default()))
        .order(limited(1, Per::Owner))
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let of = |owner: &str| NewCall {
        owner: Owner::new(owner),
        ..call(&handle)
    };
    let first = handle.create(of("ann")).await.unwrap().id();
    let second = handle.create(of("ann")).await.unwrap().id();
    let other = handle.create(of("bob")).await.unwrap().id();
    let phase = async |owner: &str, id| {
        let owner = Owner::new(owner);
        handle.get(&owner, id).await.unwrap().state.phase
    };
    assert_eq!(phase("ann", first).await, Phase::Running);
    assert_eq!(phase("ann", second).await, Phase::Queued);
    assert_eq!(phase("bob", other).await, Phase::Running);
    gated.go.add_permits(3);
    handle.wait(&Owner::new("ann"), second).await.unwrap();
}

/// An engine under a clock that is moved by hand.
async fn by_hand(tool: Tool) -> (Engine, Arc<ManualClock>) {
    crate::support::engine_with_clock(tool).await
}

#[tokio::test]
async fn a_rate_delays_and_never_fails() {
    let gated = Gated::new();
    gated.go.add_permits(100);
    let order = Order {
        rates: vec![("1/min".parse().unwrap(), Per::Tool)],
        ..Order::default()
    };
    let (engine, clock) = by_hand(gated.tool(order)).await;
    let handle = engine.handle();
    let first = handle.create(call(&handle)).await.unwrap().id();
    let second = handle.create(call(&handle)).await.unwrap().id();
    let third = handle.create(call(&handle)).await.unwrap().id();
    finished(&handle, first).await;
    for id in [second, third] {
        assert_eq!(get(&handle, id).await.state.phase, Phase::Queued);
        clock.advance(Duration::from_secs(60));
        engine.run_due();
        finished(&handle, id).await;
    }
    let at = |task: &outlast_core::Task| task.state.started_at.unwrap();
    let starts = [
        at(&*get(&handle, first).await),
        at(&*get(&handle, second).await),
        at(&*get(&handle, third).await),
    ];
    let minute = Duration::from_secs(60);
    assert_eq!(starts[1].since(starts[0]), minute);
    assert_eq!(starts[2].since(starts[1]), minute);
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let gated = Gated::new();
    let mut order = limited(1, Per::Tool);
    order.quotas = vec![(1, Per::Tool)];
    let engine = engine(gated.tool(order)).await;
    let handle = engine.handle();
    handle.create(call(&handle)).await.unwrap();
    let waiting = handle.create(call(&handle)).await.unwrap().id();
    match handle.create(call(&handle)).await {
        Err(Error::QueueFull { retry_after, .. }) => assert!(retry_after >= Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    let outcome = handle.call(call(&handle), None, OnDrop::Cancel).await;
    let Outcome::Failed(failure) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(failure.message.contains("call again in"), "{failure:?}");
    gated.go.add_permits(10);
    finished(&handle, waiting).await;
    handle.create(call(&handle)).await.unwrap();
}

#[tokio::test]
async fn a_paused_tool_waits_and_goes_on() {
    let gated = Gated::new();
    gated.go.add_permits(100);
    let engine = engine(gated.tool(Order::default())).await;
    let handle = engine.handle();
    let wrong = handle.pause(Queue::Tool("wrok".into())).await;
    let message = wrong.unwrap_err().to_string();
    assert!(
        message.contains("wrok") && message.contains("work"),
        "{message}"
    );
    let controls = handle.pause(Queue::Tool("work".into())).await.unwrap();
    assert!(controls.is_paused("work"));
    let task = handle.create(call(&handle)).await.unwrap().id();
    let synchronous = tokio::spawn(handle.call(call(&handle), None, OnDrop::Cancel));
    tokio::task::yield_now().await;
    assert_eq!(get(&handle, task).await.state.phase, Phase::Queued);
    handle.resume(Queue::Tool("work".into())).await.unwrap();
    finished(&handle, task).await;
    assert!(matches!(synchronous.await.unwrap(), Outcome::Completed(_)));
}

#[tokio::test]
async fn a_repeated_call_is_the_same_task() {
    let gated = Gated::new();
    let engine = engine(gated.tool(Order::default())).await;
    let handle = engine.handle();
    let keyed = |arguments: &str| NewCall {
        key: Some("order-17".into()),
        ..call_with(&handle, arguments)
    };
    let first = handle.create(keyed(r#"{"a":1,"b":2}"#)).await.unwrap().id();
    let again = handle.create(keyed(r#"{"b":2,"a":1}"#)).await.unwrap().id();
    assert_eq!(first, again);
    let other = handle.create(keyed(r#"{"a":2}"#)).await;
    assert!(matches!(other, Err(Error::KeyReused { .. })), "{other:?}");
    // A caller who waits gets the same task's outcome, and going away does not end it.
    let running = handle.call(keyed(r#"{"a":1,"b":2}"#), None, OnDrop::Cancel);
    let waiting = tokio::spawn(running);
    gated.go.add_permits(1);
    assert!(matches!(waiting.await.unwrap(), Outcome::Completed(_)));
    assert_eq!(gated.all.load(Ordering::SeqCst), 1);
}

fn same(then: Then) -> Order {
    Order {
        same: Some(Sameness { per: None, then }),
        ..Order::default()
    }
}

#[tokio::test]
async fn identical_calls_join() {
    let gated = Gated::new();
    let engine = engine(gated.tool(same(Then::Join))).await;
    let handle = engine.handle();
    let calls: Vec<_> = (0..5)
        .map(|_| tokio::spawn(handle.call(call_with(&handle, r#"{"q":1}"#), None, OnDrop::Cancel)))
        .collect();
    let task = handle
        .create(call_with(&handle, r#"{"q":1}"#))
        .await
        .unwrap();
    eventually(&handle, task.id(), |task| {
        task.state.phase == Phase::Running
    })
    .await;
    // One caller goes away; the others still get the result.
    let mut calls = calls.into_iter();
    calls.next().unwrap().abort();
    gated.go.add_permits(1);
    for call in calls {
        assert!(matches!(call.await.unwrap(), Outcome::Completed(_)));
    }
    assert_eq!(gated.all.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_newer_call_replaces_a_running_one() {
    let gated = Gated::new();
    let engine = engine(gated.tool(same(Then::Replace))).await;
    let handle = engine.handle();
    let first = handle.create(call(&handle)).await.unwrap().id();
    eventually(&handle, first, |task| task.state.phase == Phase::Running).await;
    let second = handle.create(call(&handle)).await.unwrap().id();
    let first = finished(&handle, first).await;
    assert!(matches!(
        first.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
    gated.go.add_permits(2);
    assert_eq!(text(&*finished(&handle, second).await), "done");
}

#[tokio::test]
async fn a_debounced_tool_runs_once_with_the_last_arguments() {
    let gated = Gated::new();
    gated.go.add_permits(10);
    let order = same(Then::Debounce {
        delay: Duration::from_secs(10),
        at_most: None,
    });
    let mut order = order;
    order.same.as_mut().unwrap().per = Some(Per::Tool);
    let (engine, clock) = by_hand(gated.tool(order)).await;
    let handle = engine.handle();
    let mut ids = Vec::new();
    for n in 0..4 {
        let call = call_with(&handle, &format!(r#"{{"n":{n}}}"#));
        ids.push(handle.create(call).await.unwrap().id());
        clock.advance(Duration::from_secs(6));
        engine.run_due();
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(gated.all.load(Ordering::SeqCst), 0);
    clock.advance(Duration::from_secs(4));
    engine.run_due();
    let task = finished(&handle, ids[0]).await;
    assert_eq!(task.spec.arguments.as_str(), r#"{"n":3}"#);
    assert_eq!(gated.all.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_call_may_be_delayed() {
    let gated = Gated::new();
    gated.go.add_permits(1);
    let (engine, clock) = by_hand(gated.tool(Order::default())).await;
    let handle = engine.handle();
    let before: Timestamp = handle.now();
    let delayed = NewCall {
        delay: Some(Duration::from_secs(30)),
        ..call(&handle)
    };
    let task = handle.create(delayed).await.unwrap();
    assert_eq!(task.state.phase, Phase::Scheduled);
    clock.advance(Duration::from_secs(30));
    engine.run_due();
    let task = finished(&handle, task.id()).await;
    assert_eq!(task.state.started_at.unwrap().since(before).as_secs(), 30);
}
