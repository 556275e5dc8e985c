//! Signals: unasked messages, kept in order.

use std::collections::BTreeMap;

use super::rig::{Forked, Rig, json};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::TaskId;
use crate::machine::CancelMode;
use crate::signal::{MAX_SIGNAL_BYTES, MAX_SIGNAL_NAMES, MAX_SIGNALS, NewSignal, Signal};
use crate::status::Phase;
use crate::store::{Signalled, SuspendReply};
use crate::task::{Awaiting, Lease};

fn signal(name: &str, payload: &str) -> NewSignal {
    NewSignal::new(name, json(payload))
}

fn with_id(name: &str, id: &str) -> NewSignal {
    NewSignal {
        id: Some(id.to_owned()),
        ..signal(name, "1")
    }
}

impl Rig {
    async fn signal(&self, id: TaskId, signal: NewSignal) -> Signalled {
        self.store.signal(id, signal).await.expect("a signal")
    }

    async fn signals(&self, id: TaskId, name: &str) -> Vec<Signal> {
        let signals = self.store.signals(id, name, 0, usize::MAX).await;
        signals.expect("a read")
    }

    async fn await_signal(&self, lease: &Lease, name: &str, read: u64) -> SuspendReply {
        let awaiting = Awaiting {
            signals: BTreeMap::from([(name.to_owned(), read)]),
            ..Awaiting::default()
        };
        let reply = self.store.suspend(lease, awaiting).await;
        reply.expect("its lease holds")
    }
}

pub(super) async fn signals_are_kept_in_order_under_their_names(rig: Rig) -> Rig {
    let id = rig.create().await;
    for (name, number, payload) in [
        ("a", 1, r#"{"x": 1.0}"#),
        ("b", 1, "2"),
        ("a", 2, "3"),
        ("a", 3, "4"),
    ] {
        let signalled = rig.signal(id, signal(name, payload)).await;
        let expected = Signalled {
            number,
            repeated: false,
        };
        assert_eq!(signalled, expected);
    }
    let read = rig.signals(id, "a").await;
    let numbers: Vec<_> = read.iter().map(|signal| signal.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(read[0].payload.as_str(), r#"{"x": 1.0}"#);
    let page = rig.store.signals(id, "a", 1, 1).await.unwrap();
    assert_eq!(page, read[1..2]);
    assert_eq!(rig.signals(id, "c").await, []);
    assert_eq!(rig.task(id).await.state.signals["a"], 3);
    let events = rig.events(id).await;
    let name = "b".to_owned();
    assert_eq!(events[2].kind, EventKind::Signalled { name, number: 1 });
    rig
}

pub(super) async fn a_signal_with_the_same_id_comes_once(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let (first, again) = (with_id("a", "7"), with_id("a", "7"));
    assert!(!rig.signal(id, first).await.repeated);
    rig.signal(id, with_id("a", "8")).await;
    let version = rig.task(id).await.state.version;
    let repeated = Signalled {
        number: 1,
        repeated: true,
    };
    assert_eq!(rig.signal(id, again).await, repeated);
    assert_eq!(rig.task(id).await.state.version, version);
    assert_eq!(rig.signals(id, "a").await.len(), 2);
    rig.finish(&lease).await;
    assert_eq!(
        rig.signal(id, with_id("a", "7")).await,
        repeated,
        "its sender may not have heard the first reply"
    );
    let other = rig.create().await;
    let signalled = rig.signal(other, with_id("a", "7")).await;
    assert!(!signalled.repeated, "ids belong to a task");
    rig
}

pub(super) async fn a_signal_before_the_suspension_resolves_it(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.signal(id, signal("a", "1")).await;
    rig.signal(id, signal("b", "1")).await;
    let reply = rig.await_signal(&lease, "a", 0).await;
    assert!(matches!(reply, SuspendReply::Resolved(_)));
    let reply = rig.await_signal(&lease, "a", 1).await;
    assert!(matches!(reply, SuspendReply::Suspended), "it was read");
    rig
}

pub(super) async fn a_signal_wakes_a_suspended_task(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    rig.await_signal(&lease, "a", 0).await;
    rig.signal(id, signal("b", "1")).await;
    assert_eq!(rig.phase(id).await, Phase::Suspended, "of another name");
    rig.signal(id, signal("a", "1")).await;
    let claimed = rig.claim_one().await;
    assert_eq!(claimed.task.state.attempt, 1, "the attempt goes on");
    rig.signal(id, signal("a", "2")).await;
    rig.finish(&claimed.lease).await;
    assert_eq!(rig.signals(id, "a").await.len(), 2);
    rig
}

pub(super) async fn a_task_that_has_ended_takes_no_signal(rig: Rig) -> Rig {
    let id = rig.create().await;
    rig.store.cancel(id, None, CancelMode::Force).await.unwrap();
    let error = rig.store.signal(id, signal("a", "1")).await.unwrap_err();
    assert!(matches!(error, Error::Finished(_)), "{error}");
    assert_eq!(rig.signals(id, "a").await, []);
    let unknown = rig.store.signal(TaskId::random(), signal("a", "1")).await;
    assert!(matches!(unknown.unwrap_err(), Error::NotFound(_)));
    rig
}

pub(super) async fn signals_keep_to_their_limits(rig: Rig) -> Rig {
    let id = rig.create().await;
    let long = format!("\"{}\"", "x".repeat(MAX_SIGNAL_BYTES));
    for refused in [
        signal("", "1"),
        signal(&"x".repeat(129), "1"),
        with_id("a", ""),
        signal("a", &long),
    ] {
        let error = rig.store.signal(id, refused).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    assert_eq!(rig.task(id).await.state.version, 1, "nothing was stored");
    for name in 0..MAX_SIGNAL_NAMES {
        rig.signal(id, signal(&name.to_string(), "1")).await;
    }
    let error = rig.store.signal(id, signal("one more", "1")).await;
    assert!(matches!(error.unwrap_err(), Error::Invalid(_)));
    rig.signal(id, signal("7", "1")).await;
    rig
}

pub(super) async fn a_task_takes_so_many_signals_and_no_more(rig: Rig) -> Rig {
    let id = rig.create().await;
    for _ in 0..MAX_SIGNALS {
        rig.signal(id, signal("a", "1")).await;
    }
    let error = rig.store.signal(id, signal("a", "1")).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert_eq!(rig.task(id).await.state.signals["a"], MAX_SIGNALS);
    rig
}

pub(super) async fn signals_survive_a_restart_and_go_with_their_task(rig: Rig) -> Rig {
    let id = rig.create().await;
    rig.signal(id, with_id("a", "7")).await;
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    assert_eq!(rig.signals(id, "a").await.len(), 1);
    assert!(rig.signal(id, with_id("a", "7")).await.repeated);
    let lease = rig.claim_one().await.lease;
    rig.finish(&lease).await;
    assert!(rig.store.delete(id).await.unwrap());
    assert_eq!(rig.signals(id, "a").await, []);
    rig
}
