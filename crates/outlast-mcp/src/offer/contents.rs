//! What reading a resource gives.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast_core::RawJson;

/// One piece of a resource: text or bytes, with its type.
#[derive(Clone, PartialEq, Debug)]
pub struct ResourceContents {
    /// Where this piece lives, if that is not the URI that was read.
    pub uri: Option<String>,
    /// The type, if it is not the one that the resource declares.
    pub mime_type: Option<String>,
    /// The piece's own `_meta`, an object.
    pub meta: Option<RawJson>,
    pub(crate) body: Body,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Body {
    Text(String),
    /// Base64.
    Blob(String),
}

impl ResourceContents {
    /// A piece of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Body::Text(text.into()))
    }

    /// A piece of bytes.
    pub fn blob(bytes: impl AsRef<[u8]>) -> Self {
        Self::of(Body::Blob(STANDARD.encode(bytes)))
    }

    fn of(body: Body) -> Self {
        Self {
            uri: None,
            mime_type: None,
            meta: None,
            body,
        }
    }

    /// Sets the URI of the piece, where a resource consists of several.
    #[must_use]
    pub fn at(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// Sets the type of the piece.
    #[must_use]
    pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Sets the piece's `_meta`, an object.
    #[must_use]
    pub fn meta(mut self, meta: impl Into<RawJson>) -> Self {
        self.meta = Some(meta.into());
        self
    }
}

/// Who may keep a copy of a result of 2026-07-28 ("Caching").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CacheScope {
    /// Whoever passes it on.
    Public,
    /// The client that asked.
    #[default]
    Private,
}

impl CacheScope {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// How long, and by whom, a copy of a result may be used. The default is not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Caching {
    /// For how long.
    pub ttl: Duration,
    /// By whom.
    pub scope: CacheScope,
}
