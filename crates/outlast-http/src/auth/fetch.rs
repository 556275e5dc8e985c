//! Asking other servers: authorization servers and providers.
//!
//! Over HTTPS, or to this machine; no redirect is followed, no answer is read beyond a megabyte, and
//! nothing is waited for longer than ten seconds.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Url, redirect};
use serde_json::Value;

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer.
const LONGEST: usize = 1024 * 1024;
/// The longest wait that is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

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

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// `null` where an error says nothing in JSON.
    pub(super) json: Value,
    /// It is no answer: too much is asked.
    pub(super) limit: Option<Limit>,
}

/// A provider that is asked too often says nothing about the token that it was asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limit {
    /// When to ask again, if it says so.
    pub(super) wait: Option<Duration>,
}

impl Limit {
    /// By status 429 (RFC 6585, section 4), or as GitHub says it: 403 with `Retry-After`, or with
    /// `X-RateLimit-Remaining: 0` and in `X-RateLimit-Reset` the second at which it asks anew
    /// ("Rate limits for the REST API", docs.github.com).
    fn of(status: u16, headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let used_up = number("x-ratelimit-remaining") == Some(0);
        let limited = match status {
            429 => true,
            403 => used_up || headers.contains_key(RETRY_AFTER),
            _ => false,
        };
        let reset = || {
            let reset = number("x-ratelimit-reset").filter(|_| used_up)?;
            let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some(reset.saturating_sub(now.as_secs()))
        };
        limited.then(|| Self {
            wait: number(RETRY_AFTER.as_str())
                .or_else(reset)
                .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT)),
        })
    }
}

/// The answer to a question: its status and its JSON.
///
/// # Errors
/// As [`answer`].
pub(super) async fn ask(request: RequestBuilder) -> Result<(u16, Value), String> {
    let answer = answer(request).await?;
    Ok((answer.status, answer.json))
}

/// The answer to a question.
///
/// # Errors
/// There is none; the sentence is for the log and names the address without its query.
pub(super) async fn answer(request: RequestBuilder) -> Result<Answer, String> {
    let failed = |error: reqwest::Error| error.without_url().to_string();
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let limit = Limit::of(status, response.headers(), SystemTime::now());
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if body.len() + piece.len() > LONGEST {
            return Err(format!("the answer is longer than {LONGEST} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    let json = match serde_json::from_slice(&body) {
        Ok(json) => json,
        Err(_) if status >= 400 => Value::Null,
        Err(error) => {
            return Err(format!(
                "status {status}, and the answer is not JSON: {error}"
            ));
        }
    };
    Ok(Answer {
        status,
        json,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(status: u16, headers: &[(&'static str, &str)]) -> Option<Option<u64>> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let limit = Limit::of(status, &HeaderMap::from_iter(headers), now);
        limit.map(|limit| limit.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn a_limit_is_told_from_a_refusal() {
        let (left, reset) = ("x-ratelimit-remaining", "x-ratelimit-reset");
        assert_eq!(limit(401, &[("retry-after", "7")]), None);
        assert_eq!(limit(403, &[]), None);
        assert_eq!(limit(403, &[(left, "4999"), (reset, "1060")]), None);
        assert_eq!(limit(403, &[(left, "0")]), Some(None));
        assert_eq!(limit(403, &[(left, "0"), (reset, "1060")]), Some(Some(60)));
        assert_eq!(limit(403, &[(left, "0"), (reset, "900")]), Some(Some(0)));
        assert_eq!(limit(403, &[("retry-after", "7")]), Some(Some(7)));
        assert_eq!(limit(429, &[("retry-after", "soon")]), Some(None));
        let ever = [("retry-after", "99999999")];
        assert_eq!(limit(429, &ever), Some(Some(3600)));
    }
}
