//! What a client says to one server of a store and another one waits for.
//!
//! A client behind a balancer answers a question, or cancels a request, at whichever server it gets to. What
//! tasks ask is answered at any of them, for it waits in the store. A question of a call that has no record,
//! and a request that is being served, are in the memory of one process: what comes for them to another one
//! is left in the store, where the one that waits looks every [`LOOK`].

use std::time::Duration;

use outlast_core::{RawJson, Side, Timestamp};
use serde::{Deserialize, Serialize};

use super::live::Session;
use crate::jsonrpc::{RequestId, Response, RpcError};

/// How often the one who waits looks.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// How long what was left is kept.
const KEPT: Duration = Duration::from_secs(60);

/// The store's space for answers.
const ANSWERS: &str = "mcp-answer";

/// The store's space for requests that were cancelled.
const CANCELLED: &str = "mcp-cancelled";

/// An answer, as it is left.
#[derive(Serialize, Deserialize)]
enum Left {
    Result(RawJson),
    Error { code: i64, message: String },
}

fn key(session: &Session, id: &str) -> String {
    format!("{}/{id}", session.key)
}

/// Leaves the answer to a question that no task asks.
///
/// # Errors
/// The store failed.
pub(crate) async fn leave_answer(
    side: &dyn Side,
    now: Timestamp,
    session: &Session,
    id: &str,
    response: &Response<'_>,
) -> outlast_core::Result<()> {
    let left = match response.owned() {
        Ok(result) => Left::Result(result),
        Err(RpcError { code, message, .. }) => Left::Error {
            code,
            message: message.into_owned(),
        },
    };
    let left = serde_json::to_vec(&left).expect("an answer has a JSON form");
    side.record_put(ANSWERS, &key(session, id), left, Some(now + KEPT))
        .await
}

/// The answer that was left, if there is one.
///
/// # Errors
/// The store failed.
pub(crate) async fn answer(
    side: &dyn Side,
    session: &Session,
    id: &str,
) -> outlast_core::Result<Option<Result<RawJson, RpcError>>> {
    let left = side.record_get(ANSWERS, &key(session, id)).await?;
    let left = left.and_then(|left| serde_json::from_slice(&left).ok());
    Ok(left.map(|left| match left {
        Left::Result(result) => Ok(result),
        Left::Error { code, message } => Err(RpcError::new(code, message)),
    }))
}

/// Leaves word that a client has cancelled a request.
///
/// # Errors
/// The store failed.
pub(crate) async fn leave_cancellation(
    side: &dyn Side,
    now: Timestamp,
    session: &Session,
    id: &RequestId,
) -> outlast_core::Result<()> {
    let key = key(session, id.as_json());
    side.record_put(CANCELLED, &key, Vec::new(), Some(now + KEPT))
        .await
}

/// Whether a client has cancelled a request. Told once.
///
/// # Errors
/// The store failed.
pub(super) async fn is_cancelled(
    side: &dyn Side,
    now: Timestamp,
    session: &Session,
    id: &RequestId,
) -> outlast_core::Result<bool> {
    let key = key(session, id.as_json());
    let cancelled = side.record_get(CANCELLED, &key).await?.is_some();
    if cancelled {
        side.record_put(CANCELLED, &key, Vec::new(), Some(now))
            .await?;
    }
    Ok(cancelled)
}
