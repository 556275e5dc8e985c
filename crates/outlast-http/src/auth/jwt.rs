//! JSON Web Tokens (RFC 7519, RFC 9068) of an authorization server, checked against its published keys.
//!
//! Issuer, audience and expiry must be there and right; the clock may differ by a minute. The
//! algorithms are pinned to asymmetric ones, and a key serves only the algorithms of its own kind, so
//! that no public key is ever taken for a shared secret. Keys are fetched when the first token comes
//! and once an hour; a token that names a key we do not have makes us look again, at most every half
//! minute, which is how a rotation is noticed. While the keys cannot be fetched, those we have stay
//! good for a day.
//!
//! Checking a signature costs several times what a call does, and a client sends the same token with each
//! of its calls: whose a good token is, is remembered for a minute, never beyond the token's end and never
//! beyond the keys that it was checked with.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use outlast_core::{Clock, Principal, Scope, SystemClock};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::claims::Reading;
use super::known::Known;
use super::{Authenticator, Credentials, Denied, Token, fetch};

/// The algorithms that may be named.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// How old keys may be before they are fetched again.
const FRESH: Duration = Duration::from_secs(3600);
/// How old they may be when they cannot be.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// By how many seconds clocks may differ at most.
const MOST_SKEW_S: u64 = 600;
/// How long a token is not checked again.
const BELIEVED: Duration = Duration::from_secs(60);
/// How often we look for a key that we do not have, or try again.
const AGAIN: Duration = Duration::from_secs(30);

/// Whose tokens are taken, and how they are read.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The `aud` of tokens for this server; one of them is enough.
    #[serde(deserialize_with = "super::settings::one_or_more")]
    pub audience: Vec<String>,
    /// Where its keys are; by default what its metadata says (OpenID Connect Discovery, RFC 8414).
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The algorithms that are taken; by default all asymmetric ones.
    #[serde(default)]
    pub algorithms: Option<Vec<String>>,
    /// How many seconds its clock and ours may differ, at most 600; by default 60.
    #[serde(default)]
    pub clock_skew_s: Option<u64>,
    /// The claim that says whose a token is; by default `sub`.
    #[serde(default)]
    pub owner_claim: Option<String>,
    /// The claim with the groups; by default `groups`.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// What stands before our scopes in its own, for example `api://tasks/`.
    #[serde(default)]
    pub scope_prefix: Option<String>,
    /// What a token may that names none of our scopes; by default nothing.
    #[serde(default)]
    pub default_scope: Option<Scope>,
}

