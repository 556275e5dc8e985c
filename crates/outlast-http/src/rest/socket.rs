//! `WS /ws/{id}`: what a task tells, and what may be told to it, over one socket. `WS /ws`: the live list
//! of all tasks that one may see, and what may be told to each.
//!
//! Out goes the same as over server-sent events, from the beginning or from `?after=`. In come
//! `INTERVENTION` (a signal of that name with the message as its payload), `ANSWER` and `CANCEL`; each
//! is answered, and what is not understood is answered with `ERROR` and the socket stays; into the live
//! list each says in `taskId` which task it is for. The socket of a task closes when the task has told
//! everything, and with 1009 after a message of more than a mebibyte. A reader that takes nothing for half a minute is cut off
//! with 1013 and can resume; it has cost nobody anything, for a feed is read only as it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use outlast_core::signal::NewSignal;
use outlast_core::{Principal, RawJson, Scope, TaskId};
use outlast_engine::CancelBy;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Standing, lost};
use crate::front::Kept;

use super::Api;
use super::events::{After, LiveAfter};
use super::extract::{Id, Query, Reader};
use super::feed::{Feed, Place};
use super::input;
use super::live::{LiveEnd, Watcher};
use super::problem::Problem;

/// How long a message may take to be taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a reader may take to answer a close with its own (RFC 6455, 7.1.1). If the connection ended before, what
/// the reader has on its way, if only a pong, would make the system tear it down, and with it our last words that
/// were not read yet: to a browser that is a server that went away.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often an idle socket is asked whether it is alive, which also keeps it open through proxies.
const PING: Duration = Duration::from_secs(20);

/// The largest message taken in.
const LARGEST: usize = 1024 * 1024;

/// The signal that an intervention becomes.
const INTERVENTION: &str = "INTERVENTION";

/// What an `ANSWER` says: answers to questions, by their keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answers {
    input_responses: BTreeMap<String, RawJson>,
}

/// What a `CANCEL` says.
#[derive(Deserialize)]
struct Cancel {
    #[serde(default)]
    reason: Option<String>,
}

/// Opens a socket on a task.
pub(super) async fn socket(
    State(api): State<Api>,
    Reader(who): Reader,
    Id(id): Id,
    Query(query): Query<After>,
    standing: Option<Extension<Standing>>,
    kept: Option<Extension<Kept>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade?;
    let place = query.place(None)?;
    let room = api.room(&who)?;
    let feed = Feed::new(api.server(), who.clone(), id, place).await?;
    let source = Source::One(id, Box::new(feed));
    let conversation = async move |socket| {
        converse(api, who, standing, source, socket).await;
        drop((room, kept));
    };
    Ok(upgrade.max_message_size(LARGEST).on_upgrade(conversation))
}

/// Opens a socket on all tasks that the caller may see.
pub(super) async fn live(
    State(api): State<Api>,
    Reader(who): Reader,
    Query(query): Query<LiveAfter>,
    standing: Option<Extension<Standing>>,
    kept: Option<Extension<Kept>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade?;
    let room = api.room(&who)?;
    let watcher = query.watch(&api, &who, None)?;
    let conversation = async move |socket| {
        converse(api, who, standing, Source::All(watcher), socket).await;
        drop((room, kept));
    };
    Ok(upgrade.max_message_size(LARGEST).on_upgrade(conversation))
}

/// What a socket tells.
enum Source {
    /// One task.
    One(TaskId, Box<Feed>),
    /// The live list.
    All(Watcher),
}

impl Source {
    /// The next message, or how the socket is to be closed.
    ///
    /// Cancel safe, as what it waits for.
    async fn next(&mut self) -> Result<String, CloseFrame> {
        let stops = || CloseFrame {
            code: close_code::RESTART,
            reason: "the server stops; resume with ?after= and the last id seen".into(),
        };
        match self {
            Self::One(_, feed) => match feed.next().await {
                Some((place, told)) => Ok(message(place, &told)),
                None if feed.is_over() => Err(CloseFrame {
                    code: close_code::NORMAL,
                    reason: "the task has ended".into(),
                }),
                None => Err(stops()),
            },
            Self::All(watcher) => match watcher.next().await {
                Ok((_, text)) => Ok(text),
                Err(LiveEnd::Behind) => Err(too_slow()),
                Err(LiveEnd::Stopping) => Err(stops()),
            },
        }
    }

    fn task(&self) -> Option<TaskId> {
        match self {
            Self::One(id, _) => Some(*id),
            Self::All(_) => None,
        }
    }
}

fn too_slow() -> CloseFrame {
    CloseFrame {
        code: close_code::AGAIN,
        reason: "too slow; resume with ?after= and the last id seen".into(),
    }
}

fn too_large() -> CloseFrame {
    CloseFrame {
        code: close_code::SIZE,
        reason: format!("a message has at most {LARGEST} bytes").into(),
    }
}

