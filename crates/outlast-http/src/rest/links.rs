//! Addresses in answers, built from what the client used to reach us: a constant would be useless on
//! the next machine.

use std::fmt::Write as _;

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use outlast_core::TaskId;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;

/// Where a task's parts are.
#[derive(Serialize, ToSchema)]
pub(super) struct Links {
    /// The task.
    #[serde(rename = "self")]
    task: String,
    /// Its result, once it has ended.
    result: String,
    /// Its events, as a stream.
    events: String,
    /// Its log.
    logs: String,
    /// What it has recorded.
    journal: String,
    /// The files that it has made.
    artifacts: String,
    /// Who is told of it over HTTP, and what has become of telling them.
    webhooks: String,
    /// A WebSocket that carries events out, and answers, signals and a cancel in.
    socket: String,
}

/// How the client reaches this server.
#[derive(Clone)]
pub(super) struct Base(String);

impl Base {
    /// For who knows the server's address already: paths alone.
    pub(super) fn relative() -> Self {
        Self(String::new())
    }

    pub(super) fn task(&self, id: TaskId) -> String {
        format!("{}/tasks/{id}", self.0)
    }

    /// A file of a task. Its name is part of the path, so what would end the path is escaped.
    pub(super) fn artifact(&self, id: TaskId, name: &str) -> String {
        let mut address = format!("{}/tasks/{id}/artifacts/", self.0);
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    address.push(char::from(byte));
                }
                byte => {
                    let _ = write!(address, "%{byte:02X}");
                }
            }
        }
        address
    }

    fn socket(&self, id: TaskId) -> String {
        // `http` becomes `ws`, `https` becomes `wss`.
        match self.0.strip_prefix("http") {
            Some(rest) => format!("ws{rest}/ws/{id}"),
            None => format!("/ws/{id}"),
        }
    }

    pub(super) fn links(&self, id: TaskId) -> Links {
        let task = self.task(id);
        Links {
            result: format!("{task}/result"),
            events: format!("{task}/events"),
            logs: format!("{task}/logs"),
            journal: format!("{task}/journal"),
            artifacts: format!("{task}/artifacts"),
            webhooks: format!("{task}/webhooks"),
            socket: self.socket(id),
            task,
        }
    }
}

impl FromRequestParts<Api> for Base {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        if let Some(url) = &api.options().public_url {
            return Ok(Self(url.trim_end_matches('/').to_owned()));
        }
        let authority = parts.uri.authority().map(|authority| authority.as_str());
        let host = parts.headers.get(header::HOST);
        let host = authority.or_else(|| host.and_then(|host| host.to_str().ok()));
        // Without a host, as on a Unix socket, a path is all that can be said.
        Ok(Self(
            host.map(|host| format!("http://{host}"))
                .unwrap_or_default(),
        ))
    }
}
