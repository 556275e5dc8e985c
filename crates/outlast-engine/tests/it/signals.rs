//! Signals: read in order, by waiting and by looking, and the same ones after a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outlast_core::testing::MemoryStore;
use outlast_core::{Error, NewSignal, Owner, Phase, RawJson, TaskId};
use outlast_engine::{Cx, Engine, Handle};

use crate::support::{builder, create, engine, eventually, finished, text, tool};

async fn send(handle: &Handle, id: TaskId, payload: &str) {
    let signal = NewSignal::new("guidance", RawJson::of(payload).unwrap());
    handle.signal(&Owner::local(), id, signal).await.unwrap();
}

#[tokio::test]
async fn signals_come_before_while_and_after_suspending() {
    let engine = engine(tool(|cx: Cx| async move {
        let mut guidance = cx.signals::<String>("guidance");
        let mut heard = Vec::new();
        for _ in 0..4 {
            heard.push(guidance.next().await?);
        }
        Ok(heard.join(" "))
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    send(&handle, id, "a").await;
    for word in ["b", "c"] {
        eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
        send(&handle, id, word).await;
    }
    send(&handle, id, "d").await;
    let task = finished(&handle, id).await;
    assert_eq!(text(&task), "a b c d");
    assert_eq!(task.state.attempt, 1);
    let late = NewSignal::new("guidance", RawJson::of("e").unwrap());
    let error = handle.signal(&Owner::local(), id, late).await.unwrap_err();
    assert!(matches!(error, Error::Finished(_)), "{error}");
}

#[tokio::test]
async fn a_stranger_cannot_signal() {
    let engine = engine(tool(|cx: Cx| async move {
        cx.signals::<String>("guidance").next().await
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let signal = NewSignal::new("guidance", RawJson::of("x").unwrap());
    let error = handle.signal(&Owner::new("ann"), id, signal).await;
    assert!(matches!(error.unwrap_err(), Error::NotFound(_)));
    send(&handle, id, "x").await;
    let task = finished(&handle, id).await;
    assert_eq!(text(&task), "x");
}

#[tokio::test]
async fn a_payload_of_another_form_is_told_and_passed_over() {
    let engine = engine(tool(|cx: Cx| async move {
        let mut guidance = cx.signals::<u32>("guidance");
        let error = guidance.next().await.unwrap_err().to_string();
        assert!(error.contains("number 1"), "{error}");
        Ok(guidance.next().await?.to_string())
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    send(&handle, id, "no number").await;
    let signal = NewSignal::new("guidance", RawJson::of(&7).unwrap());
    handle.signal(&Owner::local(), id, signal).await.unwrap();
    let task = finished(&handle, id).await;
    assert_eq!(text(&task), "7");
}

/// Looks three times, then dies in its first life; the second life sees what the first one saw, though
/// another signal had come by then.
#[tokio::test]
async fn a_look_sees_the_same_after_a_crash() {
    let store = Arc::new(MemoryStore::default());
    let lives = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&lives);
    let looks = move || {
        let lives = Arc::clone(&counted);
        tool(move |cx: Cx| {
            let lives = Arc::clone(&lives);
            async move {
                let mut guidance = cx.signals::<String>("guidance");
                let first = guidance.try_next().await?;
                cx.step("go", || async { Ok(()) }).await?;
                // The first signal comes now.
                let second = guidance.next().await?;
                let third = guidance.try_next().await?;
                if lives.fetch_add(1, Ordering::SeqCst) == 0 {
                    std::future::pending::<()>().await;
                }
                let fourth = guidance.try_next().await?;
                Ok(format!("{first:?} {second:?} {third:?} {fourth:?}"))
            }
        })
    };
    let first = Engine::builder(Arc::clone(&store) as Arc<_>)
        .tools(outlast_engine::Tools::new([looks()]).unwrap())
        .start()
        .await
        .unwrap();
    let handle = first.handle();
    let id = create(&handle).await;
    outlast_core::testing::eventually("the step", || async {
        let journal = handle.journal(&Owner::local(), id).await.unwrap();
        (journal.len() >= 2).then_some(())
    })
    .await;
    send(&handle, id, "one").await;
    outlast_core::testing::eventually("the third look", || async {
        (lives.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    send(&handle, id, "two").await;
    let second = builder(&Arc::new(store.successor()), looks())
        .hot_wait(Duration::ZERO)
        .start()
        .await
        .unwrap();
    let task = finished(&second.handle(), id).await;
    assert_eq!(text(&task), r#"None "one" None Some("two")"#);
    drop(first);
}
