//! `[auth]`: who is let in. Read as a whole, with the library's own types, so that a file and code take
//! the same settings; a mistake is told at the place of its key.

use std::path::Path;

use outlast::auth::AuthSettings;
use toml::de::{DeTable, DeValue};

use super::section::{Section, json};

/// Reads `[auth]`; an absent table lets nobody in and asks nobody who they are.
pub(super) fn read(root: &Section<'_>, folder: &Path) -> AuthSettings {
    let Some((span, table)) = root.table("auth") else {
        return AuthSettings::default();
    };
    let Some(node) = root.get("auth") else {
        return AuthSettings::default();
    };
    let Some(value) = json(node.get_ref()) else {
        root.wrong_at(span, "auth", "has a value that no setting takes");
        return AuthSettings::default();
    };
    match serde_path_to_error::deserialize::<_, AuthSettings>(value) {
        Ok(settings) => settings.below(folder),
        Err(error) => {
            let path = error.path().to_string();
            let at = place(table, &path).unwrap_or(span);
            let key = match path.as_str() {
                "." => "auth".to_owned(),
                path => format!("auth.{path}"),
            };
            root.wrong_at(at, &key, error.into_inner().to_string());
            AuthSettings::default()
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
    fn mistakes_are_told_where_they_stand() {
        for (text, part) in [
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
