//! Webhooks: what is to be told is noted with the change that it tells of.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::event::Event;
use crate::outcome::Outcome;
use crate::status::Phase;
use crate::task::Task;
use crate::webhook::{
    Delivery, DeliveryAttempt, DeliveryEnd, DeliveryState, IN_FLIGHT, KEPT_ATTEMPTS,
    MAX_DELIVERIES, Taken, Tried, WebhookEvent,
};

impl Task {
    /// Notes a delivery of `event` for everybody who wants to hear of it.
    pub(super) fn note_deliveries(&mut self, event: &Event) {
        if self.spec.webhooks.is_empty() {
            return;
        }
        let Some(kind) = WebhookEvent::of(&event.kind) else {
            return;
        };
        // For whoever waits for failures a command that failed is one.
        let tools_error = kind == WebhookEvent::Completed
            && matches!(self.outcome.as_deref(), Some(Outcome::Completed(result)) if result.is_error);
        let hears = |events: &BTreeSet<WebhookEvent>| {
            events.contains(&kind) || (tools_error && events.contains(&WebhookEvent::Failed))
        };
        let spec = std::sync::Arc::clone(&self.spec);
        for (webhook, wanted) in spec.webhooks.iter().enumerate() {
            if !hears(&wanted.events) || self.state.gone_webhooks.contains(&webhook) {
                continue;
            }
            self.make_room();
            self.state.deliveries.push(Delivery {
                number: event.number,
                webhook,
                event: kind,
                at: event.at,
                resent_at: None,
                taken: 0,
                attempts: 0,
                latest: Vec::new(),
                state: DeliveryState::Pending { next_at: event.at },
            });
        }
    }

    /// Forgets the oldest delivery that is settled, where there are too many; else the oldest of all, for
    /// the end of the task, which comes last, must be told.
    fn make_room(&mut self) {
        let deliveries = &mut self.state.deliveries;
        if deliveries.len() >= MAX_DELIVERIES {
            let settled = deliveries.iter().position(|one| !one.is_pending());
            deliveries.remove(settled.unwrap_or(0));
        }
    }

    /// When the next delivery is to be made.
    pub(super) fn next_delivery(&self) -> Option<Timestamp> {
        let deliveries = self.state.deliveries.iter();
        let pending = deliveries.filter_map(|delivery| match delivery.state {
            DeliveryState::Pending { next_at } => Some(next_at),
            DeliveryState::Delivered | DeliveryState::Failed => None,
        });
        pending.min()
    }

    /// Whether nothing is left to be done but to tell and to delete.
    pub(super) fn waits_to_be_deleted(&self) -> bool {
        self.state.phase == Phase::Finished && self.state.held_over.is_none()
    }

    /// Hands out what is to be told now, and nothing of it again for [`IN_FLIGHT`]. What was handed out
    /// past [`GIVE_UP_AFTER`] already, without a word since, is given up (I7). `None` if nothing was due.
    pub(super) fn take_deliveries(&mut self, now: Timestamp) -> Option<Vec<Taken>> {
        let mut due = None;
        for delivery in &mut self.state.deliveries {
            let DeliveryState::Pending { next_at } = delivery.state else {
                continue;
            };
            if next_at > now {
                continue;
            }
            let taken: &mut Vec<_> = due.get_or_insert_default();
            // Whoever was to be told in time is told, though nobody was there to do it then.
            let over = next_at > delivery.until();
            delivery.state = match over {
                true => DeliveryState::Failed,
                false => DeliveryState::Pending {
                    next_at: now + IN_FLIGHT,
                },
            };
            if delivery.is_pending() {
                delivery.taken += 1;
                taken.push(Taken {
                    number: delivery.number,
                    webhook: delivery.webhook,
                    taken: delivery.taken,
                });
            }
        }
        due
    }

    /// Records what came of a delivery that was handed out. `false`, with nothing changed, if it has been
    /// handed out again since, or is settled, unless it is to be sent again.
    pub fn delivery_ended(&mut self, which: Taken, end: DeliveryEnd, now: Timestamp) -> bool {
        let found = self.state.deliveries.iter_mut().find(|delivery| {
            (delivery.number, delivery.webhook, delivery.taken)
                == (which.number, which.webhook, which.taken)
        });
        let Some(delivery) = found else {
            return false;
        };
        if !delivery.is_pending() && end != DeliveryEnd::Resend {
            return false;
        }
        let mut gone = false;
        let (tried, state) = match end {
            DeliveryEnd::Delivered(tried) => (Some(tried), DeliveryState::Delivered),
            DeliveryEnd::Gone(tried) => {
                gone = true;
                (Some(tried), DeliveryState::Failed)
            }
            DeliveryEnd::Retry { tried, after } => (Some(tried), delivery.again(now + after)),
            DeliveryEnd::Later { after } => (None, delivery.again(now + after)),
            DeliveryEnd::Resend => {
                delivery.resent_at = Some(now);
                (None, DeliveryState::Pending { next_at: now })
            }
        };
        delivery.state = state;
        if let Some(tried) = tried {
            delivery.note(tried, now);
        }
        if gone {
            self.state.gone_webhooks.insert(which.webhook);
            for other in &mut self.state.deliveries {
                if other.webhook == which.webhook && other.is_pending() {
                    other.state = DeliveryState::Failed;
                }
            }
        }
        true
    }
}

impl Delivery {
    fn again(&self, next_at: Timestamp) -> DeliveryState {
        if next_at > self.until() {
            return DeliveryState::Failed;
        }
        DeliveryState::Pending { next_at }
    }

    fn note(&mut self, tried: Tried, now: Timestamp) {
        self.attempts += 1;
        if self.latest.len() == KEPT_ATTEMPTS {
            self.latest.remove(0);
        }
        self.latest.push(DeliveryAttempt {
            at: now,
            took: tried.took,
            status: tried.status,
            error: tried.error,
        });
    }
}
