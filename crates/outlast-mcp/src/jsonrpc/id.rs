//! The id of a request: a string or an integer, never null.
//!
//! The id goes back to its sender to the letter, so it is kept as the text that came; two ids are
//! the same if their texts are.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A request's id, owned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The id a JSON value stands for. `None` for null, fractions and everything that is neither a
    /// string nor a number.
    pub fn from_json(value: &RawValue) -> Option<Self> {
        is_id(value.get()).then(|| Self(value.get().into()))
    }

    /// The id `number`.
    pub fn number(number: i64) -> Self {
        Self(number.to_string().into())
    }

    /// The id `text`.
    pub fn string(text: &str) -> Self {
        Self(
            serde_json::to_string(text)
                .expect("a string has a JSON form")
                .into(),
        )
    }

    /// The JSON text of the id.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The string, if it is one.
    pub fn as_string(&self) -> Option<String> {
        serde_json::from_str(&self.0).ok()
    }
}

/// The longest id, as JSON. It comes back with the response, and stands sealed in the ids of events, which
/// clients send in a header.
pub(crate) const LONGEST: usize = 4096;

/// Whether this JSON text may stand as an id.
pub(crate) fn is_id(json: &str) -> bool {
    if json.len() > LONGEST {
        return false;
    }
    match json.as_bytes() {
        // An escape may stand for nothing: half of a surrogate pair.
        [b'"', rest @ ..] => !rest.contains(&b'\\') || serde_json::from_str::<String>(json).is_ok(),
        [b'-', digits @ ..] | digits => {
            !digits.is_empty() && digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit)
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_str(&self.0).expect("checked to be JSON when it was made");
        raw.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_integers_are_ids() {
        for good in [r#""a""#, r#""""#, "0", "-7", "9007199254740993"] {
            assert!(is_id(good), "{good}");
        }
        for bad in [
            r#""\ud800""#,
            "null",
            "1.5",
            "1e3",
            "true",
            "[]",
            "{}",
            "-",
            "123456789012345678901",
        ] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
