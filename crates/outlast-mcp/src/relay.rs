//! What a server and a relay in front of it tell each other, in lines of their own between those of the
//! protocol.
//!
//! A relay holds the connection of a client over the life of several servers, one after the other, which
//! have one store. So that the client notices nothing, the next server must know what the client was to
//! the one before, and what of its requests was under way. What the relay needs for that it is told when it
//! becomes true, because a server that is killed can tell nothing more:
//!
//! * which session the connection has, as the sealed id that it would have over HTTP: with it the next
//!   server finds what the client has subscribed to and the tasks that it has begun, and goes on asking it;
//! * which requests another server can go on with: a call that has been written down as a task, and a
//!   request that does nothing when it is made again.
//!
//! The client never sees these lines. Lines with members that are unknown here are ignored, so that a relay
//! and a server of two builds understand each other as far as both can.

use std::borrow::Cow;

use outlast_core::TaskId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How each of these lines begins. No message of the protocol does.
const BEGINS: &[u8] = br#"{"outlast":"#;

/// What a server tells its relay.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToRelay<'a> {
    /// From here on the connection has the session with this id.
    #[serde(borrow)]
    Session(Cow<'a, str>),
    /// Another server can go on with a request of the client.
    #[serde(rename_all = "camelCase")]
    Lasts {
        /// The request's id.
        #[serde(borrow)]
        id: &'a RawValue,
        /// The task that has its result. `None`: the request may be made again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task_id: Option<TaskId>,
    },
}

/// What a relay tells the next server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ToServer<'a> {
    /// The handshake that follows is that of a client which has a session already.
    Session {
        /// [`ToRelay::Session`].
        #[serde(borrow)]
        id: Cow<'a, str>,
        /// The ids of the requests that the client was sent and has not answered.
        #[serde(borrow, default)]
        asked: Vec<&'a RawValue>,
    },
    /// The client has made this request before, and has had no answer.
    #[serde(rename_all = "camelCase")]
    Again {
        /// The task that has its result, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task_id: Option<TaskId>,
        /// The last progress value that the client was told of it, if it was told any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<f64>,
        /// The whole request.
        #[serde(borrow)]
        request: &'a RawValue,
    },
}

#[derive(Serialize, Deserialize)]
struct Wrapped<T> {
    outlast: T,
}

/// Whether a line is one of these.
pub fn is_own(line: &[u8]) -> bool {
    line.starts_with(BEGINS)
}

/// Writes such a line, with its line break.
pub fn line<T: Serialize>(outlast: &T) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(&Wrapped { outlast }).expect("plain structs have a JSON form");
    line.push(b'\n');
    line
}

/// Reads such a line. `None` if it says nothing that is known here.
pub fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Option<T> {
    let wrapped: Wrapped<T> = serde_json::from_slice(line).ok()?;
    Some(wrapped.outlast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reads_what_the_other_writes() {
        let id: &RawValue = serde_json::from_str(r#""a\n1""#).unwrap();
        let task = TaskId::random();
        let told = line(&ToRelay::Lasts {
            id,
            task_id: Some(task),
        });
        assert!(is_own(&told) && told.ends_with(b"}\n"));
        let Some(ToRelay::Lasts {
            id: read_id,
            task_id,
        }) = read(&told)
        else {
            panic!("{}", String::from_utf8_lossy(&told));
        };
        assert_eq!((read_id.get(), task_id), (id.get(), Some(task)));

        let asked = line(&ToServer::Session {
            id: "sealed".into(),
            asked: vec![id],
        });
        assert!(is_own(&asked));
        let Some(ToServer::Session { id: session, asked }) = read(&asked) else {
            panic!("{}", String::from_utf8_lossy(&asked));
        };
        assert_eq!((&*session, asked[0].get()), ("sealed", id.get()));
    }

    #[test]
    fn what_is_unknown_says_nothing() {
        assert!(!is_own(br#"{"jsonrpc":"2.0","outlast":{}}"#));
        assert!(read::<ToRelay<'_>>(br#"{"outlast":{"news":1}}"#).is_none());
        assert!(read::<ToServer<'_>>(br#"{"outlast":{"pid":1,"handover":false}}"#).is_none());
    }
}
