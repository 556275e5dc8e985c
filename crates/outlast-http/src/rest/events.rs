//! `GET /tasks/{id}/events` and `GET /events`: server-sent events, resumable at any message.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue};
use outlast_core::Principal;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::event::Told;
use super::extract::{Id, Query, Reader};
use super::feed::{Feed, Place};
use super::list::whose;
use super::live::Watcher;
use super::problem::Problem;
use super::task::TaskView;

/// How often an idle stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where to begin.
#[derive(Deserialize, IntoParams, Default)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// Tell what came after this: the number of an event, or the id of a message as it came. The
    /// header `Last-Event-ID` goes before it.
    after: Option<String>,
}

impl After {
    /// Where to begin, with what the header `Last-Event-ID` says.
    pub(super) fn place(self, header: Option<&HeaderValue>) -> Result<Place, Problem> {
        let header = header.map(|last| String::from_utf8_lossy(last.as_bytes()).into_owned());
        match header.or(self.after) {
            Some(last) => last.parse().map_err(Problem::bad),
            None => Ok(Place::default()),
        }
    }
}

/// What a task tells: its events, numbered without gaps, and its log. From the beginning, or from
/// where a reader was. When the task has told everything, an event named `end` comes last.
#[utoipa::path(
    get, path = "/tasks/{id}/events", tag = "tasks",
    params(("id" = String, Path, description = "The task's id."), After,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last message seen.")),
    responses(
        (status = 200, description = "The events.", content((Told = "text/event-stream"))),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 404, description = "There is no such task.", body = Problem),
        (status = 429, description = "The caller has as many streams open as one may have.", body = Problem),
        (status = 503, description = "The server has as many streams open as it takes.", body = Problem),
    )
)]
pub(super) async fn events(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    Query(query): Query<After>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, Problem> {
    let place = query.place(headers.get("last-event-id"))?;
    let room = api.room(&who)?;
    let feed = Feed::new(api.server(), who, id, place).await?;
    let stream = unfold(Some((feed, room)), |open| async move {
        let (mut feed, room) = open?;
        match feed.next().await {
            Some((place, told)) => Some((Ok(message(place, &told)), Some((feed, room)))),
            // A browser opens a stream again that only ends; this one tells it not to.
            None => feed
                .is_over()
                .then(|| (Ok(Message::default().event("end").data("{}")), None)),
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn message(place: Place, told: &Told) -> Message {
    let data = serde_json::to_string(told).expect("an event has a JSON form");
    Message::default().id(place.to_string()).data(data)
}

/// Where to begin in the live list, and whose tasks to tell of.
#[derive(Deserialize, IntoParams, Default)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LiveAfter {
    /// Tell what came after this: the id of a message as it came. The header `Last-Event-ID` goes before
    /// it.
    after: Option<String>,
    /// For administrators: this owner's tasks instead of the caller's own, or everybody's: `*`.
    owner: Option<String>,
}

impl LiveAfter {
    /// Begins to watch.
    pub(super) fn watch(
        self,
        api: &Api,
        who: &Principal,
        header: Option<&HeaderValue>,
    ) -> Result<Watcher, Problem> {
        let owner = whose(who, self.owner)?;
        let header = header.map(|last| String::from_utf8_lossy(last.as_bytes()).into_owned());
        let after = header.or(self.after).map(|last| last.parse());
        let after = after.transpose().map_err(Problem::bad)?;
        Ok(api.live().watch(owner, after))
    }
}

/// The live list: what becomes of all tasks that the caller may see. The first message is `READY`; with
/// `resumed: false` what is missing between is to be read from `GET /tasks`. Then come `TASK_CREATED`,
/// `TASK_CHANGED` and `TASK_ENDED` with the task, and `TASK_DELETED` with its id, or without one if it is
/// no longer known whose it was. Changes close together are told once. A reader that is too slow is cut off, and resumes with the last id.
#[utoipa::path(
    get, path = "/events", tag = "tasks",
    params(LiveAfter,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last message seen.")),
    responses(
        (status = 200, description = "The changes.", content((LiveMessage = "text/event-stream"))),
        (status = 400, description = "The query does not fit.", body = Problem),
        (status = 403, description = "Only an administrator may watch other owners' tasks.", body = Problem),
        (status = 429, description = "The caller has as many streams open as one may have.", body = Problem),
        (status = 503, description = "The server has as many streams open as it takes.", body = Problem),
    )
)]
pub(super) async fn live(
    State(api): State<Api>,
    Reader(who): Reader,
    Query(query): Query<LiveAfter>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Message, Infallible>>>, Problem> {
    let room = api.room(&who)?;
    let watcher = query.watch(&api, &who, headers.get("last-event-id"))?;
    let stream = unfold((watcher, room), |(mut watcher, room)| async move {
        let (place, text) = watcher.next().await.ok()?;
        let message = Message::default().id(place.to_string()).data(text);
        Some((Ok(message), (watcher, room)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// A message of the live list.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only describes what is written")]
pub(super) struct LiveMessage {
    /// `READY`, `TASK_CREATED`, `TASK_CHANGED`, `TASK_ENDED` or `TASK_DELETED`.
    r#type: String,
    /// The place behind this message.
    id: String,
    /// The task, without its arguments and with links that are paths.
    task: Option<TaskView>,
    /// The task that was deleted.
    #[schema(rename = "taskId")]
    task_id: Option<String>,
    /// Of `READY`: whether nothing lies between.
    resumed: Option<bool>,
}
