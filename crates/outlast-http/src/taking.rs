//! A peer that has stopped taking what it is sent, under a clock of its own.
//!
//! An answer, a stream of events or a socket may wait for its reader as long as the reader goes on, however
//! slowly. One that takes not a byte for a minute (stopped, or gone without a word) keeps a connection, a place
//! among the streams and what was read for it; so the write fails, and with it the connection. Streams are
//! resumed with `Last-Event-ID`. Sockets are told first, after half that time (`rest/socket.rs`). The clock is
//! under the connection, where one rule holds for every answer in every protocol: above it nobody is asked
//! again while the connection is full.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A stream whose peer must go on taking.
pub(crate) struct Taking<S> {
    stream: S,
    patience: Duration,
    /// While the peer takes nothing.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Taking<S> {
    /// Fails a write that waits this long without a byte being taken.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            until: None,
        }
    }

    fn timed<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let patience = self.patience;
        let until = self
            .until
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        until.as_mut().poll(cx).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the peer takes nothing",
            ))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taking<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taking<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.timed(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.timed(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_nothing_is_given_up() {
        let (_client, server) = duplex(16);
        let mut server = Taking::new(server, PATIENCE);
        let begun = tokio::time::Instant::now();
        let end = server.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_slow_is_waited_for_and_so_is_whoever_is_sent_nothing() {
        let (mut client, server) = duplex(16);
        let mut server = Taking::new(server, PATIENCE);
        let slowly = async {
            for _ in 0..100 {
                tokio::time::sleep(PATIENCE * 9 / 10).await;
                client.read_exact(&mut [0; 1]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(server.write_all(&[0; 100]), slowly);
        written.unwrap();
        tokio::time::sleep(PATIENCE * 3).await;
        server.write_all(&[0; 10]).await.unwrap();
    }
}
