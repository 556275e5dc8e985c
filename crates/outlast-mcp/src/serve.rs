//! From a message to its answer, whatever it came over: which era it belongs to, who may send it,
//! and what ends it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use outlast_core::{Error, Owner, Principal, RawJson};

use crate::answers;
use crate::bounds::Full;
use crate::context::{Context, from_store};
use crate::dispatch::{can_last, dispatch};
use crate::jsonrpc::{Notification, RequestId, Response, RpcError, code, error_response, string};
use crate::methods::discover;
use crate::protocol::{Capabilities, ModernMeta, Params, Version};
use crate::server::Inner;
use crate::session::{
    Busy, InFlight, Introduction, MOST_IN_FLIGHT, QuestionId, Session, elsewhere, is_pending_id,
};

/// What a stateless request says about itself.
///
/// # Errors
/// It does not say enough, or a version that is not spoken here.
pub(crate) fn declared(meta: &ModernMeta<'_>) -> Result<(Version, Capabilities), RpcError> {
    let text = version_text(meta)?;
    let version = Version::parse(&text).filter(|version| *version > Version::LATEST_LEGACY);
    let Some(version) = version else {
        let requested = serde_json::to_string(&text).expect("a string has a JSON form");
        let supported = discover::supported();
        let data = format!(r#"{{"supported":{supported},"requested":{requested}}}"#);
        return Err(RpcError::new(
            code::UNSUPPORTED_VERSION,
            format!("protocol version {text:?} is not spoken here as a stateless request"),
        )
        .with_data(RawJson::parse(data).expect("written as JSON")));
    };
    Ok((version, meta.capabilities(version)?))
}

/// The version a stateless request says it speaks.
///
/// # Errors
/// It says none.
pub(crate) fn version_text<'a>(meta: &ModernMeta<'a>) -> Result<Cow<'a, str>, RpcError> {
    meta.version_text().ok_or_else(|| {
        RpcError::invalid_params(format!(
            r#""_meta" needs {:?}, a string"#,
            crate::protocol::names::META_VERSION
        ))
    })
}

/// How a request ended.
pub(crate) enum Answer {
    /// With a result. What it introduces is dropped once it is on its way.
    Result(Vec<u8>, Option<Introduction>),
    /// With an error.
    Error(RpcError),
    /// Without a response: its sender ended it.
    Nothing,
}

impl Answer {
    /// The response, if there is to be one, and what it introduces.
    pub(crate) fn into_response(self, id: &str) -> Option<(Vec<u8>, Option<Introduction>)> {
        match self {
            Self::Result(response, introduction) => Some((response, introduction)),
            Self::Error(error) => Some((error_response(Some(id), &error), None)),
            Self::Nothing => None,
        }
    }
}

/// Serves a request. `in_flight` holds those of the same sender, where there is such a thing.
pub(crate) async fn answer(
    method: &str,
    mut cx: Context<'_>,
    in_flight: Option<&InFlight>,
) -> Answer {
    let flight = match in_flight.filter(|_| can_last(method)) {
        None => None,
        Some(in_flight) => {
            let id = RequestId::from_json(cx.id).expect("checked when the message was read");
            match in_flight.begin(id) {
                Ok(flight) => Some(flight),
                Err(Busy::SameId) => {
                    return Answer::Error(RpcError::invalid_request(
                        "a request with this id is still being served; use another id",
                    ));
                }
                Err(Busy::TooMany) => {
                    return Answer::Error(Full::Owner(MOST_IN_FLIGHT).into_error("requests"));
                }
            }
        }
    };
    cx.flight = flight.as_ref();
    let cx = cx;
    let mut serving = pin!(dispatch(method, &cx));
    let reply = match &flight {
        None => serving.await,
        Some(flight) => {
            let mut ended = pin!(flight.ended());
            let reply = std::future::poll_fn(|task| match serving.as_mut().poll(task) {
                Poll::Ready(reply) => Poll::Ready(Some(reply)),
                Poll::Pending => ended.as_mut().poll(task).map(|()| None),
            });
            match reply.await {
                Some(reply) => reply,
                None => return Answer::Nothing,
            }
        }
    };
    match reply {
        Ok(response) => Answer::Result(response, cx.introduction()),
        Err(error) => Answer::Error(error),
    }
}

/// Ends the handshake of a session, if that was not done before, and brings the client whatever has waited
/// for it. Either its notification does that, or its first request: there are clients that leave the
/// notification out, and whoever asks something is there to be asked.
pub(crate) async fn initialized(server: &Arc<Inner>, session: &Session) {
    if session.set_initialized() && session.general().is_some() {
        server.couriers.opened(server, &session.owner).await;
    }
}

/// Whether a request shows that the handshake is over. A ping may come before.
pub(crate) fn ends_handshake(method: &str) -> bool {
    method != "ping"
}

