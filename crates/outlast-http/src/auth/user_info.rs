//! Tokens of a provider that offers neither keys nor introspection: its user-info address is asked.
//!
//! Such an answer says who the user is, and not for whom the token was made: a token that the user
//! gave to any other application is as good. Therefore nobody is let in who is not on the list
//! `allow`, and the module is for a team that knows its applications; where the provider can issue
//! tokens for this server, [`super::Jwt`] is the better way.
//!
//! A name is believed only as far as the provider stands for it. Microsoft lets the administrators of any
//! organisation write any address into `email`; a user principal name ends in a domain that the
//! organisation has shown to be its own, so that is what people are known by there. Anybody who could once
//! read an address can have a Google account of that name, for good; that it belongs to the domain today is
//! what `hd` says. A login of GitHub that was given up can be taken by somebody else: `id:NUMBER` in the list
//! names an account for good.

use std::time::Duration;

use async_trait::async_trait;
use outlast_core::{Owner, Principal, Scope};
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::Value;

use super::fetch::Limit;
use super::known::Known;
use super::{Authenticator, Credentials, Denied, fetch};

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// Providers whose user-info address and members are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Google accounts; people are known by their verified email address.
    Google,
    /// GitHub accounts; people are known by their login.
    Github,
    /// Microsoft Entra ID; people are known by their user principal name.
    Azure,
}

struct Preset {
    url: &'static str,
    issuer: &'static str,
    /// Never changes, unlike the name.
    subject: &'static str,
    /// What people are listed by.
    name: &'static str,
    /// Must be true for the name to be believed.
    verified: Option<&'static str>,
    /// What says of which domain somebody is; else the name does.
    domain: Option<&'static str>,
}

impl Provider {
    fn preset(self) -> Preset {
        match self {
            Self::Google => Preset {
                url: "https://openidconnect.googleapis.com/v1/userinfo",
                issuer: "https://accounts.google.com",
                subject: "sub",
                name: "email",
                verified: Some("email_verified"),
                domain: Some("hd"),
            },
            Self::Github => Preset {
                url: "https://api.github.com/user",
                issuer: "https://github.com/login/oauth",
                subject: "id",
                name: "login",
                verified: None,
                domain: None,
            },
            Self::Azure => Preset {
                url: "https://graph.microsoft.com/v1.0/me",
                issuer: "https://login.microsoftonline.com/common/v2.0",
                subject: "id",
                name: "userPrincipalName",
                verified: None,
                domain: None,
            },
        }
    }
}

/// Which provider, and who may come in.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserInfoSettings {
    /// The provider.
    pub provider: Provider,
    /// Who may come in: email addresses, logins or user principal names; `*@DOMAIN` for everybody of a
    /// domain; or `id:ID` for an account by what never changes of it.
    #[serde(deserialize_with = "super::settings::one_or_more")]
    pub allow: Vec<String>,
    /// What they may do; by default `tasks:run`.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// Another address than the provider's usual one, for example of a GitHub of your own.
    #[serde(default)]
    pub url: Option<String>,
}

/// Knows a provider's tokens by asking whose they are.
pub struct UserInfo {
    url: Url,
    preset: Preset,
    allow: Vec<String>,
    scope: Scope,
    client: Client,
    known: Known,
}

impl UserInfo {
    /// Asks this provider.
    ///
    /// # Errors
    /// A setting that cannot hold; the sentence says what is allowed.
    pub fn new(settings: UserInfoSettings) -> Result<Self, String> {
        let preset = settings.provider.preset();
        let sensible = |entry: &String| {
            let rest = entry.strip_prefix("*@").or(entry.strip_prefix("id:"));
            let rest = rest.unwrap_or(entry);
            !rest.is_empty() && !rest.contains('*')
        };
        if settings.allow.is_empty() || !settings.allow.iter().all(sensible) {
            return Err(
                "allow: list email addresses, logins, *@DOMAIN or id:ID; else everybody with an \
                 account there could run tools here"
                    .into(),
            );
        }
        let of_domain = |entry: &&String| entry.starts_with("*@");
        if settings.provider == Provider::Github
            && let Some(entry) = settings.allow.iter().find(of_domain)
        {
            return Err(format!(
                "allow: {entry:?} would let nobody in, for GitHub tells logins and no addresses; list logins \
                 or id:ID"
            ));
        }
        let url = settings.url.as_deref().unwrap_or(preset.url);
        Ok(Self {
            url: fetch::address("url", url)?,
            preset,
            allow: settings.allow,
            scope: settings.scope.unwrap_or(Scope::Run),
            client: fetch::client(),
            known: Known::default(),
        })
    }

