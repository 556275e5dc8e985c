//! What a response says, and what it means that there is none.

use http::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};

use super::super::link::LinkError;

/// How much of a body that is not the protocol is shown.
const SNIPPET: usize = 300;

pub(super) fn media_type(response: &Response) -> &str {
    let value = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
}

pub(super) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, LinkError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(LinkError::Lost(chain(&error))),
        }
        if body.len() > limit {
            return Err(LinkError::Protocol(format!(
                "the answer has more than {limit} bytes"
            )));
        }
    }
}

pub(super) fn status_error(status: StatusCode, body: &[u8]) -> LinkError {
    let text = String::from_utf8_lossy(body);
    let body = text.trim().chars().take(SNIPPET).collect();
    LinkError::Status {
        status: status.as_u16(),
        body,
    }
}

pub(super) fn transport(error: reqwest::Error) -> LinkError {
    let reason = chain(&error);
    if error.is_connect() || error.is_builder() {
        LinkError::Unreachable(reason)
    } else {
        LinkError::Lost(reason)
    }
}

/// The innermost reason, which is the one that says something.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
