//! Webhooks: what is told is noted with what it tells of, and told at least once.

use std::time::Duration;

use super::rig::{Forked, LEASE, Rig, answers, done, spec};
use crate::clock::Clock;
use crate::id::TaskId;
use crate::machine::{AttemptEnd, CancelMode};
use crate::outcome::{Outcome, ToolResult};
use crate::store::{DueDelivery, Notice};
use crate::task::TaskSpec;
use crate::webhook::{
    Delivery, DeliveryEnd, DeliveryState, GIVE_UP_AFTER, IN_FLIGHT, KEPT_ATTEMPTS, MAX_DELIVERIES,
    Receiver, Tried, Webhook, WebhookEvent,
};

const MINUTE: Duration = Duration::from_secs(60);

/// A call with one webhook for each of these lists of events.
fn told(events: &[&[WebhookEvent]]) -> TaskSpec {
    let webhooks = events.iter().enumerate().map(|(place, events)| Webhook {
        to: Receiver::Server(format!("hook {place}")),
        events: events.iter().copied().collect(),
    });
    TaskSpec {
        webhooks: webhooks.collect(),
        retention: 10 * GIVE_UP_AFTER,
        ..spec()
    }
}

fn all() -> TaskSpec {
    told(&[&WebhookEvent::ALL])
}

fn refused() -> Tried {
    Tried {
        took: Duration::from_millis(7),
        status: Some(500),
        error: Some("the receiver answered 500".into()),
    }
}

/// What is handed out now, in the order of tasks and events.
async fn due(rig: &Rig) -> Vec<DueDelivery> {
    rig.store.tick(&[], LEASE, 100).await.unwrap().deliveries
}

async fn one(rig: &Rig) -> DueDelivery {
    let mut due = due(rig).await;
    assert_eq!(due.len(), 1, "{due:?}");
    due.remove(0)
}

async fn end(rig: &Rig, of: &DueDelivery, end: DeliveryEnd) -> bool {
    let put = rig.store.delivery_put(of.task.id(), of.taken, end);
    put.await.unwrap()
}

async fn deliveries(rig: &Rig, id: TaskId) -> Vec<Delivery> {
    rig.task(id).await.state.deliveries.clone()
}

pub(super) async fn what_is_told_is_noted_with_its_event(rig: Rig) -> Rig {
    let quiet = rig.finished(spec()).await;
    assert!(deliveries(&rig, quiet).await.is_empty());
    let of = |event| told(&[&[event]]);
    let failed = rig.finished(of(WebhookEvent::Failed)).await;
    assert!(deliveries(&rig, failed).await.is_empty(), "it completed");
    let spec = told(&[
        &[WebhookEvent::InputRequired, WebhookEvent::Completed],
        &[WebhookEvent::Completed],
    ]);
    let (id, lease) = rig.run_spec(spec).await;
    rig.ask(&lease, &["a"]).await;
    let asked = rig.task(id).await.state.version;
    rig.store.answer(id, answers(&[("a", "1")])).await.unwrap();
    let ended = rig.finish(&lease).await;
    assert_eq!(ended.state.deliveries, deliveries(&rig, id).await);
    let noted: Vec<_> = ended
        .state
        .deliveries
        .iter()
        .map(|delivery| (delivery.number, delivery.webhook, delivery.event))
        .collect();
    let end = ended.state.version;
    assert_eq!(
        noted,
        [
            (asked, 0, WebhookEvent::InputRequired),
            (end, 0, WebhookEvent::Completed),
            (end, 1, WebhookEvent::Completed),
        ]
    );
    rig.noticed("a delivery that is due", |notice| {
        *notice == Notice::Due(rig.clock.now())
    })
    .await;
    let cancelled = rig.create_spec(all()).await.task.id();
    rig.store
        .cancel(cancelled, None, CancelMode::Force)
        .await
        .unwrap();
    let noted = deliveries(&rig, cancelled).await;
    assert_eq!(noted[0].event, WebhookEvent::Cancelled);
    rig
}

pub(super) async fn a_delivery_is_handed_out_to_one(rig: Rig) -> Rig {
    let id = rig.finished(all()).await;
    let taken = one(&rig).await;
    assert_eq!(taken.task.id(), id);
    assert!(due(&rig).await.is_empty(), "somebody has it");
    let tried = Tried {
        status: Some(204),
        ..refused()
    };
    assert!(end(&rig, &taken, DeliveryEnd::Delivered(tried)).await);
    let delivery = deliveries(&rig, id).await.remove(0);
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!(delivery.attempts, 1);
    assert_eq!(delivery.latest[0].status, Some(204));
    assert_eq!(delivery.latest[0].at, rig.clock.now());
    rig.advance(MINUTE);
    assert!(due(&rig).await.is_empty(), "once it is told it is told");
    rig
}

