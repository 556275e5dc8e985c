//! The body of a response: one message, or a stream of events.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::service::{Done, Handler};
use crate::bounds::Room;
use crate::session::{Event, Events};

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The body of a response of [`super::HttpService`].
pub struct Body(Kind);

enum Kind {
    Full(Option<Bytes>),
    Stream(Box<Stream>),
}

struct Stream {
    source: Source,
    silence: Pin<Box<Sleep>>,
    /// Counts the stream for as long as it is open.
    _room: Option<Room>,
}

/// Where events come from.
enum Source {
    /// A stream of a session; whoever serves the request works by itself.
    Session(Events),
    /// The stream of a stateless request, which is served by being read and ends by being dropped.
    Request {
        messages: mpsc::Receiver<Bytes>,
        handler: Option<Handler>,
        last: Option<Bytes>,
    },
}

impl Body {
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(
            Some(bytes.into()).filter(|bytes| !bytes.is_empty()),
        ))
    }

    pub(crate) fn session(events: Events) -> Self {
        Self::stream(Source::Session(events), None)
    }

    /// A stream that is counted.
    pub(crate) fn counted(events: Events, room: Room) -> Self {
        Self::stream(Source::Session(events), Some(room))
    }

    pub(crate) fn request(messages: mpsc::Receiver<Bytes>, handler: Handler) -> Self {
        let source = Source::Request {
            messages,
            handler: Some(handler),
            last: None,
        };
        Self::stream(source, None)
    }

    fn stream(source: Source, room: Option<Room>) -> Self {
        Self(Kind::Stream(Box::new(Stream {
            source,
            silence: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
            _room: room,
        })))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(stream) => stream.poll(cx).map(|bytes| Some(Ok(Frame::data(bytes?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Full(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.0 {
            Kind::Full(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                http_body::SizeHint::with_exact(length as u64)
            }
            Kind::Stream(_) => http_body::SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Poll::Ready(event) = self.source.poll(cx) {
            self.silence.as_mut().reset(Instant::now() + KEEP_ALIVE);
            return Poll::Ready(event);
        }
        if self.silence.as_mut().poll(cx).is_ready() {
            self.silence.as_mut().reset(Instant::now() + KEEP_ALIVE);
            // Registers for the next silence.
            let _ = self.silence.as_mut().poll(cx);
            return Poll::Ready(Some(Bytes::from_static(b": alive\n\n")));
        }
        Poll::Pending
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self {
            Self::Session(events) => {
                let event = std::task::ready!(events.receiver.poll_recv(cx));
                Poll::Ready(event.map(|event| written(Some(&events.stream.event_name()), &event)))
            }
            Self::Request {
                messages,
                handler,
                last,
            } => {
                if let Some(working) = handler
                    && let Poll::Ready(done) = working.as_mut().poll(cx)
                {
                    *handler = None;
                    *last = Some(Done::into_message(done)).filter(|message| !message.is_empty());
                }
                // What was sent before the response goes before it.
                match messages.poll_recv(cx) {
                    Poll::Ready(Some(data)) => {
                        Poll::Ready(Some(written(None, &Event { number: 0, data })))
                    }
                    Poll::Ready(None) | Poll::Pending if handler.is_none() => Poll::Ready(
                        last.take()
                            .map(|data| written(None, &Event { number: 0, data })),
                    ),
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

/// An event as it is sent. A message has no line break of its own that matters: between the tokens
/// of JSON one is as good as a space.
fn written(stream: Option<&str>, event: &Event) -> Bytes {
    let mut out = BytesMut::with_capacity(event.data.len() + 64);
    if let Some(stream) = stream {
        out.put_slice(format!("id: {stream}.{}\n", event.number).as_bytes());
    }
    if event.data.is_empty() {
        // Only an id to resume from, and how soon.
        out.put_slice(b"retry: 1000\ndata:\n\n");
    } else {
        out.put_slice(b"event: message\ndata: ");
        out.extend(event.data.iter().map(|byte| match byte {
            b'\n' | b'\r' => b' ',
            byte => *byte,
        }));
        out.put_slice(b"\n\n");
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_on_lines_of_its_own() {
        let event = |data: &'static str| Event {
            number: 3,
            data: Bytes::from(data),
        };
        assert_eq!(
            written(Some("r1"), &event("{\n}")),
            &b"id: r1.3\nevent: message\ndata: { }\n\n"[..]
        );
        assert_eq!(
            written(None, &event("{}")),
            &b"event: message\ndata: {}\n\n"[..]
        );
        assert_eq!(
            written(Some("g1"), &event("")),
            &b"id: g1.3\nretry: 1000\ndata:\n\n"[..]
        );
    }
}
