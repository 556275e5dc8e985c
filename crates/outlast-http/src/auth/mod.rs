//! Who sends a request: bearer tokens (RFC 6750), checked in one of several ways.
//!
//! An [`Authenticator`] turns the head of a request into a [`Principal`] or says why it does not;
//! [`Gate`] stands before every route of the server, asks it, and writes the challenges and the
//! metadata that clients discover the authorization server by (RFC 9728). Tokens are read from the
//! `Authorization` header alone, never from a query (2026-07-28 authorization, "Token
//! Requirements"); they are never stored and never logged, and are compared by their digests.
//!
//! Ways that come with it: [`TokenFile`], and with the feature `oauth` JSON Web Tokens ([`Jwt`]),
//! introspection ([`Introspection`], RFC 7662) and a provider's user-info address ([`UserInfo`]).

mod bearer;
#[cfg(feature = "oauth")]
mod claims;
mod failures;
#[cfg(feature = "oauth")]
mod fetch;
mod gate;
#[cfg(feature = "oauth")]
mod introspection;
#[cfg(feature = "oauth")]
mod jwt;
#[cfg(feature = "oauth")]
mod known;
mod secret;
mod settings;
mod standing;
mod token_file;
#[cfg(feature = "oauth")]
mod user_info;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::request::Parts;
use outlast_core::Principal;

pub use bearer::Token;
pub use failures::Failures;
pub use gate::{Gate, GateOptions};
#[cfg(feature = "oauth")]
pub use introspection::{Introspection, IntrospectionSettings};
#[cfg(feature = "oauth")]
pub use jwt::{Jwt, JwtSettings};
pub use secret::Secret;
pub use settings::{AuthError, AuthSettings};
pub(crate) use standing::{Standing, lost};
pub use token_file::{NewToken, TokenEntry, TokenFile, TokenFileError, Tokens};
#[cfg(feature = "oauth")]
pub use user_info::{Provider, UserInfo, UserInfoSettings};

/// The head of a request, and what is known of its sender.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// Method, path and headers.
    pub parts: &'a Parts,
    /// The sender's address; `None` where there is none.
    pub peer: Option<IpAddr>,
    failures: &'a Failures,
}

impl<'a> Credentials<'a> {
    /// The credentials in a request.
    pub fn new(parts: &'a Parts, peer: Option<IpAddr>, failures: &'a Failures) -> Self {
        Self {
            parts,
            peer,
            failures,
        }
    }

    /// The bearer token of the request.
    ///
    /// # Errors
    /// [`Denied::Missing`] if there is none, [`Denied::Malformed`] if it cannot be one.
    pub fn token(&self) -> Result<Token<'a>, Denied> {
        bearer::token(&self.parts.headers)
    }

    /// Asked before a look-up that costs something, for example a question to another server.
    ///
    /// # Errors
    /// [`Denied::TooMany`] if too many look-ups for this sender have failed lately.
    pub fn may_look_up(&self) -> Result<(), Denied> {
        self.failures.check(self.peer)
    }
}

/// Why a request has no principal. What is said here goes to the client: it names no token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denied {
    /// It has no credentials (401, without an error code: RFC 6750, section 3).
    Missing,
    /// Its credentials cannot be read (400).
    Malformed(&'static str),
    /// Its token is of another kind; another authenticator may know it.
    Foreign,
    /// Its token is not valid, or no longer (401).
    Invalid(String),
    /// Its sender has been wrong too often (429). Ask again after this time.
    TooMany(Duration),
    /// Whoever could tell does not answer (503).
    Unavailable {
        /// What is said to the client.
        why: String,
        /// When to ask again, if whoever could tell has said so; else the client is told to wait five seconds.
        wait: Option<Duration>,
    },
}

impl Denied {
    /// Nobody can tell at the moment.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        let why = why.into();
        Self::Unavailable { why, wait: None }
    }
}

/// Tells who sends a request.
///
/// # Cancel safety
/// A dropped call must leave nothing half done: the client may be gone.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The principal of a request.
    ///
    /// # Errors
    /// Why there is none.
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, Denied>;

    /// What [`Authenticator::authenticate`] would answer, where that is known without waiting for anybody;
    /// `None` if it is not. Asked first of every request, so that what was checked a moment ago costs little.
    fn known(&self, _credentials: Credentials<'_>) -> Option<Result<Principal, Denied>> {
        None
    }

    /// The issuers of tokens that it takes, for the protected-resource metadata (RFC 9728).
    fn authorization_servers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Several ways, asked one after the other until one knows the token.
pub struct AnyOf(Vec<Arc<dyn Authenticator>>);

impl AnyOf {
    /// These, in this order.
    pub fn new(ways: impl IntoIterator<Item = Arc<dyn Authenticator>>) -> Self {
        Self(ways.into_iter().collect())
    }
}

#[async_trait]
impl Authenticator for AnyOf {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, Denied> {
        for way in &self.0 {
            // Whoever knows the token's kind has the last word: it is shown to nobody else.
            match way.authenticate(credentials).await {
                Err(Denied::Foreign) => {}
                answer => return answer,
            }
        }
        Err(Denied::Foreign)
    }

    fn known(&self, credentials: Credentials<'_>) -> Option<Result<Principal, Denied>> {
        for way in &self.0 {
            match way.known(credentials)? {
                Err(Denied::Foreign) => {}
                answer => return Some(answer),
            }
        }
        Some(Err(Denied::Foreign))
    }

    fn authorization_servers(&self) -> Vec<String> {
        let all = self.0.iter().flat_map(|way| way.authorization_servers());
        let mut servers: Vec<String> = Vec::new();
        for server in all {
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        servers
    }
}
