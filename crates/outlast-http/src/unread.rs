//! A stream over HTTP/2 that is not read any more, on a connection that goes on.
//!
//! In HTTP/1 whoever stops reading stops the connection, and the clock under it ([`crate::taking`]) sees that. In
//! HTTP/2 each stream has a window of its own (RFC 9113 section 5.2): a reader that leaves it shut holds the
//! stream's place and what feeds it for as long as it answers pings. The connection may carry the requests of
//! others, as a proxy's does, so it is left alone; what is given up after a minute is what feeds the stream.
//! The stream is reset once its reader makes room, and resumed with `Last-Event-ID` as any other.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::body::Body;

/// How often it is looked whether a reader goes on.
const LOOK: Duration = Duration::from_secs(15);

/// A body that is given up when nobody asks for more of it.
pub struct Unread {
    reading: Arc<Mutex<Reading>>,
    /// Ends the watch with the stream.
    _watched: oneshot::Receiver<()>,
}

struct Reading {
    /// Until it is given up.
    body: Option<Body>,
    /// Since when nobody has asked for what comes after the last frame.
    left_at: Option<Instant>,
}

impl Unread {
    /// Gives up `body` when for so long nobody asks for the frame after one that was taken.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn new(body: Body, patience: Duration) -> Self {
        let reading = Arc::new(Mutex::new(Reading {
            body: Some(body),
            left_at: None,
        }));
        let (ended, watched) = oneshot::channel();
        tokio::spawn(watch(Arc::clone(&reading), ended, patience));
        Self {
            reading,
            _watched: watched,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut reading = lock(&self.reading);
        let Some(body) = &mut reading.body else {
            let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "nobody read it");
            return Poll::Ready(Some(Err(axum::Error::new(error))));
        };
        let frame = Pin::new(body).poll_frame(cx);
        reading.left_at = frame.is_ready().then(Instant::now);
        frame
    }
}

async fn watch(reading: Arc<Mutex<Reading>>, mut ended: oneshot::Sender<()>, patience: Duration) {
    loop {
        tokio::select! {
            () = ended.closed() => return,
            () = tokio::time::sleep(LOOK.min(patience)) => {}
        }
        let given_up = {
            let mut reading = lock(&reading);
            let left = reading.left_at.is_some_and(|at| at.elapsed() >= patience);
            if left { reading.body.take() } else { None }
        };
        if given_up.is_some() {
            tracing::debug!("a stream was not read and is given up");
            return;
        }
    }
}

fn lock(reading: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}
