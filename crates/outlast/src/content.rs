//! Content blocks: what a result is made of, as people and models see it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast_core::RawJson;
use serde::Serialize;

/// One content block of a result.
///
/// ```
/// use outlast::Content;
///
/// let blocks = vec![
///     Content::text("A red pixel:"),
///     Content::image("image/png", b"\x89PNG..."),
///     Content::link("file:///tmp/pixel.png", "pixel.png"),
/// ];
/// # let _ = blocks;
/// ```
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Content {
    #[serde(flatten)]
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<RawJson>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<RawJson>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Kind {
    Text {
        text: String,
    },
    #[serde(rename_all = "camelCase")]
    Image {
        data: String,
        mime_type: String,
    },
    #[serde(rename_all = "camelCase")]
    Audio {
        data: String,
        mime_type: String,
    },
    Resource {
        resource: Embedded,
    },
    #[serde(rename_all = "camelCase")]
    ResourceLink {
        uri: String,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
    },
}

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Embedded {
    uri: String,
    mime_type: String,
    #[serde(flatten)]
    body: Body,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Body {
    Text(String),
    Blob(String),
}

impl From<Kind> for Content {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            annotations: None,
            meta: None,
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl Content {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Kind::Text { text: text.into() }.into()
    }

    /// An image; `mime` is for example `image/png`.
    pub fn image(mime: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        Kind::Image {
            data: STANDARD.encode(bytes),
            mime_type: mime.into(),
        }
        .into()
    }

    /// Sound; `mime` is for example `audio/wav`.
    pub fn audio(mime: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        Kind::Audio {
            data: STANDARD.encode(bytes),
            mime_type: mime.into(),
        }
        .into()
    }

    /// A resource of text that travels inside the result.
    pub fn text_resource(
        uri: impl Into<String>,
        mime: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self::resource(uri.into(), mime.into(), Body::Text(text.into()))
    }

    /// A resource of bytes that travels inside the result.
    pub fn blob_resource(
        uri: impl Into<String>,
        mime: impl Into<String>,
        bytes: impl AsRef<[u8]>,
    ) -> Self {
        Self::resource(uri.into(), mime.into(), Body::Blob(STANDARD.encode(bytes)))
    }

    fn resource(uri: String, mime_type: String, body: Body) -> Self {
        let resource = Embedded {
            uri,
            mime_type,
            body,
        };
        Kind::Resource { resource }.into()
    }

    /// A link to a resource that the client fetches by itself, if it wants it.
    pub fn link(uri: impl Into<String>, name: impl Into<String>) -> Self {
        Kind::ResourceLink {
            uri: uri.into(),
            name: name.into(),
            mime_type: None,
        }
        .into()
    }

    /// Sets the protocol's `annotations`, for example `{"audience":["user"],"priority":0.5}`.
    #[must_use]
    pub fn annotations(mut self, annotations: impl Into<RawJson>) -> Self {
        self.annotations = Some(annotations.into());
        self
    }

    /// Sets the block's `_meta`, an object.
    #[must_use]
    pub fn meta(mut self, meta: impl Into<RawJson>) -> Self {
        self.meta = Some(meta.into());
        self
    }
}

/// Bytes with a type, as a tool may return them: an image or sound becomes such a content block,
/// everything else an embedded resource.
///
/// ```
/// # use outlast::Bytes;
/// fn plot() -> Bytes {
///     Bytes::new("image/png", std::fs::read("plot.png").unwrap_or_default())
/// }
/// # let _ = plot;
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bytes {
    mime: String,
    uri: Option<String>,
    data: Cow<'static, [u8]>,
}

impl Bytes {
    /// Bytes of the type `mime`.
    pub fn new(mime: impl Into<String>, data: impl Into<Cow<'static, [u8]>>) -> Self {
        Self {
            mime: mime.into(),
            uri: None,
            data: data.into(),
        }
    }

    /// Names the resource that the bytes become, where they are neither image nor sound. Without it
    /// the name is made from the type.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }
}

impl Bytes {
    /// The type, and the bytes.
    pub(crate) fn into_parts(self) -> (String, Cow<'static, [u8]>) {
        (self.mime, self.data)
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        let Bytes { mime, uri, data } = bytes;
        if mime.starts_with("image/") {
            return Self::image(mime, data);
        }
        if mime.starts_with("audio/") {
            return Self::audio(mime, data);
        }
        let uri = uri.unwrap_or_else(|| format!("outlast:result/{mime}"));
        Self::blob_resource(uri, mime, data)
    }
}

impl Serialize for Bytes {
    /// As the content block that the bytes become.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Content::from(self.clone()).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_have_the_form_of_the_protocol() {
        let value = |content: Content| serde_json::to_value(content).unwrap();
        assert_eq!(
            value(Content::text("a")),
            json!({"type": "text", "text": "a"})
        );
        assert_eq!(
            value(Content::image("image/png", [1, 2])),
            json!({"type": "image", "data": "AQI=", "mimeType": "image/png"})
        );
        assert_eq!(
            value(Content::text_resource("a://b", "text/plain", "x")),
            json!({"type": "resource",
                   "resource": {"uri": "a://b", "mimeType": "text/plain", "text": "x"}})
        );
        assert_eq!(
            value(Content::link("a://b", "b").meta(json!({"k": 1}))),
            json!({"type": "resource_link", "uri": "a://b", "name": "b", "_meta": {"k": 1}})
        );
    }

    #[test]
    fn the_type_of_bytes_decides_their_block() {
        let kind = |mime: &str| {
            let content = Content::from(Bytes::new(mime, vec![0]));
            serde_json::to_value(content).unwrap()["type"].clone()
        };
        assert_eq!(kind("image/gif"), "image");
        assert_eq!(kind("audio/wav"), "audio");
        assert_eq!(kind("application/pdf"), "resource");
    }
}
