//! Where a message to a client goes: one stream, and only one.

use std::sync::Arc;

use bytes::Bytes;
use outlast_core::TaskId;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::stream::SseStream;
use crate::exchange::Exchange;
use crate::relay::{self, ToRelay};

/// A way to a client. Cheap to clone; two clones are the same way.
#[derive(Clone)]
pub(crate) enum Outlet {
    /// A stream of a session: the one it keeps open for whatever the server has to say, or one that
    /// was resumed.
    Stream(Arc<SseStream>),
    /// The response to one HTTP request, which becomes a stream when something is sent here.
    Exchange(Arc<Exchange>),
    /// A connection that carries one message a line.
    Lines(mpsc::Sender<Bytes>),
    /// The same, through a relay that goes on with the next process of the server.
    Relayed(mpsc::Sender<Bytes>),
}

impl Outlet {
    /// Sends a message. `false` if nobody reads there, or reads too slowly: the message is lost, and
    /// whoever needs it to arrive sends it elsewhere.
    pub(crate) fn send(&self, message: Vec<u8>) -> bool {
        let message = Bytes::from(message);
        match self {
            Self::Stream(stream) => stream.send(message),
            Self::Exchange(exchange) => exchange.send(message),
            Self::Lines(sender) | Self::Relayed(sender) => sender.try_send(message).is_ok(),
        }
    }

    /// Whether a message that nobody took is kept for a client that comes back.
    pub(crate) fn keeps(&self) -> bool {
        match self {
            Self::Stream(_) => true,
            Self::Exchange(exchange) => exchange.keeps(),
            Self::Lines(_) | Self::Relayed(_) => false,
        }
    }

    /// Notes that another process can go on with this request: with the task that has its result, or by
    /// serving it again.
    pub(crate) fn lasts(&self, id: &RawValue, task_id: Option<TaskId>) {
        if let Self::Relayed(_) = self {
            self.send(relay::line(&ToRelay::Lasts { id, task_id }));
        }
    }

    /// Makes a stream of the response even before there is something to send, so that nobody on the
    /// way takes the silence for a dead connection.
    pub(crate) fn open(&self) {
        if let Self::Exchange(exchange) = self {
            exchange.open();
        }
    }

    /// Ends the connection of a stream that its client can resume, and of no other.
    pub(crate) fn let_go(&self) {
        match self {
            Self::Stream(stream) => stream.let_go(),
            Self::Exchange(exchange) => exchange.let_go(),
            Self::Lines(_) | Self::Relayed(_) => {}
        }
    }

    /// Whether somebody reads there.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.is_connected(),
            Self::Exchange(exchange) => exchange.is_connected(),
            Self::Lines(sender) | Self::Relayed(sender) => !sender.is_closed(),
        }
    }

    /// Resolves once nobody reads there any more.
    pub(crate) async fn closed(&self) {
        match self {
            Self::Stream(stream) => stream.disconnected().await,
            Self::Exchange(exchange) => exchange.disconnected().await,
            Self::Lines(sender) | Self::Relayed(sender) => sender.closed().await,
        }
    }

    /// Whether nobody reads there now, and its client may come back for all that was sent.
    pub(crate) fn may_return(&self) -> bool {
        let stream = self.stream();
        stream.is_some_and(|stream| !stream.is_connected() && stream.may_return())
    }

    /// Resolves once somebody reads there again; never where nobody can.
    pub(crate) async fn returned(&self) {
        match self.stream() {
            Some(stream) => stream.returned().await,
            None => std::future::pending().await,
        }
    }

    /// How often its client came back and did not get all that was sent.
    pub(crate) fn gaps(&self) -> u32 {
        self.stream().map_or(0, |stream| stream.gaps())
    }

    fn stream(&self) -> Option<Arc<SseStream>> {
        match self {
            Self::Stream(stream) => Some(Arc::clone(stream)),
            Self::Exchange(exchange) => exchange.stream(),
            Self::Lines(_) | Self::Relayed(_) => None,
        }
    }

    /// Whether the two are the same way.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stream(one), Self::Stream(other)) => Arc::ptr_eq(one, other),
            (Self::Exchange(one), Self::Exchange(other)) => Arc::ptr_eq(one, other),
            (Self::Lines(one), Self::Lines(other)) | (Self::Relayed(one), Self::Relayed(other)) => {
                one.same_channel(other)
            }
            _ => false,
        }
    }
}
