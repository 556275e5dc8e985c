//! A connection over a stream: one message a line, both ways, answers in any order.
//!
//! A line that is no message is passed over and kept for the error text: servers print things. What
//! waits for an answer when the stream ends is told so; nothing waits for ever.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outlast_core::RawJson;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::sync::{Notify, mpsc, oneshot};

use super::inbox::{self, Inbox};
use super::link::{Answer, Background, LinkError, MAX_MESSAGE, Outgoing};
use super::process::Process;
use super::target::Halves;
use crate::jsonrpc::{self, Message};

/// How many messages may wait to be written before a sender waits too.
const QUEUE: usize = 64;

/// How long a failed write waits for the end of the other direction.
const BETTER_REASON: Duration = Duration::from_secs(1);

/// A connection over a stream.
pub(super) struct Lines {
    shared: Arc<Shared>,
    out: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    process: Option<Process>,
    _reader: Background,
}

struct Shared {
    inbox: Arc<Inbox>,
    state: Mutex<State>,
    /// Told once nothing can be sent any more. The writer alone waits for it.
    ended: Notify,
}

#[derive(Default)]
struct State {
    waiting: HashMap<String, oneshot::Sender<Answer>>,
    closed: Option<String>,
}

impl Lines {
    /// Starts speaking over a stream; `process` is the one at its other end, if we started it.
    pub(super) fn start(halves: Halves, process: Option<Process>, inbox: Arc<Inbox>) -> Self {
        let (read, mut write) = halves;
        let (out, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let shared = Arc::new(Shared {
            inbox,
            state: Mutex::default(),
            ended: Notify::new(),
        });
        let writing = Arc::clone(&shared);
        // Ends when the last sender is gone; dropping the half closes it.
        tokio::spawn(async move {
            while let Some(mut message) = queue.recv().await {
                jsonrpc::one_line(&mut message);
                message.push(b'\n');
                let written = async {
                    write.write_all(&message).await?;
                    write.flush().await
                };
                if let Err(error) = written.await {
                    // A side that does not read any more has most often ended, and the reader
                    // knows better how.
                    let _ = tokio::time::timeout(BETTER_REASON, writing.ended.notified()).await;
                    writing.close(format!("writing failed: {error}"));
                    return;
                }
            }
            // Nobody waits for it, and there is nothing to be done if it fails.
            let _ = write.shutdown().await;
        });
        let farewell: Farewell = match &process {
            Some(process) => Box::pin(process.ended()),
            None => Box::pin(async { "the other side closed the connection".to_owned() }),
        };
        let reader = Background::spawn(read_all(
            BufReader::with_capacity(64 * 1024, read),
            Arc::clone(&shared),
            out.downgrade(),
            farewell,
        ));
        Self {
            shared,
            out: Mutex::new(Some(out)),
            process,
            _reader: reader,
        }
    }

    pub(super) async fn request(&self, outgoing: Outgoing<'_>) -> Result<Answer, LinkError> {
        let id = outgoing.id.to_string();
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if let Some(reason) = &state.closed {
                return Err(LinkError::Unreachable(reason.clone()));
            }
            state.waiting.insert(id.clone(), sender);
        }
        let mut waiting = Waiting {
            lines: self,
            id,
            cancel: false,
        };
        self.send(outgoing.body).await?;
        waiting.cancel = outgoing.cancel;
        let answer = receiver.await;
        waiting.cancel = false;
        answer.map_err(|_| LinkError::Lost(self.closed().unwrap_or_default()))
    }

    pub(super) async fn send(&self, body: Vec<u8>) -> Result<(), LinkError> {
        let gone = || LinkError::Unreachable(self.closed().unwrap_or_else(|| "closed".to_owned()));
        let out = self.sender().ok_or_else(gone)?;
        out.send(body).await.map_err(|_| gone())
    }

    pub(super) fn closed(&self) -> Option<String> {
        self.shared.state().closed.clone()
    }

    pub(super) async fn close(&self) {
        // The writer ends with its last sender and closes the stream.
        drop(
            self.out
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        if let Some(process) = &self.process {
            process.stop().await;
        }
        self.shared.close("closed by this client".to_owned());
    }

    fn sender(&self) -> Option<mpsc::Sender<Vec<u8>>> {
        self.out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A request that waits. Dropped before its answer it tells the server, as both eras ask for.
struct Waiting<'a> {
    lines: &'a Lines,
    id: String,
    cancel: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.lines.shared.state().waiting.remove(&self.id);
        if self.cancel
            && let Some(out) = self.lines.sender()
        {
            // If the queue is full the server is not reading, and would not read this either.
            let _ = out.try_send(cancelled(&self.id));
        }
    }
}

/// The notification that nobody waits for the answer to `id` any more.
pub(super) fn cancelled(id: &str) -> Vec<u8> {
    let id = RawJson::parse(id).expect("ids are JSON");
    jsonrpc::notification(
        "notifications/cancelled",
        &serde_json::json!({"requestId": id, "reason": "the caller stopped waiting"}),
    )
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, reason: String) {
        let mut state = self.state();
        state.closed.get_or_insert(reason);
        self.ended.notify_one();
        // Dropping the senders wakes who waits.
        state.waiting.clear();
    }
}

type Farewell = Pin<Box<dyn Future<Output = String> + Send>>;

