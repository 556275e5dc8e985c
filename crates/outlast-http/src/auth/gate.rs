//! The gate before every route: who is it, and what is said to those who may not pass.
//!
//! Challenges follow RFC 6750, section 3, and name the metadata document of RFC 9728, which anybody
//! may read at its well-known address, with the path of the resource and without (2026-07-28
//! authorization, "Protected Resource Metadata Discovery Requirements").

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use outlast_core::{Principal, Scope};
use serde_json::json;

use super::{Authenticator, Credentials, Denied, Failures, Standing};
use crate::body::Body;

/// When to try again where nobody knows better, in seconds.
const SOON: u64 = 5;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What a gate says about its server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GateOptions {
    /// The address that clients know the server by; by default the one that a request came to.
    pub resource: Option<String>,
    /// Authorization servers besides those of the authenticator.
    pub authorization_servers: Vec<String>,
    /// The server's name, for people.
    pub name: Option<String>,
}

/// Lets requests through that say who sends them. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    authenticator: Arc<dyn Authenticator>,
    failures: Failures,
    options: GateOptions,
}

impl Gate {
    /// A gate that asks `authenticator`.
    pub fn new(authenticator: Arc<dyn Authenticator>, mut options: GateOptions) -> Self {
        for server in authenticator.authorization_servers() {
            if !options.authorization_servers.contains(&server) {
                options.authorization_servers.push(server);
            }
        }
        Self(Arc::new(Inner {
            authenticator,
            failures: Failures::default(),
            options,
        }))
    }

    /// How it finds out who somebody is.
    pub(super) fn ways(&self) -> (&dyn Authenticator, &Failures) {
        (&*self.0.authenticator, &self.0.failures)
    }

    /// Who sends a request, if that is known without waiting and nothing of what it asks for may last. Whoever
    /// is not known is to be [admitted](Gate::admit) or refused.
    pub(crate) fn knows(&self, parts: &Parts, peer: Option<IpAddr>) -> Option<Principal> {
        if may_last(parts) {
            return None;
        }
        let credentials = Credentials::new(parts, peer, &self.0.failures);
        self.0.authenticator.known(credentials)?.ok()
    }

    /// Finds out who sends a request and writes that into its extensions, for the routes behind; with its
    /// [`Standing`] if it asks for what may last.
    ///
    /// # Errors
    /// The response for a request that may not pass.
    pub(crate) async fn admit(
        &self,
        parts: &mut Parts,
        peer: Option<IpAddr>,
        mcp_path: &str,
    ) -> Result<(), Box<Response<Body>>> {
        let failures = &self.0.failures;
        let credentials = Credentials::new(parts, peer, failures);
        let denied = match self.0.authenticator.authenticate(credentials).await {
            Ok(principal) => {
                if may_last(parts) {
                    let standing = Standing::new(self, parts, peer, &principal);
                    parts.extensions.insert(standing);
                }
                parts.extensions.insert(principal);
                return Ok(());
            }
            Err(Denied::Foreign) => Denied::Invalid("the token is of no kind known here".into()),
            Err(denied) => denied,
        };
        let denied = match denied {
            Denied::Invalid(why) => match failures.check(peer) {
                Ok(()) => {
                    failures.note(peer);
                    tracing::info!(peer = peer.map(|peer| peer.to_string()), why, "refused");
                    Denied::Invalid(why)
                }
                Err(too_many) => too_many,
            },
            denied => denied,
        };
        Err(Box::new(self.refusal(&denied, parts, mcp_path)))
    }

    fn refusal(&self, denied: &Denied, parts: &Parts, mcp_path: &str) -> Response<Body> {
        let needs = Scope::Run;
        let is_mcp = parts.uri.path().trim_end_matches('/') == mcp_path.trim_end_matches('/');
        let said = |status, error, why: &str| match is_mcp {
            true => oauth_error(status, error, why),
            false => problem(status, error, why),
        };
        let (status, error, why) = match denied {
            Denied::Missing => {
                let mut response = said(
                    StatusCode::UNAUTHORIZED,
                    "unauthorized",
                    "send Authorization: Bearer TOKEN",
                );
                self.challenge(&mut response, parts, mcp_path, None, needs);
                return response;
            }
            Denied::Malformed(why) => (StatusCode::BAD_REQUEST, "invalid_request", *why),
            Denied::Invalid(why) => (StatusCode::UNAUTHORIZED, "invalid_token", why.as_str()),
            Denied::Foreign => unreachable!("told as an invalid token"),
            Denied::TooMany(wait) => {
                let mut response = said(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too_many_failures",
                    "too many wrong tokens came from this address; wait",
                );
                let wait = HeaderValue::from(wait.as_secs().max(1));
                response.headers_mut().insert(RETRY_AFTER, wait);
                return response;
            }
            Denied::Unavailable { why, wait } => {
                let mut response = said(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why);
                let wait = wait.map_or(SOON, |wait| wait.as_secs().max(1));
                response.headers_mut().insert(RETRY_AFTER, wait.into());
                return response;
            }
        };
        let mut response = said(status, error, why);
        self.challenge(&mut response, parts, mcp_path, Some((error, why)), needs);
        response
    }

