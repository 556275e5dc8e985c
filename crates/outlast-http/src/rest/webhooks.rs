//! `GET /tasks/{id}/webhooks`: who is told of a task, and what has become of telling them.
//! `POST /tasks/{id}/webhooks/{delivery}/resend`: has one of them told again.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use outlast_core::webhook::{Delivery, DeliveryAttempt, DeliveryState, Receiver};
use outlast_core::{Task, WebhookEvent};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::extract::{Empty, Id, Path, Reader, Runner};
use super::journal::millis;
use super::problem::Problem;

/// Who is told of a task.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookList {
    /// The receivers.
    webhooks: Vec<WebhookView>,
    /// What was and is to be told, in the order of events: the last 64.
    deliveries: Vec<DeliveryView>,
}

/// A receiver.
#[derive(Serialize, ToSchema)]
struct WebhookView {
    /// Scheme, host and port, if the call named it. The rest of its address may be a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    /// Its name, if it is the server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What it hears of.
    #[schema(value_type = Vec<String>)]
    events: BTreeSet<WebhookEvent>,
    /// Whether it has said that it wants to hear no more.
    gone: bool,
}

/// One thing to be told to one receiver.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryView {
    /// What the receiver knows it by: the header `webhook-id`.
    id: String,
    /// Which of the receivers, counted from 0.
    webhook: usize,
    /// What is told.
    #[schema(value_type = String)]
    event: WebhookEvent,
    /// The number of the event.
    number: u64,
    /// When it happened.
    at: String,
    /// `pending`, `delivered` or `failed`.
    state: &'static str,
    /// When it is tried next, if it is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    /// How often it was tried.
    attempts: u32,
    /// The last attempts, at most 5.
    latest: Vec<DeliveryAttemptView>,
}

/// One attempt.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryAttemptView {
    /// When it ended.
    at: String,
    /// How long it took, in milliseconds.
    took_ms: u64,
    /// The status of the answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<&DeliveryAttempt> for DeliveryAttemptView {
    fn from(attempt: &DeliveryAttempt) -> Self {
        Self {
            at: attempt.at.to_string(),
            took_ms: millis(attempt.took),
            status: attempt.status,
            error: attempt.error.clone(),
        }
    }
}

impl WebhookList {
    fn of(task: &Task) -> Self {
        let webhooks = task.spec.webhooks.iter().enumerate().map(|(place, hook)| {
            let (origin, name) = match &hook.to {
                Receiver::Call { origin, .. } => (Some(origin.clone()), None),
                Receiver::Server(name) => (None, Some(name.clone())),
            };
            WebhookView {
                origin,
                name,
                events: hook.events.clone(),
                gone: task.state.gone_webhooks.contains(&place),
            }
        });
        let view = |delivery: &Delivery| {
            let (state, next) = match delivery.state {
                DeliveryState::Pending { next_at } => ("pending", Some(next_at)),
                DeliveryState::Delivered => ("delivered", None),
                DeliveryState::Failed => ("failed", None),
            };
            DeliveryView {
                id: delivery.id(task.id()),
                webhook: delivery.webhook,
                event: delivery.event,
                number: delivery.number,
                at: delivery.at.to_string(),
                state,
                next_attempt_at: next.map(|at| at.to_string()),
                attempts: delivery.attempts,
                latest: delivery
                    .latest
                    .iter()
                    .map(DeliveryAttemptView::from)
                    .collect(),
            }
        };
        Self {
            webhooks: webhooks.collect(),
            deliveries: task.state.deliveries.iter().map(view).collect(),
        }
    }
}

/// Who is told of a task over HTTP, and what has become of each message.
#[utoipa::path(
    get, path = "/tasks/{id}/webhooks", tag = "tasks",
    params(("id" = String, Path, description = "The task's id.")),
    responses(
        (status = 200, description = "The receivers, and what was and is to be told.", body = WebhookList),
        (status = 404, description = "There is no such task.", body = Problem),
        (status = 503, description = "The store cannot answer at present.", body = Problem),
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
) -> Result<Json<WebhookList>, Problem> {
    let task = api.handle().get(&who, id).await?;
    Ok(Json(WebhookList::of(&task)))
}

/// Sends a message to a webhook again, whatever came of it: at once, and if it fails as a new one is tried, for
/// a day. Its id stays, so a receiver that has taken it knows it again.
#[utoipa::path(
    post, path = "/tasks/{id}/webhooks/{delivery}/resend", tag = "tasks",
    params(
        ("id" = String, Path, description = "The task's id."),
        ("delivery" = String, Path, description = "The id of the delivery, as the list has it."),
    ),
    responses(
        (status = 202, description = "It is going to be sent.", body = WebhookList),
        (status = 400, description = "There is a body, of which it takes none.", body = Problem),
        (status = 404, description = "There is no such task, or it has no such delivery.", body = Problem),
        (status = 503, description = "The store cannot answer at present.", body = Problem),
    )
)]
pub(super) async fn resend(
    State(api): State<Api>,
    Runner(who): Runner,
    Id(id): Id,
    Path((_, delivery)): Path<(String, String)>,
    _: Empty,
) -> Result<(StatusCode, Json<WebhookList>), Problem> {
    if !api.handle().resend(&who, id, &delivery).await? {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!(
                "the task {id} has no delivery {delivery:?}; GET /tasks/{id}/webhooks lists those it has"
            ),
        ));
    }
    let task = api.handle().get(&who, id).await?;
    Ok((StatusCode::ACCEPTED, Json(WebhookList::of(&task))))
}