/// Whether a message was longer than it may be. It was read to its end, so that what is said now arrives: what is
/// left unread would make the system tear the connection down. Of one that is longer still than a frame may be
/// (tungstenite's 16 MiB) nothing more is read.
fn is_too_large(error: &axum::Error) -> bool {
    use tungstenite::error::{CapacityError, Error};
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Error>());
    matches!(
        cause,
        Some(Error::Capacity(CapacityError::MessageTooLong {
            max_size: LARGEST,
            ..
        }))
    )
}

fn no_longer() -> CloseFrame {
    CloseFrame {
        code: close_code::POLICY,
        reason: "the token is no longer valid; sign in again".into(),
    }
}

async fn converse(
    api: Api,
    who: Principal,
    standing: Option<Extension<Standing>>,
    mut source: Source,
    mut socket: WebSocket,
) {
    let standing = standing.map(|Extension(standing)| standing);
    let mut lost = std::pin::pin!(lost(standing.clone()));
    let mut ping = tokio::time::interval(PING);
    let close = loop {
        let out = tokio::select! {
            told = source.next() => match told {
                Ok(text) => Message::text(text),
                Err(close) => break close,
            },
            said = socket.recv() => match said {
                Some(Ok(Message::Text(text))) => {
                    // What is said counts only as long as it would as a request.
                    if let Some(standing) = &standing && !standing.holds().await {
                        break no_longer();
                    }
                    let reply = heard(&api, &who, source.task(), &text).await;
                    Message::text(reply.to_string())
                }
                Some(Ok(Message::Binary(_))) => Message::text(error("send text, not bytes").to_string()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Err(error)) if is_too_large(&error) => break too_large(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            () = &mut lost => break no_longer(),
            _ = ping.tick() => Message::Ping(Vec::new().into()),
        };
        match tokio::time::timeout(PATIENCE, socket.send(out)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => break too_slow(),
        }
    };
    // A reader that is gone hears nothing, which is all that can be said to it.
    let last = socket.send(Message::Close(Some(close)));
    if let Ok(Ok(())) = tokio::time::timeout(PATIENCE, last).await {
        let _ = tokio::time::timeout(FAREWELL, async {
            while let Some(Ok(_)) = socket.recv().await {}
        })
        .await;
    }
}

/// What is told, with the place after it, so that a reader can resume at any message.
fn message(place: Place, told: &super::event::Told) -> String {
    let mut message = serde_json::to_value(told).expect("an event has a JSON form");
    message["id"] = place.to_string().into();
    message.to_string()
}

fn error(why: &str) -> Value {
    json!({"type": "ERROR", "message": why})
}

/// Does what was said, and says what came of it.
async fn heard(api: &Api, who: &Principal, id: Option<TaskId>, text: &str) -> Value {
    if !who.may(Scope::Run) {
        return error(&format!(
            "this needs the scope {}, which your credentials do not give",
            Scope::Run
        ));
    }
    // Never through a tree, in which numbers would lose digits: what is said arrives as over REST.
    let Ok(payload) = RawJson::parse(text) else {
        return error("this is not JSON");
    };
    let Ok(mut members) = payload.to::<BTreeMap<String, RawJson>>() else {
        return error("this is no object; \"type\" is INTERVENTION, ANSWER or CANCEL");
    };
    let kind = members
        .get("type")
        .and_then(|kind| kind.to::<String>().ok());
    let (id, message) = match id {
        Some(id) => (id, payload.clone()),
        None => {
            let named = members.remove("taskId");
            let named = named.and_then(|id| id.to::<String>().ok());
            let Some(Ok(id)) = named.map(|id| id.parse()) else {
                return error("\"taskId\" says which task this is for, and is missing or no id");
            };
            (id, RawJson::of(&members).expect("JSON has a JSON form"))
        }
    };
    let not_understood = |why: String| {
        error(&format!(
            "not understood ({why}); \"type\" is INTERVENTION, ANSWER or CANCEL"
        ))
    };
    match kind.as_deref() {
        Some(INTERVENTION) => {
            let signal = NewSignal::new(INTERVENTION, message);
            match api.handle().signal(who, id, signal).await {
                Ok(signalled) => {
                    json!({"type": "SIGNALLED", "name": INTERVENTION, "number": signalled.number})
                }
                Err(why) => error(&why.to_string()),
            }
        }
        Some("ANSWER") => {
            let Answers { input_responses } = match payload.to() {
                Ok(answers) => answers,
                Err(why) => return not_understood(why.to_string()),
            };
            match input::take(api, who, id, input_responses).await {
                Ok(answered) => json!({
                    "type": "ANSWERED", "accepted": answered.accepted, "ignored": answered.ignored}),
                Err(problem) => error(problem.detail()),
            }
        }
        Some("CANCEL") => {
            let Cancel { reason } = match payload.to() {
                Ok(cancel) => cancel,
                Err(why) => return not_understood(why.to_string()),
            };
            match api
                .handle()
                .cancel(who, id, reason, CancelBy::Request)
                .await
            {
                Ok(_) => json!({"type": "CANCELLING"}),
                Err(why) => error(&why.to_string()),
            }
        }
        Some(other) => not_understood(format!("there is no {other:?}")),
        None => not_understood("it has no type".into()),
    }
}
