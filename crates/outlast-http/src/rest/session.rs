//! `/session`: how a browser is signed in.
//!
//! A page must not hold a token: what a script can read, a foreign script could read too. So a token is
//! traded once for a cookie that no script sees (`HttpOnly`), that is sent from pages of this server alone
//! (`SameSite=Strict`), and only over TLS where the page came over TLS (`Secure`). The cookie is the token
//! itself, sealed under the keys of the store with the time of its end: each request is judged by the
//! token as it is then, so that one that was revoked or has expired ends its sessions at once, on every
//! instance and after a restart, and no list of sessions is kept. Whoever signs out leaves a record in the store,
//! until the cookie would have ended by itself: a copy of it lets nobody in. What is open of it goes on until its
//! page is closed.
//!
//! A cookie is sent by the browser, not by the page. So a request that is let in by it and changes
//! something, opens a socket, or says where it comes from (`Origin`), must come from a page of this server. MCP
//! takes no cookie at all.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN, SET_COOKIE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use outlast_core::{Principal, Scope, Timestamp};
use outlast_mcp::Server;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::problem::Problem;

/// Where it is.
pub(crate) const PATH: &str = "/session";

/// The longest body: a token is a few kilobytes.
pub(crate) const LONGEST_BODY: usize = 32 * 1024;

/// How long the body may take to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const NAME: &str = "outlast_session";

/// How long a browser is signed in, if the token lasts.
const LENGTH: Duration = Duration::from_secs(12 * 60 * 60);

/// Where the store keeps which sessions were ended, by the digest of their cookie.
const ENDED: &str = "browser session ended";

/// What is sealed into the cookie.
#[derive(Serialize, Deserialize)]
struct Sealed {
    token: String,
    until: Timestamp,
}

/// A token to be traded for a cookie.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// The token, as it would stand behind `Bearer`.
    token: String,
}

impl SignIn {
    /// Puts the token where the gate looks for it.
    pub(crate) fn show_to_gate(&self, parts: &mut Parts) {
        parts.headers.remove(AUTHORIZATION);
        if let Some(token) = authorization(&self.token) {
            parts.headers.insert(AUTHORIZATION, token);
        }
    }
}

fn authorization(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionView {
    /// Whether the server has users. One that has none lets everybody in who can reach it.
    users: bool,
    /// Whether this caller is let in.
    signed_in: bool,
    /// Whose tasks the caller sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// What the caller may do: `tasks:read`, `tasks:run` or `tasks:admin`. Each includes those before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    scope: Option<Scope>,
}

impl SessionView {
    fn of(users: bool, who: Option<&Principal>) -> Self {
        Self {
            users,
            signed_in: who.is_some(),
            owner: who.map(|who| who.owner().to_string()),
            scope: who.and_then(Principal::scope),
        }
    }
}

/// Who is signed in; without credentials `signedIn` is false.
#[utoipa::path(
    get, path = "/session", tag = "session",
    responses((status = 200, description = "Who is signed in.", body = SessionView))
)]
pub(crate) fn show(users: bool, who: Option<&Principal>) -> Response {
    Json(SessionView::of(users, who)).into_response()
}

