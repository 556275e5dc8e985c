//! Writing a JSON object member by member into a buffer.
//!
//! Most of what a response holds is JSON already; going through a tree or a serializer for each
//! object would cost more than everything else a poll does.

use std::fmt;
use std::io::Write as _;

/// An object under construction. Closed when it is dropped.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        // Keys are constants without anything to escape.
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A member that is JSON already.
    pub(crate) fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key);
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.key(key);
        serde_json::to_writer(&mut *self.out, text).expect("a string has a JSON form");
        self
    }

    /// A string that has nothing to escape: an id, a time.
    pub(crate) fn plain(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        self.key(key);
        write!(self.out, "\"{value}\"").expect("memory takes everything");
        self
    }

    /// A number, or whatever else prints as JSON.
    pub(crate) fn value(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        self.key(key);
        write!(self.out, "{value}").expect("memory takes everything");
        self
    }

    /// An object inside.
    pub(crate) fn object(&mut self, key: &str) -> Object<'_> {
        self.key(key);
        Object::new(self.out)
    }

    /// The buffer, for a member that is written by somebody else.
    pub(crate) fn buffer(&mut self, key: &str) -> &mut Vec<u8> {
        self.key(key);
        self.out
    }

    /// The members of an object that is JSON already.
    pub(crate) fn members_of(&mut self, json: &str) -> &mut Self {
        let inner = json.trim_start_matches(['{', ' ', '\n', '\r', '\t']);
        let inner = inner.strip_suffix('}').unwrap_or(inner).trim_end();
        if !inner.is_empty() {
            if !self.empty {
                self.out.push(b',');
            }
            self.empty = false;
            self.out.extend_from_slice(inner.as_bytes());
        }
        self
    }
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

/// The `_meta` member: the tool's own members first, then ours, which win for readers that let the
/// last one win. Nothing is written if there is none.
pub(crate) fn merge_meta(object: &mut Object<'_>, own: Option<&str>, ours: &[(&str, &str)]) {
    if own.is_none() && ours.is_empty() {
        return;
    }
    let mut meta = object.object("_meta");
    if let Some(own) = own {
        meta.members_of(own);
    }
    for (key, json) in ours {
        meta.raw(key, json);
    }
}

/// A number without a fraction where it has none: `9`, not `9.0`.
pub(crate) struct Number(pub(crate) f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Beyond this not every whole number has a double of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if !self.0.is_finite() {
            // JSON has no word for it; progress never gets here.
            f.write_str("0")
        } else if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            write!(f, "{:.0}", self.0)
        } else {
            // The shortest text that reads back as the same number.
            write!(f, "{:?}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_the_object_is_closed() {
        let mut out = Vec::new();
        {
            let mut object = Object::new(&mut out);
            object
                .text("a", "q\"")
                .value("n", Number(9.0))
                .plain("id", "x");
            object.object("e");
            merge_meta(&mut object, Some("{ \"own\": 1 }"), &[("k/m", "2")]);
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":"q\"","n":9,"id":"x","e":{},"_meta":{"own": 1,"k/m":2}}"#
        );
    }

    #[test]
    fn an_empty_own_meta_adds_nothing() {
        let mut out = Vec::new();
        merge_meta(&mut Object::new(&mut out), Some("{}"), &[("k", "1")]);
        assert_eq!(out, br#"{"_meta":{"k":1}}"#);
    }

    #[test]
    fn numbers_read_back_as_themselves() {
        for (number, text) in [
            (0.5, "0.5"),
            (-3.0, "-3"),
            (1e20, "1e20"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(Number(number).to_string(), text);
        }
    }
}
