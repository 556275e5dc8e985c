//! The arguments of a command tool: their types, their rules and their JSON Schema.
//!
//! The same [`Rules`] produce the schema that callers see and check the values that they send, so
//! that the two cannot differ. Lengths count characters and patterns are searched for, not anchored,
//! as in JSON Schema 2020-12.

use std::path::PathBuf;

use regex::Regex;
use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::resolve;
use super::section::{Node, Section, json as to_json, kind};

const TYPES: [(&str, Type); 5] = [
    ("string", Type::String),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("boolean", Type::Boolean),
    ("array", Type::Array),
];

/// The keys of an argument; those in front are rules, which a list has in `items`.
pub(super) const KEYS: [&str; 18] = [
    "type",
    "enum",
    "minimum",
    "maximum",
    "min_length",
    "max_length",
    "pattern",
    "format",
    "root",
    "title",
    "description",
    "default",
    "required",
    "allow_dash",
    "secret",
    "items",
    "min_items",
    "max_items",
];

/// How many of [`KEYS`] are rules.
const RULES: usize = 9;

/// Longest list or text a rule may speak of; beyond it a number is a mistake.
const MOST: u64 = 1 << 32;

/// The type of an argument or of a list's items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// Text.
    String,
    /// A whole number that fits 64 bits with a sign.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A list of one of the other types.
    Array,
}

impl Type {
    /// The word in the file and in the schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        TYPES
            .iter()
            .find(|(_, ty)| *ty == self)
            .map_or("string", |(word, _)| word)
    }
}

/// One typed argument of a command tool.
#[derive(Clone, Debug)]
pub struct Argument {
    /// The name in calls, placeholders and (in capitals) in a shell script's variables.
    pub name: String,
    /// A short name for people.
    pub title: Option<String>,
    /// What the argument means. Models read it.
    pub description: Option<String>,
    /// A call without this argument is refused.
    pub required: bool,
    /// The value where a call gives none.
    pub default: Option<Value>,
    /// Values may begin with `-`.
    pub allow_dash: bool,
    /// The value is sealed before it is stored, hidden wherever it would be told, and reaches the command
    /// by its environment alone.
    pub secret: bool,
    /// One value, or a list of them.
    pub shape: Shape,
}

/// One value or a list.
#[derive(Clone, Debug)]
pub enum Shape {
    /// One value that follows the rules.
    One(Rules),
    /// A list whose items each follow the rules.
    Many {
        /// The rules for each item.
        items: Rules,
        /// The fewest items.
        min_items: Option<u64>,
        /// The most items.
        max_items: Option<u64>,
    },
}

/// What a single value must look like.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Its type; never [`Type::Array`].
    pub ty: Type,
    /// The only possible values, if not empty.
    pub choices: Vec<Value>,
    /// Smallest number.
    pub minimum: Option<f64>,
    /// Largest number.
    pub maximum: Option<f64>,
    /// Fewest characters.
    pub min_length: Option<u64>,
    /// Most characters.
    pub max_length: Option<u64>,
    /// A regular expression that must occur in the text.
    pub pattern: Option<Regex>,
    /// The text is a path and must stay below this folder.
    pub root: Option<PathBuf>,
}

