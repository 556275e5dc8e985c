//! The body of any response: MCP's own, unboxed because it is the one that must be fast, or axum's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::unread::Unread;

/// A response's body.
pub enum Body {
    /// Of a response of MCP.
    Mcp(outlast_mcp::http::Body),
    /// Of any other.
    Other(axum::body::Body),
    /// A stream that ends when somebody is no longer let in.
    Lasting(Box<Lasting>),
    /// A stream that is given up when nobody reads it.
    Unread(Box<Unread>),
}

/// A stream, and what ends it.
pub struct Lasting {
    body: Body,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Body {
    /// The same, until `lost`.
    pub(crate) fn until(self, lost: impl Future<Output = ()> + Send + 'static) -> Self {
        let lost = Box::pin(lost);
        Self::Lasting(Box::new(Lasting { body: self, lost }))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Mcp(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Other(body) => Pin::new(body).poll_frame(cx),
            Self::Unread(unread) => unread.poll_frame(cx),
            Self::Lasting(lasting) => match lasting.lost.as_mut().poll(cx) {
                // Whoever reads it opens it again, and hears why that is refused.
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => Pin::new(&mut lasting.body).poll_frame(cx),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Mcp(body) => body.is_end_stream(),
            Self::Other(body) => body.is_end_stream(),
            Self::Lasting(lasting) => lasting.body.is_end_stream(),
            Self::Unread(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Mcp(body) => body.size_hint(),
            Self::Other(body) => body.size_hint(),
            Self::Lasting(_) | Self::Unread(_) => SizeHint::default(),
        }
    }
}
