//! The state of a call that was answered with questions: sealed, in the client's hands until it calls
//! again (2026-07-28 multi round-trip requests, "Request State").
//!
//! The state is bound to the principal, to the tool (or the method with the name of the prompt or
//! resource) with its arguments, and to a time. What it holds
//! depends on what the call has become so far. Questions before the task exists: the answers given
//! so far, and nothing is stored. A tool that may be a task: the id of the stored run, which waits for
//! its answers like any task, so that this state is good for as long as a question waits. What is never a
//! task (such a tool, a prompt, a resource): what the run has recorded itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use outlast_core::{Owner, RawJson, TaskId, Timestamp};
use outlast_engine::Carried;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::jsonrpc::{RpcError, string};
use crate::seal::Purpose;

/// How long the answers may take where nothing is stored.
pub(super) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long they may take where a task waits: as long as a question does.
const TASK_PATIENCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest state of a run that is stored nowhere else. It travels twice in each round.
const LONGEST: usize = 16 * 1024;

/// What a call has become so far.
#[derive(Serialize, Deserialize)]
pub(in crate::methods) enum Kept {
    /// Nothing yet: answers to questions that come before the task.
    First(BTreeMap<String, RawJson>),
    /// This task.
    Stored(TaskId),
    /// A run without a record, and the keys of what it asked.
    Carried(Carried, BTreeSet<String>),
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    digest: [u8; 32],
    until: Timestamp,
    kept: Kept,
}

/// Seals the state of a call of `tool` with these arguments.
///
/// # Errors
/// It is longer than may travel.
pub(super) fn seal(
    cx: &Context<'_>,
    tool: &str,
    arguments: &RawJson,
    kept: Kept,
) -> Result<String, RpcError> {
    let patience = match kept {
        Kept::Stored(_) => TASK_PATIENCE,
        Kept::First(_) | Kept::Carried(..) => PATIENCE,
    };
    let limited = matches!(kept, Kept::Carried(..));
    let sealed = Sealed {
        digest: digest(cx.owner, tool, arguments),
        until: cx.server.handle.now() + patience,
        kept,
    };
    let plain = serde_json::to_vec(&sealed).expect("the state has a JSON form");
    if limited && plain.len() > LONGEST {
        return Err(RpcError::internal(format!(
            "{tool:?} recorded {} bytes before it asked, and at most {LONGEST} can wait with the \
             caller; ask first, or make it a tool with #[tool(task)], which stores them",
            plain.len()
        )));
    }
    Ok(cx.server.sealer.seal(Purpose::CallState, &plain))
}

/// Opens the state that came with a call.
///
/// # Errors
/// It was changed, is another caller's or another call's, or has expired.
pub(in crate::methods) fn open(
    cx: &Context<'_>,
    state: &RawValue,
    tool: &str,
    arguments: &RawJson,
) -> Result<Kept, RpcError> {
    let text = string(state)
        .ok_or_else(|| RpcError::invalid_params(r#""requestState" must be a string"#))?;
    let plain = cx.server.sealer.open(Purpose::CallState, &text);
    let sealed: Option<Sealed> = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
    match sealed.filter(|sealed| sealed.digest == digest(cx.owner, tool, arguments)) {
        Some(sealed) if cx.server.handle.now() <= sealed.until => Ok(sealed.kept),
        Some(_) => Err(RpcError::invalid_params(
            "\"requestState\" has expired; send the request again without it",
        )),
        // Changed, of another caller, or of another call: no difference is told.
        None => Err(RpcError::invalid_params(
            "\"requestState\" does not belong to this request; send the request again without it",
        )),
    }
}

/// Stands for the caller, the tool and the arguments, however their members are ordered.
fn digest(owner: &Owner, tool: &str, arguments: &RawJson) -> [u8; 32] {
    let parts = [owner.as_str(), tool, &arguments.to_value().to_string()];
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_ignores_order_and_nothing_else() {
        let of = |owner: &str, tool: &str, json: &str| {
            digest(&Owner::new(owner), tool, &RawJson::parse(json).unwrap())
        };
        let one = of("a", "t", r#"{"x":1,"y":2}"#);
        assert_eq!(one, of("a", "t", r#"{ "y":2, "x":1 }"#));
        assert_ne!(one, of("b", "t", r#"{"x":1,"y":2}"#));
        assert_ne!(one, of("a", "u", r#"{"x":1,"y":2}"#));
        assert_ne!(one, of("a", "t", r#"{"x":1,"y":3}"#));
    }
}
