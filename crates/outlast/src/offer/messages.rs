//! What the function of a prompt may return.

use outlast_core::RawJson;
use outlast_mcp::offer::PromptMessages;
use serde::Serialize;

use crate::content::Content;
use crate::{Error, Result};

/// One message of a prompt: who speaks, and one block of content.
///
/// ```
/// use outlast::{Content, Message};
///
/// let messages = [
///     Message::user("What is wrong with this picture?"),
///     Message::user(Content::image("image/png", [0x89])),
///     Message::assistant("Let me see."),
/// ];
/// # let _ = messages;
/// ```
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Message {
    role: &'static str,
    content: Content,
}

impl Message {
    /// A message of the user.
    pub fn user(content: impl Into<Content>) -> Self {
        Self {
            role: "user",
            content: content.into(),
        }
    }

    /// A message of the assistant.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self {
            role: "assistant",
            content: content.into(),
        }
    }
}

/// The messages of a prompt, with what else the result may say.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Messages {
    messages: Vec<Message>,
    description: Option<String>,
    meta: Option<RawJson>,
}

impl Messages {
    /// No messages yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Says what this very prompt is, instead of the description in the list.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets the result's `_meta`, an object.
    #[must_use]
    pub fn meta(mut self, meta: impl Into<RawJson>) -> Self {
        self.meta = Some(meta.into());
        self
    }

    pub(super) fn build(self) -> Result<PromptMessages> {
        let messages = RawJson::of(&self.messages).map_err(|error| {
            Error::protocol(-32603, format!("the prompt has no JSON form: {error}"))
        })?;
        Ok(PromptMessages {
            description: self.description,
            messages,
            meta: self.meta,
        })
    }
}

/// What the function of a prompt may return: text or a [`Content`] for one message of the user, a
/// [`Message`], several of them, or [`Messages`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the messages of a prompt",
    label = "no messages",
    note = "return text, `Content`, `Message`, `Vec<Message>` or `Messages`"
)]
pub trait IntoMessages {
    /// The messages.
    fn into_messages(self) -> Messages;
}

impl IntoMessages for Messages {
    fn into_messages(self) -> Messages {
        self
    }
}

impl IntoMessages for Vec<Message> {
    fn into_messages(self) -> Messages {
        Messages {
            messages: self,
            ..Messages::default()
        }
    }
}

impl IntoMessages for Message {
    fn into_messages(self) -> Messages {
        vec![self].into_messages()
    }
}

impl IntoMessages for Content {
    fn into_messages(self) -> Messages {
        Message::user(self).into_messages()
    }
}

impl IntoMessages for String {
    fn into_messages(self) -> Messages {
        Content::text(self).into_messages()
    }
}

impl IntoMessages for &'static str {
    fn into_messages(self) -> Messages {
        Content::text(self).into_messages()
    }
}