    /// Says in a response what a client needs to pass.
    pub(crate) fn challenge(
        &self,
        response: &mut Response<Body>,
        parts: &Parts,
        mcp_path: &str,
        error: Option<(&str, &str)>,
        scope: Scope,
    ) {
        let mut challenge = String::from("Bearer ");
        if let Some((error, why)) = error {
            let why: String = why.chars().filter(|c| is_quotable(*c)).collect();
            challenge += &format!("error=\"{error}\", error_description=\"{why}\", ");
        }
        challenge += &format!("scope=\"{scope}\"");
        if let Some(metadata) = self.metadata_address(parts, mcp_path) {
            challenge += &format!(", resource_metadata=\"{metadata}\"");
        }
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, challenge);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }

    /// The metadata document, if this is its address.
    pub(crate) fn metadata(&self, parts: &Parts, mcp_path: &str) -> Option<Response<Body>> {
        let rest = parts.uri.path().strip_prefix(WELL_KNOWN)?;
        let resource = self.resource(parts, mcp_path)?;
        let own_path = path_of(&resource);
        if !["", "/", mcp_path, own_path].contains(&rest) {
            return None;
        }
        let mut document = json!({
            "resource": resource,
            "scopes_supported": Scope::ALL,
            "bearer_methods_supported": ["header"],
        });
        // A list without members is left out (RFC 9728, section 3.2).
        if !self.0.options.authorization_servers.is_empty() {
            document["authorization_servers"] = json!(self.0.options.authorization_servers);
        }
        if let Some(name) = &self.0.options.name {
            document["resource_name"] = json!(name);
        }
        Some(json_response(StatusCode::OK, &document))
    }

    fn resource(&self, parts: &Parts, mcp_path: &str) -> Option<String> {
        if let Some(resource) = &self.0.options.resource {
            return Some(resource.clone());
        }
        // Checked to be one of ours before anybody is asked.
        let host = match parts.headers.get(HOST) {
            Some(host) => host.to_str().ok()?,
            None => parts.uri.authority()?.as_str(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        host.chars()
            .all(plain)
            .then(|| format!("http://{host}{mcp_path}"))
    }

    fn metadata_address(&self, parts: &Parts, mcp_path: &str) -> Option<String> {
        let resource = self.resource(parts, mcp_path)?;
        let path = path_of(&resource);
        let origin = &resource[..resource.len() - path.len()];
        let path = path.trim_end_matches('/');
        Some(format!("{origin}{WELL_KNOWN}{path}"))
    }
}

/// Whether what is asked for may be a stream or a socket that goes on until somebody ends it. A call is
/// none: it is under way, and its answer belongs to whoever began it.
fn may_last(parts: &Parts) -> bool {
    let listens = |method: &HeaderValue| method == "subscriptions/listen";
    parts.method == Method::GET || parts.headers.get("mcp-method").is_some_and(listens)
}

/// The path of an address, with everything after it.
fn path_of(address: &str) -> &str {
    let after = address.find("://").map_or(0, |at| at + 3);
    let path = address[after..].find('/').map(|at| after + at);
    path.map_or("", |path| &address[path..])
}

/// May stand in `error_description` (RFC 6750, section 3).
fn is_quotable(c: char) -> bool {
    matches!(c, ' '..='~') && c != '"' && c != '\\'
}

/// As clients of OAuth read it.
fn oauth_error(status: StatusCode, error: &str, why: &str) -> Response<Body> {
    json_response(status, &json!({"error": error, "error_description": why}))
}

/// As everything else of the REST surface says what is wrong (RFC 9457), with the code of OAuth beside it.
fn problem(status: StatusCode, error: &str, why: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or("Error");
    let problem = json!({"type": "about:blank", "title": title, "status": status.as_u16(),
                         "detail": why, "error": error});
    let mut response = json_response(status, &problem);
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::Other(value.to_string().into()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn the_path_of_an_address() {
        assert_eq!(path_of("https://tasks.example/mcp"), "/mcp");
        assert_eq!(path_of("https://tasks.example"), "");
        assert_eq!(path_of("http://[::1]:9876/a/b"), "/a/b");
    }
}
