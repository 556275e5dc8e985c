//! A hundred that ask at once, in the newer era: each gets its own answers and no other's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use crate::rig::{Rig, eventually};
use crate::rounds::{accept, asked, call, text};

const CROWD: usize = 100;

/// Runs as many of one conversation side by side.
async fn all<F: Future<Output = ()> + 'static>(
    rig: &Rc<Rig>,
    conversation: impl Fn(Rc<Rig>, usize) -> F,
) {
    let local = LocalSet::new();
    let together = local.run_until(async {
        let mut crowd = JoinSet::new();
        for number in 0..CROWD {
            crowd.spawn_local(conversation(Rc::clone(rig), number));
        }
        crowd.join_all().await;
    });
    together.await;
}

#[tokio::test]
async fn a_hundred_tasks_ask_two_questions_each() {
    let rig = Rc::new(Rig::new().await);
    all(&rig, |rig, number| async move {
        let id = rig.create("ask_two").await;
        let open = |keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            move |task: &Value| {
                task["inputRequests"]
                    .as_object()
                    .is_some_and(|open| open.keys().eq(keys.iter()))
            }
        };
        let answer = async |key: &str, member: &str| {
            let content = accept(json!({ member: format!("{key} of {number}") }));
            let params = json!({"taskId": id, "inputResponses": { key: content }});
            let (status, message) = rig.modern("tasks/update", params).await;
            assert_eq!(status, 200, "{message}");
            assert_eq!(message["result"]["resultType"], "complete", "{message}");
        };
        rig.task(&id, open(&["one", "two"])).await;
        // Whichever is answered first, the other stays.
        if number % 2 == 0 {
            answer("one", "a").await;
            rig.task(&id, open(&["two"])).await;
            answer("two", "b").await;
        } else {
            answer("two", "b").await;
            rig.task(&id, open(&["one"])).await;
            answer("one", "a").await;
        }
        let task = rig.task(&id, |task| task["status"] == "completed").await;
        let said = task["result"]["content"][0]["text"].as_str().unwrap();
        let own = [format!("one of {number}\""), format!("two of {number}\"")];
        assert!(own.iter().all(|own| said.contains(own)), "{number}: {said}");
    })
    .await;
}

#[tokio::test]
async fn a_hundred_calls_ask_in_rounds() {
    let rig = Rc::new(Rig::new().await);
    // With what each came back.
    let states = Rc::new(RefCell::new(BTreeSet::new()));
    let kept = Rc::clone(&states);
    all(&rig, move |rig, number| {
        let states = Rc::clone(&kept);
        async move {
            let (_, message) = call(&rig, "interview", json!({})).await;
            let (keys, state) = asked(&message);
            assert_eq!(keys, ["first"]);
            let first = accept(json!({"a": format!("first of {number}")}));
            let more = json!({"inputResponses": {"first": first}, "requestState": state});
            let (_, message) = call(&rig, "interview", more).await;
            let (keys, state) = asked(&message);
            assert_eq!(keys, ["second"]);
            states.borrow_mut().insert(state.clone());
            let second = accept(json!({"b": format!("second of {number}")}));
            let more = json!({"inputResponses": {"second": second}, "requestState": state});
            let (_, message) = call(&rig, "interview", more).await;
            let said = text(&message);
            for own in ["first", "second"].map(|word| format!("{word} of {number}\"")) {
                assert!(said.contains(&own), "{number}: {said}");
            }
        }
    })
    .await;
    // Each step was run by one of them, and by no round a second time.
    let (_, message) = call(&rig, "interview", json!({})).await;
    let (_, state) = asked(&message);
    let first = accept(json!({"a": "x"}));
    let more = json!({"inputResponses": {"first": first}, "requestState": state});
    let (_, message) = call(&rig, "interview", more).await;
    let (_, state) = asked(&message);
    let second = accept(json!({"b": "y"}));
    let more = json!({"inputResponses": {"second": second}, "requestState": state});
    let (_, message) = call(&rig, "interview", more).await;
    assert!(
        text(&message).starts_with(&format!("{CROWD} ")),
        "{message}"
    );
    assert_eq!(states.borrow().len(), CROWD, "no two had one state");
}

#[tokio::test]
async fn a_hundred_optional_calls_that_ask_are_resumed_by_their_own_state() {
    let rig = Rc::new(Rig::new().await);
    all(&rig, |rig, number| async move {
        let (_, message) = call(&rig, "ask_one", json!({})).await;
        let (keys, state) = asked(&message);
        assert_eq!(keys, ["sure"]);
        // One in ten comes back without an answer first, and is asked again.
        if number % 10 == 0 {
            let (_, message) = call(&rig, "ask_one", json!({"requestState": state})).await;
            assert_eq!(asked(&message).0, ["sure"]);
        }
        let sure = number % 2 == 0;
        let more = json!({"requestState": state,
            "inputResponses": {"sure": accept(json!({"confirm": sure}))}});
        let message = eventually("the result", async || {
            let (_, message) = call(&rig, "ask_one", more.clone()).await;
            message["error"].is_null().then_some(message)
        })
        .await;
        assert!(text(&message).contains(&sure.to_string()), "{message}");
    })
    .await;
}
