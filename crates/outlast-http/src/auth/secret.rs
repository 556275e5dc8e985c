//! A secret of the server itself, named in its settings and read where it is kept.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

/// Where a secret is: `env:NAME` or `file:PATH`. The secret itself never stands in settings, which are
/// shown and compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Secret {
    /// In this environment variable.
    Env(String),
    /// The content of this file, without the line break at its end.
    File(PathBuf),
}

impl Secret {
    /// Reads `env:NAME` or `file:PATH`.
    ///
    /// # Errors
    /// It is neither. The text is not repeated: it may be the secret.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err("a secret does not stand in the settings; write env:NAME or file:PATH"),
        }
    }

    /// The same with its path, if it is relative, below `folder`.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            env => env,
        }
    }

    /// The secret.
    ///
    /// # Errors
    /// It is not there; the sentence says where it was looked for.
    pub fn read(&self) -> Result<String, String> {
        let secret = match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name} is not set"))?,
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        };
        let secret = secret.trim_end_matches(['\n', '\r']);
        if secret.is_empty() {
            return Err(format!("the secret in {self:?} is empty"));
        }
        Ok(secret.to_owned())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}
