//! The first bytes of a connection, under a clock of their own.
//!
//! hyper's clock for the head of a request runs once it knows the version of HTTP, and to know it, it
//! reads until the bytes differ from the preface of HTTP/2 (RFC 9113, section 3.4). A peer that says
//! nothing, or begins that preface and stops, would keep its place for ever. So whoever has not come so
//! far in time hears no more of it: the read fails.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose beginning must come in time.
pub(crate) struct Opening<S> {
    stream: S,
    /// Until the version is known.
    until: Option<Pin<Box<Sleep>>>,
    /// How many bytes of the preface have come.
    preface: usize,
}

impl<S> Opening<S> {
    /// Gives `stream` this long, from now, to show its version.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            until: Some(Box::pin(tokio::time::sleep(patience))),
            preface: 0,
        }
    }

    fn has_come(&mut self, bytes: &[u8]) {
        let rest = &PREFACE[self.preface..];
        let known = bytes.len() >= rest.len() || !rest.starts_with(bytes);
        self.preface += bytes.len().min(rest.len());
        if known {
            self.until = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(until) = &mut this.until else {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        };
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                this.has_come(&buffer.filled()[before..]);
                Poll::Ready(read)
            }
            Poll::Pending => until
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
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

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Says `said` and then nothing for a long time; how the reading ends.
    async fn after(said: &[&str]) -> io::Result<usize> {
        let (mut client, server) = duplex(1024);
        let mut server = Opening::new(server, PATIENCE);
        let mut buffer = [0; 64];
        for bytes in said {
            client.write_all(bytes.as_bytes()).await.unwrap();
            assert_ne!(server.read(&mut buffer).await.unwrap(), 0);
        }
        let read = tokio::time::timeout(PATIENCE * 2, server.read(&mut buffer));
        read.await.unwrap_or(Ok(0))
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_begin_is_not_waited_for() {
        for said in [
            &[][..],
            &["P"],
            &["PRI * HT"],
            &["PRI ", "* HTTP/2.0\r\n\r\n"],
        ] {
            let end = after(said).await.unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::TimedOut, "{said:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_begun_is_left_to_other_clocks() {
        let preface = std::str::from_utf8(PREFACE).unwrap();
        for said in [
            &["G"][..],
            &["P", "O"],
            &["PRI ", &preface[4..]],
            &[preface],
        ] {
            assert!(after(said).await.is_ok(), "{said:?}");
        }
    }
}
