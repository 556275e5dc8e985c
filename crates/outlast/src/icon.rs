//! Icons of servers, tools, prompts and resources.

use base64::Engine as _;
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

impl Icon {
    /// Whether clients take it (2025-11-25 and 2026-07-28 basic, "Icons"). A server looks by itself when it
    /// starts.
    ///
    /// # Errors
    /// They do not; the sentence says what they take.
    pub fn check(&self) -> Result<(), String> {
        let shown: String = self.src.chars().take(80).collect();
        let scheme = self.src.split_once(':').map(|(scheme, rest)| {
            let scheme = scheme.to_ascii_lowercase();
            (scheme, rest)
        });
        match scheme.as_ref().map(|(scheme, rest)| (&**scheme, *rest)) {
            Some(("https", rest)) => {
                let host = rest.strip_prefix("//").unwrap_or_default();
                if host.is_empty() || host.starts_with('/') {
                    return Err(format!("the address {shown:?} of an icon has no host"));
                }
                if !self.src.chars().all(|c| c.is_ascii_graphic()) {
                    return Err(format!(
                        "the address {shown:?} of an icon has a space or another character that must be \
                         written as %XX"
                    ));
                }
            }
            Some(("data", rest)) => {
                check_data(rest).map_err(|why| format!("the icon {shown:?} {why}"))?
            }
            _ => {
                return Err(format!(
                    "the icon {shown:?} is none that clients show; write an https: address, or a data: URI"
                ));
            }
        }
        if let Some(mime_type) = self.mime_type.as_ref().filter(|one| !is_image(one)) {
            return Err(format!(
                "{mime_type:?} is no type of an icon; write one such as image/png"
            ));
        }
        match self.sizes.iter().find(|size| !is_size(size)) {
            None => Ok(()),
            Some(size) => Err(format!(
                "{size:?} is no size of an icon; write one such as 48x48, or any"
            )),
        }
    }
}

/// What stands behind `data:`.
fn check_data(data: &str) -> Result<(), String> {
    let Some((mime_type, base64)) = data.split_once(";base64,") else {
        return Err("must be data:TYPE;base64,DATA".into());
    };
    if !is_image(mime_type) {
        return Err(format!("has the type {mime_type:?}, which is not image/…"));
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(base64);
    decoded
        .map(drop)
        .map_err(|error| format!("is not Base64: {error}"))
}

fn is_image(mime_type: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    mime_type
        .strip_prefix("image/")
        .is_some_and(|kind| !kind.is_empty() && kind.chars().all(plain))
}

fn is_size(size: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().is_ok_and(|number| number > 0);
    size == "any"
        || size
            .split_once('x')
            .is_some_and(|(width, height)| number(width) && number(height))
}

impl From<&str> for Icon {
    fn from(src: &str) -> Self {
        Self::new(src)
    }
}

/// The protocol's array; `None` if there are none.
///
/// # Errors
/// Clients would refuse one of them; the sentence says why.
pub(crate) fn icons(icons: &[Icon]) -> Result<Option<RawJson>, String> {
    for icon in icons {
        icon.check()?;
    }
    Ok((!icons.is_empty()).then(|| RawJson::of(icons).expect("icons have a JSON form")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_refuse_is_refused_here() {
        let data = "data:image/png;base64,iVBORw0KGgo=";
        for icon in [
            Icon::new("https://example.com/i.png"),
            Icon::new("HTTPS://example.com/i"),
            Icon::new(data)
                .size("48x48")
                .size("any")
                .mime_type("image/png"),
        ] {
            assert_eq!(icon.check(), Ok(()), "{icon:?}");
        }
        for (icon, hint) in [
            (Icon::new("http://example.com/i.png"), "https:"),
            (Icon::new("javascript:alert(1)"), "https:"),
            (Icon::new("https://"), "no host"),
            (Icon::new("https://e.com/a b.png"), "a space"),
            (Icon::new("data:image/png,x"), ";base64,"),
            (Icon::new("data:text/html;base64,eA=="), "image/"),
            (Icon::new("data:image/png;base64,not base64"), "Base64"),
            (Icon::new(data).mime_type("png"), "\"png\" is no type"),
            (Icon::new(data).size("48"), "\"48\" is no size"),
            (Icon::new(data).size("0x48"), "is no size"),
        ] {
            let why = icon.check().unwrap_err();
            assert!(why.contains(hint), "{icon:?}: {why}");
        }
        // What is said of a long one can be read.
        let long = Icon::new(format!("ftp://{}", "x".repeat(10_000)));
        assert!(long.check().unwrap_err().len() < 300);
    }
}