/// Knows the tokens of an authorization server by its keys.
pub struct Jwt {
    issuer: String,
    jwks_url: Option<Url>,
    discovery: Vec<Url>,
    algorithms: Vec<Algorithm>,
    validation: Validation,
    reading: Reading,
    client: Client,
    clock: SystemClock,
    keys: RwLock<Keys>,
    again: Duration,
    /// Held by the one who fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Keys {
    set: Option<JwkSet>,
    /// What was checked with them.
    checked: Known,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl Jwt {
    /// Takes the tokens of this issuer. Nothing is fetched yet.
    ///
    /// # Errors
    /// A setting that cannot hold; the sentence says what is allowed.
    pub fn new(settings: JwtSettings) -> Result<Self, String> {
        let issuer = fetch::address("issuer", &settings.issuer)?;
        let jwks_url = settings.jwks_url.as_deref();
        let jwks_url = jwks_url
            .map(|url| fetch::address("jwks_url", url))
            .transpose()?;
        let algorithms = match settings.algorithms {
            None => ALGORITHMS.to_vec(),
            Some(names) => names
                .iter()
                .map(|name| algorithm(name))
                .collect::<Result<_, _>>()?,
        };
        let audience = &settings.audience;
        if audience.is_empty() || audience.iter().any(String::is_empty) || algorithms.is_empty() {
            return Err(
                "audience and algorithms: name at least one; else tokens for other servers would \
                 be good here"
                    .into(),
            );
        }
        let leeway = settings.clock_skew_s.unwrap_or(60);
        if leeway > MOST_SKEW_S {
            return Err(format!(
                "clock_skew_s: {leeway} is too much, for expired tokens are good that long; at most \
                 {MOST_SKEW_S}"
            ));
        }
        let mut validation = Validation::default();
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&settings.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = leeway;
        Ok(Self {
            discovery: discovery(&issuer),
            issuer: settings.issuer,
            jwks_url,
            algorithms,
            validation,
            reading: Reading::new(
                settings.owner_claim,
                settings.groups_claim,
                settings.scope_prefix,
                settings.default_scope,
            )?,
            client: fetch::client(),
            clock: SystemClock::new(),
            keys: RwLock::default(),
            again: AGAIN,
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Looks for a key that it does not have after this time at the earliest, instead of half a minute.
    #[must_use]
    pub fn looking_again_after(mut self, again: Duration) -> Self {
        self.again = again;
        self
    }

    async fn principal(
        &self,
        token: Token<'_>,
        credentials: Credentials<'_>,
    ) -> Result<Principal, Denied> {
        let invalid = |why: &str| Denied::Invalid(why.to_owned());
        let digest = token.digest();
        if let Some(principal) = self.checked(&digest) {
            return Ok(principal);
        }
        let Ok(header) = decode_header(token.expose()) else {
            // No token of this kind.
            return Err(Denied::Foreign);
        };
        if claimed_issuer(token.expose()).is_some_and(|issuer| issuer != self.issuer) {
            return Err(Denied::Foreign);
        }
        if is_critical(token.expose()) {
            return Err(invalid(
                "the token says that what is not understood here must be",
            ));
        }
        if !self.algorithms.contains(&header.alg) {
            return Err(invalid("the token's algorithm is not allowed here"));
        }
        let kid = header.kid.as_deref();
        let (key, fetched) = match self.key(kid, header.alg) {
            Some(key) => key,
            None => {
                credentials.may_look_up()?;
                self.fetch().await?;
                self.key(kid, header.alg)
                    .ok_or_else(|| invalid("the token was signed with an unknown key"))?
            }
        };
        let mut validation = self.validation.clone();
        validation.algorithms = vec![header.alg];
        let claims = decode::<Map<String, Value>>(token.expose(), &key, &validation);
        let claims = claims.map_err(|error| Denied::Invalid(why(error.kind()).to_owned()))?;
        let claims = claims.claims;
        let principal = self.reading.principal(&self.issuer, &claims);
        let principal = principal.map_err(Denied::Invalid)?;
        let end = claims.get("exp").and_then(Value::as_u64).unwrap_or(0);
        let now = u64::try_from(self.clock.now().as_millis() / 1000).unwrap_or(0);
        let left = end
            .saturating_add(self.validation.leeway)
            .saturating_sub(now);
        let left = Duration::from_secs(left);
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        // By now there may be other keys, which would not have it.
        if keys.fetched == Some(fetched) {
            let lasts = left.min(BELIEVED);
            keys.checked.is_good(digest, principal.clone(), lasts);
        }
        Ok(principal)
    }

    /// Whose a token with this digest is, if that was found out a moment ago.
    fn checked(&self, digest: &[u8; 32]) -> Option<Principal> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        self.usable(&keys)?;
        keys.checked.get(digest).flatten()
    }

    /// When the keys were fetched, if they need not be fetched before they are used.
    fn usable(&self, keys: &Keys) -> Option<Instant> {
        let fetched = keys.fetched?;
        let tried = keys.tried.map_or(Duration::MAX, |tried| tried.elapsed());
        // Old keys are looked at again, and used while that fails.
        let age = fetched.elapsed();
        (age <= STALE && (age <= FRESH || tried <= self.again)).then_some(fetched)
    }

    /// The key with this name, or the only one that fits a token which names none; and when it was fetched.
    fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<(DecodingKey, Instant)> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let fetched = self.usable(&keys)?;
        let set = keys.set.as_ref()?;
        let mut fitting = set.keys.iter().filter(|key| {
            let named = kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid));
            named && fits(key, algorithm)
        });
        let key = fitting.next()?;
        if kid.is_none() && fitting.next().is_some() {
            return None;
        }
        Some((DecodingKey::from_jwk(key).ok()?, fetched))
    }

    /// Fetches the keys, unless that was tried a moment ago.
    async fn fetch(&self) -> Result<(), Denied> {
        let _one = self.fetching.lock().await;
        {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            if keys.tried.is_some_and(|tried| tried.elapsed() < self.again) {
                return match keys.set {
                    Some(_) => Ok(()),
                    None => Err(unavailable()),
                };
            }
            keys.tried = Some(Instant::now());
        }
        match self.fetched().await {
            Ok(set) => {
                let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                keys.set = Some(set);
                keys.checked = Known::default();
                keys.fetched = Some(Instant::now());
                Ok(())
            }
            Err(why) => {
                tracing::warn!(issuer = self.issuer, why, "cannot fetch the keys");
                let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
                match keys.fetched {
                    Some(fetched) if fetched.elapsed() <= STALE => Ok(()),
                    _ => Err(unavailable()),
                }
            }
        }
    }