impl Argument {
    /// The rules of the value, or of each item of the list.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        match &self.shape {
            Shape::One(rules) | Shape::Many { items: rules, .. } => rules,
        }
    }

    /// Whether the argument takes a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.shape, Shape::Many { .. })
    }

    /// Checks a value against type and rules.
    ///
    /// # Errors
    /// One sentence without a subject: what the value is and what is allowed.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let (items, min_items, max_items) = match &self.shape {
            Shape::One(rules) => return rules.check(value),
            Shape::Many {
                items,
                min_items,
                max_items,
            } => (items, min_items, max_items),
        };
        let Value::Array(list) = value else {
            return Err(format!("must be an array, not {}", name_of(value)));
        };
        let length = list.len() as u64;
        if min_items.is_some_and(|least| length < least) {
            return Err(format!(
                "must have at least {} items",
                min_items.unwrap_or_default()
            ));
        }
        if max_items.is_some_and(|most| length > most) {
            return Err(format!(
                "must have at most {} items",
                max_items.unwrap_or_default()
            ));
        }
        for (index, item) in list.iter().enumerate() {
            items
                .check(item)
                .map_err(|message| format!("item {index} {message}"))?;
        }
        Ok(())
    }

    /// The argument's JSON Schema (2020-12).
    #[must_use]
    pub fn schema(&self) -> Value {
        let mut schema = match &self.shape {
            Shape::One(rules) => rules.schema(),
            Shape::Many {
                items,
                min_items,
                max_items,
            } => {
                let mut schema = Map::new();
                schema.insert("type".into(), "array".into());
                schema.insert("items".into(), items.schema().into());
                put(&mut schema, "minItems", *min_items);
                put(&mut schema, "maxItems", *max_items);
                schema
            }
        };
        put(&mut schema, "title", self.title.clone());
        put(&mut schema, "description", self.description.clone());
        put(&mut schema, "default", self.default.clone());
        put(&mut schema, "writeOnly", self.secret.then_some(true));
        schema.into()
    }
}

fn put(schema: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        schema.insert(key.to_owned(), value.into());
    }
}

impl Rules {
    fn schema(&self) -> Map<String, Value> {
        let mut schema = Map::new();
        schema.insert("type".into(), self.ty.as_str().into());
        if !self.choices.is_empty() {
            schema.insert("enum".into(), self.choices.clone().into());
        }
        put(
            &mut schema,
            "minimum",
            self.minimum.map(|number| self.number(number)),
        );
        put(
            &mut schema,
            "maximum",
            self.maximum.map(|number| self.number(number)),
        );
        put(&mut schema, "minLength", self.min_length);
        put(&mut schema, "maxLength", self.max_length);
        put(
            &mut schema,
            "pattern",
            self.pattern.as_ref().map(Regex::as_str),
        );
        schema
    }

    /// A bound in the form in which it was written: `1`, not `1.0`, where it is whole.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked just before"
    )]
    fn number(&self, number: f64) -> Value {
        if number.fract() == 0.0 && number.abs() < 9.0e15 {
            json!(number as i64)
        } else {
            json!(number)
        }
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        let fits = match self.ty {
            Type::String => value.is_string(),
            Type::Integer => whole(value).is_some(),
            Type::Number => value.is_number(),
            Type::Boolean => value.is_boolean(),
            Type::Array => value.is_array(),
        };
        if !fits {
            let article = if self.ty == Type::Integer { "an" } else { "a" };
            return Err(format!(
                "must be {article} {}, not {}",
                self.ty.as_str(),
                name_of(value)
            ));
        }
        if !self.choices.is_empty() && !self.is_choice(value) {
            let allowed = self
                .choices
                .iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            return Err(format!("must be one of {allowed}, not {value}"));
        }
        if let Some(number) = value.as_f64() {
            if let Some(least) = self.minimum.filter(|least| number < *least) {
                return Err(format!("must be at least {least}, not {number}"));
            }
            if let Some(most) = self.maximum.filter(|most| number > *most) {
                return Err(format!("must be at most {most}, not {number}"));
            }
        }
        if let Some(text) = value.as_str() {
            let length = text.chars().count() as u64;
            if let Some(least) = self.min_length.filter(|least| length < *least) {
                return Err(format!(
                    "must have at least {least} characters, not {length}"
                ));
            }
            if let Some(most) = self.max_length.filter(|most| length > *most) {
                return Err(format!("must have at most {most} characters, not {length}"));
            }
            if let Some(pattern) = self.pattern.as_ref().filter(|regex| !regex.is_match(text)) {
                return Err(format!("must match the pattern {}", pattern.as_str()));
            }
        }
        Ok(())
    }

    /// Whether the author of the file listed this very value.
    #[must_use]
    pub fn is_choice(&self, value: &Value) -> bool {
        self.choices
            .iter()
            .any(|choice| match (choice.as_f64(), value.as_f64()) {
                // 1 and 1.0 are the same number in JSON Schema.
                (Some(one), Some(other)) => one == other,
                _ => choice == value,
            })
    }
}

