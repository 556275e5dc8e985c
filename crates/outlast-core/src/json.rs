//! JSON kept as the bytes it came in.
//!
//! Arguments, results and metadata pass through us; we look into them only where a rule asks for it.
//! Keeping the text unparsed is cheaper, loses nothing (number precision, key order, unknown `_meta`
//! keys), and lets a result be spliced into an envelope of either era without being copied twice.
//!
//! The grammar of JSON allows what no value stands for: half of a surrogate pair as an escape, a number
//! beyond all doubles, ten thousand open brackets. Such a text is refused where it enters, so that
//! whoever reads it later, in another process and long after its sender has gone, always can.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: usize = 100;

/// Numbers with fewer digits than this are within the range of a double unless they have an exponent.
const LONG: usize = 300;

/// One valid JSON value, unparsed. Cheap to clone.
///
/// It can always be read as a tree: every string and number in it has a value, and it is nested no
/// deeper than [`MAX_DEPTH`].
#[derive(Clone)]
pub struct RawJson(Arc<RawValue>);

impl RawJson {
    /// The JSON text of `value`.
    ///
    /// # Errors
    /// `value` has no JSON form: a map with keys that are not strings, nesting deeper than
    /// [`MAX_DEPTH`], or its own error.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        to_raw_value(value)?.try_into()
    }

    /// Checks that `text` is one JSON value and keeps it.
    ///
    /// # Errors
    /// `text` is not one JSON value, or one that nobody could read (see the type).
    pub fn parse(text: impl Into<String>) -> serde_json::Result<Self> {
        RawValue::from_string(text.into())?.try_into()
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

impl TryFrom<Box<RawValue>> for RawJson {
    type Error = serde_json::Error;

    /// Keeps what is grammatical already.
    ///
    /// # Errors
    /// Half of a surrogate pair, a number beyond all doubles, or nesting deeper than [`MAX_DEPTH`].
    fn try_from(raw: Box<RawValue>) -> serde_json::Result<Self> {
        check(raw.get())?;
        Ok(Self(Arc::from(raw)))
    }
}

/// Whether a grammatical text can be read as a tree. Most texts are seen to be harmless without following
/// them, in loops that look at many bytes with one instruction: each asks one thing, counts in single
/// bytes and never ends early.
fn check(text: &str) -> serde_json::Result<()> {
    let bytes = text.as_bytes();
    let opens = |byte: &u8| u8::from((*byte == b'[') | (*byte == b'{'));
    let opened = |part: &[u8]| usize::from(part.iter().map(opens).sum::<u8>());
    let opened: usize = bytes.chunks(usize::from(u8::MAX)).map(opened).sum();
    let any = |any, byte: &u8| any | u8::from(*byte == b'\\');
    let escapes = bytes.iter().fold(0, any) != 0;
    // Inside strings too, where it means nothing: then it is looked for again below.
    let any = |any, (before, byte): (&u8, &u8)| {
        any | u8::from(before.is_ascii_digit() & (byte | 0x20 == b'e'))
    };
    let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
    let exponent = pairs.fold(0, any) != 0;
    let suspicious = escapes
        || opened > MAX_DEPTH
        // Without escapes every second quote ends a string, so what is left are the parts outside.
        || ((exponent || text.len() > LONG)
            && text.split('"').step_by(2).any(|outside| outside.len() > LONG || has_exponent(outside)));
    if !suspicious {
        return Ok(());
    }
    if depth(bytes) > MAX_DEPTH {
        let problem = format!("nested deeper than {MAX_DEPTH} levels");
        return Err(serde_json::Error::custom(problem));
    }
    serde_json::from_str::<serde_json::Value>(text).map(drop)
}

fn has_exponent(outside: &str) -> bool {
    let pairs = outside.as_bytes().windows(2);
    pairs
        .into_iter()
        .any(|pair| pair[0].is_ascii_digit() && pair[1].eq_ignore_ascii_case(&b'e'))
}

/// How deep a grammatical text is nested.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    deepest
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
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        raw.try_into().map_err(D::Error::custom)
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

    #[test]
    fn refuses_what_nobody_could_read() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for good in [
            r#"{"a":[1,-2.5,1e3,true,null],"b":"\ud83d\ude00 \n 1e999","c":"9e999"}"#,
            r#"{"a":"9e999","b":[1]}"#,
            "1e308",
            &"9".repeat(300),
            &nested(MAX_DEPTH),
            &format!("[{}]", vec!["{}"; 1000].join(",")),
            &format!(r#"["\"{}"]"#, "[".repeat(1000)),
        ] {
            let raw = RawJson::parse(good).unwrap();
            let _ = raw.to_value();
            serde_json::from_str::<RawJson>(good).unwrap();
        }
        for bad in [
            r#""\ud800""#,
            r#"{"a\udfff":1}"#,
            "1e999",
            "[0,-9E999]",
            r#"{"a":"9","b":9e999}"#,
            &"9".repeat(400),
            &nested(MAX_DEPTH + 1),
        ] {
            assert!(RawJson::parse(bad).is_err(), "{bad}");
            assert!(serde_json::from_str::<RawJson>(bad).is_err(), "{bad}");
        }
        let mut deep = serde_json::json!(1);
        for _ in 0..=MAX_DEPTH {
            deep = serde_json::json!([deep]);
        }
        assert!(RawJson::of(&deep).is_err());
    }
}
