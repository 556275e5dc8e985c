//! Opaque tokens: the authorization server is asked what they are (RFC 7662).
//!
//! A good answer is remembered for a minute and never beyond the token's end, so that a revoked token
//! is good for that long at most; a bad one for ten seconds.

use std::time::Duration;

use async_trait::async_trait;
use outlast_core::{Clock, Principal, Scope, SystemClock};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;

use super::claims::{self, Reading};
use super::known::Known;
use super::secret::Secret;
use super::{Authenticator, Credentials, Denied, fetch};

/// How long a good answer is believed where nothing else is said.
const BELIEVED_S: u64 = 60;

/// Who is asked, and how the answer is read.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionSettings {
    /// The introspection endpoint.
    pub url: String,
    /// The issuer, whose subjects the owners are; clients are sent there.
    pub issuer: String,
    /// The name of this server there.
    pub client_id: String,
    /// Its secret there.
    pub client_secret: Secret,
    /// The `aud` that the answer must have, one of these.
    #[serde(deserialize_with = "super::settings::one_or_more")]
    pub audience: Vec<String>,
    /// How many seconds a good answer is believed; by default 60.
    #[serde(default)]
    pub believed_s: Option<u64>,
    /// The member that says whose the token is; by default `sub`.
    #[serde(default)]
    pub owner_claim: Option<String>,
    /// The member with the groups; by default `groups`.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// What stands before our scopes in its own.
    #[serde(default)]
    pub scope_prefix: Option<String>,
    /// What a token may that names none of our scopes; by default nothing.
    #[serde(default)]
    pub default_scope: Option<Scope>,
}

/// Knows opaque tokens by asking.
pub struct Introspection {
    url: Url,
    issuer: String,
    client_id: String,
    client_secret: String,
    audience: Vec<String>,
    believed: Duration,
    reading: Reading,
    client: Client,
    clock: SystemClock,
    known: Known,
}

impl Introspection {
    /// Asks this endpoint.
    ///
    /// # Errors
    /// A setting that cannot hold, or the secret is not there; the sentence says what to do.
    pub fn new(settings: IntrospectionSettings) -> Result<Self, String> {
        fetch::address("issuer", &settings.issuer)?;
        if settings.audience.is_empty() || settings.audience.iter().any(String::is_empty) {
            return Err(
                "audience: name at least one; else tokens for other servers would be good here"
                    .into(),
            );
        }
        Ok(Self {
            url: fetch::address("url", &settings.url)?,
            issuer: settings.issuer,
            client_id: settings.client_id,
            client_secret: settings.client_secret.read()?,
            audience: settings.audience,
            believed: Duration::from_secs(settings.believed_s.unwrap_or(BELIEVED_S)),
            reading: Reading::new(
                settings.owner_claim,
                settings.groups_claim,
                settings.scope_prefix,
                settings.default_scope,
            )?,
            client: fetch::client(),
            clock: SystemClock::new(),
            known: Known::default(),
        })
    }

    /// What the endpoint says: the principal and for how long, or why not.
    async fn ask(&self, token: &str) -> Result<Result<(Principal, Duration), String>, String> {
        let question = self
            .client
            .post(self.url.clone())
            .basic_auth(&self.client_id, Some(&self.client_secret))
            .header("accept", "application/json")
            .form(&[("token", token), ("token_type_hint", "access_token")]);
        let (status, answer) = fetch::ask(question).await?;
        let (200, Value::Object(answer)) = (status, answer) else {
            return Err(format!("it answers with status {status}"));
        };
        if answer.get("active") != Some(&Value::Bool(true)) {
            return Ok(Err(
                "the token is unknown, has expired or was revoked".into()
            ));
        }
        if !claims::is_bearer(&answer) {
            return Ok(Err("the token is no access token for bearers".into()));
        }
        if !claims::is_for(&answer, &self.audience) {
            return Ok(Err("the token is for another server".into()));
        }
        let of_another = |issuer: &Value| issuer.as_str() != Some(&self.issuer);
        if answer.get("iss").is_some_and(of_another) {
            return Ok(Err("the token is of another issuer".into()));
        }
        let mut lasts = self.believed;
        if let Some(end) = answer.get("exp").and_then(Value::as_i64) {
            let now = self.clock.now().as_millis() / 1000;
            let left = u64::try_from(end.saturating_sub(now)).unwrap_or(0);
            if left == 0 {
                return Ok(Err("the token has expired".into()));
            }
            lasts = lasts.min(Duration::from_secs(left));
        }
        let principal = self.reading.principal(&self.issuer, &answer);
        Ok(principal.map(|principal| (principal, lasts)))
    }
}

#[async_trait]
impl Authenticator for Introspection {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, Denied> {
        let token = credentials.token()?;
        let digest = token.digest();
        let unknown = || Denied::Invalid("the token is not valid".into());
        if let Some(known) = self.known.get(&digest) {
            return known.ok_or_else(unknown);
        }
        if !self.known.was_good(&digest) {
            credentials.may_look_up()?;
        }
        match self.ask(token.expose()).await {
            Ok(Ok((principal, lasts))) => {
                self.known.is_good(digest, principal.clone(), lasts);
                Ok(principal)
            }
            Ok(Err(why)) => {
                self.known.is_bad(digest);
                Err(Denied::Invalid(why))
            }
            Err(why) => {
                tracing::warn!(issuer = self.issuer, why, "cannot ask what a token is");
                Err(Denied::unavailable(
                    "the authorization server cannot be asked; try again",
                ))
            }
        }
    }

    fn known(&self, credentials: Credentials<'_>) -> Option<Result<Principal, Denied>> {
        let token = credentials.token().ok()?;
        self.known.get(&token.digest()).flatten().map(Ok)
    }

    fn authorization_servers(&self) -> Vec<String> {
        vec![self.issuer.clone()]
    }
}
