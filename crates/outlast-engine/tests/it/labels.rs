//! Labels: from the tool, the caller and the handler, in calls that wait as in tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_core::store::Filter;
use outlast_core::testing::MemoryStore;
use outlast_core::{Error, Outcome, Owner, Task};
use outlast_engine::{Cx, Handle, NewCall, OnDrop, Result, TaskSupport, Tool, Tools};

use crate::support::{builder, call, engine, eventually, finished, get, text, tool};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn labelled(pairs: &[(&str, &str)], tool: Tool) -> Tool {
    Tool {
        labels: labels(pairs),
        ..tool
    }
}

async fn found(handle: &Handle, pairs: &[(&str, &str)]) -> Vec<Arc<Task>> {
    let filter = Filter {
        labels: labels(pairs),
        ..Filter::default()
    };
    let page = handle.list(&Owner::local(), filter, None, 100).await;
    page.unwrap().tasks
}

#[tokio::test]
async fn the_more_particular_label_counts() {
    let work = |cx: Cx| async move {
        cx.label("stage", "begun").await?;
        cx.label("size", "small").await?;
        cx.spawn("child", ())
            .label("who", "parent")
            .await?
            .join()
            .await?;
        cx.label("stage", "over").await?;
        Ok("done".to_owned())
    };
    let own = [("team", "ops"), ("stage", "asked"), ("colour", "red")];
    let work = labelled(&own, tool(work));
    let child = Tool {
        name: "child".into(),
        ..labelled(
            &[("team", "kids"), ("who", "child")],
            tool(|_| async { Ok(String::new()) }),
        )
    };
    let engine = engine(work).await;
    let handle = engine.handle();
    handle.set_tools(handle.tools().with(child).unwrap());
    let mut call = call(&handle);
    call.labels = labels(&[("colour", "blue")]);
    let task = handle.create(call).await.unwrap();
    assert_eq!(
        task.spec.labels,
        labels(&[("colour", "blue"), ("stage", "asked"), ("team", "ops")])
    );
    let task = finished(&handle, task.id()).await;
    let wanted = [
        ("colour", "blue"),
        ("size", "small"),
        ("stage", "over"),
        ("team", "ops"),
    ];
    assert_eq!(task.spec.labels, labels(&wanted));
    let [child] = &found(&handle, &[("who", "parent")]).await[..] else {
        panic!("the child is found by its label");
    };
    let wanted = [
        ("colour", "blue"),
        ("size", "small"),
        ("stage", "begun"),
        ("team", "kids"),
        ("who", "parent"),
    ];
    assert_eq!(child.spec.labels, labels(&wanted));
}

#[tokio::test]
async fn a_replay_puts_no_label_back() {
    let work = |hang: bool| {
        move |cx: Cx| async move {
            cx.label("stage", "first").await?;
            if !hang {
                // Whoever looks now must not find the task where it was long ago.
                let shown = cx.step("look", || async { Ok(()) }).await;
                shown?;
            }
            cx.label("stage", "second").await?;
            if hang {
                std::future::pending::<()>().await;
            }
            cx.label("stage", "third").await?;
            Ok("done".to_owned())
        }
    };
    let store = Arc::new(MemoryStore::default());
    let first = builder(&store, tool(work(true))).start().await.unwrap();
    let handle = first.handle();
    let id = handle.create(call(&handle)).await.unwrap().id();
    let second = |task: &Task| task.spec.labels == labels(&[("stage", "second")]);
    eventually(&handle, id, second).await;
    let store = Arc::new(store.successor());
    let second = builder(&store, tool(work(false))).start().await.unwrap();
    let task = finished(&second.handle(), id).await;
    assert_eq!(task.spec.labels, labels(&[("stage", "third")]));
    let events = second.handle().events(&Owner::local(), id, 0, 100).await;
    let events = events.unwrap().into_iter();
    let told: Vec<_> = events
        .filter_map(|event| match event.kind {
            outlast_core::EventKind::Labelled { value, .. } => Some(value),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["first", "second", "third"]);
}

#[tokio::test]
async fn what_no_task_may_have_is_refused_in_a_sentence() {
    let work = |cx: Cx| async move {
        let long = cx.label("key", "v".repeat(300)).await.unwrap_err();
        let inside = cx.step("inside", || cx.label("a", "b")).await.unwrap_err();
        for number in 0..31 {
            cx.label(number.to_string(), "x").await?;
        }
        let many = cx.label("more", "x").await.unwrap_err();
        Ok(format!("{long}; {inside}; {many}"))
    };
    let engine = engine(labelled(&[("own", "x")], tool(work))).await;
    let handle = engine.handle();
    let id = handle.create(call(&handle)).await.unwrap().id();
    let said = text(&*finished(&handle, id).await);
    for part in ["up to 256 bytes", "inside a step", "33 labels"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(get(&handle, id).await.spec.labels.len(), 32);

    let too_many = || NewCall {
        labels: (0..32).map(|n| (n.to_string(), String::new())).collect(),
        ..call(&handle)
    };
    let refused = handle.create(too_many()).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Invalid(why) if why.contains("33 labels")),
        "{refused}"
    );
    let mut running = handle.call(too_many(), None, OnDrop::Cancel);
    (&mut running).await;
    let refused = running.refused().expect("a call that waits is refused too");
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    assert_eq!(found(&handle, &[]).await.len(), 1, "nothing was created");

    let bad = labelled(&[("", "x")], tool(|_| async { Ok(String::new()) }));
    let refused = Tools::new([bad]).err().unwrap();
    assert!(
        refused.contains("\"work\"") && refused.contains("label key"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_call_that_waits_is_labelled_and_one_that_is_never_a_task_goes_on() {
    let work = |cx: Cx| async move {
        cx.label("stage", "here").await?;
        Ok("done".to_owned())
    };
    let engine_of = |task| async move { engine(Tool { task, ..tool(work) }).await };
    let optional = engine_of(TaskSupport::Optional).await;
    let handle = optional.handle();
    let outcome = handle.call(call(&handle), None, OnDrop::Cancel).await;
    assert!(matches!(outcome, Outcome::Completed(result) if !result.is_error));
    assert_eq!(found(&handle, &[("stage", "here")]).await.len(), 1);
    let never = engine_of(TaskSupport::Forbidden).await;
    let handle = never.handle();
    let outcome = handle.call(call(&handle), None, OnDrop::Cancel).await;
    assert!(matches!(outcome, Outcome::Completed(result) if !result.is_error));
}

#[tokio::test]
async fn a_failing_handler_keeps_its_labels() {
    let work = |cx: Cx| async move {
        cx.label("stage", "upload").await?;
        let failed: Result<String> = Err(outlast_engine::Error::tool("no"));
        failed
    };
    let engine = engine(tool(work)).await;
    let handle = engine.handle();
    let id = handle.create(call(&handle)).await.unwrap().id();
    finished(&handle, id).await;
    let found = found(&handle, &[("stage", "upload")]).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id(), id);
}
