//! The next process finds everything.

use super::rig::{Forked, Rig, answers, done, json, of, spec, with_priority};
use crate::error::Error;
use crate::id::WorkerId;
use crate::journal::{JournalKind, Recorded};
use crate::log::{Level, LogLine};
use crate::progress::Progress;
use crate::status::Phase;
use crate::store::Filter;

pub(super) async fn everything_is_there_again(rig: Rig) -> Rig {
    let (running, lease) = rig.run().await;
    let progress = Progress {
        done: 0.1,
        total: Some(3.3),
        message: Some("half".into()),
        ..Progress::default()
    };
    rig.store.report(&lease, progress.into()).await.unwrap();
    for name in ["b", "a"] {
        let value = Recorded::Value(json(r#"{"n": 1.0}"#));
        rig.store
            .journal_put(&lease, JournalKind::Step, name, Some(3), value, None)
            .await
            .unwrap();
    }
    let line = LogLine {
        level: Level::Warning,
        logger: "stderr".into(),
        text: b"careful\n".to_vec(),
        mark: Some(8),
    };
    rig.store.log_append(&lease, vec![line]).await.unwrap();
    rig.ask(&lease, &["q", "r"]).await;
    rig.store
        .answer(running, answers(&[("q", "1")]))
        .await
        .unwrap();
    let waiting = rig.suspended("s").await;
    let finished = rig.finished(of("tool")).await;
    rig.create_spec(with_priority(4)).await;
    rig.store
        .record_put("space", "key", vec![9], None)
        .await
        .unwrap();

    let list = rig.store.list(&Filter::default(), None, 100).await.unwrap();
    let events = [running, waiting, finished].map(|id| (id, rig.store.events(id, 0, 100)));
    let mut kept = Vec::new();
    for (id, events) in events {
        kept.push((id, events.await.unwrap()));
    }
    let journal = rig.store.journal(running).await.unwrap();
    let log = rig.store.log_read(running, 0, 100).await.unwrap();
    let stats = rig.store.stats().await.unwrap();

    let rig = match rig.fork().await {
        Forked::Reopened(rig) => rig,
        Forked::Same(rig) => return rig,
    };
    let again = rig.store.list(&Filter::default(), None, 100).await.unwrap();
    assert_eq!(again.tasks, list.tasks);
    for (id, events) in kept {
        assert_eq!(rig.events(id).await, events);
        assert!(list.tasks.contains(&rig.task(id).await));
    }
    assert_eq!(rig.store.journal(running).await.unwrap(), journal);
    assert_eq!(rig.store.log_read(running, 0, 100).await.unwrap(), log);
    assert_eq!(rig.store.stats().await.unwrap(), stats);
    let record = rig.store.record_get("space", "key").await.unwrap();
    assert_eq!(record, Some(vec![9]));
    rig
}

pub(super) async fn what_was_ready_is_ready_in_order(rig: Rig) -> Rig {
    let low = rig.create_spec(with_priority(-1)).await.task.id();
    let first = rig.create().await;
    rig.create_spec(of("foreign")).await;
    let rig = match rig.fork().await {
        Forked::Reopened(rig) => rig,
        Forked::Same(rig) => rig,
    };
    let created = rig.store.create(spec(), rig.if_next()).await.unwrap();
    assert!(created.lease.is_none(), "older tasks are ready");
    let high = rig.create_spec(with_priority(1)).await.task.id();
    let expected = [high, first, created.task.id(), low];
    assert_eq!(rig.claim_all().await, expected);
    rig
}

pub(super) async fn a_lease_of_the_last_process_can_be_taken_back(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let rig = match rig.fork().await {
        Forked::Reopened(rig) => rig,
        Forked::Same(rig) => rig,
    };
    let recovered = rig.store.recover(WorkerId::random()).await.unwrap();
    assert_eq!(recovered.rescued, 1);
    assert_eq!(rig.phase(id).await, Phase::Queued);
    let stale = rig.store.finish(&lease, done("stale"), None).await;
    assert!(matches!(stale, Err(Error::LeaseLost(_))));
    let claimed = rig.claim_one().await;
    assert_ne!(claimed.lease, lease);
    rig.finish(&claimed.lease).await;
    rig
}

pub(super) async fn a_closed_store_answers_nothing(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.store.close().await.unwrap();
    rig.store.close().await.expect("closing twice is harmless");
    let errors = [
        rig.store.get(id).await.err(),
        rig.store.create(spec(), None).await.err(),
        rig.store.finish(&lease, done(""), None).await.err(),
        rig.store.list(&Filter::default(), None, 9).await.err(),
        rig.store.record_get("a", "b").await.err(),
    ];
    for error in errors {
        let error = error.expect("it is closed");
        assert!(matches!(error, Error::Store { .. }), "{error:?}");
        assert!(!error.is_retryable());
    }
    match rig.fork().await {
        Forked::Reopened(rig) => {
            assert!(rig.task(id).await.holds(&lease), "closing loses nothing");
            rig
        }
        Forked::Same(rig) => rig,
    }
}
