//! Webhooks over HTTP: where messages may be sent, and the sending.
//!
//! The danger of a webhook is that somebody makes this server knock on doors that only it can reach. So
//! callers may name hosts that the operator lists and no others ([`WebhookSettings::hosts`]); every address is
//! looked at after its name is resolved, and the connection goes to the very addresses that were looked at
//! ([`address`]); private ones are refused unless the operator allows them. Plain HTTP goes to private addresses
//! alone. Redirects are not followed, proxies of the environment not used, and answers not read beyond their
//! head.

mod address;
#[cfg(feature = "webhooks")]
mod sender;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use outlast_core::WebhookEvent;
#[cfg(feature = "webhooks")]
use outlast_engine::{ServerWebhook, SigningKey, Webhooks};
use serde::Deserialize;

use crate::auth::Secret;

/// Who is told over HTTP what becomes of tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args), group(skip))]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// A host that callers may have webhooks at: NAME, *.NAME for all below it, or * for all; may be
    /// repeated [default: none]
    #[cfg_attr(
        feature = "clap",
        arg(
            long = "webhook-host",
            env = "OUTLAST_WEBHOOK_HOST",
            value_name = "NAME",
            value_delimiter = ','
        )
    )]
    pub hosts: Option<Vec<String>>,

    /// Let these hosts have private addresses, of this machine or its network; plain HTTP is allowed to
    /// those
    #[cfg_attr(
        feature = "clap",
        arg(long = "webhook-private", env = "OUTLAST_WEBHOOK_PRIVATE", num_args = 0..=1,
            require_equals = true, default_missing_value = "true", value_name = "BOOL")
    )]
    pub private: Option<bool>,

    /// Where the key is that messages are signed with if a call names none: env:NAME or file:PATH of
    /// whsec_ and base64
    #[cfg_attr(
        feature = "clap",
        arg(long = "webhook-secret", env = "OUTLAST_WEBHOOK_SECRET", value_name = "SECRET",
            value_parser = Secret::parse)
    )]
    pub secret: Option<Secret>,

    /// The server's own webhooks, by name.
    #[cfg_attr(feature = "clap", arg(skip))]
    pub to: BTreeMap<String, WebhookTo>,
}

/// A webhook of the server itself.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookTo {
    /// Where messages are sent.
    pub url: String,
    /// Where the key is that they are signed with: `whsec_` and base64. By default the key for all.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// What it hears of: `input_required`, `completed`, `failed`, `cancelled`. All of it by default.
    #[serde(default)]
    pub events: Option<BTreeSet<WebhookEvent>>,
    /// The tools of whose tasks it hears. All by default.
    #[serde(default)]
    pub tools: BTreeSet<String>,
    /// Whether it may have a private address; plain HTTP is allowed to one.
    #[serde(default)]
    pub private: bool,
}

impl WebhookTo {
    /// One that hears of everything, at this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            secret: None,
            events: None,
            tools: BTreeSet::new(),
            private: false,
        }
    }
}

impl WebhookSettings {
    /// These settings where they say something, else those of `lower`. The server's own webhooks are those
    /// of both.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        let mut to = lower.to;
        to.extend(self.to);
        Self {
            hosts: self.hosts.or(lower.hosts),
            private: self.private.or(lower.private),
            secret: self.secret.or(lower.secret),
            to,
        }
    }

    /// The same with relative paths below `folder`.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Self {
        let below = |secret: Option<Secret>| secret.map(|secret| secret.below(folder));
        self.secret = below(self.secret);
        for to in self.to.values_mut() {
            to.secret = below(to.secret.take());
        }
        self
    }

    /// Whether anybody is told anything.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_none() && self.to.is_empty()
    }

    /// Whether callers may name webhooks, whose addresses and keys are sealed before they are stored.
    pub fn lets_callers(&self) -> bool {
        self.hosts.as_ref().is_some_and(|hosts| !hosts.is_empty())
    }

    /// Looks whether hosts and addresses can hold, without reading a secret.
    ///
    /// # Errors
    /// What cannot; the sentence begins with its name.
    #[cfg(feature = "webhooks")]
    pub fn check(&self) -> Result<(), String> {
        sender::check_hosts(self.hosts.as_deref().unwrap_or_default())
            .map_err(|why| format!("webhooks.hosts: {why}"))?;
        for (name, to) in &self.to {
            sender::check(&to.url, to.private)
                .map_err(|why| format!("webhooks.to.{name}.url: {why}"))?;
        }
        Ok(())
    }

    /// What sends them; `None` if there are none.
    ///
    /// # Errors
    /// A setting that cannot hold; the sentence begins with its name.
    #[cfg(feature = "webhooks")]
    pub fn build(&self, public_url: Option<&str>) -> Result<Option<Webhooks>, String> {
        if self.is_empty() {
            return Ok(None);
        }
        self.check()?;
        let key = |setting: &str, secret: &Secret| -> Result<SigningKey, String> {
            let text = secret.read();
            let key = text.and_then(|text| text.parse());
            key.map_err(|why| format!("webhooks.{setting}: {why}"))
        };
        let secret = self.secret.as_ref().map(|secret| key("secret", secret));
        let secret = secret.transpose()?;
        let hosts = self.hosts.clone().unwrap_or_default();
        let sender = sender::Sender::new(&hosts, self.private == Some(true))
            .map_err(|why| format!("webhooks.hosts: {why}"))?;
        let mut server = BTreeMap::new();
        for (name, to) in &self.to {
            let at = |part: &str| format!("to.{name}.{part}");
            let own = to.secret.as_ref().map(|secret| key(&at("secret"), secret));
            let Some(secret) = own.transpose()?.or_else(|| secret.clone()) else {
                return Err(format!(
                    "webhooks.to.{name}: messages are signed; say where the key is with secret = \
                     \"env:NAME\" or \"file:PATH\""
                ));
            };
            let events = to.events.clone();
            let events = events.unwrap_or_else(|| WebhookEvent::ALL.into());
            if events.is_empty() {
                return Err(format!(
                    "webhooks.{}: is empty; name what is to be told, or leave it out",
                    at("events")
                ));
            }
            let hook = ServerWebhook {
                url: to.url.clone(),
                secret,
                events,
                tools: to.tools.clone(),
                private: to.private,
            };
            server.insert(name.clone(), hook);
        }
        Ok(Some(Webhooks {
            sender: std::sync::Arc::new(sender),
            server,
            secret,
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::WebhookSettings;

    #[test]
    fn links_are_made_of_an_address_without_its_last_slash() {
        let settings = WebhookSettings {
            hosts: Some(vec!["hooks.example".into()]),
            ..WebhookSettings::default()
        };
        let webhooks = settings.build(Some("https://tasks.example/")).unwrap();
        let public_url = webhooks.unwrap().public_url;
        assert_eq!(public_url.as_deref(), Some("https://tasks.example"));
    }
}
