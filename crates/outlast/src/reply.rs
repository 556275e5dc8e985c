//! What a handler returned becomes the result of the tool.
//!
//! One function decides, by the type of the value: [`of`]. Text stays text; the types of this crate
//! say by themselves what they are; everything else that can be serialised becomes JSON, once as text
//! for the model and once as structured content for programs. Structured content is an object in
//! every version of the protocol, so a value that is none is wrapped as `{"result": value}`.

use std::any::Any;
use std::borrow::Cow;

use outlast_core::{RawJson, ToolResult};
use serde::Serialize;

use crate::content::{Bytes, Content};
use crate::{Error, Result};

/// A result that is put together by hand: content, structured content, metadata, and whether it is
/// an error that the model should read.
///
/// ```
/// use outlast::{Content, Reply};
///
/// let reply = Reply::text("3 of 4 checks passed")
///     .content(Content::link("https://ci.example/run/7", "the whole log"))
///     .structured(&serde_json::json!({"passed": 3, "failed": 1}))
///     .meta("example.com/run", &7);
/// # let _ = reply;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reply {
    content: Vec<Content>,
    structured: Option<serde_json::Value>,
    meta: serde_json::Map<String, serde_json::Value>,
    is_error: bool,
    wrong: Option<String>,
}

impl Reply {
    /// A result without content.
    pub fn new() -> Self {
        Self::default()
    }

    /// A result of one text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().content(Content::text(text))
    }

    /// Adds a content block.
    #[must_use]
    pub fn content(mut self, content: impl Into<Content>) -> Self {
        self.content.push(content.into());
        self
    }

    /// Sets the structured content. A value that is no object is wrapped as `{"result": value}`. A
    /// value without a JSON form fails the call.
    #[must_use]
    pub fn structured<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_value(value) {
            Ok(value @ serde_json::Value::Object(_)) => self.structured = Some(value),
            Ok(value) => self.structured = Some(serde_json::json!({ "result": value })),
            Err(error) => self.wrong = Some(error.to_string()),
        }
        self
    }

    /// Sets one key of the result's `_meta`. The protocol wants a prefix that is yours, for example
    /// `example.com/key`.
    #[must_use]
    pub fn meta<T: Serialize + ?Sized>(mut self, key: impl Into<String>, value: &T) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => {
                self.meta.insert(key.into(), value);
            }
            Err(error) => self.wrong = Some(error.to_string()),
        }
        self
    }

    /// Marks the result as a tool error: the model reads it and may try again.
    #[must_use]
    pub fn error(mut self) -> Self {
        self.is_error = true;
        self
    }

    /// The result.
    ///
    /// # Errors
    /// A value had no JSON form.
    pub fn build(self) -> Result<ToolResult> {
        if let Some(wrong) = self.wrong {
            return Err(no_json(&wrong));
        }
        Ok(ToolResult {
            content: blocks(&self.content)?,
            structured: self.structured.map(RawJson::from),
            is_error: self.is_error,
            meta: (!self.meta.is_empty()).then(|| serde_json::Value::Object(self.meta).into()),
        })
    }
}

impl Serialize for Reply {
    /// As the result that [`Reply::build`] makes.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let result = self.clone().build();
        result
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

/// What a tool may return: everything that serialises and is not borrowed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a tool",
    label = "this has no JSON form",
    note = "put `#[derive(serde::Serialize)]` on the type, or return text, `Content`, `Bytes` or `Reply`",
    note = "a type that stands for a `Result` must be written as one: `Result<Value>`"
)]
pub trait Value: Serialize + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + 'static> Value for T {}