pub(super) async fn a_delivery_without_a_word_is_handed_out_again(rig: Rig) -> Rig {
    let id = rig.finished(all()).await;
    let first = one(&rig).await;
    let next = rig.store.tick(&[], LEASE, 100).await.unwrap().next;
    assert_eq!(next, Some(rig.clock.now() + IN_FLIGHT));
    rig.advance(IN_FLIGHT - Duration::from_millis(1));
    assert!(due(&rig).await.is_empty());
    rig.advance(Duration::from_millis(1));
    let second = one(&rig).await;
    assert_ne!(first.taken, second.taken);
    let delivery = deliveries(&rig, id).await.remove(0);
    let ids = [&first, &second].map(|taken| taken.task.state.deliveries[0].id(id));
    assert_eq!(ids, [delivery.id(id), delivery.id(id)], "the same delivery");
    // It fell due while nobody was there, so there is a last time. A process that dies with each of them does
    // not keep the record for ever.
    rig.advance(GIVE_UP_AFTER);
    one(&rig).await;
    rig.advance(IN_FLIGHT);
    assert!(due(&rig).await.is_empty());
    let delivery = deliveries(&rig, id).await;
    assert_eq!(delivery[0].state, DeliveryState::Failed);
    rig
}

pub(super) async fn a_delivery_is_sent_again_when_somebody_asks(rig: Rig) -> Rig {
    let id = rig.finished(all()).await;
    let taken = one(&rig).await;
    assert!(end(&rig, &taken, DeliveryEnd::Gone(refused())).await);
    // Long after it would have been given up.
    rig.advance(GIVE_UP_AFTER + MINUTE);
    assert!(due(&rig).await.is_empty());
    assert!(end(&rig, &taken, DeliveryEnd::Resend).await);
    rig.noticed("a delivery that is due again", |notice| {
        *notice == Notice::Due(rig.clock.now())
    })
    .await;
    let again = one(&rig).await;
    let ids = [&taken, &again].map(|taken| taken.task.state.deliveries[0].id(id));
    assert_eq!(ids[0], ids[1], "the receiver knows it");
    assert!(
        !end(&rig, &taken, DeliveryEnd::Resend).await,
        "it is on its way"
    );
    let retry = DeliveryEnd::Retry {
        tried: refused(),
        after: MINUTE,
    };
    assert!(end(&rig, &again, retry).await);
    rig.advance(MINUTE);
    let last = one(&rig).await;
    assert!(end(&rig, &last, DeliveryEnd::Delivered(Tried::default())).await);
    let delivery = deliveries(&rig, id).await.remove(0);
    assert_eq!(
        (delivery.state, delivery.attempts),
        (DeliveryState::Delivered, 3)
    );
    rig
}

pub(super) async fn whoever_waits_for_failures_hears_of_a_tools_error(rig: Rig) -> Rig {
    let spec = told(&[
        &[WebhookEvent::Failed],
        &[WebhookEvent::Cancelled],
        &[WebhookEvent::Completed],
    ]);
    let (id, lease) = rig.run_spec(spec).await;
    let error = Outcome::Completed(ToolResult::error("exit status 1"));
    rig.store
        .finish(&lease, AttemptEnd::Done(error), None)
        .await
        .unwrap();
    let noted: Vec<_> = deliveries(&rig, id)
        .await
        .iter()
        .map(|delivery| (delivery.webhook, delivery.event))
        .collect();
    assert_eq!(
        noted,
        [(0, WebhookEvent::Completed), (2, WebhookEvent::Completed)]
    );
    rig
}

pub(super) async fn a_late_word_changes_nothing(rig: Rig) -> Rig {
    let id = rig.finished(all()).await;
    let first = one(&rig).await;
    rig.advance(IN_FLIGHT);
    let second = one(&rig).await;
    let before = deliveries(&rig, id).await;
    let late = DeliveryEnd::Delivered(Tried::default());
    assert!(!end(&rig, &first, late.clone()).await);
    assert_eq!(deliveries(&rig, id).await, before);
    assert!(end(&rig, &second, late.clone()).await);
    assert!(!end(&rig, &second, late.clone()).await, "told twice");
    rig.store.delete(id).await.unwrap();
    assert!(!end(&rig, &second, late.clone()).await, "nobody is there");
    let put = rig.store.delivery_put(TaskId::random(), second.taken, late);
    assert!(!put.await.unwrap());
    rig
}

