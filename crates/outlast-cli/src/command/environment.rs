//! Which variables of the server's environment a command sees.
//!
//! By default all, as from a shell, but for three kinds: `OUTLAST_` variables, which are the server's
//! settings, those that the settings name as the place of a secret, and the headers for a collector of
//! telemetry, which hold its key (OpenTelemetry, "OTLP Exporter Configuration"). `inherit_env` makes it fewer;
//! a command that sends telemetry of its own gets those headers by their exact names.

use serde::{Deserialize, Serialize};

/// What `inherit_env = false` leaves: what programs need to find files, themselves and a language.
const BASIC: [&str; 11] = [
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR", "TERM", "XDG_*",
];

/// The variables that a command inherits.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Inherited {
    /// Names, and beginnings of names with a `*` at their end; `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// Names that are left out all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
}

impl Inherited {
    /// The few that programs need.
    #[must_use]
    pub fn basic() -> Self {
        Self::these(BASIC.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Those with these names, or with these beginnings where one ends in `*`.
    #[must_use]
    pub fn these(names: Vec<String>) -> Self {
        Self {
            only: Some(names),
            never: Vec::new(),
        }
    }

    /// Whether a variable of this name is inherited.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        };
        let exactly = |only: &Vec<String>| only.iter().any(|one| one == name);
        !name.starts_with("OUTLAST_")
            && !self.never.iter().any(|never| never == name)
            && (!is_collectors_key(name) || self.only.as_ref().is_some_and(exactly))
            && self.only.as_ref().is_none_or(|only| only.iter().any(fits))
    }
}

/// `OTEL_EXPORTER_OTLP_HEADERS` and those of each signal.
fn is_collectors_key(name: &str) -> bool {
    name.starts_with("OTEL_EXPORTER_OTLP_") && name.ends_with("HEADERS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_their_secrets_are_never_inherited() {
        let mut all = Inherited::default();
        assert!(all.takes("AWS_SECRET") && !all.takes("OUTLAST_KEY"));
        all.never.push("AUTH_SECRET".into());
        assert!(!all.takes("AUTH_SECRET"));
        let basic = Inherited::basic();
        assert!(basic.takes("PATH") && basic.takes("LC_ALL") && !basic.takes("AWS_SECRET"));
        let few = Inherited::these(vec!["*".into()]);
        assert!(few.takes("ANY") && !few.takes("OUTLAST_KEY"));
        let (key, of_traces) = (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        );
        for inherited in [&Inherited::default(), &few] {
            assert!(!inherited.takes(key) && !inherited.takes(of_traces));
            assert!(inherited.takes("OTEL_EXPORTER_OTLP_ENDPOINT"));
        }
        assert!(Inherited::these(vec![key.into()]).takes(key));
    }
}
