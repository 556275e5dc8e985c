//! `[auth]` and `[webhooks]`: tables that are read as a whole, with the library's own types, so that a file
//! and code take the same settings; a mistake is told at the place of its key.

use std::ops::Range;
use std::path::Path;

use outlast::WebhookSettings;
use outlast::auth::{AuthSettings, Secret};
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use super::section::{Section, json};
use super::tool::CommandTool;

/// Reads `[auth]`; an absent table lets nobody in and asks nobody who they are.
pub(super) fn auth(root: &Section<'_>, folder: &Path) -> AuthSettings {
    let read: AuthSettings =
        table(root, "auth").map_or_else(AuthSettings::default, |(read, _)| read);
    read.below(folder)
}

/// Reads `[webhooks]`; without it nobody is told anything.
pub(super) fn webhooks(
    root: &Section<'_>,
    folder: &Path,
    tools: &[CommandTool],
) -> WebhookSettings {
    let Some((settings, span)) = table::<WebhookSettings>(root, "webhooks") else {
        return WebhookSettings::default();
    };
    if let Err(wrong) = settings.check() {
        root.wrong_at(span.clone(), "webhooks", wrong);
    }
    for (name, to) in &settings.to {
        let unknown = |tool: &&String| tools.iter().all(|known| known.name != **tool);
        if let Some(tool) = to.tools.iter().find(unknown) {
            let key = format!("webhooks.to.{name}.tools");
            root.wrong_at(
                span.clone(),
                &key,
                format!("{tool:?} is no tool of this file"),
            );
        }
    }
    settings.below(folder)
}

/// The variables that `[webhooks]` names as the place of a key, which no command sees. What is wrong there is
/// told by [`webhooks`].
pub(super) fn webhook_variables(root: &Section<'_>) -> Vec<String> {
    let table = root.get("webhooks").and_then(|node| json(node.get_ref()));
    let settings: WebhookSettings = match table.map(serde_json::from_value) {
        Some(Ok(settings)) => settings,
        _ => return Vec::new(),
    };
    let secrets = settings.to.values().map(|to| &to.secret);
    let secrets = secrets.chain([&settings.secret]).flatten();
    let variables = secrets.filter_map(|secret| match secret {
        Secret::Env(name) => Some(name.clone()),
        Secret::File(_) => None,
    });
    variables.collect()
}

/// Reads a table, and says where it stands.
fn table<T: DeserializeOwned>(root: &Section<'_>, name: &str) -> Option<(T, Range<usize>)> {
    let (span, table) = root.table(name)?;
    let node = root.get(name)?;
    let Some(value) = json(node.get_ref()) else {
        root.wrong_at(span, name, "has a value that no setting takes");
        return None;
    };
    match serde_path_to_error::deserialize::<_, T>(value) {
        Ok(settings) => Some((settings, span)),
        Err(error) => {
            let path = error.path().to_string();
            let at = place(table, &path).unwrap_or(span);
            let key = match path.as_str() {
                "." => name.to_owned(),
                path => format!("{name}.{path}"),
            };
            root.wrong_at(at, &key, error.into_inner().to_string());
            None
        }
    }
}

/// Where the value of this path stands.
fn place(table: &DeTable<'_>, path: &str) -> Option<std::ops::Range<usize>> {
    let (name, rest) = path.split_once(['.', '[']).unwrap_or((path, ""));
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
    match value.get_ref() {
        DeValue::Table(inner) if !rest.is_empty() => place(inner, rest).or(Some(key.span())),
        _ => Some(key.span()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, FileConfig};

    fn parse(text: &str) -> Result<FileConfig, ConfigError> {
        FileConfig::parse(Path::new("outlast.toml"), Path::new("/etc/outlast"), text)
    }

    #[test]
    fn settings_are_the_librarys() {
        let text = "[auth]\ntokens = \"tokens.json\"\n[auth.jwt]\nissuer = \"https://id.example\"\n\
                    audience = \"https://tasks.example/mcp\"\ndefault_scope = \"tasks:read\"\n";
        let auth = parse(text).unwrap().auth;
        assert_eq!(
            auth.tokens.as_deref(),
            Some(Path::new("/etc/outlast/tokens.json"))
        );
        let jwt = auth.jwt.unwrap();
        assert_eq!(jwt.audience, ["https://tasks.example/mcp"]);
        assert_eq!(jwt.default_scope, Some(outlast_core::Scope::Read));
        assert_eq!(parse("").unwrap().auth, AuthSettings::default());
    }

    #[test]
    fn webhooks_are_the_librarys_too() {
        let text = "[webhooks]\nhosts = [\"hooks.example\"]\nsecret = \"file:key\"\n\
                    [webhooks.to.ops]\nurl = \"https://ops.example/\"\nevents = [\"failed\"]\n";
        let webhooks = parse(text).unwrap().webhooks;
        let key = outlast::auth::Secret::File("/etc/outlast/key".into());
        assert_eq!(webhooks.secret, Some(key));
        assert_eq!(webhooks.to["ops"].events.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn mistakes_are_told_where_they_stand() {
        for (text, part) in [
            (
                "[webhooks]\n\n[webhooks.to.ops]\nurl = \"http://ops.example/\"",
                "webhooks.to.ops.url: the address begins with http:",
            ),
            (
                "[webhooks]\nhosts = [\"https://x/\"]",
                "webhooks.hosts: \"https://x/\" is no host",
            ),
            (
                "[webhooks.to.ops]\nurl = \"https://ops.example\"\nsecret = \"hunter2\"",
                "webhooks.to.ops.secret: a secret does not stand in the settings",
            ),
            (
                "[webhooks.to.ops]\nurl = \"https://ops.example\"\ntools = [\"none\"]",
                "webhooks.to.ops.tools: \"none\" is no tool",
            ),
            (
                "[webhooks.to.ops]\nurl = \"https://ops.example\"\nevents = [\"started\"]",
                "unknown variant `started`",
            ),
            (
                "[auth]\ntoken = \"x\"",
                "outlast.toml:2: auth.token: unknown field `token`",
            ),
            (
                "[auth]\n\n[auth.jwt]\nissuer = 7",
                "outlast.toml:4: auth.jwt.issuer: invalid type",
            ),
            (
                "[auth.jwt]\nissuer = \"https://x\"",
                "auth.jwt: missing field `audience`",
            ),
            (
                "[auth.jwt]\nissuer = \"https://x\"\naudience = \"a\"\ndefault_scope = \"all\"",
                "outlast.toml:4: auth.jwt.default_scope: unknown variant `all`",
            ),
            (
                "[auth.introspection]\nclient_secret = \"hunter2\"",
                "auth.introspection.client_secret: a secret does not stand in the settings",
            ),
            ("auth = 7", "auth"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("hunter2"));
        }
    }
}