/// Trades a token for a cookie that lets a browser in for twelve hours, or for as long as the token is
/// valid.
#[utoipa::path(
    post, path = "/session", tag = "session", request_body = SignIn,
    responses(
        (status = 200, description = "The browser is signed in.", body = SessionView,
            headers(("Set-Cookie" = String, description = "For the browser alone."))),
        (status = 400, description = "The body does not fit.", body = Problem),
        (status = 401, description = "The token is not valid.", body = Problem),
        (status = 409, description = "The server has no users.", body = Problem),
        (status = 413, description = "The body is too large.", body = Problem),
        (status = 429, description = "Too many wrong tokens; Retry-After says how long to wait.", body = Problem),
    )
)]
pub(crate) fn sign_in(
    server: &Server,
    token: &SignIn,
    who: &Principal,
    headers: &HeaderMap,
    public_url: Option<&str>,
) -> Response {
    let sealed = Sealed {
        token: token.token.clone(),
        until: server.handle().now() + LENGTH,
    };
    let plain = serde_json::to_vec(&sealed).expect("a text and a number have a JSON form");
    let sealed = server.seal_for_browser(&plain);
    let mut response = Json(SessionView::of(true, Some(who))).into_response();
    let cookie = cookie(&sealed, LENGTH, headers, public_url);
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// Signs the browser out.
#[utoipa::path(
    delete, path = "/session", tag = "session",
    responses(
        (status = 204, description = "The cookie is gone."),
        (status = 403, description = "The request comes from a foreign page.", body = Problem),
    )
)]
pub(crate) async fn sign_out(
    server: &Server,
    headers: &HeaderMap,
    public_url: Option<&str>,
) -> Response {
    if let Some((key, session)) = session_of(server, headers) {
        let side = server.handle().side();
        let put = side.record_put(ENDED, &key, Vec::new(), Some(session.until));
        if let Err(error) = put.await {
            return Problem::from(error).into_response();
        }
    }
    let cookie = cookie("", Duration::ZERO, headers, public_url);
    (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response()
}

/// The session that a cookie of ours names, which has not ended by itself, and its key in the store.
fn session_of(server: &Server, headers: &HeaderMap) -> Option<(String, Sealed)> {
    let text = sealed(headers)?;
    let plain = server.open_of_browser(text)?;
    let session: Sealed = serde_json::from_slice(&plain).ok()?;
    let digest = Sha256::digest(text);
    let key = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    (server.handle().now() < session.until).then_some((key, session))
}

fn cookie(
    value: &str,
    length: Duration,
    headers: &HeaderMap,
    public_url: Option<&str>,
) -> HeaderValue {
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let https = [origin, public_url]
        .into_iter()
        .flatten()
        .any(|address| address.starts_with("https://"));
    let secure = if https { "; Secure" } else { "" };
    let length = length.as_secs();
    let text =
        format!("{NAME}={value}; Path=/; Max-Age={length}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(text).expect("visible ASCII fits a header")
}

/// Reads the body of a sign-in.
///
/// # Errors
/// It is none.
pub(crate) fn read(body: &Bytes) -> Result<SignIn, Problem> {
    serde_json::from_slice(body).map_err(|why| {
        Problem::bad(format!(
            "the body does not fit: {why}; send {{\"token\": …}}"
        ))
    })
}

/// Says that there is nothing to sign in to.
pub(crate) fn no_users() -> Response {
    let why = "this server has no users: everybody who can reach it is let in without a token";
    Problem::conflict(why).into_response()
}

/// Says that the body is too large.
pub(crate) fn too_large() -> Response {
    let why = format!("the body may have {LONGEST_BODY} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why).into_response()
}

/// Says that the body did not come in time.
pub(crate) fn too_slow() -> Response {
    let why = format!("the body has to come within {} s", PATIENCE.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, why).into_response()
}

/// Says that only three methods are known here.
pub(crate) fn wrong_method(method: &Method) -> Response {
    let why = format!("{PATH} does not take {method}; the header Allow says what it takes");
    let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, why).into_response();
    let allow = HeaderValue::from_static("GET, POST, DELETE");
    response.headers_mut().insert(http::header::ALLOW, allow);
    response
}

/// Puts the token of a browser's session where tokens are looked for. Of no effect for a request with a
/// token of its own, without a cookie of ours, or with one that is spent.
///
/// # Errors
/// The answer to a request that changes something, opens a socket or names an origin and does not come from a
/// page of this server; or the store cannot say whether the session was ended.
pub(crate) async fn unpack(
    server: &Server,
    parts: &mut Parts,
    public_url: Option<&str>,
) -> Result<(), Box<Response>> {
    if parts.headers.contains_key(AUTHORIZATION) {
        return Ok(());
    }
    let Some((key, session)) = session_of(server, &parts.headers) else {
        return Ok(());
    };
    if needs_origin(parts) && !is_own_page(parts, public_url) {
        return Err(Box::new(foreign()));
    }
    let ended = server.handle().side().record_get(ENDED, &key).await;
    match ended {
        Ok(None) => {}
        Ok(Some(_)) => return Ok(()),
        Err(error) => return Err(Box::new(Problem::from(error).into_response())),
    }
    if let Some(token) = authorization(&session.token) {
        parts.headers.insert(AUTHORIZATION, token);
    }
    Ok(())
}

/// Says that a page of another server asks with this one's cookie.
pub(crate) fn foreign() -> Response {
    let why = "a request with the session's cookie must come from a page of this server: its Origin \
               is missing or another one; scripts send Authorization: Bearer TOKEN instead";
    Problem::new(StatusCode::FORBIDDEN, why).into_response()
}

fn sealed(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter();
    let mut cookies = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    cookies.find_map(|cookie| cookie.trim().strip_prefix(NAME)?.strip_prefix('='))
}

fn needs_origin(parts: &Parts) -> bool {
    !matches!(parts.method, Method::GET | Method::HEAD)
        || parts.headers.contains_key(UPGRADE)
        // Where a browser says it, it counts: SameSite does not tell the ports of a machine apart.
        || parts.headers.contains_key(ORIGIN)
}

/// Whether a request comes from a page of this server, as far as its browser says.
pub(crate) fn is_own_page(parts: &Parts, public_url: Option<&str>) -> bool {
    let Some(origin) = parts.headers.get(ORIGIN) else {
        return false;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let Some((_, page)) = origin.split_once("://") else {
        return false;
    };
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    host.is_some_and(|host| host.eq_ignore_ascii_case(page))
        || public_url.is_some_and(|url| origin_of(url) == origin)
}

/// The origin of an address, as a browser writes it: in lower case, without the scheme's own port.
fn origin_of(url: &str) -> String {
    let url = url.to_ascii_lowercase();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    let authority = rest.split('/').next().unwrap_or(rest);
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let authority = authority.strip_suffix(own_port).unwrap_or(authority);
    format!("{scheme}://{authority}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn own(origin: Option<&str>, public_url: Option<&str>) -> bool {
        let mut request = Request::builder().header(HOST, "tasks.example:9876");
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        is_own_page(&parts, public_url)
    }

    #[test]
    fn only_pages_of_this_server_are_its_own() {
        assert!(own(Some("http://tasks.example:9876"), None));
        assert!(!own(Some("http://tasks.example:9877"), None));
        assert!(!own(Some("http://localhost:9876"), None));
        assert!(!own(Some("null"), None) && !own(None, None));
        let public = Some("https://tasks.example.org/outlast/");
        assert!(own(Some("https://tasks.example.org"), public));
        assert!(!own(Some("https://tasks.example"), public));
        assert!(!own(Some("http://tasks.example.org"), public));
        // Browsers write it so, however it is written in a file.
        let public = Some("https://Tasks.Example.org:443");
        assert!(own(Some("https://tasks.example.org"), public));
    }

    #[test]
    fn our_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; outlast_session_x=2".parse().unwrap());
        assert_eq!(sealed(&headers), None);
        headers.append(COOKIE, "b=2; outlast_session=abc; c=3".parse().unwrap());
        assert_eq!(sealed(&headers), Some("abc"));
    }
}
