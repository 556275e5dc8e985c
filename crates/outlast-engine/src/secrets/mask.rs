//! Hiding secrets in what a run says.
//!
//! A secret is searched for as it is, as it stands in JSON text, and line by line if it has several. One
//! shorter than four bytes is not searched for: it would be found everywhere, and guessed as easily.

use std::borrow::Cow;
use std::sync::Arc;

use outlast_core::{Failure, InputRequest, Outcome, RawJson, ToolResult};
use serde_json::Value;

use super::DOTS;

/// Shorter than this a text is not searched for.
const SHORTEST: usize = 4;

/// The secrets of one run. Cheap to clone.
#[derive(Clone, Default)]
pub struct Mask {
    /// The longest first, so that no part of one is left standing. `None` without secrets.
    needles: Option<Arc<[String]>>,
}

impl Mask {
    /// Hides nothing.
    pub(crate) const NOTHING: Self = Self { needles: None };

    /// Hides these values and all texts in them.
    pub(crate) fn of<'a>(secrets: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut needles = Vec::new();
        secrets
            .into_iter()
            .for_each(|secret| collect(secret, &mut needles));
        needles.retain(|needle: &String| needle.len() >= SHORTEST);
        Self::hiding(needles)
    }

    /// Hides what either hides.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let needles = self.needles().iter().chain(other.needles());
        Self::hiding(needles.cloned().collect())
    }

    fn hiding(mut needles: Vec<String>) -> Self {
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
        Self {
            needles: (!needles.is_empty()).then(|| needles.into()),
        }
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.needles.is_none()
    }

    fn needles(&self) -> &[String] {
        self.needles.as_deref().unwrap_or_default()
    }

    /// Whether a secret stands in the text.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.needles().iter().any(|needle| text.contains(needle))
    }

    /// The text with dots for secrets.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for needle in self.needles() {
            if text.contains(needle) {
                text = Cow::Owned(text.replace(needle, DOTS));
            }
        }
        text
    }

    /// The bytes with dots for secrets.
    pub fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let mut bytes = Cow::Borrowed(bytes);
        for needle in self.needles() {
            let mut from = 0;
            while let Some(at) = find(&bytes, needle.as_bytes(), from) {
                let end = at + needle.len();
                bytes.to_mut().splice(at..end, DOTS.bytes());
                from = at + DOTS.len();
            }
        }
        bytes
    }

    /// Blots secrets out in place: as many stars as they have bytes. Returns whether there was one.
    pub fn blot(&self, bytes: &mut [u8]) -> bool {
        let mut found = false;
        for needle in self.needles() {
            let mut from = 0;
            while let Some(at) = find(bytes, needle.as_bytes(), from) {
                from = at + needle.len();
                bytes[at..from].fill(b'*');
                found = true;
            }
        }
        found
    }

    /// How many bytes the longest text has that is hidden.
    pub fn longest(&self) -> usize {
        self.needles().first().map_or(0, String::len)
    }

    /// How many of these bytes can be told now: those at the end may be the beginning of a secret
    /// whose rest is still to come.
    pub fn complete(&self, bytes: &[u8]) -> usize {
        let begins = |start: usize| {
            let end = &bytes[start..];
            let longer = |needle: &&String| needle.len() > end.len();
            self.needles()
                .iter()
                .filter(longer)
                .any(|needle| needle.as_bytes().starts_with(end))
        };
        let from = bytes.len().saturating_sub(self.longest());
        (from..bytes.len())
            .find(|start| begins(*start))
            .unwrap_or(bytes.len())
    }

    /// The JSON with dots for secrets.
    pub(crate) fn json(&self, json: RawJson) -> RawJson {
        if !self.is_in(json.as_str()) && !self.may_be_escaped(json.as_str()) {
            return json;
        }
        let mut value = json.to_value();
        self.hide(&mut value);
        value.into()
    }

    /// A text with escapes may hold a secret in another spelling.
    fn may_be_escaped(&self, json: &str) -> bool {
        !self.is_empty() && json.contains('\\')
    }

    fn hide(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(hidden) = self.text(text) {
                    *text = hidden;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide(item)),
            Value::Object(members) => {
                members.values_mut().for_each(|member| self.hide(member));
                if members.keys().any(|name| self.is_in(name)) {
                    *members = std::mem::take(members)
                        .into_iter()
                        .map(|(name, member)| (self.text(&name).into_owned(), member))
                        .collect();
                }
            }
            Value::Number(number) if self.is_in(&number.to_string()) => *value = DOTS.into(),
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    pub(crate) fn question(&self, mut question: InputRequest) -> InputRequest {
        question.params = self.json(question.params);
        question
    }

    pub(crate) fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            outcome if self.is_empty() => outcome,
            Outcome::Completed(result) => Outcome::Completed(ToolResult {
                content: self.json(result.content),
                structured: result.structured.map(|json| self.json(json)),
                meta: result.meta.map(|json| self.json(json)),
                is_error: result.is_error,
            }),
            Outcome::Failed(failure) => Outcome::Failed(Failure {
                message: self.text(&failure.message).into_owned(),
                data: failure.data.map(|json| self.json(json)),
                ..failure
            }),
            Outcome::Cancelled { reason } => Outcome::Cancelled { reason },
        }
    }
}