/// The result of a tool that returned `value`.
///
/// | returned | content | structured content |
/// |---|---|---|
/// | `String`, `&'static str`, `Cow<'static, str>` | the text | none |
/// | `()` | none | none |
/// | [`Bytes`] | an image, sound or embedded resource | none |
/// | [`Content`], `Vec<Content>` | as they are | none |
/// | [`Reply`], [`ToolResult`] | as they say | as they say |
/// | everything else | its JSON as text | the value, or `{"result": value}` if it is no object |
///
/// # Errors
/// The value has no JSON form.
pub fn of<T: Value>(value: T) -> Result<ToolResult> {
    // The type is known when this is compiled: of all these questions one or none remains.
    let mut slot = Some(value);
    let any: &mut dyn Any = &mut slot;
    if let Some(text) = taken::<String>(any) {
        return Ok(ToolResult::text(text));
    }
    if let Some(text) = taken::<&'static str>(any) {
        return Ok(ToolResult::text(text));
    }
    if let Some(text) = taken::<Cow<'static, str>>(any) {
        return Ok(ToolResult::text(text));
    }
    if taken::<()>(any).is_some() {
        return Reply::new().build();
    }
    if let Some(bytes) = taken::<Bytes>(any) {
        return Reply::new().content(bytes).build();
    }
    if let Some(content) = taken::<Content>(any) {
        return Reply::new().content(content).build();
    }
    if let Some(content) = taken::<Vec<Content>>(any) {
        return Ok(ToolResult {
            content: blocks(&content)?,
            structured: None,
            is_error: false,
            meta: None,
        });
    }
    if let Some(reply) = taken::<Reply>(any) {
        return reply.build();
    }
    if let Some(result) = taken::<ToolResult>(any) {
        return Ok(result);
    }
    let value = slot.expect("no type above matched, so nothing was taken");
    json(&value)
}

fn taken<T: 'static>(any: &mut dyn Any) -> Option<T> {
    any.downcast_mut::<Option<T>>()?.take()
}

fn json<T: Serialize>(value: &T) -> Result<ToolResult> {
    #[derive(Serialize)]
    struct Wrapped<'a, T> {
        result: &'a T,
    }
    let unwritten = |error: serde_json::Error| no_json(&error.to_string());
    let text = serde_json::to_string(value).map_err(unwritten)?;
    let result = ToolResult::text(&text);
    let structured = if text.starts_with('{') {
        RawJson::parse(text)
    } else {
        RawJson::of(&Wrapped { result: value })
    };
    Ok(ToolResult {
        structured: Some(structured.map_err(unwritten)?),
        ..result
    })
}

fn blocks(content: &[Content]) -> Result<RawJson> {
    RawJson::of(content).map_err(|error| no_json(&error.to_string()))
}

fn no_json(why: &str) -> Error {
    Error::protocol(-32603, format!("the tool's result has no JSON form: {why}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn text_of(result: &ToolResult) -> serde_json::Value {
        result.content.to_value()[0]["text"].clone()
    }

    #[test]
    fn text_stays_text() {
        for result in [of("a"), of("a".to_owned()), of(Cow::Borrowed("a"))] {
            let result = result.unwrap();
            assert_eq!(text_of(&result), "a");
            assert_eq!(result.structured, None);
        }
    }

    #[test]
    fn nothing_is_no_content() {
        assert_eq!(of(()).unwrap().content.as_str(), "[]");
    }

    #[test]
    fn values_are_text_and_structure() {
        let object = of(BTreeMap::from([("a", 1)])).unwrap();
        assert_eq!(text_of(&object), r#"{"a":1}"#);
        assert_eq!(object.structured.unwrap().to_value(), json!({"a": 1}));
        let number = of(5).unwrap();
        assert_eq!(text_of(&number), "5");
        assert_eq!(number.structured.unwrap().to_value(), json!({"result": 5}));
        let list = of(vec![1, 2]).unwrap();
        assert_eq!(
            list.structured.unwrap().to_value(),
            json!({"result": [1, 2]})
        );
    }

    #[test]
    fn blocks_are_kept() {
        let result = of(vec![Content::text("a"), Content::text("b")]).unwrap();
        assert_eq!(result.content.to_value().as_array().unwrap().len(), 2);
        let result = of(Bytes::new("image/png", vec![1])).unwrap();
        assert_eq!(result.content.to_value()[0]["type"], "image");
    }

    #[test]
    fn a_reply_carries_everything() {
        let result = of(Reply::text("a").structured(&[1]).meta("x/y", &2).error()).unwrap();
        assert!(result.is_error);
        assert_eq!(
            result.structured.unwrap().to_value(),
            json!({"result": [1]})
        );
        assert_eq!(result.meta.unwrap().to_value(), json!({"x/y": 2}));
    }

    #[test]
    fn what_has_no_json_form_is_an_error() {
        let bad = BTreeMap::from([((1, 2), 3)]);
        assert!(of(bad.clone()).is_err());
        assert!(of(Reply::new().structured(&bad)).is_err());
    }
}
