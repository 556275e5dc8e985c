//! Prompts and resources of a server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast_core::RawJson;
use serde::{Deserialize, Serialize};

use super::error::ClientError;
use super::params::{Params, arguments, object};
use super::peer::Client;
use super::result::Content;
use super::session::Ask;

/// An entry of a server's list of prompts.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[non_exhaustive]
pub struct PromptInfo {
    /// The name to get it by.
    pub name: String,
    /// The name to show.
    #[serde(default)]
    pub title: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// What it takes.
    #[serde(default)]
    pub arguments: Vec<PromptArgument>,
    /// All of it as it came.
    #[serde(skip, default = "RawJson::empty_object")]
    pub raw: RawJson,
}

/// An argument of a prompt; its values are texts.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[non_exhaustive]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether the prompt cannot do without it.
    #[serde(default)]
    pub required: bool,
}

/// An entry of a server's list of resources, or of that of resource templates.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ResourceInfo {
    /// What to read it by; of a template, the form of the URIs (RFC 6570).
    #[serde(alias = "uriTemplate")]
    pub uri: String,
    /// Its name.
    pub name: String,
    /// The name to show.
    #[serde(default)]
    pub title: Option<String>,
    /// What it is.
    #[serde(default)]
    pub description: Option<String>,
    /// The media type of its contents, if it is the same for all.
    #[serde(default)]
    pub mime_type: Option<String>,
    /// All of it as it came.
    #[serde(skip, default = "RawJson::empty_object")]
    pub raw: RawJson,
}

/// What a prompt gives.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct PromptResult {
    /// What it is for.
    pub description: Option<String>,
    /// The messages, in their order.
    pub messages: Vec<PromptMessage>,
    /// All of it as it came.
    pub raw: RawJson,
}

/// A message of a prompt.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct PromptMessage {
    /// Who says it: `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: Content,
}

/// A piece of what a resource holds.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ResourceData {
    /// The URI of this very piece.
    pub uri: String,
    /// Its media type.
    pub mime_type: Option<String>,
    /// The bytes; of a text, its UTF-8.
    pub bytes: Vec<u8>,
    /// Whether it came as text.
    pub is_text: bool,
    /// All of it as it came.
    pub raw: RawJson,
}

#[derive(Deserialize)]
struct WirePrompt {
    #[serde(default)]
    description: Option<String>,
    messages: Vec<WireMessage>,
}

#[derive(Deserialize)]
struct WireMessage {
    role: String,
    content: RawJson,
}

#[derive(Deserialize)]
struct WireRead {
    contents: Vec<RawJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireContents {
    uri: String,
    #[serde(default)]
    mime_type: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    blob: Option<String>,
}

impl Client {
    /// The prompts of the server, all pages.
    ///
    /// # Errors
    /// The server cannot be reached, has none to offer, or sends what is no list.
    pub async fn list_prompts(&self) -> Result<Vec<PromptInfo>, ClientError> {
        let read = |raw: RawJson| {
            let info: PromptInfo = object(&raw, "a prompt")?;
            Ok(PromptInfo { raw, ..info })
        };
        self.all("prompts/list", "prompts", read).await
    }

    /// The resources of the server that have a fixed URI, all pages.
    ///
    /// # Errors
    /// As [`Client::list_prompts`].
    pub async fn list_resources(&self) -> Result<Vec<ResourceInfo>, ClientError> {
        self.all("resources/list", "resources", ResourceInfo::read)
            .await
    }

    /// The resource templates of the server, all pages.
    ///
    /// # Errors
    /// As [`Client::list_prompts`].
    pub async fn list_resource_templates(&self) -> Result<Vec<ResourceInfo>, ClientError> {
        let (method, member) = ("resources/templates/list", "resourceTemplates");
        self.all(method, member, ResourceInfo::read).await
    }

    /// Gets a prompt. `values` is anything that serialises to an object of texts; `()` for none. What
    /// the server asks for first is answered by whoever the client was built with.
    ///
    /// # Errors
    /// The server does not have it, its arguments do not fit, or as for every request.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request.
    pub async fn get_prompt<A: Serialize>(
        &self,
        name: &str,
        values: A,
    ) -> Result<PromptResult, ClientError> {
        let params = Params::default().with("name", name);
        let params = params.with_raw("arguments", arguments(&values)?);
        let ask = Ask::quick("prompts/get", params).about(name);
        let raw = self.ask_in_rounds(ask).await?;
        PromptResult::read(raw).map_err(|reason| self.not_protocol("prompts/get", &reason))
    }

    /// Reads a resource, piece by piece. What the server asks for first is answered by whoever the client
    /// was built with.
    ///
    /// # Errors
    /// The server does not have it, or as for every request.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request.
    pub async fn read_resource(&self, uri: &str) -> Result<Vec<ResourceData>, ClientError> {
        let params = Params::default().with("uri", uri);
        let ask = Ask::quick("resources/read", params).about(uri);
        let raw = self.ask_in_rounds(ask).await?;
        let read = || -> Result<Vec<ResourceData>, String> {
            let wire: WireRead = object(&raw, "the contents of a resource")?;
            wire.contents.into_iter().map(ResourceData::read).collect()
        };
        read().map_err(|reason| self.not_protocol("resources/read", &reason))
    }
}

impl ResourceInfo {
    fn read(raw: RawJson) -> Result<Self, String> {
        let info: Self = object(&raw, "a resource")?;
        Ok(Self { raw, ..info })
    }
}

impl PromptResult {
    fn read(raw: RawJson) -> Result<Self, String> {
        let wire: WirePrompt = object(&raw, "a prompt")?;
        let messages = wire.messages.into_iter();
        Ok(Self {
            description: wire.description,
            messages: messages
                .map(|message| PromptMessage {
                    role: message.role,
                    content: Content::read(message.content),
                })
                .collect(),
            raw,
        })
    }
}

impl ResourceData {
    fn read(raw: RawJson) -> Result<Self, String> {
        let wire: WireContents = object(&raw, "contents of a resource")?;
        let is_text = wire.text.is_some();
        let bytes = match (wire.text, wire.blob) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(blob)) => STANDARD
                .decode(&blob)
                .map_err(|error| format!("the blob of {:?}: {error}", wire.uri))?,
            _ => return Err(format!("{:?} has neither text nor blob, or both", wire.uri)),
        };
        Ok(Self {
            uri: wire.uri,
            mime_type: wire.mime_type,
            bytes,
            is_text,
            raw,
        })
    }

    /// The text, if it came as one.
    pub fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.bytes).ok();
        text.filter(|_| self.is_text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contents_are_text_or_bytes() {
        let read = |value: serde_json::Value| ResourceData::read(value.into());
        let text = read(json!({"uri": "a://b", "text": "x", "mimeType": "text/plain"})).unwrap();
        assert_eq!((text.text(), &*text.bytes), (Some("x"), &b"x"[..]));
        let blob = read(json!({"uri": "a://b", "blob": "AQI="})).unwrap();
        assert_eq!((blob.text(), &*blob.bytes), (None, &[1, 2][..]));
        for wrong in [
            json!({"uri": "a://b"}),
            json!({"uri": "a://b", "text": "x", "blob": "AQI="}),
            json!({"uri": "a://b", "blob": "*"}),
            json!(["a://b", null, "x"]),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
