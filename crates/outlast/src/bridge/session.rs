//! What a bridge must know of the conversation to go on with another process of the server.
//!
//! A server that is killed, rebuilt or restarted is no reason for the client to lose its connection.
//! The next one is told the handshake that it missed and which session the client has, and asked again
//! what the last one did not answer. Requests that only read, or whose repetition changes nothing, may be
//! asked twice. A call of a tool and what else begins something anew may have been carried out: the server
//! says of a call when it has been written down as a task, and then the next one is asked for the result of
//! that ([`outlast_mcp::relay`]). Of any other the client is told that its fate is unknown. What the client
//! has cancelled is not asked again: nobody waits. What the client was asked and has not answered stays
//! asked, if anybody still waits for the answer. What the client said last may have been lost with the server:
//! its answers, and that it cancels a call, are said again.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use outlast_core::TaskId;
use outlast_mcp::relay::{self, ToRelay, ToServer};
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

/// For how long an answer of the client may be on its way to a server that ends.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// How many calls are remembered that were cancelled and may not be answered any more.
const MOST_CANCELLED: usize = 100;

/// The conversation so far.
#[derive(Default)]
pub(super) struct Session {
    /// The request that opened it, in the older era, and the notification that followed.
    handshake: Option<Vec<u8>>,
    initialized: Option<Vec<u8>>,
    /// The id of the session that the handshake made.
    id: Option<String>,
    /// Requests without an answer, by id.
    open: HashMap<String, Open>,
    /// The ids of requests of the server that the client has not answered.
    asked: BTreeSet<String>,
    /// What it has answered of late, with the ids.
    said: Vec<(Instant, String, Vec<u8>)>,
    /// The id of a handshake that is being told again: the client has its answer already.
    told_again: Option<String>,
    /// Requests are numbered, so that they are asked again in their order.
    number: u64,
}

struct Open {
    number: u64,
    line: Vec<u8>,
    again: Again,
    /// Where its progress is told, as JSON.
    token: Option<String>,
    /// The last value that was.
    progress: Option<f64>,
    /// The client's word that it does not wait any more: the server may be gone before it hears that.
    cancelled: Option<Vec<u8>>,
}

/// What a request says about its progress.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Reporting<'a> {
    #[serde(borrow)]
    params: ReportingParams<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReportingParams<'a> {
    #[serde(borrow, rename = "_meta")]
    meta: ReportingMeta<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ReportingMeta<'a> {
    #[serde(borrow)]
    progress_token: Option<&'a RawValue>,
}

/// A notification of progress.
#[derive(Deserialize)]
struct Progressed<'a> {
    #[serde(borrow)]
    params: ProgressedParams<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProgressedParams<'a> {
    #[serde(borrow)]
    progress_token: &'a RawValue,
    progress: f64,
}

