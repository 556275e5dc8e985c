//! Chains: a task that comes after others.

use std::sync::{Arc, Mutex};

use outlast_core::machine::Dependency;
use outlast_core::{Error, Outcome, Owner, Phase, TaskId};
use outlast_engine::{Cx, NewCall};

use crate::support::{call, create, engine, eventually, finished, get, tool};

#[tokio::test]
async fn a_chain_runs_in_its_order() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&order);
    let engine = engine(tool(move |cx: Cx| {
        let noted = Arc::clone(&noted);
        async move {
            tokio::task::yield_now().await;
            noted.lock().unwrap().push(cx.task_id());
            Ok(String::new())
        }
    }))
    .await;
    let handle = engine.handle();
    let mut ids = vec![create(&handle).await];
    for _ in 0..5 {
        let after = vec![Dependency::success(*ids.last().unwrap())];
        let next = NewCall {
            after,
            ..call(&handle)
        };
        ids.push(handle.create(next).await.unwrap().id());
    }
    finished(&handle, *ids.last().unwrap()).await;
    assert_eq!(*order.lock().unwrap(), ids);
}

#[tokio::test]
async fn a_cancelled_task_cancels_those_behind_it() {
    let engine = engine(tool(|cx: Cx| async move {
        cx.cancelled().await;
        Err(cx.cancelled_error())
    }))
    .await;
    let handle = engine.handle();
    let first = create(&handle).await;
    eventually(&handle, first, |task| task.state.phase == Phase::Running).await;
    let after = vec![Dependency::success(first)];
    let behind = NewCall {
        after,
        ..call(&handle)
    };
    let behind = handle.create(behind).await.unwrap().id();
    assert_eq!(get(&handle, behind).await.state.phase, Phase::Blocked);
    let by = outlast_engine::CancelBy::Request;
    handle
        .cancel(&Owner::local(), first, None, by)
        .await
        .unwrap();
    let task = finished(&handle, behind).await;
    assert!(matches!(
        task.outcome.as_deref(),
        Some(Outcome::Cancelled { .. })
    ));
}

#[tokio::test]
async fn an_unknown_dependency_creates_nothing() {
    let engine = engine(tool(|_: Cx| async { Ok(String::new()) })).await;
    let handle = engine.handle();
    let unknown = TaskId::random();
    let refused = NewCall {
        after: vec![Dependency::any_end(unknown)],
        ..call(&handle)
    };
    let error = handle.create(refused).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(_)), "{error}");
    assert!(error.to_string().contains(&unknown.to_string()), "{error}");
    assert_eq!(handle.unfinished().await.unwrap(), 0);
}

#[tokio::test]
async fn too_many_labels_create_nothing() {
    let engine = engine(tool(|cx: Cx| async move {
        let long = "k".repeat(65);
        let child = cx.spawn("work", std::collections::BTreeMap::<u8, u8>::new());
        match child.label(long, "").await {
            Ok(_) => Ok("started".into()),
            Err(refused) => Ok(refused.to_string()),
        }
    }))
    .await;
    let handle = engine.handle();
    let mut many = call(&handle);
    many.labels = (0..33).map(|n| (n.to_string(), String::new())).collect();
    let error = handle.create(many).await.unwrap_err();
    assert!(error.to_string().contains("33 labels"), "{error}");
    assert_eq!(handle.unfinished().await.unwrap(), 0);
    let task = finished(&handle, create(&handle).await).await;
    let said = crate::support::text(&task);
    assert!(said.contains("label key"), "{said}");
    let list = handle.stats().await.unwrap();
    assert_eq!(
        list.phases().values().sum::<u64>(),
        1,
        "no child was started"
    );
}