async fn read_all<R: AsyncRead + Unpin>(
    mut read: BufReader<R>,
    shared: Arc<Shared>,
    out: mpsc::WeakSender<Vec<u8>>,
    farewell: Farewell,
) {
    let mut line = Vec::new();
    let mut strange: Option<String> = None;
    let mut reason = loop {
        match next_line(&mut read, &mut line).await {
            Ok(true) => {}
            Ok(false) => break farewell.await,
            Err(error) => break error.to_string(),
        }
        match Message::parse(&line) {
            Ok(Message::Response(response)) => {
                let Some(id) = response.id else { continue };
                let waiting = shared.state().waiting.remove(id.get());
                if let Some(waiting) = waiting {
                    // A caller that is gone has removed itself or is about to.
                    let _ = waiting.send(response.owned());
                }
            }
            Ok(Message::Notification(notification)) => shared.inbox.notify(&notification),
            Ok(Message::Request(request)) => {
                let (id, request) = inbox::owned(&request);
                let (inbox, out) = (Arc::clone(&shared.inbox), out.clone());
                tokio::spawn(async move {
                    let response = inbox.respond(id, request).await;
                    if let Some(out) = out.upgrade() {
                        // A connection that ended needs no answer.
                        let _ = out.send(response).await;
                    }
                });
            }
            Err(malformed) => {
                tracing::debug!(error = %malformed.error, "a line of the server is no message");
                if strange.is_none() && !line.trim_ascii().is_empty() {
                    let text = String::from_utf8_lossy(&line);
                    strange = Some(text.chars().take(200).collect());
                }
            }
        }
    };
    if let Some(text) = strange {
        reason.push_str(&format!("; it also printed {text:?}"));
    }
    shared.close(reason);
}

/// Reads a line without its end. False at the end of the stream.
async fn next_line<R: AsyncRead + Unpin>(
    read: &mut BufReader<R>,
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    line.clear();
    loop {
        let chunk = read.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        read.consume(used);
        if end.is_some() {
            return Ok(true);
        }
        if line.len() > MAX_MESSAGE {
            return Err(std::io::Error::other(format!(
                "the server sent a line of more than {MAX_MESSAGE} bytes"
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream};

    use super::*;

    fn start() -> (Arc<Lines>, BufReader<DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(100_000);
        let (read, write) = tokio::io::split(ours);
        let halves: Halves = (Box::new(read), Box::new(write));
        let inbox = Arc::new(Inbox::new(Default::default(), None));
        (
            Arc::new(Lines::start(halves, None, inbox)),
            BufReader::new(theirs),
        )
    }

    fn ask(lines: &Arc<Lines>, id: i64) -> tokio::task::JoinHandle<Result<Answer, LinkError>> {
        let lines = Arc::clone(lines);
        tokio::spawn(async move {
            let body = jsonrpc::request(&id.to_string(), "m", &());
            let headers = &[];
            lines
                .request(Outgoing {
                    id,
                    method: "m",
                    body,
                    name: None,
                    headers,
                    cancel: true,
                })
                .await
        })
    }

    async fn line(server: &mut BufReader<DuplexStream>) -> String {
        let mut line = String::new();
        server.read_line(&mut line).await.unwrap();
        line
    }

    #[tokio::test]
    async fn answers_come_in_any_order_and_noise_is_passed_over() {
        let (lines, mut server) = start();
        let one = ask(&lines, 1);
        assert!(line(&mut server).await.contains(r#""id":1"#));
        let two = ask(&lines, 2);
        assert!(line(&mut server).await.contains(r#""id":2"#));
        server
            .write_all(b"hello\n\n{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"b\"}\r\n{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":0}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"no\"}}\n")
            .await
            .unwrap();
        assert_eq!(two.await.unwrap().unwrap().unwrap().as_str(), r#""b""#);
        assert_eq!(one.await.unwrap().unwrap().unwrap_err().code, -1);
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_told_to_whoever_waits() {
        let (lines, mut server) = start();
        let one = ask(&lines, 1);
        line(&mut server).await;
        server.write_all(b"Traceback\n").await.unwrap();
        drop(server);
        let Err(LinkError::Lost(reason)) = one.await.unwrap() else {
            panic!("lost")
        };
        assert!(reason.contains("Traceback"), "{reason}");
        let Err(LinkError::Unreachable(_)) = ask(&lines, 2).await.unwrap() else {
            panic!("never sent")
        };
    }

    #[tokio::test]
    async fn a_dropped_request_is_cancelled() {
        let (lines, mut server) = start();
        let one = ask(&lines, 7);
        line(&mut server).await;
        one.abort();
        let sent = line(&mut server).await;
        assert!(
            sent.contains("notifications/cancelled") && sent.contains(r#""requestId":7"#),
            "{sent}"
        );
    }

    #[tokio::test]
    async fn requests_of_the_server_are_answered() {
        let (_lines, mut server) = start();
        server
            .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"roots/list\"}\n")
            .await
            .unwrap();
        let mut answers = [line(&mut server).await, line(&mut server).await];
        answers.sort();
        assert_eq!(
            answers[0],
            "{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"result\":{}}\n"
        );
        assert!(answers[1].contains("-32601"));
    }

    #[tokio::test]
    async fn closing_ends_the_stream() {
        let (lines, mut server) = start();
        lines.close().await;
        let mut rest = Vec::new();
        server.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        assert_eq!(lines.closed().as_deref(), Some("closed by this client"));
    }
}