    async fn ask(&self, token: &str) -> Result<Result<Principal, String>, Unasked> {
        let question = self.client.get(self.url.clone()).bearer_auth(token);
        let question = question.header("accept", "application/json");
        let answer = fetch::answer(question).await?;
        if let Some(limit) = answer.limit {
            return Err(Unasked::Limited(limit));
        }
        let user = match answer.status {
            200 => answer.json,
            401 | 403 => return Ok(Err("the provider does not know the token".into())),
            status => return Err(format!("it answers with status {status}").into()),
        };
        let preset = &self.preset;
        let subject = match &user[preset.subject] {
            Value::String(subject) if !subject.is_empty() => subject.clone(),
            Value::Number(subject) => subject.to_string(),
            _ => return Err(format!("it answers without {:?}", preset.subject).into()),
        };
        if !self.allows(&user, &subject) {
            return Ok(Err("this user is not among those who may come in".into()));
        }
        let owner = Owner::new(format!("{}|{subject}", preset.issuer));
        Ok(Ok(Principal::new(owner).with_scope(self.scope)))
    }

    fn allows(&self, user: &Value, subject: &str) -> bool {
        let preset = &self.preset;
        let verified = preset.verified.is_none_or(|member| is_true(&user[member]));
        let name = user[preset.name].as_str().filter(|_| verified);
        let domain = match preset.domain {
            Some(member) => user[member].as_str().filter(|_| verified),
            None => name.and_then(|name| Some(name.rsplit_once('@')?.1)),
        };
        let is = |said: Option<&str>, allowed: &str| {
            said.is_some_and(|said| !said.is_empty() && said.eq_ignore_ascii_case(allowed))
        };
        self.allow.iter().any(|entry| {
            if let Some(id) = entry.strip_prefix("id:") {
                id == subject
            } else if let Some(allowed) = entry.strip_prefix("*@") {
                is(domain, allowed)
            } else {
                is(name, entry)
            }
        })
    }
}

/// Why the provider has not said whose a token is.
enum Unasked {
    /// It is asked too often.
    Limited(Limit),
    /// It cannot be asked, or says what makes no sense.
    Failed(String),
}

impl From<String> for Unasked {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Some say it as a text.
fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true) || *value == Value::String("true".into())
}

#[async_trait]
impl Authenticator for UserInfo {
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
            Ok(Ok(principal)) => {
                self.known.is_good(digest, principal.clone(), BELIEVED);
                Ok(principal)
            }
            Ok(Err(why)) => {
                self.known.is_bad(digest);
                Err(Denied::Invalid(why))
            }
            Err(Unasked::Limited(limit)) => {
                let provider = self.preset.issuer;
                tracing::warn!(provider, wait = ?limit.wait, "is asked too often whose a token is");
                Err(Denied::Unavailable {
                    why: "the provider limits how often it is asked; try again later".into(),
                    wait: limit.wait,
                })
            }
            Err(Unasked::Failed(why)) => {
                let provider = self.preset.issuer;
                tracing::warn!(provider, why, "cannot ask whose a token is");
                Err(Denied::unavailable(
                    "the provider cannot be asked; try again",
                ))
            }
        }
    }

    fn known(&self, credentials: Credentials<'_>) -> Option<Result<Principal, Denied>> {
        let token = credentials.token().ok()?;
        self.known.get(&token.digest()).flatten().map(Ok)
    }

    fn authorization_servers(&self) -> Vec<String> {
        vec![self.preset.issuer.into()]
    }
}
