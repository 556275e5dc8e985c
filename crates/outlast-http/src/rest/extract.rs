//! What handlers take from a request; whatever does not fit is a [`Problem`].

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use outlast_core::{Principal, RawJson, Scope, TaskId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Api;
use super::problem::Problem;

/// A JSON body, which is an object wherever it is more than a message of somebody else's. No body at all is as
/// good as `{}`.
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let encoding = request.headers().get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| encoding != "identity") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is taken as it is only: send it without Content-Encoding",
            ));
        }
        let body = Bytes::from_request(request, api).await?;
        if body.is_empty() {
            return read(b"{}").map(Self);
        }
        if !is_json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be JSON: send it with Content-Type: application/json",
            ));
        }
        read(&body).map(Self)
    }
}

/// A JSON body of which members are read. A list is refused: by its places it would be read into members too,
/// and mean something else as soon as one is added.
pub(super) struct Members<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Members<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let Json(body) = Json::<RawJson>::from_request(request, api).await?;
        no_list(&body)?;
        read(body.as_str().as_bytes()).map(Self)
    }
}

/// Refuses a body that is a list, for one of which members are read.
pub(super) fn no_list(body: &RawJson) -> Result<(), Problem> {
    if body.as_str().starts_with('[') {
        return Err(Problem::bad(
            "the body is a list; write an object, as /openapi.json has it",
        ));
    }
    Ok(())
}

/// No body, or `{}`: for what takes none. Whoever sends more means more than would happen.
pub(super) struct Empty;

impl FromRequest<Api> for Empty {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, api).await;
        match body.as_ref().map(|body| body.trim_ascii()) {
            Ok(b"" | b"{}") => Ok(Self),
            _ => Err(Problem::bad(
                "this takes no body: what it is about stands in the path; send none, or {}",
            )),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.and_then(|given| given.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|why| Problem::bad(format!("the body does not fit: {why}")))
}

/// A query.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        if !is_utf8(parts.uri.query().unwrap_or_default()) {
            return Err(Problem::bad("the query is no UTF-8"));
        }
        let read = axum::extract::Query::from_request_parts(parts, api).await?;
        Ok(Self(read.0))
    }
}

/// The query of what takes none. Whoever sends one believes in something that does not happen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Whether what stands for bytes in an address is UTF-8 once it is decoded.
fn is_utf8(escaped: &str) -> bool {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        let digits = rest.as_slice().get(..2).filter(|_| byte == b'%');
        let digits = digits.and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest.nth(1);
            }
            None => bytes.push(byte),
        }
    }
    str::from_utf8(&bytes).is_ok()
}

/// The names in the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(super) struct Path<T>(pub T);

/// Who asks, and may see its tasks. Put there by whoever authenticated the request.
pub(super) struct Reader(pub Principal);

/// Who asks, and may make something happen.
pub(super) struct Runner(pub Principal);

impl FromRequestParts<Api> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Problem> {
        permitted(parts, Scope::Read).map(Self)
    }
}

impl FromRequestParts<Api> for Runner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Problem> {
        permitted(parts, Scope::Run).map(Self)
    }
}

/// Who asks, and may do what concerns everybody: an administrator, or anybody on a server without users,
/// where everything is everybody's.
pub(super) struct Admin;

impl FromRequestParts<Api> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Problem> {
        let principal = permitted(parts, Scope::Run)?;
        if is_admin(&principal) {
            Ok(Self)
        } else {
            Err(Problem::needs(Scope::Admin))
        }
    }
}

/// Whether everybody's tasks are this caller's business.
pub(super) fn is_admin(who: &Principal) -> bool {
    who.may(Scope::Admin) || !who.is_authenticated()
}

fn permitted(parts: &Parts, scope: Scope) -> Result<Principal, Problem> {
    let principal = parts.extensions.get::<Principal>().cloned();
    let principal = principal.unwrap_or_else(Principal::local);
    if principal.may(scope) {
        Ok(principal)
    } else {
        Err(Problem::needs(scope))
    }
}

/// The id in the path. One that is none names no task: 404, like one that never was.
pub(super) struct Id(pub TaskId);

impl FromRequestParts<Api> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let found = RawPathParams::from_request_parts(parts, api).await;
        let found = found.map_err(|_| Problem::bad("a name in the path is no UTF-8"))?;
        let id = found.iter().find(|(name, _)| *name == "id");
        let id = id.map(|(_, id)| id);
        let id = id.unwrap_or_default();
        id.parse().map(Self).map_err(|_| Problem::no_task(id))
    }
}
