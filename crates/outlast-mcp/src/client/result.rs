//! What a call gave: the content, the structured content, and whether the tool calls it an error.
//!
//! The whole result is kept to the letter beside what was read from it, so that fetching it twice
//! gives the same bytes and members unknown here are not lost.

use base64::Engine as _;
use outlast_core::RawJson;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ClientError;

/// The result of a tool.
#[derive(Clone, PartialEq, Debug)]
pub struct CallResult {
    raw: RawJson,
    content: Vec<Content>,
    structured: Option<RawJson>,
    is_error: bool,
    meta: Option<RawJson>,
}

/// One block of a result's content.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Content {
    /// Text.
    Text(String),
    /// An image.
    Image {
        /// The bytes.
        data: Vec<u8>,
        /// Their media type.
        mime: String,
    },
    /// Sound.
    Audio {
        /// The bytes.
        data: Vec<u8>,
        /// Their media type.
        mime: String,
    },
    /// A resource inside the result, as it came.
    Resource(RawJson),
    /// The address of a resource, as it came.
    ResourceLink(RawJson),
    /// A block of another kind, as it came.
    Other(RawJson),
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    content: Vec<RawJson>,
    #[serde(default, rename = "structuredContent")]
    structured: Option<RawJson>,
    #[serde(default, rename = "isError")]
    is_error: Option<bool>,
    #[serde(default, rename = "_meta")]
    meta: Option<RawJson>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    data: Option<String>,
    #[serde(rename = "mimeType")]
    mime: Option<String>,
}

impl CallResult {
    /// Reads a result.
    ///
    /// # Errors
    /// It is not the object of the protocol; the text says why.
    pub(super) fn read(raw: RawJson) -> Result<Self, String> {
        let wire: Wire = super::params::object(&raw, "the result of a tool")?;
        Ok(Self {
            content: wire.content.into_iter().map(Content::read).collect(),
            structured: wire.structured,
            is_error: wire.is_error.unwrap_or(false),
            meta: wire.meta,
            raw,
        })
    }

    /// The whole result as it came.
    pub fn raw(&self) -> &RawJson {
        &self.raw
    }

    /// The blocks of content.
    pub fn content(&self) -> &[Content] {
        &self.content
    }

    /// The structured content as it came.
    pub fn structured(&self) -> Option<&RawJson> {
        self.structured.as_ref()
    }

    /// Whether the tool says that it failed.
    pub fn is_error(&self) -> bool {
        self.is_error
    }

    /// The result's metadata.
    pub fn meta(&self) -> Option<&RawJson> {
        self.meta.as_ref()
    }

    /// The text blocks, one after the other, a line apart.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|block| match block {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The value the tool returned.
    ///
    /// Read from the structured content; where a server had to wrap a value that is not an object,
    /// from its one member `result`; without structured content from the text, as JSON or, if a
    /// string is wanted, as it is.
    ///
    /// # Errors
    /// [`ClientError::Tool`] if the result is an error of the tool, [`ClientError::Data`] if it does
    /// not fit `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        if self.is_error {
            return Err(ClientError::Tool(Box::new(self.clone())));
        }
        if let Some(structured) = &self.structured {
            return structured.to().or_else(|error| {
                wrapped(structured)
                    .and_then(|inner| inner.to().ok())
                    .ok_or_else(|| ClientError::Data(error.to_string()))
            });
        }
        let text = self.text();
        serde_json::from_str(&text).or_else(|error| {
            serde_json::from_value(serde_json::Value::String(text))
                .map_err(|_| ClientError::Data(error.to_string()))
        })
    }
}

/// The value of an object whose one member is `result`.
fn wrapped(structured: &RawJson) -> Option<RawJson> {
    let members: std::collections::BTreeMap<String, RawJson> = structured.to().ok()?;
    let [(key, _)] = members.iter().collect::<Vec<_>>()[..] else {
        return None;
    };
    (key == "result").then(|| members["result"].clone())
}

impl Content {
    pub(super) fn read(raw: RawJson) -> Self {
        let Ok(block) = raw.to::<Block>() else {
            return Self::Other(raw);
        };
        let bytes = || {
            let text = block.data.as_ref()?;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        };
        let mime = || block.mime.clone().unwrap_or_default();
        match block.kind.as_str() {
            "text" => block.text.clone().map(Self::Text),
            "image" => bytes().map(|data| Self::Image { data, mime: mime() }),
            "audio" => bytes().map(|data| Self::Audio { data, mime: mime() }),
            "resource" => Some(Self::Resource(raw.clone())),
            "resource_link" => Some(Self::ResourceLink(raw.clone())),
            _ => None,
        }
        .unwrap_or(Self::Other(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(json: &str) -> CallResult {
        CallResult::read(RawJson::parse(json).unwrap()).unwrap()
    }

    #[test]
    fn values_come_from_structured_content_first() {
        let sum =
            result(r#"{"content":[{"type":"text","text":"x"}],"structuredContent":{"result":3}}"#);
        assert_eq!(sum.data::<u32>().unwrap(), 3);
        assert_eq!(
            sum.data::<serde_json::Value>().unwrap(),
            serde_json::json!({"result": 3})
        );
        assert_eq!(sum.text(), "x");
        assert!(matches!(sum.data::<Vec<u8>>(), Err(ClientError::Data(_))));
    }

    #[test]
    fn text_is_read_as_json_or_as_itself() {
        assert_eq!(
            result(r#"{"content":[{"type":"text","text":"[1,2]"}]}"#)
                .data::<Vec<u8>>()
                .unwrap(),
            [1, 2]
        );
        assert_eq!(
            result(r#"{"content":[{"type":"text","text":"hello"}]}"#)
                .data::<String>()
                .unwrap(),
            "hello"
        );
    }

    #[test]
    fn an_error_of_the_tool_has_no_value() {
        let failed = result(r#"{"content":[{"type":"text","text":"1"}],"isError":true}"#);
        assert!(matches!(failed.data::<u32>(), Err(ClientError::Tool(_))));
    }

    #[test]
    fn blocks_are_told_apart_and_unknown_ones_kept() {
        let raw = r#"{"content":[{"type":"image","data":"AQI=","mimeType":"image/png"},{"type":"new","x":1},{"type":"image","data":"?"}]}"#;
        let parsed = result(raw);
        assert_eq!(
            parsed.content()[0],
            Content::Image {
                data: vec![1, 2],
                mime: "image/png".into()
            }
        );
        assert!(
            matches!(&parsed.content()[1], Content::Other(raw) if raw.as_str() == r#"{"type":"new","x":1}"#)
        );
        assert!(matches!(parsed.content()[2], Content::Other(_)));
        assert_eq!(parsed.raw().as_str(), raw);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for bad in ["[]", "3", r#"{"content":3}"#, r#"{"isError":"no"}"#] {
            assert!(
                CallResult::read(RawJson::parse(bad).unwrap()).is_err(),
                "{bad}"
            );
        }
    }
}