/// What becomes of a request when the server is another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Again {
    /// It cannot be asked again.
    Never,
    /// As it was asked.
    AsAsked,
    /// The next server is asked for the result of this task.
    Task(TaskId),
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
        for message in messages(line) {
            self.note_request(message.get().as_bytes());
        }
    }

    fn note_request(&mut self, message: &[u8]) {
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(message) else {
            return;
        };
        let line = || [message, b"\n"].concat();
        match (envelope.method.as_deref(), envelope.id) {
            (Some("notifications/initialized"), None) => self.initialized = Some(line()),
            (Some(method), Some(id)) => {
                if method == "initialize" {
                    self.handshake = Some(line());
                }
                self.number += 1;
                let open = Open {
                    number: self.number,
                    line: line(),
                    again: match NOT_TWICE.contains(&method) {
                        true => Again::Never,
                        false => Again::AsAsked,
                    },
                    token: token(message),
                    progress: None,
                    cancelled: None,
                };
                self.open.insert(id.get().to_owned(), open);
            }
            (Some("notifications/cancelled"), None) => {
                // A cancelled request may be left without an answer for ever.
                if let Some(id) = cancelled(message) {
                    self.note_cancelled(id, line());
                }
            }
            (None, Some(id)) if self.asked.remove(id.get()) => {
                let said = (Instant::now(), id.get().to_owned(), line());
                self.said.retain(|(when, ..)| when.elapsed() < ON_ITS_WAY);
                self.said.push(said);
            }
            _ => {}
        }
    }

    /// Forgets a request that the client waits for no more, but for a call that has a record: the next server
    /// must hear that it is cancelled, if this one does not.
    fn note_cancelled(&mut self, id: &str, line: Vec<u8>) {
        match self.open.get_mut(id) {
            Some(open) if matches!(open.again, Again::Task(_)) => open.cancelled = Some(line),
            Some(_) => {
                self.open.remove(id);
            }
            None => {}
        }
        let cancelled = |(_, open): &(&String, &Open)| open.cancelled.is_some();
        if self.open.iter().filter(cancelled).count() > MOST_CANCELLED {
            let oldest = self.open.iter().filter(cancelled);
            let oldest = oldest.min_by_key(|(_, open)| open.number);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                self.open.remove(&id);
            }
        }
    }

    /// Notes a line of the server. `false` if it is not for the client.
    pub(super) fn note_server(&mut self, line: &[u8]) -> bool {
        if relay::is_own(line) {
            self.hear(line);
            return false;
        }
        let messages = messages(line);
        // Of a batch the rest is for the client.
        let mut for_client = messages.is_empty();
        for message in messages {
            for_client |= self.note_response(message.get().as_bytes());
        }
        for_client
    }

    /// Takes what the server says to the bridge.
    fn hear(&mut self, line: &[u8]) {
        match relay::read(line) {
            Some(ToRelay::Session(id)) => self.id = Some(id.into_owned()),
            Some(ToRelay::Lasts { id, task_id }) => {
                if let Some(open) = self.open.get_mut(id.get()) {
                    open.again = task_id.map_or(Again::AsAsked, Again::Task);
                }
            }
            None => {}
        }
    }

    fn note_response(&mut self, message: &[u8]) -> bool {
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(message) else {
            return true;
        };
        match (envelope.method.as_deref(), envelope.id) {
            (None, Some(id)) => {
                if self.told_again.as_deref() == Some(id.get()) {
                    self.told_again = None;
                    return false;
                }
                let open = self.open.remove(id.get());
                return open.is_none_or(|open| open.cancelled.is_none());
            }
            (Some(_), Some(id)) => {
                self.asked.insert(id.get().to_owned());
            }
            (Some("notifications/cancelled"), None) => {
                if let Some(id) = cancelled(message) {
                    self.asked.remove(id);
                }
            }
            (Some("notifications/progress"), None) => self.note_progress(message),
            _ => {}
        }
        true
    }

    fn note_progress(&mut self, message: &[u8]) {
        let Ok(Progressed { params }) = serde_json::from_slice(message) else {
            return;
        };
        let token = Some(params.progress_token.get());
        let mut open = self.open.values_mut();
        if let Some(open) = open.find(|open| open.token.as_deref() == token) {
            open.progress = Some(params.progress);
        }
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
                resumption.to_server.extend(self.had());
                resumption.to_server.push(handshake.clone());
                self.told_again = Some(id);
                resumption.to_server.extend(self.initialized.clone());
                // Whoever has heard it already hears it in vain.
                let said = self.on_its_way().map(|(_, _, line)| line.clone());
                resumption.to_server.extend(said);
            }
        }
        let mut open: Vec<(&String, &Open)> = self.open.iter().collect();
        open.sort_by_key(|(_, open)| open.number);
        for (id, open) in open {
            match open.again {
                Again::Never => resumption.to_client.push(unknown_fate(id)),
                Again::AsAsked if self.handshake.as_ref() == Some(&open.line) => {
                    resumption.to_server.push(open.line.clone());
                }
                Again::AsAsked => resumption.to_server.extend(again(open, None)),
                Again::Task(task) => resumption.to_server.extend(again(open, Some(task))),
            }
            resumption.to_server.extend(open.cancelled.clone());
        }
        self.open.retain(|_, open| open.again != Again::Never);
        resumption
    }

    /// The answers of the client that the last server may not have heard.
    fn on_its_way(&self) -> impl Iterator<Item = &(Instant, String, Vec<u8>)> {
        let said = self.said.iter();
        said.filter(|(when, ..)| when.elapsed() < ON_ITS_WAY)
    }

    /// What the client had with the last process.
    fn had(&self) -> Option<Vec<u8>> {
        let said = self.on_its_way().map(|(_, id, _)| id);
        let asked = self.asked.iter().chain(said);
        let asked = asked.filter_map(|id| serde_json::from_str(id).ok());
        Some(relay::line(&ToServer::Session {
            id: self.id.as_deref()?.into(),
            asked: asked.collect(),
        }))
    }
}

