//! Sending, by the HTTP client that Outlast has anyway, on the runtime of the server.
//!
//! The SDK sends its batches from a thread of its own, where there is no runtime, so each message becomes a task of
//! the runtime that the server has. Failures are told here, once until something arrives again: a log line for each
//! lost message would be a second outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;

use crate::Wrong;

/// How much of an answer is read: it says no more than what was refused.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Sends messages to collectors.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: reqwest::Client,
    runtime: Handle,
    failing: Arc<AtomicBool>,
}

impl Sender {
    pub(crate) fn new(timeout: Duration) -> Result<Self, Wrong> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(Self {
            client: client.map_err(|error| Wrong::new("the HTTP client", error))?,
            runtime: Handle::current(),
            failing: Arc::default(),
        })
    }

    /// Sends a message of the protocol. That it failed is told in the log.
    pub(crate) async fn post(&self, address: &str, headers: &HeaderMap, message: Vec<u8>) {
        let mut request = Request::post(address)
            .body(Bytes::from(message))
            .expect("the address was looked at");
        request.headers_mut().extend(headers.clone());
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        request.headers_mut().insert(CONTENT_TYPE, protobuf);
        let _ = self.send(request).await;
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let address = shown(request.uri());
        let sent = self.exchange(request).await;
        let why = match &sent {
            Ok(answer) if answer.status().is_success() => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("{address} takes traces and metrics again");
                }
                return sent;
            }
            Ok(answer) => format!("it answered {}", answer.status()),
            Err(error) => chain(&**error),
        };
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!("{address} does not take traces or metrics, which are lost: {why}");
        }
        sent
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        // An address may hold a password, and these errors would tell it.
        let told = reqwest::Error::without_url;
        let mut answer = self.client.execute(request).await.map_err(told)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                return Err("its answer has no end".into());
            }
        }
        let mut read = Response::new(Bytes::from(body));
        *read.status_mut() = answer.status();
        *read.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(read)
    }
}

/// An address without what may be secret in it: who asks, and how.
fn shown(address: &Uri) -> String {
    let scheme = address.scheme_str().unwrap_or_default();
    let host = address.host().unwrap_or_default();
    let port = address.port().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    format!("{scheme}://{host}{port}{}", address.path())
}

/// An error with what caused it: the first alone says little.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let this = self.clone();
        let sent = self.runtime.spawn(async move { this.send(request).await });
        sent.await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let address = "https://id:key@otlp.vendor.example:4318/v1/traces?token=t";
        let shown = shown(&address.parse().unwrap());
        assert_eq!(shown, "https://otlp.vendor.example:4318/v1/traces");
    }
}
