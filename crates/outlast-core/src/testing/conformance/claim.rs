//! Who is given what, in which order.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::rig::{Rig, answers, given, json, of, spec, with_priority};
use crate::journal::{JournalKind, Recorded};
use crate::machine::AttemptEnd;
use crate::status::Phase;
use crate::store::Notice;
use crate::task::TaskSpec;
use crate::testing::wait::pause;
use crate::testing::{block_on, eventually, join_all, poll_once};

pub(super) async fn priority_comes_before_age(rig: Rig) -> Rig {
    let mut expected = Vec::new();
    for priority in [0, 3, -2, 3, 0, i16::MAX, i16::MIN] {
        let id = rig.create_spec(with_priority(priority)).await.task.id();
        expected.push((-i32::from(priority), expected.len(), id));
    }
    expected.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|(.., id)| id).collect();
    assert_eq!(rig.claim_all().await, expected);
    rig
}

pub(super) async fn the_limit_is_kept(rig: Rig) -> Rig {
    for _ in 0..5 {
        rig.create().await;
    }
    assert!(rig.claim(0).await.is_empty());
    let told = || {
        let notices = rig.notices().into_iter();
        notices.filter(|one| *one == Notice::Ready).count()
    };
    let more_than = |before| std::future::ready((told() > before).then_some(()));
    eventually("each creation is told", || more_than(4)).await;
    let before = told();
    assert_eq!(rig.claim(3).await.len(), 3);
    eventually("it is told that there are more", || more_than(before)).await;
    assert_eq!(rig.claim(3).await.len(), 2);
    rig
}

pub(super) async fn unknown_tools_and_versions_are_left_alone(rig: Rig) -> Rig {
    rig.create_spec(of("foreign")).await;
    let newer = TaskSpec {
        tool_version: "2".into(),
        ..spec()
    };
    rig.create_spec(newer).await;
    assert!(rig.claim(10).await.is_empty());
    let own = rig.create().await;
    let second = rig.create_spec(of("second")).await.task.id();
    let by = rig.knowing(&["second", "tool", "unused"]);
    let claimed = rig.store.claim(&by, 10).await.unwrap();
    let ids: Vec<_> = claimed.iter().map(|one| one.task.id()).collect();
    assert_eq!(ids, [own, second], "in the order of creation over tools");
    rig
}

pub(super) async fn nothing_ready_gives_nothing(rig: Rig) -> Rig {
    assert!(rig.claim(5).await.is_empty());
    let by = rig.knowing(&[]);
    rig.create().await;
    assert!(rig.store.claim(&by, 5).await.unwrap().is_empty());
    rig
}

pub(super) async fn a_claim_brings_journal_and_answers(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let value = Recorded::Value(json(r#"{"n": 1}"#));
    rig.store
        .journal_put(
            &lease,
            JournalKind::Step,
            "one",
            Some(7),
            value.clone(),
            None,
        )
        .await
        .unwrap();
    rig.ask(&lease, &["q"]).await;
    rig.suspend_on(&lease, &["q"]).await;
    rig.store.answer(id, answers(&[("q", "42")])).await.unwrap();
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.id(), id);
    assert_eq!(claimed.journal.len(), 1);
    assert_eq!(claimed.journal[0].recorded, value);
    assert_eq!(claimed.journal[0].input_hash, Some(7));
    assert_eq!(claimed.task.state.inputs[0].answer, Some(given("42")));
    assert_eq!(claimed.task.lease(), Some(claimed.lease));
    assert_ne!(claimed.lease, lease);
    rig
}

pub(super) async fn what_comes_back_keeps_its_place(rig: Rig) -> Rig {
    let (waiting, lease) = rig.run().await;
    rig.ask(&lease, &["q"]).await;
    rig.suspend_on(&lease, &["q"]).await;
    let (released, lease) = rig.run().await;
    let later = rig.create().await;
    let end = AttemptEnd::Release;
    rig.store.finish(&lease, end, None).await.unwrap();
    rig.store
        .answer(waiting, answers(&[("q", "1")]))
        .await
        .unwrap();
    assert_eq!(rig.claim_all().await, [waiting, released, later], "I4");
    rig
}

/// A store may keep the heads of its queues in memory; what lies behind must come in order too.
pub(super) async fn more_ready_tasks_than_any_page(rig: Rig) -> Rig {
    let mut expected = Vec::new();
    for round in 0..10 {
        let created = join_all((0..500).map(|index| {
            let priority = if index % 100 == 99 { round } else { 0 };
            rig.create_spec(with_priority(priority))
        }))
        .await;
        let places = created.iter().map(|created| {
            let task = &created.task;
            let priority = -i32::from(task.spec.priority);
            (priority, task.state.sequence, task.id())
        });
        expected.extend(places);
    }
    expected.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|(.., id)| id).collect();
    let mut ids = Vec::new();
    loop {
        let claimed = rig.claim(450).await;
        if claimed.is_empty() {
            break;
        }
        ids.extend(claimed.iter().map(|one| one.task.id()));
    }
    assert_eq!(ids.len(), expected.len());
    assert!(ids == expected, "in order over all pages");
    rig
}

