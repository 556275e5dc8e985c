//! Asking other servers: authorization servers and providers.
//!
//! Over HTTPS, or to this machine; no redirect is followed, no answer is read beyond a megabyte, and
//! nothing is waited for longer than ten seconds.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url, redirect};
use serde_json::Value;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer.
const LONGEST: usize = 1024 * 1024;

/// A client for such questions.
pub(super) fn client() -> Client {
    Client::builder()
        .timeout(PATIENCE)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("outlast/", env!("CARGO_PKG_VERSION")))
        .build()
        .expect("a client without special roots can be made")
}

/// An address that may be asked.
///
/// # Errors
/// It is none, or tokens and keys would travel in the open; the sentence says so.
pub(super) fn address(setting: &str, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("{setting}: {text:?} is not an address ({error}); write https://…")
    })?;
    let here = match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        _ => Err(format!(
            "{setting}: {text:?} is not https; plain http is for this machine alone"
        )),
    }
}

/// The answer to a question: its status and its JSON.
///
/// # Errors
/// There is none; the sentence is for the log and names the address without its query.
pub(super) async fn ask(request: RequestBuilder) -> Result<(u16, Value), String> {
    let failed = |error: reqwest::Error| error.without_url().to_string();
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > LONGEST {
            return Err(format!("the answer is longer than {LONGEST} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    let value = serde_json::from_slice(&body);
    match value {
        Ok(value) => Ok((status, value)),
        Err(_) if status >= 400 => Ok((status, Value::Null)),
        Err(error) => Err(format!(
            "status {status}, and the answer is not JSON: {error}"
        )),
    }
}