/// A JSON number without a fraction, as JSON Schema's `integer` understands it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the range is checked just before"
)]
pub(crate) fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64().filter(|_| !value.is_u64())?;
        (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(number as i64)
    })
}

/// What a JSON value is, for messages.
pub(crate) fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Reads `[tools.NAME.arguments.ARGUMENT]`. `folder` is what relative roots refer to.
pub(super) fn read(
    parent: &Section<'_>,
    name: &str,
    key_span: std::ops::Range<usize>,
    node: Node<'_>,
    folder: &std::path::Path,
) -> Option<Argument> {
    if !is_name(name) {
        let message = "not a name for an argument; allowed: letters, digits, _ and -, \
                       beginning with a letter, at most 64";
        parent.wrong_at(key_span.clone(), name, message);
    }
    let Some(table) = node.get_ref().as_table() else {
        let message = format!(
            "{} where a table is needed, for example {{ type = \"string\" }}",
            kind(node.get_ref())
        );
        parent.wrong_at(node.span(), name, message);
        return None;
    };
    let section = Section::open(parent.key(name), key_span, table, parent.problems(), &KEYS);

    let Some(ty) = section.choice("type", &TYPES) else {
        if !section.has("type") {
            section.wrong(
                "type",
                "missing; allowed: string, integer, number, boolean, array",
            );
        }
        return None;
    };
    let shape = if ty == Type::Array {
        for key in KEYS[..RULES]
            .iter()
            .filter(|key| **key != "type" && section.has(key))
        {
            section.wrong(
                key,
                format!("not for a list; write items = {{ type = …, {key} = … }}"),
            );
        }
        read_items(&section, folder)?
    } else {
        for key in ["items", "min_items", "max_items"] {
            if section.has(key) {
                section.wrong(key, "only for type = \"array\"");
            }
        }
        Shape::One(read_rules(&section, ty, folder))
    };

    let default = section
        .get("default")
        .and_then(|node| json_or_note(&section, "default", node));
    if section.has("default") && section.boolean("required") == Some(true) {
        section.wrong(
            "required",
            "true together with a default; leave one of the two out",
        );
    }
    let argument = Argument {
        name: name.to_owned(),
        title: section.text("title"),
        description: section.text("description"),
        required: section
            .boolean("required")
            .unwrap_or(!section.has("default")),
        default,
        allow_dash: section.boolean("allow_dash").unwrap_or(false),
        secret: section.boolean("secret").unwrap_or(false),
        shape,
    };
    if argument.secret && argument.default.is_some() {
        section.wrong("default", "not for a secret: it would stand in the file");
    }
    if argument.secret && argument.rules().ty == Type::Boolean {
        section.wrong("secret", "not for a boolean, which has two values to guess");
    }
    if argument.allow_dash && argument.rules().ty == Type::Boolean {
        section.wrong("allow_dash", "not for a boolean");
    }
    if let Some(default) = &argument.default
        && let Err(message) = argument.check(default)
    {
        section.wrong("default", format!("{default} {message}"));
    }
    Some(argument)
}

fn read_items(section: &Section<'_>, folder: &std::path::Path) -> Option<Shape> {
    let scalars = &TYPES[..4];
    let items = match section
        .get("items")
        .map(|node| (node.get_ref(), node.span()))
    {
        None => {
            section.wrong(
                "items",
                "missing; write the type of the items, for example \"string\"",
            );
            return None;
        }
        Some((DeValue::Table(table), span)) => {
            let inner = Section::open(
                section.key("items"),
                span,
                table,
                section.problems(),
                &KEYS[..RULES],
            );
            let ty = inner.choice("type", scalars);
            if ty.is_none() && !inner.has("type") {
                inner.wrong("type", "missing; allowed: string, integer, number, boolean");
            }
            read_rules(&inner, ty?, folder)
        }
        Some(_) => Rules::plain(section.choice("items", scalars)?),
    };
    let (min_items, max_items) = (
        section.count("min_items", MOST),
        section.count("max_items", MOST),
    );
    if min_items
        .zip(max_items)
        .is_some_and(|(least, most)| least > most)
    {
        section.wrong("min_items", "larger than max_items");
    }
    Some(Shape::Many {
        items,
        min_items,
        max_items,
    })
}

