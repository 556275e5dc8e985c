//! Icons of servers, tools, prompts and resources.

use outlast_core::RawJson;
use serde::Serialize;

/// An icon that a client may show (2025-11-25 and 2026-07-28, "Icons").
///
/// ```
/// use outlast::{Icon, prelude::*};
///
/// let server = Server::new("painter")
///     .icon(Icon::new("https://example.com/icon.svg").mime_type("image/svg+xml").size("any"));
/// # let _ = server;
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Icon {
    src: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sizes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    theme: Option<&'static str>,
}

impl Icon {
    /// The icon at an `https:` or `data:` URI.
    pub fn new(src: impl Into<String>) -> Self {
        Self {
            src: src.into(),
            mime_type: None,
            sizes: Vec::new(),
            theme: None,
        }
    }

    /// Sets its type, where the URI does not say it.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Adds a size in which it can be shown, for example `48x48`, or `any`.
    #[must_use]
    pub fn size(mut self, size: impl Into<String>) -> Self {
        self.sizes.push(size.into());
        self
    }

    /// Says that it is made for a dark background.
    #[must_use]
    pub fn dark(mut self) -> Self {
        self.theme = Some("dark");
        self
    }

    /// Says that it is made for a light background.
    #[must_use]
    pub fn light(mut self) -> Self {
        self.theme = Some("light");
        self
    }
}

impl From<&str> for Icon {
    fn from(src: &str) -> Self {
        Self::new(src)
    }
}

/// The protocol's array; `None` if there are none.
pub(crate) fn icons(icons: &[Icon]) -> Option<RawJson> {
    (!icons.is_empty()).then(|| RawJson::of(icons).expect("icons have a JSON form"))
}
