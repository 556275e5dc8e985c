//! The JSON Schema of a tool's arguments, from the type they are read into.
//!
//! The schema is plain JSON Schema 2020-12, the dialect that the protocol takes for granted, so the
//! schema does not name it; and it is always an object with `properties`, because clients pass it on
//! to models that insist on both.

use std::sync::LazyLock;

use outlast_core::RawJson;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The schema of `T`, as a tool's `inputSchema` or `outputSchema`.
pub(crate) fn of<T: JsonSchema>() -> Map<String, Value> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut object = match Value::from(schema) {
        Value::Object(object) => object,
        // `true`: anything goes.
        _ => Map::new(),
    };
    // The name of a Rust type says nothing to a model.
    object.remove("title");
    object.entry("type").or_insert_with(|| "object".into());
    object
        .entry("properties")
        .or_insert_with(|| Map::new().into());
    object
}

/// Checks arguments against what reading them into their type does not check: ranges, lengths,
/// patterns. `None` where the type says it all, which is the common case and costs nothing per call.
///
/// It is compiled for the first call that needs it: the compiler first compiles the schema of schemas,
/// which takes a good part of a start and of the memory of an idle server.
pub(crate) fn validator(schema: &Value) -> Option<Later> {
    says_more_than_its_types(schema).then(|| {
        let schema = schema.clone();
        let compile = move || jsonschema::draft202012::new(&schema).ok();
        LazyLock::new(Box::new(compile) as Box<_>)
    })
}

/// A validator that is compiled when it is looked at. `None` if the schema of a type is none, which
/// would be a mistake of whoever wrote the type's `JsonSchema`; then its types alone are checked.
pub(crate) type Later = LazyLock<
    Option<jsonschema::Validator>,
    Box<dyn FnOnce() -> Option<jsonschema::Validator> + Send>,
>;

/// Keywords that serde knows nothing of.
const BEYOND_TYPES: [&str; 10] = [
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "multipleOf",
    "exclusiveMinimum",
    "exclusiveMaximum",
];

fn says_more_than_its_types(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            // A whole number's own bounds come with its format.
            let own_bounds = object
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.starts_with("int") || format.starts_with("uint"));
            let bounded = object.contains_key("maximum") || object.contains_key("minimum");
            (bounded && !(own_bounds && only_own_bounds(object)))
                || BEYOND_TYPES.iter().any(|key| object.contains_key(*key))
                || object.values().any(says_more_than_its_types)
        }
        Value::Array(items) => items.iter().any(says_more_than_its_types),
        _ => false,
    }
}

/// Whether `minimum` and `maximum` are those that come with the number's format.
fn only_own_bounds(object: &Map<String, Value>) -> bool {
    let format = object
        .get("format")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (low, high): (Option<i64>, Option<i64>) = match format {
        "uint8" => (Some(0), Some(255)),
        "uint16" => (Some(0), Some(65_535)),
        "int8" => (Some(-128), Some(127)),
        "int16" => (Some(-32_768), Some(32_767)),
        _ if format.starts_with("uint") => (Some(0), None),
        _ => (None, None),
    };
    let bound = |key: &str| object.get(key).map(Value::as_i64);
    bound("minimum").is_none_or(|found| found == low)
        && bound("maximum").is_none_or(|found| high.is_some() && found == high)
}

/// A field of an object, as a form needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) required: bool,
    /// The values of an enum.
    pub(crate) choices: Vec<String>,
}

/// The fields of an object with this schema; those in `order` first and in that order.
pub(crate) fn fields(schema: &Map<String, Value>, order: &[&str]) -> Vec<Field> {
    let Some(Value::Object(properties)) = schema.get("properties") else {
        return Vec::new();
    };
    let names = in_order(properties, order).map(|(name, _)| name);
    let required = |name: &String| {
        let list = schema.get("required").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|known| known == name))
    };
    let field = |name: &String| {
        let property = &properties[name];
        let description = property.get("description").and_then(Value::as_str);
        Field {
            name: name.clone(),
            description: description.map(str::to_owned),
            required: required(name),
            choices: choices(property, schema),
        }
    };
    names.map(field).collect()
}

/// Those in `order` first and in that order, then the others by name.
fn in_order<'m>(
    properties: &'m Map<String, Value>,
    order: &[&str],
) -> impl Iterator<Item = (&'m String, &'m Value)> + use<'m> {
    let place = |name: &String| order.iter().position(|known| known == name);
    let mut members: Vec<_> = properties.iter().collect();
    members.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    members.into_iter()
}

/// The texts that a value of this schema may be, if they are few and known.
fn choices(property: &Value, root: &Map<String, Value>) -> Vec<String> {
    let texts = |list: &[Value]| -> Vec<String> {
        let texts = list.iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    if let Some(name) = property.get("$ref").and_then(Value::as_str) {
        let defined = name.strip_prefix("#/$defs/");
        let defined = defined.and_then(|name| root.get("$defs")?.get(name));
        return defined.map_or_else(Vec::new, |defined| choices(defined, root));
    }
    if let Some(Value::Array(list)) = property.get("enum") {
        return texts(list);
    }
    if let Some(text) = property.get("const").and_then(Value::as_str) {
        return vec![text.to_owned()];
    }
    let variants = property.get("oneOf").or_else(|| property.get("anyOf"));
    let variants = variants.and_then(Value::as_array);
    let variants = variants.into_iter().flatten();
    variants
        .flat_map(|variant| choices(variant, root))
        .collect()
}

/// The schema as it is sent. Its properties stand in this order, that of their declaration: whoever makes a
/// form of them shows them so, and a tree of JSON would have them by name.
pub(crate) fn raw(schema: &Map<String, Value>, order: &[&str]) -> RawJson {
    let text = object(schema.iter().map(|(key, value)| match value {
        Value::Object(properties) if key == "properties" => {
            let members = in_order(properties, order);
            (
                key,
                object(members.map(|(name, one)| (name, one.to_string()))),
            )
        }
        value => (key, value.to_string()),
    }));
    RawJson::parse(&text).expect("it is put together of JSON")
}

fn object<'m>(members: impl Iterator<Item = (&'m String, String)>) -> String {
    let members = members.map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Plain {
        /// How many.
        n: u32,
        small: u8,
        word: Option<String>,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Ranged {
        #[schemars(range(min = 1, max = 10))]
        n: u32,
    }

    #[test]
    fn one_property_an_argument() {
        let schema = Value::from(of::<Plain>());
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["properties"]["n"]["description"], "How many.");
        assert_eq!(schema["required"], json!(["n", "small"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema.get("title"), None);
        assert_eq!(schema.get("$schema"), None);
    }

    #[test]
    fn properties_are_sent_as_they_are_declared() {
        let schema = of::<Plain>();
        let raw = raw(&schema, &["word", "small", "n", "gone"]);
        assert_eq!(raw.to_value(), Value::Object(schema));
        let place = |name: &str| raw.as_str().find(&format!("\"{name}\":{{"));
        assert!(
            place("word") < place("small") && place("small") < place("n"),
            "{raw:?}"
        );
    }

    #[test]
    fn only_what_serde_does_not_check_is_checked() {
        assert!(validator(&Value::from(of::<Plain>())).is_none());
        let validator = validator(&Value::from(of::<Ranged>())).unwrap();
        let validator = validator.as_ref().unwrap();
        assert!(validator.is_valid(&json!({"n": 10})));
        assert!(!validator.is_valid(&json!({"n": 11})));
    }
}
