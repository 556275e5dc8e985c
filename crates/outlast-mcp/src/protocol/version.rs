//! The versions of the protocol and what each of them knows.
//!
//! A version answers questions by name ("does it have tasks?"), so that no method compares dates.

use outlast_core::status::Era;

/// A version of the protocol that is spoken here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Version {
    /// 2024-11-05: the first. Over stdio only.
    V2024_11_05 = 1,
    /// 2025-03-26: Streamable HTTP.
    V2025_03_26 = 2,
    /// 2025-06-18: structured content, elicitation.
    V2025_06_18 = 3,
    /// 2025-11-25: tasks (SEP-1686).
    V2025_11_25 = 4,
    /// 2026-07-28: stateless requests, the tasks extension (SEP-2663).
    V2026_07_28 = 5,
}

impl Version {
    /// All versions, oldest first.
    pub const ALL: [Self; 5] = [
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];

    /// The latest version that begins with a handshake.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;

    /// The latest version of all.
    pub const LATEST: Self = Self::V2026_07_28;

    /// The date on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The version with this date, if it is spoken here.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|version| *version as u8 == byte)
    }

    /// Which generation it belongs to.
    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 {
            Era::Modern
        } else {
            Era::Legacy
        }
    }

    /// Whether `params.task`, `tasks/…` and `execution` exist in the older era's form.
    pub fn has_legacy_tasks(self) -> bool {
        self == Self::V2025_11_25
    }

    /// Whether results may have `structuredContent` and tools an `outputSchema` and a `title`.
    pub fn has_structured_content(self) -> bool {
        self >= Self::V2025_06_18
    }

    /// Whether tools, prompts, resources and implementations may have `icons`.
    pub fn has_icons(self) -> bool {
        self >= Self::V2025_11_25
    }

    /// Whether `completion/complete` is declared by a capability of its own.
    pub fn has_completions_capability(self) -> bool {
        self >= Self::V2025_03_26
    }

    /// Whether several messages may come as one array.
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }

    /// Whether tools may have `annotations`.
    pub fn has_annotations(self) -> bool {
        self >= Self::V2025_03_26
    }

    /// Whether the server may ask with `elicitation/create`.
    pub fn has_elicitation(self) -> bool {
        self >= Self::V2025_06_18
    }

    /// Whether an elicitation has a mode, and may send a person to a URL.
    pub fn has_url_elicitation(self) -> bool {
        self >= Self::V2025_11_25
    }

    /// Whether an elicitation may send a person to a URL and have its completion told, and a request may
    /// be refused until that is done. 2026-07-28 has the first alone.
    pub fn has_url_completion(self) -> bool {
        self == Self::V2025_11_25
    }

    /// Whether a progress notification may carry a message.
    pub fn has_progress_message(self) -> bool {
        self >= Self::V2025_03_26
    }

    /// Whether the content of a result may be audio.
    pub fn has_audio(self) -> bool {
        self >= Self::V2025_03_26
    }

    /// Whether a sample may come with tools for the model.
    pub fn has_sampling_tools(self) -> bool {
        self >= Self::V2025_11_25
    }

    /// Whether an elicitation says which mode it has.
    pub fn has_elicitation_modes(self) -> bool {
        self >= Self::V2025_11_25
    }

    /// Whether the content of a result may link to resources.
    pub fn has_resource_links(self) -> bool {
        self >= Self::V2025_06_18
    }

    /// Whether an event stream opens with an empty event that carries an id.
    pub fn has_priming_event(self) -> bool {
        self == Self::V2025_11_25
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_found_by_its_date_and_its_byte() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()), Some(version));
            assert_eq!(Version::from_byte(version as u8), Some(version));
        }
        assert_eq!(Version::parse("2030-01-01"), None);
    }
}
