//! What browsers need to be told so that a page of an allowed origin may use MCP (Fetch standard,
//! "CORS protocol"): which methods and headers it may send, and which headers it may read.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};

use crate::body::Body;

/// What a page may send besides what any page may.
const SENT: [&str; 11] = [
    "authorization",
    "content-type",
    "accept",
    "last-event-id",
    "idempotency-key",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "traceparent",
    "tracestate",
];
/// The headers that mirror arguments, one for each.
const MIRRORED: &str = "mcp-param-";
/// What a page may read.
const READ: &str = "mcp-session-id, mcp-protocol-version, www-authenticate, retry-after, location";

/// Whether a request asks what may be asked. It carries no credentials, and gets its answer before
/// anybody looks for some.
pub(crate) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to such a request of an allowed origin.
pub(crate) fn preflight(parts: &Parts) -> Response<Body> {
    let mut response = Response::new(Body::Other(axum::body::Body::empty()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let asked = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = asked.and_then(|asked| asked.to_str().ok());
    let mirrored = asked.unwrap_or_default().split(',').map(str::trim);
    let mirrored = mirrored.filter(|name| name.to_ascii_lowercase().starts_with(MIRRORED));
    let allowed: Vec<&str> = SENT.into_iter().chain(mirrored).collect();
    let headers = response.headers_mut();
    if let Ok(allowed) = HeaderValue::try_from(allowed.join(", ")) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    let methods = HeaderValue::from_static("GET, POST, DELETE");
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets a page of this origin, which is allowed, read the response.
pub(crate) fn share(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from_static("origin"));
    let read = HeaderValue::from_static(READ);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, read);
}
