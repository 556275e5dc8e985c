//! Reading a body, up to a limit and not for ever.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;

/// How long a client may take to send a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no body.
pub(super) enum Unread {
    /// It is longer than the limit.
    TooLong,
    /// It did not come in time.
    TooSlow,
    /// The connection broke.
    Broken,
}

/// Reads the whole body. The usual one comes in one piece and is not copied.
pub(super) async fn whole<B>(body: B, limit: usize) -> Result<Bytes, Unread>
where
    B: Body,
    B::Data: Buf,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Unread::TooLong);
    }
    let mut pieces = pin!(pieces(body, limit));
    // Nearly always it is there already, and no timer is needed.
    let first = std::future::poll_fn(|cx| Poll::Ready(pieces.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(read) => read,
        Poll::Pending => tokio::time::timeout(PATIENCE, pieces)
            .await
            .unwrap_or(Err(Unread::TooSlow)),
    }
}

async fn pieces<B>(body: B, limit: usize) -> Result<Bytes, Unread>
where
    B: Body,
    B::Data: Buf,
{
    let mut body = pin!(body);
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        let Ok(mut data) = frame.map_err(|_| Unread::Broken)?.into_data() else {
            continue;
        };
        let length = data.remaining();
        if first.as_ref().map_or(0, Bytes::len) + rest.len() + length > limit {
            return Err(Unread::TooLong);
        }
        let data = data.copy_to_bytes(length);
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(first.len() + rest.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(&rest);
    Ok(all.freeze())
}
