//! Waiting: timers and questions give up the worker and come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outlast_core::{Answer, Era, InputRequest, Owner, Phase, RawJson, TaskStatus};
use outlast_engine::Cx;

use crate::support::{create, engine, engine_with_clock, eventually, finished, get, text, tool};

fn question(key: &str) -> InputRequest {
    let params = RawJson::parse(r#"{"message":"?"}"#).unwrap();
    InputRequest::new(key, "elicitation/create", params)
}

fn answer(key: &str, value: &str) -> BTreeMap<String, RawJson> {
    BTreeMap::from([(key.to_owned(), RawJson::of(value).unwrap())])
}

fn given(answer: Answer) -> String {
    match answer {
        Answer::Given(value) => value.to().unwrap(),
        Answer::Expired => "expired".into(),
    }
}

#[tokio::test]
async fn a_long_sleep_holds_no_worker_and_ends_at_its_moment() {
    static ENTRIES: AtomicUsize = AtomicUsize::new(0);
    let (engine, clock) = engine_with_clock(tool(async |cx| {
        ENTRIES.fetch_add(1, Ordering::SeqCst);
        cx.sleep("night", Duration::from_secs(8 * 3600)).await?;
        Ok(format!("attempt {}", cx.attempt()))
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    assert!(task.lease().is_none());
    assert_eq!(task.status(Era::Modern), TaskStatus::Working);
    clock.advance(Duration::from_secs(8 * 3600));
    engine.run_due();
    assert_eq!(text(&*finished(&handle, id).await), "attempt 1");
    assert_eq!(ENTRIES.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_question_suspends_and_its_answer_resumes() {
    let engine = engine(tool(async |cx: Cx| {
        let before: u32 = cx.step("before", || async { Ok(7) }).await?;
        let name = given(cx.ask_raw(question("name")).await?);
        Ok(format!("{before} {name}"))
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let task = eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    assert_eq!(task.status(Era::Legacy), TaskStatus::InputRequired);
    let answered = handle
        .answer(&Owner::local(), id, answer("name", "Ada"))
        .await
        .unwrap();
    assert_eq!(answered.accepted, ["name"]);
    assert_eq!(text(&*finished(&handle, id).await), "7 Ada");
    let late = handle
        .answer(&Owner::local(), id, answer("name", "Eve"))
        .await
        .unwrap();
    assert_eq!(late.ignored, ["name"]);
}

#[tokio::test]
async fn an_answer_that_comes_while_the_wait_is_hot_goes_straight_in() {
    static ENTRIES: AtomicUsize = AtomicUsize::new(0);
    let store = Arc::new(outlast_core::testing::MemoryStore::default());
    let work = tool(async |cx: Cx| {
        ENTRIES.fetch_add(1, Ordering::SeqCst);
        Ok(given(cx.ask_raw(question("name")).await?))
    });
    let engine = crate::support::builder(&store, work)
        .hot_wait(Duration::from_secs(600))
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.open_inputs().next().is_some()).await;
    handle
        .answer(&Owner::local(), id, answer("name", "Ada"))
        .await
        .unwrap();
    assert_eq!(text(&*finished(&handle, id).await), "Ada");
    assert_eq!(ENTRIES.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn two_questions_take_partial_answers_in_any_order() {
    let engine = engine(tool(async |cx: Cx| {
        let answers = cx.ask_all(vec![question("a"), question("b")]).await?;
        Ok(answers.into_iter().map(given).collect::<Vec<_>>().join(" "))
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.open_inputs().count() == 2).await;
    handle
        .answer(&Owner::local(), id, answer("b", "B"))
        .await
        .unwrap();
    let task = get(&handle, id).await;
    let open: Vec<_> = task
        .open_inputs()
        .map(|input| input.request.key.as_str())
        .collect();
    assert_eq!(open, ["a"]);
    handle
        .answer(&Owner::local(), id, answer("a", "A"))
        .await
        .unwrap();
    assert_eq!(text(&*finished(&handle, id).await), "A B");
}

/// An answer that comes while the wait is still hot must not keep the worker until the others come.
#[tokio::test]
async fn who_has_one_answer_of_two_is_suspended_all_the_same() {
    let store = Arc::new(outlast_core::testing::MemoryStore::default());
    let work = tool(async |cx: Cx| {
        let answers = cx.ask_all(vec![question("a"), question("b")]).await?;
        Ok(answers.into_iter().map(given).collect::<Vec<_>>().join(" "))
    });
    let engine = crate::support::builder(&store, work)
        .hot_wait(Duration::from_millis(500))
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.open_inputs().count() == 2).await;
    handle
        .answer(&Owner::local(), id, answer("a", "A"))
        .await
        .unwrap();
    eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    assert_eq!(get(&handle, id).await.open_inputs().count(), 1);
    handle
        .answer(&Owner::local(), id, answer("b", "B"))
        .await
        .unwrap();
    assert_eq!(text(&*finished(&handle, id).await), "A B");
}

#[tokio::test]
async fn a_question_nobody_answers_expires() {
    let (engine, clock) = engine_with_clock(tool(async |cx: Cx| {
        let now = cx.now("asked").await?;
        let expires_at = Some(now + Duration::from_secs(7 * 24 * 3600));
        Ok(given(
            cx.ask_raw(InputRequest {
                expires_at,
                ..question("name")
            })
            .await?,
        ))
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    eventually(&handle, id, |task| task.state.phase == Phase::Suspended).await;
    clock.advance(Duration::from_secs(7 * 24 * 3600));
    engine.run_due();
    assert_eq!(text(&*finished(&handle, id).await), "expired");
}

#[tokio::test]
async fn many_suspended_tasks_need_one_slot() {
    let store = Arc::new(outlast_core::testing::MemoryStore::default());
    let work = tool(async |cx: Cx| Ok(given(cx.ask_raw(question("name")).await?)));
    let engine = crate::support::builder(&store, work)
        .slots(1)
        .start()
        .await
        .unwrap();
    let handle = engine.handle();
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(create(&handle).await);
    }
    for id in &ids {
        eventually(&handle, *id, |task| task.state.phase == Phase::Suspended).await;
    }
    for id in &ids {
        handle
            .answer(&Owner::local(), *id, answer("name", "Ada"))
            .await
            .unwrap();
    }
    for id in ids {
        assert_eq!(text(&*finished(&handle, id).await), "Ada");
    }
}