pub(super) async fn a_delivery_is_tried_for_so_long(rig: Rig) -> Rig {
    let id = rig.finished(all()).await;
    let began = rig.clock.now();
    let mut tried = 0;
    loop {
        let taken = one(&rig).await;
        let after = GIVE_UP_AFTER / 8;
        let retry = DeliveryEnd::Retry {
            tried: refused(),
            after,
        };
        assert!(end(&rig, &taken, retry).await);
        tried += 1;
        let delivery = deliveries(&rig, id).await.remove(0);
        assert_eq!(delivery.attempts, tried);
        assert!(delivery.latest.len() <= KEPT_ATTEMPTS);
        if delivery.state == DeliveryState::Failed {
            break;
        }
        let next_at = rig.clock.now() + after;
        assert_eq!(delivery.state, DeliveryState::Pending { next_at });
        assert!(due(&rig).await.is_empty(), "not before its time");
        rig.advance(after);
    }
    assert_eq!(rig.clock.now(), began + GIVE_UP_AFTER);
    // One that could not be tried in all that time is tried once.
    rig.finished(all()).await;
    rig.advance(2 * GIVE_UP_AFTER);
    one(&rig).await;
    // So is one that was tried, and whose next time nobody was there for.
    rig.advance(IN_FLIGHT);
    assert!(due(&rig).await.is_empty(), "it was handed out too late");
    let id = rig.finished(all()).await;
    let retry = || DeliveryEnd::Retry {
        tried: refused(),
        after: MINUTE,
    };
    let taken = one(&rig).await;
    assert!(end(&rig, &taken, retry()).await);
    rig.advance(3 * GIVE_UP_AFTER);
    let last = one(&rig).await;
    assert!(end(&rig, &last, retry()).await);
    let delivery = deliveries(&rig, id).await.remove(0);
    assert_eq!(
        (delivery.state, delivery.attempts),
        (DeliveryState::Failed, 2)
    );
    rig
}

pub(super) async fn who_wants_no_more_is_told_no_more(rig: Rig) -> Rig {
    let spec = told(&[&WebhookEvent::ALL, &[WebhookEvent::Completed]]);
    let (id, lease) = rig.run_spec(spec).await;
    rig.ask(&lease, &["a"]).await;
    rig.ask(&lease, &["b"]).await;
    let due = due(&rig).await;
    assert_eq!(due.len(), 2);
    let gone = Tried {
        status: Some(410),
        ..refused()
    };
    assert!(end(&rig, &due[0], DeliveryEnd::Gone(gone)).await);
    let states = |deliveries: Vec<Delivery>| -> Vec<DeliveryState> {
        deliveries.iter().map(|delivery| delivery.state).collect()
    };
    let both = [DeliveryState::Failed, DeliveryState::Failed];
    assert_eq!(states(deliveries(&rig, id).await), both);
    let delivered = DeliveryEnd::Delivered(Tried::default());
    assert!(!end(&rig, &due[1], delivered).await, "it was given up");
    rig.finish(&lease).await;
    let last = deliveries(&rig, id).await.pop().unwrap();
    assert_eq!(
        (last.webhook, last.is_pending()),
        (1, true),
        "only the other"
    );
    assert_eq!(deliveries(&rig, id).await.len(), 3);
    rig
}

pub(super) async fn a_record_is_kept_until_everything_is_told(rig: Rig) -> Rig {
    let spec = TaskSpec {
        retention: Duration::ZERO,
        ..all()
    };
    let id = rig.finished(spec).await;
    assert!(
        rig.store.get(id).await.unwrap().is_none(),
        "nobody reads it"
    );
    let taken = one(&rig).await;
    assert_eq!(taken.task.id(), id, "it is there to be told");
    let retry = DeliveryEnd::Retry {
        tried: refused(),
        after: MINUTE,
    };
    assert!(end(&rig, &taken, retry).await);
    let ticked = rig.store.tick(&[], LEASE, 100).await.unwrap();
    assert_eq!(ticked.deleted, 0);
    assert_eq!(ticked.next, Some(rig.clock.now() + MINUTE));
    rig.advance(MINUTE);
    let taken = one(&rig).await;
    let delivered = DeliveryEnd::Delivered(Tried::default());
    assert!(end(&rig, &taken, delivered).await);
    let ticked = rig.store.tick(&[], LEASE, 100).await.unwrap();
    assert_eq!(ticked.deleted, 1);
    rig
}

pub(super) async fn what_is_to_be_told_survives_the_process(rig: Rig) -> Rig {
    let id = rig.finished(all()).await;
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    let taken = one(&rig).await;
    assert_eq!(taken.task.id(), id);
    rig
}

pub(super) async fn the_end_is_told_whatever_came_before(rig: Rig) -> Rig {
    let (id, lease) = rig.run_spec(all()).await;
    for number in 0..=MAX_DELIVERIES {
        rig.ask(&lease, &[&format!("question {number}")]).await;
    }
    assert_eq!(deliveries(&rig, id).await.len(), MAX_DELIVERIES);
    let reply = rig.store.finish(&lease, done("done"), None).await;
    let kept = &reply.unwrap().task.state.deliveries;
    assert_eq!(kept.len(), MAX_DELIVERIES);
    assert_eq!(kept.last().unwrap().event, WebhookEvent::Completed);
    rig
}
