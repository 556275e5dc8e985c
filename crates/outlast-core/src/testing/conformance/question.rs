//! Questions, answers and waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rig::{Rig, answers, awaiting, given, question, spec};
use crate::clock::Clock;
use crate::error::Error;
use crate::event::EventKind;
use crate::id::TaskId;
use crate::input::{Answer, InputRequest};
use crate::status::{Era, Phase, TaskStatus};
use crate::store::SuspendReply;
use crate::task::Awaiting;

pub(super) async fn an_answer_before_the_suspension_resolves_it(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.ask(&lease, &["q"]).await;
    assert_eq!(
        rig.task(id).await.status(Era::Modern),
        TaskStatus::InputRequired
    );
    rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    assert_eq!(rig.task(id).await.status(Era::Modern), TaskStatus::Working);
    let reply = rig.store.suspend(&lease, awaiting(&["q"])).await.unwrap();
    let SuspendReply::Resolved(task) = reply else {
        panic!("the answer was there");
    };
    assert_eq!(task.state.inputs[0].answer, Some(given("1")));
    assert!(rig.task(id).await.holds(&lease), "it keeps its worker");
    rig.finish(&lease).await;
    rig
}

pub(super) async fn an_answer_wakes_a_suspended_task(rig: Rig) -> Rig {
    let id = rig.suspended("q").await;
    let task = rig.task(id).await;
    assert_eq!(task.status(Era::Modern), TaskStatus::InputRequired);
    assert!(rig.claim(1).await.is_empty());
    let answered = rig
        .store
        .answer(id, answers(&[("q", r#"{"ok":true}"#)]))
        .await
        .unwrap();
    assert_eq!(answered.accepted, ["q"]);
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), id);
    assert_eq!(claimed.task.state.attempt, 1, "the attempt goes on");
    assert_eq!(
        claimed.task.state.inputs[0].answer,
        Some(given(r#"{"ok":true}"#))
    );
    let kinds: Vec<_> = rig
        .events(id)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    let keys = vec!["q".to_owned()];
    let expected = [
        EventKind::Created,
        EventKind::Started { attempt: 1 },
        EventKind::InputRequired { keys: keys.clone() },
        EventKind::Suspended,
        EventKind::InputAnswered { keys },
        EventKind::Queued,
        EventKind::Started { attempt: 1 },
    ];
    assert_eq!(kinds, expected);
    rig
}

pub(super) async fn some_answers_are_enough_and_others_stay_open(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.ask(&lease, &["a", "b", "c"]).await;
    rig.suspend_on(&lease, &["a", "b"]).await;
    rig.store.answer(id, answers(&[("c", "3")])).await.unwrap();
    assert_eq!(rig.phase(id).await, Phase::Suspended, "it waits for others");
    rig.store.answer(id, answers(&[("b", "2")])).await.unwrap();
    assert_eq!(rig.phase(id).await, Phase::Queued);
    let task = rig.claim_one().await.task;
    let open: Vec<_> = task.open_inputs().map(|input| &input.request.key).collect();
    assert_eq!(open, ["a"]);
    assert_eq!(task.status(Era::Modern), TaskStatus::InputRequired);
    rig
}

pub(super) async fn the_first_answer_wins(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.ask(&lease, &["q", "r"]).await;
    rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    let second = rig
        .store
        .answer(id, answers(&[("q", "2"), ("r", "3")]))
        .await
        .unwrap();
    assert_eq!(
        (second.accepted, second.ignored),
        (vec!["r".into()], vec!["q".into()])
    );
    let task = rig.task(id).await;
    let kept: Vec<_> = task
        .state
        .inputs
        .iter()
        .map(|input| input.answer.clone())
        .collect();
    assert_eq!(kept, [Some(given("1")), Some(given("3"))]);
    rig
}

pub(super) async fn late_and_unknown_answers_are_ignored(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let early = rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    assert_eq!((early.accepted, early.ignored), (vec![], vec!["q".into()]));
    rig.ask(&lease, &["q"]).await;
    let nothing = rig.store.answer(id, BTreeMap::new()).await.unwrap();
    assert_eq!((nothing.accepted, nothing.ignored), (vec![], vec![]));
    let task = rig.finish(&lease).await;
    let late = rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    assert_eq!((late.accepted, late.ignored), (vec![], vec!["q".into()]));
    assert_eq!(rig.task(id).await, task);
    rig
}

pub(super) async fn a_question_runs_out_of_time(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let expires_at = Some(rig.clock.now() + Duration::from_secs(60));
    let asked = InputRequest {
        expires_at,
        ..question("q")
    };
    rig.store.ask(&lease, vec![asked]).await.unwrap();
    rig.suspend_on(&lease, &["q"]).await;
    rig.advance(Duration::from_millis(59_999));
    rig.tick().await;
    assert_eq!(rig.phase(id).await, Phase::Suspended);
    rig.advance(Duration::from_millis(1));
    rig.tick().await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.state.inputs[0].answer, Some(Answer::Expired));
    let late = rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    assert_eq!(late.ignored, ["q"]);
    rig
}

pub(super) async fn the_same_key_is_the_same_question(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.ask(&lease, &["q"]).await;
    rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    let version = rig.task(id).await.state.version;
    let other = InputRequest {
        method: "sampling/createMessage".into(),
        ..question("q")
    };
    let task = rig
        .store
        .ask(&lease, vec![other, question("q")])
        .await
        .unwrap();
    assert_eq!(task.state.inputs.len(), 1, "I9");
    assert_eq!(task.state.inputs[0].request.method, "elicitation/create");
    assert_eq!(task.state.inputs[0].answer, Some(given("1")));
    assert_eq!(task.state.version, version, "nothing new was asked");
    assert_eq!(rig.task(id).await, task);
    rig
}

pub(super) async fn a_timer_wakes_a_suspended_task(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let until = Some(rig.clock.now() + Duration::from_secs(60));
    rig.ask(&lease, &["q"]).await;
    let inputs = vec!["q".to_owned()];
    let reply = rig
        .store
        .suspend(
            &lease,
            Awaiting {
                inputs,
                until,
                ..Awaiting::default()
            },
        )
        .await;
    assert!(matches!(reply, Ok(SuspendReply::Suspended)));
    rig.advance(Duration::from_secs(60));
    rig.tick().await;
    let claimed = rig.claim_one().await;
    assert_eq!((claimed.task.id(), claimed.task.state.attempt), (id, 1));
    assert!(claimed.task.state.inputs[0].is_open());
    rig
}

pub(super) async fn a_question_and_its_suspension_are_one_unit(rig: Rig) -> Rig {
    let mut spec = spec();
    spec.repeatable = false;
    let (id, lease) = rig.run_spec(spec).await;
    let ask = |keys: &[&str]| {
        let questions = keys.iter().map(|key| question(key)).collect();
        rig.store.ask_and_suspend(&lease, questions, awaiting(keys))
    };
    assert!(matches!(ask(&["q"]).await, Ok(SuspendReply::Suspended)));
    let task = rig.task(id).await;
    assert_eq!(task.status(Era::Modern), TaskStatus::InputRequired);
    assert_eq!(task.state.phase, Phase::Suspended);
    assert!(matches!(ask(&["p"]).await, Err(Error::LeaseLost(_))));
    rig.store.answer(id, answers(&[("q", "1")])).await.unwrap();
    let lease = rig.claim_one().await.lease;
    // An answer that is there keeps the worker, and what is new is asked all the same.
    let both = vec![question("q"), question("r")];
    let reply = rig
        .store
        .ask_and_suspend(&lease, both, awaiting(&["q"]))
        .await;
    let Ok(SuspendReply::Resolved(task)) = reply else {
        panic!("{reply:?}");
    };
    assert!(task.holds(&lease) && task.state.inputs.len() == 2);
    rig.finish(&lease).await;
    rig
}

pub(super) async fn a_past_timer_does_not_suspend(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let until = Some(rig.clock.now());
    let inputs = Vec::new();
    let reply = rig
        .store
        .suspend(
            &lease,
            Awaiting {
                inputs,
                until,
                ..Awaiting::default()
            },
        )
        .await;
    assert!(matches!(reply, Ok(SuspendReply::Resolved(_))));
    assert!(rig.task(id).await.holds(&lease));
    rig
}

pub(super) async fn nobody_answers_a_task_that_is_not_there(rig: Rig) -> Rig {
    let id = TaskId::random();
    let error = rig
        .store
        .answer(id, answers(&[("q", "1")]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound(task) if task == id));
    rig
}
