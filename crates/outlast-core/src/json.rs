//! JSON kept as the bytes it came in.
//!
//! Arguments, results and metadata pass through us; we look into them only where a rule asks for it.
//! Keeping the text unparsed is cheaper, loses nothing (number precision, key order, unknown `_meta`
//! keys), and lets a result be spliced into an envelope of either era without being copied twice.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// One valid JSON value, unparsed. Cheap to clone.
#[derive(Clone)]
pub struct RawJson(Arc<RawValue>);

impl RawJson {
    /// The JSON text of `value`.
    ///
    /// # Errors
    /// `value` has no JSON form: a map with keys that are not strings, or its own error.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        to_raw_value(value).map(Self::from)
    }

    /// Checks that `text` is one JSON value and keeps it.
    ///
    /// # Errors
    /// `text` is not one JSON value.
    pub fn parse(text: impl Into<String>) -> serde_json::Result<Self> {
        RawValue::from_string(text.into()).map(Self::from)
    }

    /// The empty object `{}`.
    pub fn empty_object() -> Self {
        Self::parse("{}").expect("an empty object is JSON")
    }

    /// The empty array `[]`.
    pub fn empty_array() -> Self {
        Self::parse("[]").expect("an empty array is JSON")
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value read as `T`.
    ///
    /// # Errors
    /// The value does not fit `T`.
    pub fn to<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.as_str())
    }

    /// The value as a tree.
    pub fn to_value(&self) -> serde_json::Value {
        self.to().expect("checked to be JSON when it was made")
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(raw: Box<RawValue>) -> Self {
        Self(Arc::from(raw))
    }
}

impl From<serde_json::Value> for RawJson {
    fn from(value: serde_json::Value) -> Self {
        Self::of(&value).expect("a JSON tree has a JSON text")
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for RawJson {
    /// Equal to the letter: spacing and key order count.
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RawJson {}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_letter() {
        let text = r#"{"b": 1.10, "a":  [18446744073709551616]}"#;
        let raw = RawJson::parse(text).unwrap();
        assert_eq!(serde_json::to_string(&raw).unwrap(), text);
    }

    #[test]
    fn refuses_what_is_not_one_value() {
        assert!(RawJson::parse("{} {}").is_err());
        assert!(RawJson::parse("").is_err());
    }
}
