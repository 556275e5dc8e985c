//! Everything behind the port, in an application that has a port of its own.
//!
//! The application's router owns all paths and gives this service those that it does not serve itself
//! (`fallback_service`): one router has both, so no path is doubled and nothing is started twice. What a
//! connection would say is taken from the request's extensions instead, where nobody but the application
//! can put it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{Request, Response};
use outlast_core::Principal;
use tower_service::Service;

use crate::body::Body;
use crate::front::{Answering, Entrance, Front};

/// MCP, REST, the dashboard and whatever else a server has, as one `tower` service. Cheap to clone.
///
/// It checks all that it would check on a port of its own: `Host`, `Origin`, and who calls, if the server
/// has users. Extensions of a request may say more:
///
/// * a [`Principal`]: whom the application has let in already. No token is asked for.
/// * [`ConnectInfo<SocketAddr>`]: where the request comes from, so that somebody who tries one token after
///   the other is slowed down alone. Without it all who are wrong are slowed down together.
#[derive(Clone)]
pub struct Mounted(pub(crate) Front);

impl<B> Service<Request<B>> for Mounted
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let extensions = request.extensions();
        let peer = extensions.get::<ConnectInfo<SocketAddr>>();
        let entrance = Entrance {
            front: self.0.clone(),
            peer: peer.map(|ConnectInfo(address)| address.ip()),
            principal: extensions.get::<Principal>().cloned(),
            kept: None,
        };
        entrance.answer(request)
    }
}
