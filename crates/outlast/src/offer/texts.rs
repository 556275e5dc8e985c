//! Texts read into the types that a function takes.
//!
//! The arguments of a prompt and the variables of a URI are texts on the wire. A number, a switch or a
//! choice is read from its text, `Option` is `None` where there is none, and a list or an object is
//! read as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// Reads `texts` into `A`.
///
/// # Errors
/// One of them does not fit; the sentence names it.
pub(crate) fn read<A: DeserializeOwned>(texts: BTreeMap<String, String>) -> Result<A, String> {
    let pairs = texts
        .into_iter()
        .map(|(name, text)| (name.clone(), Text { name, text }));
    A::deserialize(MapDeserializer::new(pairs)).map_err(|Problem(sentence)| {
        match sentence.strip_prefix("missing field ") {
            Some(name) => format!("{name} is missing"),
            None => sentence,
        }
    })
}

/// The names of the fields of `A` in the order in which they are written. Empty if `A` is no struct.
pub(crate) fn fields<A: DeserializeOwned>() -> &'static [&'static str] {
    struct Probe<'p>(&'p mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = Problem;

        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Problem> {
            Err(Problem(String::new()))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            _visitor: V,
        ) -> Result<V::Value, Problem> {
            *self.0 = fields;
            Err(Problem(String::new()))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier
            ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    // The probe never gives a value.
    let _ = A::deserialize(Probe(&mut names));
    names
}

/// What does not fit.
#[derive(Debug)]
struct Problem(String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// One text under its name.
struct Text {
    name: String,
    text: String,
}

impl Text {
    fn wrong(name: &str, text: &str, why: impl fmt::Display) -> Problem {
        Problem::custom(format_args!("{name:?} cannot be {text:?}: {why}"))
    }

    fn json<'de, T: DeserializeOwned + IntoDeserializer<'de, serde_json::Error>>(
        &self,
    ) -> Result<T, Problem> {
        serde_json::from_str(&self.text).map_err(|error| Self::wrong(&self.name, &self.text, error))
    }
}

impl<'de> IntoDeserializer<'de, Problem> for Text {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let Self { name, text } = self;
            let value = text.parse::<$type>().map_err(|_| Self::wrong(&name, &text, $what))?;
            visitor.$visit(value).map_err(|Problem(why)| Self::wrong(&name, &text, why))
        }
    )*};
}

impl<'de> Deserializer<'de> for Text {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Self { name, text } = self;
        visitor
            .visit_str(&text)
            .map_err(|Problem(why)| Self::wrong(&name, &text, why))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let Self { name, text } = self;
        let choice = text.as_str().into_deserializer();
        visitor
            .visit_enum::<serde::de::value::StrDeserializer<'_, Problem>>(choice)
            .map_err(|Problem(why)| Self::wrong(&name, &text, why))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let value: serde_json::Value = self.json()?;
        value
            .deserialize_seq(visitor)
            .map_err(|why| Self::wrong(&self.name, &self.text, why))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let value: serde_json::Value = self.json()?;
        value
            .deserialize_map(visitor)
            .map_err(|why| Self::wrong(&self.name, &self.text, why))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }

    parsed! {
        deserialize_bool visit_bool bool, "it is neither true nor false";
        deserialize_i8 visit_i64 i64, "it is no whole number";
        deserialize_i16 visit_i64 i64, "it is no whole number";
        deserialize_i32 visit_i64 i64, "it is no whole number";
        deserialize_i64 visit_i64 i64, "it is no whole number";
        deserialize_u8 visit_u64 u64, "it is no whole number from 0 on";
        deserialize_u16 visit_u64 u64, "it is no whole number from 0 on";
        deserialize_u32 visit_u64 u64, "it is no whole number from 0 on";
        deserialize_u64 visit_u64 u64, "it is no whole number from 0 on";
        deserialize_f32 visit_f64 f64, "it is no number";
        deserialize_f64 visit_f64 f64, "it is no number";
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "lowercase")]
    enum Size {
        Small,
        Large,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        zebra: String,
        count: u8,
        exact: Option<bool>,
        size: Option<Size>,
        #[serde(default)]
        tags: Vec<String>,
    }

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn texts_become_what_the_function_takes() {
        let read: Arguments = read(texts(&[
            ("zebra", "5"),
            ("count", "7"),
            ("size", "large"),
            ("tags", r#"["a"]"#),
        ]))
        .unwrap();
        let expected = Arguments {
            zebra: "5".into(),
            count: 7,
            exact: None,
            size: Some(Size::Large),
            tags: vec!["a".into()],
        };
        assert_eq!(read, expected);
        assert_eq!(
            fields::<Arguments>(),
            ["zebra", "count", "exact", "size", "tags"]
        );
        assert_eq!(fields::<String>(), [""; 0]);
    }

    #[test]
    fn the_sentence_names_the_argument_and_the_rule() {
        let refused = |extra: (&str, &str)| {
            let mut all = vec![("zebra", "z"), ("count", "1")];
            all.retain(|(name, _)| *name != extra.0);
            all.push(extra);
            read::<Arguments>(texts(&all)).unwrap_err()
        };
        assert_eq!(
            refused(("count", "-1")),
            "\"count\" cannot be \"-1\": it is no whole number from 0 on"
        );
        assert!(refused(("count", "300")).starts_with("\"count\" cannot be \"300\": "));
        assert!(refused(("size", "huge")).contains("`small` or `large`"));
        assert!(refused(("exact", "yes")).ends_with("it is neither true nor false"));
        let missing = read::<Arguments>(texts(&[("zebra", "z")])).unwrap_err();
        assert_eq!(missing, "`count` is missing");
    }
}