impl Rules {
    fn plain(ty: Type) -> Self {
        Self {
            ty,
            choices: Vec::new(),
            minimum: None,
            maximum: None,
            min_length: None,
            max_length: None,
            pattern: None,
            root: None,
        }
    }
}

fn read_rules(section: &Section<'_>, ty: Type, folder: &std::path::Path) -> Rules {
    let only_for = |keys: &[&str], types: &[Type], word: &str| {
        for key in keys
            .iter()
            .filter(|key| section.has(key) && !types.contains(&ty))
        {
            section.wrong(
                key,
                format!("only for {word}, not for type = \"{}\"", ty.as_str()),
            );
        }
    };
    only_for(
        &["minimum", "maximum"],
        &[Type::Integer, Type::Number],
        "numbers",
    );
    only_for(
        &["min_length", "max_length", "pattern", "format", "root"],
        &[Type::String],
        "strings",
    );
    only_for(
        &["enum"],
        &[Type::String, Type::Integer, Type::Number],
        "strings and numbers",
    );

    let mut rules = Rules {
        minimum: number(section, "minimum"),
        maximum: number(section, "maximum"),
        min_length: section.count("min_length", MOST),
        max_length: section.count("max_length", MOST),
        pattern: section.string("pattern").and_then(|pattern| {
            Regex::new(&pattern)
                .map_err(|error| section.wrong("pattern", regex_message(&error)))
                .ok()
        }),
        root: read_root(section, folder),
        ..Rules::plain(ty)
    };
    if rules
        .minimum
        .zip(rules.maximum)
        .is_some_and(|(least, most)| least > most)
    {
        section.wrong("minimum", "larger than maximum");
    }
    if rules
        .min_length
        .zip(rules.max_length)
        .is_some_and(|(least, most)| least > most)
    {
        section.wrong("min_length", "larger than max_length");
    }
    if let Some(list) = section.array("enum") {
        if list.is_empty() {
            section.wrong("enum", "empty; list the possible values");
        }
        let mut choices = Vec::new();
        for node in list {
            let Some(choice) = json_or_note(section, "enum", node) else {
                continue;
            };
            if let Err(message) = rules.check(&choice) {
                section.wrong_at(node.span(), "enum", format!("{choice} {message}"));
            }
            choices.push(choice);
        }
        rules.choices = choices;
    }
    rules
}

/// `format = "path"` with its `root`; without one the root is the folder of the file.
fn read_root(section: &Section<'_>, folder: &std::path::Path) -> Option<PathBuf> {
    let is_path = section.choice("format", &[("path", ())]).is_some();
    let root = section.text("root");
    if root.is_some() && !section.has("format") {
        section.wrong("root", "only together with format = \"path\"");
    }
    is_path.then(|| root.map_or_else(|| folder.to_owned(), |root| resolve(folder, &root)))
}

fn number(section: &Section<'_>, key: &str) -> Option<f64> {
    let value = json_or_note(section, key, section.get(key)?)?;
    if value.as_f64().is_none() {
        section.wrong(key, format!("{} where a number is needed", name_of(&value)));
    }
    value.as_f64()
}

fn json_or_note(section: &Section<'_>, key: &str, node: Node<'_>) -> Option<Value> {
    let value = to_json(node.get_ref());
    if value.is_none() {
        let message = format!("{} that JSON cannot express", kind(node.get_ref()));
        section.wrong_at(node.span(), key, message);
    }
    value
}

/// The last line of a regex error: the earlier ones draw the pattern over several lines.
pub(super) fn regex_message(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    format!(
        "not a valid regular expression: {}",
        last.trim_start_matches("error: ")
    )
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}