/// The texts to search for in a secret.
fn collect(secret: &Value, needles: &mut Vec<String>) {
    match secret {
        Value::String(text) => {
            let quoted = secret.to_string();
            needles.push(quoted[1..quoted.len() - 1].to_owned());
            if text.contains('\n') {
                // A line of a text is less telling than the text, and must be longer to count.
                let lines = text
                    .lines()
                    .map(str::trim)
                    .filter(|line| line.len() >= 2 * SHORTEST);
                needles.extend(lines.map(str::to_owned));
            }
            needles.push(text.clone());
        }
        Value::Number(number) => needles.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, needles)),
        Value::Object(members) => members.values().for_each(|member| collect(member, needles)),
        Value::Bool(_) | Value::Null => {}
    }
}

fn find(bytes: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let at = rest
        .windows(needle.len())
        .position(|window| window == needle)?;
    Some(from + at)
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} texts)", self.needles().len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_in_texts_bytes_and_json() {
        let mask = Mask::of(&[
            json!("hunter2"),
            json!({"a": ["two\n\"lines\" of it"]}),
            json!(12345),
        ]);
        assert_eq!(mask.text("a hunter2 b hunter2"), "a ••• b •••");
        assert_eq!(
            &*mask.bytes(b"\xffhunter2"),
            b"\xff\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2"
        );
        let json =
            json!({"hunter2": "x\thunter2", "n": 12345, "m": 123, "k": "two\n\"lines\" of it"});
        let hidden = mask.json(json.into()).to_value();
        assert_eq!(
            hidden,
            json!({"•••": "x\t•••", "n": "•••", "m": 123, "k": "•••"})
        );
        let stars = Mask::of(&[json!("****"), json!(DOTS)]);
        assert_eq!(&*stars.bytes(b"*****"), "•••*".as_bytes());
        assert!(stars.blot(&mut b"******".to_vec()));
        let mut bytes = *b"so hunter2!";
        assert!(mask.blot(&mut bytes));
        assert_eq!(&bytes, b"so *******!");
        assert_eq!(mask.text("only \"lines\" of it"), "only •••");
    }

    #[test]
    fn what_may_be_the_beginning_waits() {
        let mask = Mask::of(&[json!("hunter2")]);
        for (bytes, complete) in [
            ("nothing", 7),
            ("so hunt", 3),
            ("so h", 3),
            ("so hunter2", 10),
            ("hunthunt", 4),
            ("", 0),
        ] {
            assert_eq!(mask.complete(bytes.as_bytes()), complete, "{bytes}");
        }
    }

    #[test]
    fn what_is_too_short_to_hide_is_left() {
        assert!(Mask::of(&[json!("abc"), json!(true), json!(null)]).is_empty());
    }
}
