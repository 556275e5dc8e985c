//! `GET /tasks/{id}/events`: server-sent events, resumable at any message.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::event::Told;
use super::extract::{Id, Query, Reader};
use super::feed::{Feed, Place};
use super::problem::Problem;

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
    let feed = Feed::new(api.handle(), who, id, place).await?;
    let stream = unfold(Some(feed), |feed| async move {
        let mut feed = feed?;
        match feed.next().await {
            Some((place, told)) => Some((Ok(message(place, &told)), Some(feed))),
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