    async fn fetched(&self) -> Result<JwkSet, String> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discovered().await?,
        };
        let (status, set) = fetch::ask(self.client.get(url)).await?;
        if status != 200 {
            return Err(format!("the keys' address answers with status {status}"));
        }
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("the keys' address answers without \"keys\"".into());
        };
        // A key of a kind that nobody here knows is no reason to refuse the others.
        let keys = keys.iter().filter_map(|key| Jwk::deserialize(key).ok());
        Ok(JwkSet {
            keys: keys.collect(),
        })
    }

    async fn discovered(&self) -> Result<Url, String> {
        let mut last = String::new();
        for url in &self.discovery {
            match fetch::ask(self.client.get(url.clone())).await {
                Ok((200, metadata)) if metadata["issuer"] == self.issuer.as_str() => {
                    let jwks = metadata["jwks_uri"].as_str().unwrap_or_default();
                    return fetch::address("jwks_uri", jwks);
                }
                Ok((200, metadata)) => {
                    last = format!("its metadata speak of the issuer {}", metadata["issuer"]);
                }
                Ok((status, _)) => last = format!("its metadata answer with status {status}"),
                Err(why) => last = why,
            }
        }
        Err(last)
    }
}

#[async_trait]
impl Authenticator for Jwt {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, Denied> {
        let token = credentials.token()?;
        self.principal(token, credentials).await
    }

    fn known(&self, credentials: Credentials<'_>) -> Option<Result<Principal, Denied>> {
        let token = credentials.token().ok()?;
        self.checked(&token.digest()).map(Ok)
    }

    fn authorization_servers(&self) -> Vec<String> {
        vec![self.issuer.clone()]
    }
}

/// The issuer that a token says it has, before anything of it is believed.
fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        iss: String,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.iss)
}

/// Whether a token names extensions without which it must be refused (RFC 7515, section 4.1.11). None is
/// known here.
fn is_critical(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    let header = serde_json::from_slice::<Map<String, Value>>(&header);
    header.is_ok_and(|header| header.contains_key("crit"))
}

fn unavailable() -> Denied {
    Denied::unavailable("the authorization server's keys cannot be fetched; try again")
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let known = name
        .parse::<Algorithm>()
        .ok()
        .filter(|known| ALGORITHMS.contains(known));
    known.ok_or_else(|| {
        let allowed: Vec<String> = ALGORITHMS.iter().map(|a| format!("{a:?}")).collect();
        format!(
            "algorithms: {name:?} is not taken; allowed: {}",
            allowed.join(", ")
        )
    })
}

/// Whether a key may check signatures of this algorithm.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
    let common = &key.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return false;
    }
    if common
        .key_algorithm
        .is_some_and(|said| said.to_string() != format!("{algorithm:?}"))
    {
        return false;
    }
    match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), algorithm) => {
            use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
            matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
        }
        (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES256) => {
            curve.curve == EllipticCurve::P256
        }
        (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES384) => {
            curve.curve == EllipticCurve::P384
        }
        (AlgorithmParameters::OctetKeyPair(_), Algorithm::EdDSA) => true,
        _ => false,
    }
}

/// Where an issuer's metadata are: OpenID Connect Discovery, and RFC 8414 with the path at the end.
fn discovery(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url.set_query(None);
        url
    };
    vec![
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
    ]
}

fn why(kind: &jsonwebtoken::errors::ErrorKind) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another server",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks exp, iss or aud",
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        _ => "the token is not valid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_extensions_is_seen() {
        let token = |header: &str| format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header));
        for header in [
            r#"{"alg":"RS256","crit":["exp"],"exp":1}"#,
            r#"{"crit":[],"alg":"RS256"}"#,
            r#"{"alg":"RS256","crit":null}"#,
        ] {
            assert!(is_critical(&token(header)), "{header}");
        }
        for header in [r#"{"alg":"RS256"}"#, r#"{"alg":"crit"}"#, "[]", "crit"] {
            assert!(!is_critical(&token(header)), "{header}");
        }
        assert!(!is_critical("no token"));
    }
}
