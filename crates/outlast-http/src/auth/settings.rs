//! `[auth]`: the settings of all ways together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::{Authenticator, TokenFile};
#[cfg(feature = "oauth")]
use super::{Introspection, IntrospectionSettings, Jwt, JwtSettings, UserInfo, UserInfoSettings};

/// Who is let in, and how that is found out. Without any way there are no users.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args), group(skip))]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// The file with the bearer tokens of those who are let in; see `outlast token`
    #[cfg_attr(
        feature = "clap",
        arg(long = "auth-tokens", env = "OUTLAST_AUTH_TOKENS", value_name = "FILE")
    )]
    pub tokens: Option<PathBuf>,

    /// The address that clients know this server by, for example `https://tasks.example.com/mcp`
    /// [default: the one that a request came to]
    #[cfg_attr(
        feature = "clap",
        arg(
            long = "auth-resource",
            env = "OUTLAST_AUTH_RESOURCE",
            value_name = "URL"
        )
    )]
    pub resource: Option<String>,

    /// An authorization server that clients are sent to, besides the issuers of the file; may be
    /// repeated
    #[cfg_attr(
        feature = "clap",
        arg(
            long = "authorization-server",
            env = "OUTLAST_AUTHORIZATION_SERVER",
            value_name = "URL",
            value_delimiter = ','
        )
    )]
    pub authorization_servers: Option<Vec<String>>,

    /// JSON Web Tokens of an authorization server.
    #[cfg(feature = "oauth")]
    #[cfg_attr(feature = "clap", arg(skip))]
    pub jwt: Option<JwtSettings>,
    /// Opaque tokens of an authorization server.
    #[cfg(feature = "oauth")]
    #[cfg_attr(feature = "clap", arg(skip))]
    pub introspection: Option<IntrospectionSettings>,
    /// Tokens of Google, GitHub or Azure.
    #[cfg(feature = "oauth")]
    #[cfg_attr(feature = "clap", arg(skip))]
    pub user_info: Option<UserInfoSettings>,
}

/// `[auth]` cannot be used as it is; the sentence begins with the setting and says what to do.
#[derive(Debug, thiserror::Error)]
#[error("auth{}: {problem}", part.map(|part| format!(".{part}")).unwrap_or_default())]
pub struct AuthError {
    part: Option<&'static str>,
    problem: String,
}

impl AuthSettings {
    /// These settings where they say something, else those of `lower`.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            tokens: self.tokens.or(lower.tokens),
            resource: self.resource.or(lower.resource),
            authorization_servers: self.authorization_servers.or(lower.authorization_servers),
            #[cfg(feature = "oauth")]
            jwt: self.jwt.or(lower.jwt),
            #[cfg(feature = "oauth")]
            introspection: self.introspection.or(lower.introspection),
            #[cfg(feature = "oauth")]
            user_info: self.user_info.or(lower.user_info),
        }
    }

    /// The same with relative paths below `folder`.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Self {
        self.tokens = self.tokens.map(|path| folder.join(path));
        #[cfg(feature = "oauth")]
        if let Some(introspection) = &mut self.introspection {
            let secret = introspection.client_secret.clone();
            introspection.client_secret = secret.below(folder);
        }
        self
    }

    /// The ways that are set. Nothing is asked of other servers yet.
    ///
    /// # Errors
    /// A setting that cannot hold, or what it names is not there.
    pub fn build(&self) -> Result<Vec<Arc<dyn Authenticator>>, AuthError> {
        let servers = self.authorization_servers.iter().flatten();
        let servers = servers.map(|server| ("authorization_servers", server));
        let resource = self.resource.iter().map(|resource| ("resource", resource));
        for (part, url) in resource.chain(servers) {
            check_address(url).map_err(|problem| AuthError {
                part: Some(part),
                problem,
            })?;
        }
        let mut ways: Vec<Arc<dyn Authenticator>> = Vec::new();
        if let Some(path) = &self.tokens {
            let file = TokenFile::open(path).map_err(|error| AuthError {
                part: Some("tokens"),
                problem: error.to_string(),
            })?;
            ways.push(Arc::new(file));
        }
        #[cfg(feature = "oauth")]
        {
            let part = |part| {
                move |problem| AuthError {
                    part: Some(part),
                    problem,
                }
            };
            if let Some(settings) = self.jwt.clone() {
                ways.push(Arc::new(Jwt::new(settings).map_err(part("jwt"))?));
            }
            if let Some(settings) = self.introspection.clone() {
                let way = Introspection::new(settings).map_err(part("introspection"))?;
                ways.push(Arc::new(way));
            }
            if let Some(settings) = self.user_info.clone() {
                let way = UserInfo::new(settings).map_err(part("user_info"))?;
                ways.push(Arc::new(way));
            }
            if self.introspection.is_some() && self.user_info.is_some() {
                return Err(AuthError {
                    part: None,
                    problem:
                        "introspection and user_info both ask another server what a token is, \
                              and would show each other's tokens around; keep one of them"
                            .into(),
                });
            }
        }
        let orphan = self.resource.is_some() || self.authorization_servers.is_some();
        if ways.is_empty() && orphan {
            return Err(AuthError {
                part: None,
                problem: "says where tokens come from, and no way to check one; add tokens, jwt, \
                          introspection or user_info"
                    .into(),
            });
        }
        Ok(ways)
    }
}

/// What clients are told to go to is a whole address (RFC 9728 section 2): anything else they take to be
/// below the one that they came from.
fn check_address(text: &str) -> Result<(), String> {
    let scheme = ["https://", "http://"];
    let rest = scheme.iter().find_map(|scheme| text.strip_prefix(scheme));
    let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}?#@".contains(c);
    match rest {
        Some(rest)
            if !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.chars().all(plain) =>
        {
            Ok(())
        }
        _ => Err(format!(
            "{text:?} is not an address; write a whole one, such as https://tasks.example.org/mcp"
        )),
    }
}

/// A text, or a list of texts.
#[cfg(feature = "oauth")]
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    Ok(match OneOrMore::deserialize(from)? {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    })
}
