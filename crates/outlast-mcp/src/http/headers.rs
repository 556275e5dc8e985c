//! What the headers of a request must say.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::jsonrpc::{RpcError, string};
use crate::protocol::names::{HEADER_METHOD, HEADER_NAME, HEADER_SESSION, HEADER_VERSION};
use crate::protocol::{ModernMeta, Params};
use crate::serve;

/// What most clients send: all that is ever wanted.
const USUAL_ACCEPT: &str = "application/json, text/event-stream";

/// The header of every message after the handshake.
pub(super) static VERSION: HeaderName = HeaderName::from_static(HEADER_VERSION);
/// The header of a session.
pub(super) static SESSION: HeaderName = HeaderName::from_static(HEADER_SESSION);
static METHOD: HeaderName = HeaderName::from_static(HEADER_METHOD);
static NAME: HeaderName = HeaderName::from_static(HEADER_NAME);

/// Whether `Accept` names every one of these types, itself or by a wildcard.
pub(super) fn accepts(headers: &HeaderMap, wanted: &[&str]) -> bool {
    if headers.get(ACCEPT).is_some_and(|line| line == USUAL_ACCEPT) {
        return true;
    }
    let mut missing: Vec<&str> = wanted.to_vec();
    for line in headers.get_all(ACCEPT) {
        let Ok(line) = line.to_str() else { continue };
        for range in line.split(',') {
            let range = range.split(';').next().unwrap_or_default().trim();
            missing.retain(|wanted| !covers(range, wanted));
        }
    }
    missing.is_empty()
}

fn covers(range: &str, wanted: &str) -> bool {
    range.eq_ignore_ascii_case(wanted)
        || range == "*/*"
        || range.strip_suffix("/*").is_some_and(|kind| {
            wanted
                .split('/')
                .next()
                .is_some_and(|wanted| wanted.eq_ignore_ascii_case(kind))
        })
}

/// Whether the body is said to be JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = only(headers, &CONTENT_TYPE).ok().flatten();
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Whether the body is as it is, and not encoded for the way (RFC 9110, section 8.4).
pub(super) fn is_plain(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// The header that says where a request comes from or goes to and stands there more than once, if one does
/// (RFC 9112, section 3.2).
pub(super) fn repeated(headers: &HeaderMap) -> Option<&'static HeaderName> {
    static ONCE: [HeaderName; 2] = [HOST, ORIGIN];
    let twice = |name: &&HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    ONCE.iter().find(twice)
}

/// The value of a header that may stand once. `None` if it is absent. Of several lines one program reads the
/// first and another the last, so that whoever routes by them would see another request than whoever serves it.
///
/// # Errors
/// It stands there more than once.
pub(super) fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, RpcError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(RpcError::header_mismatch(format!(
            "the header {name} stands there more than once"
        ))),
    }
}

/// The text of a header. `None` if it is absent.
///
/// # Errors
/// It is not visible ASCII, or stands there more than once.
pub(super) fn text<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, RpcError> {
    let Some(value) = only(headers, name)? else {
        return Ok(None);
    };
    value.to_str().map(|text| Some(text.trim())).map_err(|_| {
        RpcError::header_mismatch(format!(
            "the header {name} has characters that no header may have"
        ))
    })
}

/// Holds the headers of a stateless request against its body: whoever routes by the one must not be
/// told something else than whoever acts by the other.
///
/// # Errors
/// The version is missing in the body (-32602); a header is missing or says something else (-32020).
pub(super) fn check(
    headers: &HeaderMap,
    method: &str,
    params: &Params<'_>,
    meta: &ModernMeta<'_>,
) -> Result<(), RpcError> {
    let version = serve::version_text(meta)?;
    same(HEADER_VERSION, text(headers, &VERSION)?, &version)?;
    same(HEADER_METHOD, text(headers, &METHOD)?, method)?;
    let (named, required) = match method {
        "tools/call" | "prompts/get" => (params.name, true),
        "resources/read" => (params.uri, true),
        // Clients in the field leave it out here; a wrong one is refused all the same.
        "tasks/get" | "tasks/update" | "tasks/cancel" => (params.task_id, false),
        _ => (None, false),
    };
    // A body without the name is refused for that by the method.
    let Some(named) = named.and_then(string) else {
        return Ok(());
    };
    let header = text(headers, &NAME)?;
    if header.is_none() && !required {
        return Ok(());
    }
    let header = header.map(decoded).transpose()?;
    same(HEADER_NAME, header.as_deref(), &named)
}

fn same(name: &str, header: Option<&str>, body: &str) -> Result<(), RpcError> {
    match header {
        Some(header) if header == body => Ok(()),
        Some(header) => Err(RpcError::header_mismatch(format!(
            "the header {name} says {header:?} and the body {body:?}"
        ))),
        None => Err(RpcError::header_mismatch(format!(
            "the header {name} is missing; the body says {body:?}"
        ))),
    }
}

/// The value of a header that may be written as `=?base64?…?=`.
///
/// # Errors
/// It begins and ends like that and is not Base64 of UTF-8.
pub(super) fn decoded(value: &str) -> Result<Cow<'_, str>, RpcError> {
    let Some(inner) = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="))
    else {
        return Ok(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(inner).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Cow::Owned).ok_or_else(|| {
        RpcError::header_mismatch(format!("the header value {value:?} is not Base64 of UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn accept_must_cover_both_types() {
        let both = ["application/json", "text/event-stream"];
        for good in [
            "application/json, text/event-stream",
            "*/*",
            "text/*;q=0.1,application/*",
            "Application/JSON,TEXT/event-stream",
        ] {
            assert!(accepts(&headers(&[("accept", good)]), &both), "{good}");
        }
        for bad in [
            "application/json",
            "text/event-stream",
            "",
            "text/plain, application/json",
        ] {
            assert!(!accepts(&headers(&[("accept", bad)]), &both), "{bad}");
        }
        assert!(!accepts(&HeaderMap::new(), &both));
    }

    #[test]
    fn content_type_may_carry_parameters() {
        assert!(is_json(&headers(&[(
            "content-type",
            "application/json; charset=utf-8"
        )])));
        assert!(!is_json(&headers(&[("content-type", "text/plain")])));
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn encoded_values_are_decoded_strictly() {
        assert_eq!(decoded("plain").unwrap(), "plain");
        assert_eq!(
            decoded("=?base64?SGVsbG8sIOS4lueVjA==?=").unwrap(),
            "Hello, 世界"
        );
        for bad in ["=?base64?SGVsbG8?=", "=?base64?!!?=", "=?base64?/w==?="] {
            assert!(decoded(bad).is_err(), "{bad}");
        }
    }
}
