//! Reading a table of the file: typed access to keys, with every misuse noted and none fatal.
//!
//! The reader walks the parsed document with its positions instead of deserialising it in one go,
//! because a derived deserialiser stops at the first problem and does not know the path to it.

use std::cell::RefCell;
use std::ops::Range;
use std::time::Duration;

use outlast_core::duration;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Problem, closest};

/// A value and the place where it stands.
pub(super) type Node<'a> = &'a Spanned<DeValue<'a>>;

/// Collects problems while a document is read.
pub(super) struct Problems<'a> {
    text: &'a str,
    found: RefCell<Vec<Problem>>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            found: RefCell::default(),
        }
    }

    /// Notes a problem at the place `span`.
    pub(super) fn note(&self, span: Range<usize>, key: &str, message: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.found.borrow_mut().push(Problem {
            line,
            key: key.to_owned(),
            message: message.into(),
        });
    }

    /// All problems in the order of the lines.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|problem| problem.line);
        found
    }
}

/// A table that is being read, with the path that leads to it.
pub(super) struct Section<'a> {
    pub(super) path: String,
    pub(super) span: Range<usize>,
    table: &'a DeTable<'a>,
    problems: &'a Problems<'a>,
}

impl<'a> Section<'a> {
    /// Opens `table` and notes each key that is not in `allowed`.
    pub(super) fn open(
        path: String,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        problems: &'a Problems<'a>,
        allowed: &[&str],
    ) -> Self {
        let section = Self {
            path,
            span,
            table,
            problems,
        };
        for (key, _) in table {
            let name: &str = key.get_ref();
            if allowed.contains(&name) {
                continue;
            }
            let guess = closest(name, allowed.iter().copied())
                .map_or_else(String::new, |word| format!("; did you mean \"{word}\"?"));
            let message = format!("unknown key{guess}; allowed: {}", allowed.join(", "));
            problems.note(key.span(), &section.key(name), message);
        }
        section
    }

    /// Opens a table whose keys are names chosen by the author.
    pub(super) fn free(
        path: String,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        problems: &'a Problems<'a>,
    ) -> Self {
        Self {
            path,
            span,
            table,
            problems,
        }
    }

    /// The full path of a key in this table.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Notes a problem with the value of `name`, or with the table where `name` is absent.
    pub(super) fn wrong(&self, name: &str, message: impl Into<String>) {
        let span = self
            .get(name)
            .map_or_else(|| self.span.clone(), Spanned::span);
        self.problems.note(span, &self.key(name), message);
    }

    /// Notes a problem at another place of this section's table.
    pub(super) fn wrong_at(&self, span: Range<usize>, name: &str, message: impl Into<String>) {
        self.problems.note(span, &self.key(name), message);
    }

    /// Whether the key is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<Node<'a>> {
        self.table
            .iter()
            .find(|(key, _)| key.get_ref().as_ref() == name)
            .map(|(_, value)| value)
    }

    /// The keys and values in the order of the file.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, Node<'a>)> {
        self.table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    fn typed<T>(
        &self,
        name: &str,
        wanted: &str,
        convert: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(name)?;
        let converted = convert(node.get_ref());
        if converted.is_none() {
            self.wrong(
                name,
                format!("{} where {wanted} is needed", kind(node.get_ref())),
            );
        }
        converted
    }

    pub(super) fn string(&self, name: &str) -> Option<String> {
        self.typed(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A string that says something.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = self.string(name)?;
        if text.trim().is_empty() {
            self.wrong(name, "empty; write a text or leave the key out");
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.typed(name, "true or false", DeValue::as_bool)
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.typed(name, "an integer", integer)
    }

    /// A whole number from 0 up to `most`.
    pub(super) fn count(&self, name: &str, most: u64) -> Option<u64> {
        let number = self.integer(name)?;
        match u64::try_from(number) {
            Ok(number) if number <= most => Some(number),
            _ => {
                self.wrong(
                    name,
                    format!("{number} is out of range; allowed: 0 to {most}"),
                );
                None
            }
        }
    }

    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let text = self.typed(name, duration::ALLOWED, |value| {
            value.as_str().map(str::to_owned)
        })?;
        duration::parse(&text)
            .map_err(|message| self.wrong(name, message))
            .ok()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let allowed = || {
            words
                .iter()
                .map(|(word, _)| *word)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let node = self.get(name)?;
        let given = node.get_ref().as_str();
        let found = given.and_then(|given| words.iter().find(|(word, _)| *word == given));
        if found.is_none() {
            let given = given.map_or_else(
                || kind(node.get_ref()).to_owned(),
                |given| format!("\"{given}\""),
            );
            self.wrong(
                name,
                format!("{given} is not possible; allowed: {}", allowed()),
            );
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn array(&self, name: &str) -> Option<&'a DeArray<'a>> {
        self.typed(name, "a list", DeValue::as_array)
    }

    /// A list of strings, each with its place.
    pub(super) fn strings(&self, name: &str) -> Option<Vec<(String, Range<usize>)>> {
        let mut strings = Vec::new();
        for item in self.array(name)? {
            match item.get_ref().as_str() {
                Some(text) => strings.push((text.to_owned(), item.span())),
                None => self.wrong_at(
                    item.span(),
                    name,
                    format!("{} in a list of strings", kind(item.get_ref())),
                ),
            }
        }
        Some(strings)
    }

    /// A table inside this one.
    pub(super) fn table(&self, name: &str) -> Option<(Range<usize>, &'a DeTable<'a>)> {
        let table = self.typed(name, "a table", DeValue::as_table)?;
        Some((self.get(name)?.span(), table))
    }

    pub(super) fn problems(&self) -> &'a Problems<'a> {
        self.problems
    }
}

/// What a value is, for messages.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

/// The JSON form of a value. `None` for dates, infinite and too large numbers, which JSON lacks.
pub(super) fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(_) => Value::from(integer(value)?),
        DeValue::Float(number) => {
            let number: f64 = number.as_str().replace('_', "").parse().ok()?;
            Value::Number(serde_json::Number::from_f64(number)?)
        }
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| json(item.get_ref()))
                .collect::<Option<_>>()?,
        ),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, item)| Some((key.get_ref().to_string(), json(item.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}