/// The messages of a line, which may be a batch. None, if it is something else.
fn messages(line: &[u8]) -> Vec<&RawValue> {
    let line = line.trim_ascii();
    match line.first() {
        Some(b'[') => serde_json::from_slice(line).unwrap_or_default(),
        _ => serde_json::from_slice(line).into_iter().collect(),
    }
}

/// The id of the request that a notification cancels.
fn cancelled(message: &[u8]) -> Option<&str> {
    let cancelled: Cancelled<'_> = serde_json::from_slice(message).ok()?;
    Some(cancelled.params.request_id.get())
}

/// Where the progress of a request is told.
fn token(request: &[u8]) -> Option<String> {
    let reporting: Reporting<'_> = serde_json::from_slice(request).ok()?;
    Some(reporting.params.meta.progress_token?.get().to_owned())
}

/// A request that the last process of the server has not answered, for the next one.
fn again(open: &Open, task_id: Option<TaskId>) -> Option<Vec<u8>> {
    let request: &RawValue = serde_json::from_slice(&open.line).ok()?;
    Some(relay::line(&ToServer::Again {
        task_id,
        progress: open.progress,
        request,
    }))
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

    fn answered(id: &str) -> Vec<u8> {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n").into_bytes()
    }

    fn lasts(id: &str, task_id: Option<TaskId>) -> Vec<u8> {
        let id = serde_json::from_str(id).unwrap();
        relay::line(&ToRelay::Lasts { id, task_id })
    }

    fn asked_again(line: &[u8], task_id: Option<TaskId>) -> Vec<u8> {
        with_progress(line, task_id, None)
    }

    fn with_progress(line: &[u8], task_id: Option<TaskId>, progress: Option<f64>) -> Vec<u8> {
        let request = serde_json::from_slice(line).unwrap();
        relay::line(&ToServer::Again {
            task_id,
            progress,
            request,
        })
    }

    #[test]
    fn the_handshake_is_told_again_and_its_answer_kept_back() {
        let mut session = Session::default();
        session.note_client(INITIALIZE);
        assert!(session.note_server(&answered("1")));
        session.note_client(INITIALIZED);
        let resumed = session.resume();
        assert_eq!(resumed.to_server, [INITIALIZE, INITIALIZED]);
        assert!(resumed.to_client.is_empty());
        assert!(!session.note_server(&answered("1")));
        assert!(session.note_server(&answered("1")));
    }

    #[test]
    fn the_next_server_is_told_the_session_and_what_is_asked() {
        let mut session = Session::default();
        session.note_client(INITIALIZE);
        assert!(!session.note_server(&relay::line(&ToRelay::Session("sealed".into()))));
        assert!(session.note_server(&answered("1")));
        for id in ["\"q1\"", "\"q2\"", "\"q3\""] {
            let ask = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"roots/list\"}}\n");
            assert!(session.note_server(ask.as_bytes()));
        }
        session.note_client(&answered("\"q1\""));
        let withdrawn = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\
                          \"params\":{\"requestId\":\"q3\"}}\n";
        assert!(session.note_server(withdrawn));
        for _ in 0..2 {
            let resumed = session.resume();
            let asked = ["\"q2\"", "\"q1\""];
            let expected = relay::line(&ToServer::Session {
                id: "sealed".into(),
                asked: asked.map(|id| serde_json::from_str(id).unwrap()).to_vec(),
            });
            let said = answered("\"q1\"");
            assert_eq!(resumed.to_server, [&*expected, INITIALIZE, &said]);
        }
    }

    #[test]
    fn open_requests_are_asked_again_and_calls_are_not() {
        let mut session = Session::default();
        session.note_client(RESULT);
        session.note_client(CALL);
        session.note_client(b"{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"ping\"}\n");
        assert!(session.note_server(&answered("8")));
        let resumed = session.resume();
        assert_eq!(resumed.to_server, [asked_again(RESULT, None)]);
        let told: serde_json::Value = serde_json::from_slice(&resumed.to_client[0]).unwrap();
        assert_eq!(told["id"], 7);
        assert_eq!(told["error"]["code"], -32603);
        assert_eq!(session.resume().to_client.len(), 0, "told once");
    }

    #[test]
    fn a_call_that_was_stored_is_gone_on_with() {
        let mut session = Session::default();
        session.note_client(CALL);
        let task = TaskId::random();
        assert!(!session.note_server(&lasts("7", Some(task))));
        // Of a request that was answered meanwhile.
        assert!(!session.note_server(&lasts("8", Some(task))));
        for _ in 0..2 {
            let resumed = session.resume();
            assert_eq!(resumed.to_server, [asked_again(CALL, Some(task))]);
            assert!(resumed.to_client.is_empty());
        }
        assert!(session.note_server(&answered("7")));
        assert_eq!(session.resume(), Resumption::default());
    }

    #[test]
    fn the_next_server_is_told_how_far_a_call_was() {
        let mut session = Session::default();
        let call = b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\
                     \"params\":{\"_meta\":{\"progressToken\":\"p\"}}}";
        session.note_client(call);
        let task = TaskId::random();
        session.note_server(&lasts("7", Some(task)));
        for (token, value) in [("\"p\"", "1"), ("\"p\"", "2.5"), ("\"q\"", "9")] {
            let told = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\
                 \"params\":{{\"progressToken\":{token},\"progress\":{value}}}}}\n"
            );
            assert!(session.note_server(told.as_bytes()));
        }
        let resumed = session.resume();
        assert_eq!(
            resumed.to_server,
            [with_progress(call, Some(task), Some(2.5))]
        );
    }

    #[test]
    fn the_next_server_hears_that_a_call_is_cancelled() {
        let mut session = Session::default();
        session.note_client(CALL);
        let task = TaskId::random();
        session.note_server(&lasts("7", Some(task)));
        let cancel = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\
                       \"params\":{\"requestId\":7}}\n";
        session.note_client(cancel);
        let again = asked_again(CALL, Some(task));
        assert_eq!(session.resume().to_server, [&*again, cancel]);
        // It had ended: its caller wants to know nothing of it.
        assert!(!session.note_server(&answered("7")));
        assert_eq!(session.resume(), Resumption::default());
    }

    #[test]
    fn a_call_that_only_waits_is_made_again() {
        let mut session = Session::default();
        session.note_client(CALL);
        assert!(!session.note_server(&lasts("7", None)));
        assert_eq!(session.resume().to_server, [asked_again(CALL, None)]);
    }

    #[test]
    fn what_came_in_a_batch_is_asked_again_one_by_one() {
        let mut session = Session::default();
        let [result, call] = [RESULT, CALL].map(|line| String::from_utf8_lossy(line.trim_ascii()));
        session.note_client(format!("[{result}, {call}]\n").as_bytes());
        let resumed = session.resume();
        assert_eq!(resumed.to_server, [asked_again(RESULT, None)]);
        assert_eq!(resumed.to_client.len(), 1);
        let answer = String::from_utf8(answered("\"a\"")).unwrap();
        assert!(session.note_server(format!("[{}]\n", answer.trim()).as_bytes()));
        assert_eq!(session.resume(), Resumption::default());
    }

    #[test]
    fn an_unanswered_handshake_is_an_open_request() {
        let mut session = Session::default();
        session.note_client(INITIALIZE);
        assert_eq!(session.resume().to_server, [INITIALIZE]);
        assert!(session.note_server(&answered("1")));
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