/// Takes a notification. Nothing is answered, and what is not known is ignored. Returns the request that is
/// cancelled if that is not in flight here.
pub(crate) fn notified(
    notification: &Notification<'_>,
    in_flight: Option<&InFlight>,
) -> Option<RequestId> {
    #[derive(serde::Deserialize)]
    struct Cancelled<'a> {
        #[serde(borrow, rename = "requestId")]
        id: &'a serde_json::value::RawValue,
    }
    if notification.method != "notifications/cancelled" {
        return None;
    }
    let params = Params::parse(notification.params);
    let id = params.and_then(|params| params.read::<Cancelled<'_>>());
    let id = RequestId::from_json(id.ok()?.id)?;
    (!in_flight?.cancel(&id)).then_some(id)
}

/// Takes a response of a client of the older era: the answer to a question of a task, whichever
/// instance sent it. Anything else is ignored, as is an answer that came too late.
///
/// An error counts as the question being dismissed. One is different: a client that declared that it can
/// answer and now does not know the method does not know the task yet, because the question overtook the
/// response that names it. It gets the question again. So does a client whose accepted form does not fit
/// what was asked for, which sends `"5"` for a number: a person has answered, and to take that for a
/// dismissal would be wrong. Either comes to an end after a while.
///
/// # Errors
/// An answer was not taken: its sender is not allowed to give it, or the store failed. The question
/// will be asked again, for its sender believes it done with.
pub(crate) async fn responded(
    server: &Arc<Inner>,
    principal: &Principal,
    session: &Session,
    response: &Response<'_>,
) -> Result<(), RpcError> {
    let id = response.id.and_then(string);
    if id
        .as_deref()
        .is_some_and(|id| session.pending.resolve(id, response))
    {
        return Ok(());
    }
    let opened = id.as_deref();
    let opened = opened.and_then(|id| QuestionId::open(&server.sealer, id));
    let Some(question) = opened else {
        return match id.filter(|id| server.config.shared && is_pending_id(id)) {
            Some(id) => {
                let (side, now) = (server.side(), server.handle.now());
                let left = elsewhere::leave_answer(side, now, session, &id, response);
                left.await.map_err(from_store)
            }
            None => Ok(()),
        };
    };
    let id = question.task;
    let task = match server.handle.get(principal, id).await {
        Ok(task) => task,
        Err(Error::NotFound(_)) => return Ok(()),
        Err(error) => {
            return Err(not_taken(
                server,
                principal.owner(),
                session,
                &question,
                error,
            ));
        }
    };
    let owner = &task.spec.owner;
    let Some(input) = task
        .open_inputs()
        .find(|input| input.request.key == question.key)
    else {
        return Ok(());
    };
    let unknown = matches!(&response.result, Err(error) if error.code == code::METHOD_NOT_FOUND);
    if unknown && server.couriers.refused(server, owner, &question) {
        return Ok(());
    }
    let key = question.key.clone();
    let answer = match response.owned() {
        Ok(answer) => match answers::check(&input.request, &answer) {
            Ok(()) => answer,
            Err(why) => {
                if server.couriers.refused(server, owner, &question) {
                    tracing::info!(task = %id, key, "a question is asked again: the answer {why}");
                    return Ok(());
                }
                tracing::warn!(task = %id, key, "an answer was dismissed: it {why}");
                dismissed(&input.request.method, None)
            }
        },
        // It has let go of what it was told to forget. Some say so with this code, whoever asked them.
        Err(error) if error.code == 0 || server.couriers.is_withdrawn(&question) => return Ok(()),
        Err(error) => dismissed(&input.request.method, Some(&error)),
    };
    server.couriers.answered(&question);
    let answers = BTreeMap::from([(key, answer)]);
    match server.handle.answer(principal, id, answers).await {
        Ok(_) | Err(Error::NotFound(_) | Error::Finished(_)) => Ok(()),
        Err(error) => Err(not_taken(server, owner, session, &question, error)),
    }
}

/// An answer was not taken: its question is asked again, of somebody else if that is the reason.
fn not_taken(
    server: &Arc<Inner>,
    owner: &Owner,
    session: &Session,
    question: &QuestionId,
    error: Error,
) -> RpcError {
    tracing::warn!(task = %question.task, %error, "an answer was not taken; asking again");
    if matches!(error, Error::Invalid(_)) {
        server.couriers.may_not_answer(question.task, session);
    }
    server.couriers.ask_again(server, owner, question);
    from_store(error)
}

/// The answer of a client that would not answer.
pub(crate) fn dismissed(method: &str, error: Option<&RpcError>) -> RawJson {
    #[derive(serde::Serialize)]
    struct Refused<'a> {
        error: Option<&'a RpcError>,
    }
    if method == "elicitation/create" {
        RawJson::parse(r#"{"action":"cancel"}"#).expect("a constant")
    } else {
        RawJson::of(&Refused { error }).expect("an error has a JSON form")
    }
}