pub(super) async fn claimers_at_once_never_share_a_task(rig: Rig) -> Rig {
    for _ in 0..100 {
        rig.create().await;
    }
    let claims = join_all((0..50).map(|_| rig.claim(3))).await;
    let ids: Vec<_> = claims.iter().flatten().map(|one| one.task.id()).collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 100);
    rig
}

pub(super) async fn claimers_on_threads_never_share_a_task(rig: Rig) -> Rig {
    for _ in 0..100 {
        rig.create().await;
    }
    let rig = Arc::new(rig);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let rig = Arc::clone(&rig);
            std::thread::spawn(move || block_on(rig.claim_all()))
        })
        .collect();
    let mut ids = Vec::new();
    for thread in threads {
        ids.extend(thread.join().expect("no claimer panics"));
    }
    assert_eq!(ids.len(), 100);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 100);
    Arc::into_inner(rig).expect("the threads have ended")
}

pub(super) async fn a_dropped_claim_strands_nothing(rig: Rig) -> Rig {
    for _ in 0..20 {
        rig.create().await;
    }
    for _ in 0..10 {
        if let Some(claimed) = poll_once(rig.claim(2)).await {
            for one in claimed {
                let end = AttemptEnd::Release;
                rig.store.finish(&one.lease, end, None).await.unwrap();
            }
        }
    }
    // What the dropped calls claimed comes back, sooner or later.
    let ids = Mutex::new(BTreeSet::new());
    eventually("all tasks can be claimed", async || {
        let claimed = rig.claim_all().await;
        let mut ids = ids.lock().expect("no holder panics");
        ids.extend(claimed);
        (ids.len() == 20).then_some(())
    })
    .await;
    rig
}

pub(super) async fn a_reply_that_nobody_takes_strands_nothing(rig: Rig) -> Rig {
    for _ in 0..6 {
        rig.create().await;
    }
    for _ in 0..3 {
        let mut claim = Box::pin(rig.claim(2));
        if let Some(claimed) = poll_once(claim.as_mut()).await {
            for one in claimed {
                let end = AttemptEnd::Release;
                rig.store.finish(&one.lease, end, None).await.unwrap();
            }
            continue;
        }
        // The reply has come or is on its way, in a store that works on by itself.
        for _ in 0..100 {
            if rig
                .store
                .stats()
                .await
                .unwrap()
                .phases()
                .contains_key("running")
            {
                break;
            }
            pause().await;
        }
        drop(claim);
        eventually("all tasks are ready again", async || {
            let stats = rig.store.stats().await.unwrap();
            (stats.phases().get("queued") == Some(&6)).then_some(())
        })
        .await;
    }
    rig
}

pub(super) async fn a_dropped_creation_strands_nothing(rig: Rig) -> Rig {
    let mut ids = Vec::new();
    for _ in 0..10 {
        let asked = spec();
        ids.push(asked.id);
        if let Some(created) = poll_once(rig.store.create(asked, rig.if_next())).await
            && let Some(lease) = created.unwrap().lease
        {
            let end = AttemptEnd::Release;
            rig.store.finish(&lease, end, None).await.unwrap();
        }
    }
    // Whatever was created is ready, with nobody's lease on it.
    let last = rig.create().await;
    eventually("no task runs", async || {
        let stats = rig.store.stats().await.unwrap();
        (!stats.phases().contains_key("running")).then_some(())
    })
    .await;
    for id in ids.into_iter().chain([last]) {
        if let Some(task) = rig.store.get(id).await.unwrap() {
            assert_eq!(task.state.phase, Phase::Queued);
        }
    }
    rig
}
