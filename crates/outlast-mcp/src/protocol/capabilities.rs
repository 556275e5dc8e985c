//! What a client said it can do, as far as this server asks.
//!
//! In the older era it is said once, at the handshake, and travels sealed in the session id; in the
//! newer one each request says it anew and nothing is carried over.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::names::TASKS_EXTENSION;
use super::version::Version;

/// A set of client capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// Answers `elicitation/create` in form mode.
    pub elicitation_form: bool,
    /// Answers `elicitation/create` in URL mode.
    pub elicitation_url: bool,
    /// Answers `sampling/createMessage`.
    pub sampling: bool,
    /// Takes tools in `sampling/createMessage`, which servers must not send to others (2025-11-25, "Sampling").
    pub sampling_tools: bool,
    /// Answers `roots/list`.
    pub roots: bool,
    /// Understands tasks of 2026-07-28. Never set in the older era, whatever a client declares
    /// (SEP-2663, "Compatibility").
    pub tasks: bool,
}

#[derive(Deserialize)]
struct Declared<'a> {
    #[serde(borrow, default)]
    elicitation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    sampling: Option<&'a RawValue>,
    #[serde(borrow, default)]
    roots: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Modes<'a> {
    #[serde(borrow, default)]
    form: Option<&'a RawValue>,
    #[serde(borrow, default)]
    url: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Sampling<'a> {
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
}

impl Capabilities {
    /// Reads a `capabilities` object as `version` means it: what the version does not know is not declared.
    /// `None` if it is not an object, or a known member, a mode or the extension is neither one nor null.
    pub fn parse(raw: &RawValue, version: Version) -> Option<Self> {
        let declared: Declared<'_> = super::object(raw)?;
        let mut set = Self {
            sampling: is_object(declared.sampling)?,
            roots: is_object(declared.roots)?,
            ..Self::default()
        };
        if let Some(elicitation) = declared.elicitation {
            let modes: Modes<'_> = super::object(elicitation)?;
            let (form, url) = (is_object(modes.form)?, is_object(modes.url)?);
            // An empty object has always meant forms.
            set.elicitation_form = version.has_elicitation() && (form || !url);
            set.elicitation_url = version.has_url_elicitation() && url;
        }
        if let Some(sampling) = declared.sampling.filter(|_| set.sampling) {
            let sampling: Sampling<'_> = super::object(sampling)?;
            set.sampling_tools = version.has_sampling_tools() && is_object(sampling.tools)?;
        }
        if version == Version::V2026_07_28
            && let Some(extensions) = declared.extensions
        {
            let extensions: Extensions<'_> = super::object(extensions)?;
            set.tasks = is_object(extensions.tasks)?;
        }
        Some(set)
    }

    /// Whether the client can answer a request of the server.
    ///
    /// `mode` is the elicitation mode, where forms are meant if it is absent, and `tools` for a sample with
    /// tools.
    pub fn can_answer(self, method: &str, mode: Option<&str>) -> bool {
        match (method, mode) {
            ("elicitation/create", None | Some("form")) => self.elicitation_form,
            ("elicitation/create", Some("url")) => self.elicitation_url,
            ("sampling/createMessage", None) => self.sampling,
            ("sampling/createMessage", Some("tools")) => self.sampling_tools,
            ("roots/list", _) => self.roots,
            _ => false,
        }
    }

    pub(crate) fn to_bits(self) -> u8 {
        u8::from(self.elicitation_form)
            | u8::from(self.elicitation_url) << 1
            | u8::from(self.sampling) << 2
            | u8::from(self.roots) << 3
            | u8::from(self.sampling_tools) << 4
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self {
            elicitation_form: bits & 1 != 0,
            elicitation_url: bits & 2 != 0,
            sampling: bits & 4 != 0,
            roots: bits & 8 != 0,
            sampling_tools: bits & 16 != 0,
            tasks: false,
        }
    }
}

#[derive(Deserialize)]
struct Extensions<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/tasks")]
    tasks: Option<&'a RawValue>,
}

const _: () = assert!(TASKS_EXTENSION.len() == "io.modelcontextprotocol/tasks".len());

/// Absent and `null` are "no", an object is "yes", anything else is wrong.
fn is_object(value: Option<&RawValue>) -> Option<bool> {
    match value {
        None => Some(false),
        Some(value) if value.get().starts_with('{') => Some(true),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str, version: Version) -> Option<Capabilities> {
        Capabilities::parse(serde_json::from_str(json).unwrap(), version)
    }

    #[test]
    fn an_empty_elicitation_means_forms() {
        let set = parse(r#"{"elicitation":{}}"#, Version::V2025_06_18).unwrap();
        assert!(set.elicitation_form && !set.elicitation_url);
        let set = parse(r#"{"elicitation":{"url":{}}}"#, Version::V2025_11_25).unwrap();
        assert!(!set.elicitation_form && set.elicitation_url);
    }

    #[test]
    fn what_a_version_does_not_know_is_not_declared() {
        let json = r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{}}"#;
        for version in Version::ALL {
            let set = parse(json, version).unwrap();
            assert!(set.roots && set.sampling, "{version:?}");
            let form = version >= Version::V2025_06_18;
            let url = version >= Version::V2025_11_25;
            assert_eq!(
                (set.elicitation_form, set.elicitation_url),
                (form, url),
                "{version:?}"
            );
        }
    }

    #[test]
    fn tools_in_samples_are_declared_inside_of_sampling() {
        let json = r#"{"sampling":{"tools":{}}}"#;
        let set = parse(json, Version::V2025_11_25).unwrap();
        assert!(set.can_answer("sampling/createMessage", None));
        assert!(set.can_answer("sampling/createMessage", Some("tools")));
        for (json, version) in [
            (r#"{"sampling":{}}"#, Version::V2026_07_28),
            (json, Version::V2025_06_18),
        ] {
            let set = parse(json, version).unwrap();
            assert!(
                set.can_answer("sampling/createMessage", None),
                "{version:?}"
            );
            assert!(
                !set.can_answer("sampling/createMessage", Some("tools")),
                "{version:?}"
            );
        }
    }

    #[test]
    fn the_extension_counts_in_the_newer_era_alone() {
        let json = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}},"tasks":{"list":{}}}"#;
        assert!(parse(json, Version::V2026_07_28).unwrap().tasks);
        assert!(!parse(json, Version::V2025_11_25).unwrap().tasks);
        assert!(
            !parse(r#"{"tasks":{}}"#, Version::V2026_07_28)
                .unwrap()
                .tasks
        );
    }

    #[test]
    fn wrong_types_are_seen() {
        for bad in [
            "[]",
            "3",
            r#"{"sampling":true}"#,
            r#"{"sampling":{"tools":1}}"#,
            r#"{"elicitation":{"form":true}}"#,
            r#"{"elicitation":{"url":false}}"#,
            r#"{"extensions":[]}"#,
        ] {
            assert_eq!(parse(bad, Version::V2026_07_28), None, "{bad}");
        }
        for value in ["false", "true", "0", "\"\"", "\"x\"", "[]"] {
            let json = format!(r#"{{"extensions":{{"io.modelcontextprotocol/tasks":{value}}}}}"#);
            assert_eq!(parse(&json, Version::V2026_07_28), None, "{json}");
        }
        let json = r#"{"extensions":{"io.modelcontextprotocol/tasks":null}}"#;
        assert!(!parse(json, Version::V2026_07_28).unwrap().tasks);
    }

    #[test]
    fn bits_keep_the_set() {
        for bits in 0..32 {
            assert_eq!(Capabilities::from_bits(bits).to_bits(), bits);
        }
    }
}
