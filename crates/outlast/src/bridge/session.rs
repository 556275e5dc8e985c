//! What a bridge must know of the conversation to go on with another process of the server.
//!
//! A server that is killed, rebuilt or restarted is no reason for the client to lose its connection.
//! The next one is told the handshake that it missed, and asked again what the last one did not
//! answer. Requests that only read, or whose repetition changes nothing, may be asked twice; a call of a
//! tool and what else begins something anew may have been carried out. The client is told so, and finds
//! the task by its id if there is one. What the client has cancelled is not asked again: nobody waits.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The parts of a message that matter here.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<std::borrow::Cow<'a, str>>,
}

/// What a notification says about a request.
#[derive(Deserialize)]
struct Cancelled<'a> {
    #[serde(borrow)]
    params: CancelledParams<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelledParams<'a> {
    #[serde(borrow)]
    request_id: &'a RawValue,
}

/// Requests that would do a second time what they have done once.
const NOT_TWICE: [&str; 4] = [
    "tools/call",
    "outlast/retry",
    "outlast/signal",
    "outlast/schedule",
];

/// The conversation so far.
#[derive(Default)]
pub(super) struct Session {
    /// The request that opened it, in the older era, and the notification that followed.
    handshake: Option<Vec<u8>>,
    initialized: Option<Vec<u8>>,
    /// Requests without an answer, by id.
    open: HashMap<String, Open>,
    /// The id of a handshake that is being told again: the client has its answer already.
    told_again: Option<String>,
    /// Requests are numbered, so that they are asked again in their order.
    asked: u64,
}

struct Open {
    number: u64,
    /// Requests that are not to be asked again are not kept.
    line: Option<Vec<u8>>,
}

/// What goes where when the conversation goes on with another process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resumption {
    pub(super) to_server: Vec<Vec<u8>>,
    pub(super) to_client: Vec<Vec<u8>>,
}

impl Session {
    /// Notes a line of the client.
    pub(super) fn note_client(&mut self, line: &[u8]) {
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(line) else {
            return;
        };
        match (envelope.method.as_deref(), envelope.id) {
            (Some("notifications/initialized"), None) => self.initialized = Some(line.to_vec()),
            (Some(method), Some(id)) => {
                if method == "initialize" {
                    self.handshake = Some(line.to_vec());
                }
                self.asked += 1;
                let open = Open {
                    number: self.asked,
                    line: (!NOT_TWICE.contains(&method)).then(|| line.to_vec()),
                };
                self.open.insert(id.get().to_owned(), open);
            }
            (Some("notifications/cancelled"), None) => {
                // A cancelled request may be left without an answer for ever.
                if let Ok(cancelled) = serde_json::from_slice::<Cancelled<'_>>(line) {
                    self.open.remove(cancelled.params.request_id.get());
                }
            }
            _ => {}
        }
    }

    /// Notes a line of the server. `false` if it is not for the client.
    pub(super) fn note_server(&mut self, line: &[u8]) -> bool {
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(line) else {
            return true;
        };
        let (None, Some(id)) = (envelope.method, envelope.id) else {
            return true;
        };
        if self.told_again.as_deref() == Some(id.get()) {
            self.told_again = None;
            return false;
        }
        self.open.remove(id.get());
        true
    }

    /// The conversation goes on with another process of the server.
    pub(super) fn resume(&mut self) -> Resumption {
        let mut resumption = Resumption::default();
        self.told_again = None;
        if let Some(handshake) = &self.handshake {
            let id = serde_json::from_slice::<Envelope<'_>>(handshake)
                .ok()
                .and_then(|envelope| Some(envelope.id?.get().to_owned()));
            // One that was not answered is simply among the open requests.
            if let Some(id) = id.filter(|id| !self.open.contains_key(id)) {
                resumption.to_server.push(handshake.clone());
                self.told_again = Some(id);
                resumption.to_server.extend(self.initialized.clone());
            }
        }
        let mut open: Vec<(&String, &Open)> = self.open.iter().collect();
        open.sort_by_key(|(_, open)| open.number);
        for (id, open) in open {
            match &open.line {
                Some(line) => resumption.to_server.push(line.clone()),
                None => resumption.to_client.push(unknown_fate(id)),
            }
        }
        self.open.retain(|_, open| open.line.is_some());
        resumption
    }
}

fn unknown_fate(id: &str) -> Vec<u8> {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32603,\"message\":\"the server was \
         restarted before it answered: whether it did what was asked is unknown; a task that was \
         created goes on\"}}}}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIALIZE: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n";
    const INITIALIZED: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n";
    const RESULT: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"tasks/result\"}\n";
    const CALL: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\"}\n";

    #[test]
    fn the_handshake_is_told_again_and_its_answer_kept_back() {
        let mut session = Session::default();
        session.note_client(INITIALIZE);
        assert!(session.note_server(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"));
        session.note_client(INITIALIZED);
        let resumed = session.resume();
        assert_eq!(resumed.to_server, [INITIALIZE, INITIALIZED]);
        assert!(resumed.to_client.is_empty());
        assert!(!session.note_server(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"));
        assert!(session.note_server(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"));
    }

    #[test]
    fn open_requests_are_asked_again_and_calls_are_not() {
        let mut session = Session::default();
        session.note_client(RESULT);
        session.note_client(CALL);
        session.note_client(b"{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"ping\"}\n");
        assert!(session.note_server(b"{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}\n"));
        let resumed = session.resume();
        assert_eq!(resumed.to_server, [RESULT]);
        let told: serde_json::Value = serde_json::from_slice(&resumed.to_client[0]).unwrap();
        assert_eq!(told["id"], 7);
        assert_eq!(told["error"]["code"], -32603);
        assert_eq!(session.resume().to_client.len(), 0, "told once");
    }

    #[test]
    fn an_unanswered_handshake_is_an_open_request() {
        let mut session = Session::default();
        session.note_client(INITIALIZE);
        assert_eq!(session.resume().to_server, [INITIALIZE]);
        assert!(session.note_server(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n"));
    }

    #[test]
    fn what_would_be_done_twice_is_not_asked_again() {
        for method in NOT_TWICE {
            let mut session = Session::default();
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"{method}\"}}\n");
            session.note_client(line.as_bytes());
            let resumed = session.resume();
            assert!(resumed.to_server.is_empty(), "{method}");
            assert_eq!(resumed.to_client.len(), 1, "{method}");
        }
    }

    #[test]
    fn what_was_cancelled_is_forgotten() {
        let mut session = Session::default();
        session.note_client(RESULT);
        session.note_client(CALL);
        for id in ["\"a\"", "7", "99"] {
            let line = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\
                 \"params\":{{\"requestId\":{id},\"reason\":\"enough\"}}}}\n"
            );
            session.note_client(line.as_bytes());
        }
        assert_eq!(session.resume(), Resumption::default());
    }

    #[test]
    fn what_is_no_message_passes() {
        let mut session = Session::default();
        session.note_client(b"nonsense\n");
        assert!(session.note_server(b"[{\"id\":1}]\n"));
        assert_eq!(session.resume(), Resumption::default());
    }
}
