//! Arguments of a tool from words of a shell: `key=value`, converted as the tool's schema says, and
//! `key:=json` for anything.
//!
//! The schema decides what a text becomes, never its looks: `zip=01234` is a string for a tool that
//! wants a string. A key that is given several times makes an array. What does not fit is refused
//! here, with the argument's name, and nothing is sent.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

/// The arguments of a call.
///
/// # Errors
/// A word is no argument, is unknown to the tool, or does not fit; or a required one is missing.
pub(crate) fn from_words(
    schema: &Value,
    base: Map<String, Value>,
    words: &[String],
) -> Result<Value, String> {
    let mut arguments = base;
    let mut repeated = BTreeSet::new();
    for word in words {
        let (key, value) = one(schema, word)?;
        match arguments.get_mut(&key) {
            Some(Value::Array(items)) if repeated.contains(&key) => match value {
                Value::Array(more) => items.extend(more),
                value => items.push(value),
            },
            Some(_) if repeated.contains(&key) => {
                return Err(format!("argument {key:?} is given twice and is no array"));
            }
            _ => {
                arguments.insert(key.clone(), value);
            }
        }
        repeated.insert(key);
    }
    let known = schema.get("properties").and_then(Value::as_object);
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        for key in arguments.keys() {
            if !known.is_some_and(|known| known.contains_key(key)) {
                return Err(unknown(key, known));
            }
        }
    }
    let required = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let missing: Vec<_> = required
        .filter_map(Value::as_str)
        .filter(|key| !arguments.contains_key(*key))
        .collect();
    if !missing.is_empty() {
        return Err(format!("missing: {}", missing.join(", ")));
    }
    Ok(Value::Object(arguments))
}

fn one(schema: &Value, word: &str) -> Result<(String, Value), String> {
    let (key, text) = word
        .split_once('=')
        .ok_or_else(|| format!("{word:?} is no argument: write key=value, or key:=JSON"))?;
    if let Some(key) = key.strip_suffix(':') {
        let value = serde_json::from_str(text)
            .map_err(|error| format!("argument {key:?}: {text:?} is not JSON: {error}"))?;
        return Ok((key.to_owned(), value));
    }
    if key.is_empty() {
        return Err(format!("{word:?} has no name before the \"=\""));
    }
    let known = schema.get("properties").and_then(Value::as_object);
    let property = known.and_then(|known| known.get(key));
    let value = match property {
        Some(property) => convert(schema, property, text)
            .map_err(|expected| format!("argument {key:?}: {text:?} is not {expected}"))?,
        None if schema.get("additionalProperties") == Some(&Value::Bool(false)) => {
            return Err(unknown(key, known));
        }
        None => Value::String(text.to_owned()),
    };
    Ok((key.to_owned(), value))
}

fn unknown(key: &str, known: Option<&Map<String, Value>>) -> String {
    let names: Vec<_> = known
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    if names.is_empty() {
        return format!("the tool takes no arguments, and so no {key:?}");
    }
    format!(
        "the tool has no argument {key:?}; it takes {}",
        names.join(", ")
    )
}

/// The value a text stands for.
///
/// # Errors
/// It does not fit; the text is what would: "an integer".
pub(crate) fn convert(root: &Value, schema: &Value, text: &str) -> Result<Value, String> {
    let schema = resolve(root, schema);
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        let spelled = |value: &Value| match value {
            Value::String(value) => value.clone(),
            other => other.to_string(),
        };
        let found = allowed.iter().find(|value| spelled(value) == text);
        return found.cloned().ok_or_else(|| {
            format!(
                "one of {}",
                allowed.iter().map(spelled).collect::<Vec<_>>().join(", ")
            )
        });
    }
    if let Some(only) = schema.get("const") {
        let spelled = only
            .as_str()
            .map_or_else(|| only.to_string(), str::to_owned);
        return if spelled == text {
            Ok(only.clone())
        } else {
            Err(spelled)
        };
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            // Strings last: they take everything.
            let mut expected = Vec::new();
            let (strings, others): (Vec<_>, Vec<_>) = choices
                .iter()
                .partition(|choice| types(resolve(root, choice)).contains(&"string"));
            for choice in others.into_iter().chain(strings) {
                match convert(root, choice, text) {
                    Ok(value) => return Ok(value),
                    Err(what) => expected.push(what),
                }
            }
            return Err(expected.join(" or "));
        }
    }
    let types = types(schema);
    if types.is_empty() {
        return Ok(Value::String(text.to_owned()));
    }
    let mut expected = Vec::new();
    for kind in [
        "null", "boolean", "integer", "number", "array", "object", "string",
    ] {
        if types.contains(&kind) {
            match as_type(root, schema, kind, text) {
                Ok(value) => return Ok(value),
                Err(what) => expected.push(what),
            }
        }
    }
    Err(expected.join(" or "))
}

fn as_type(root: &Value, schema: &Value, kind: &str, text: &str) -> Result<Value, String> {
    match kind {
        "null" if text == "null" => Ok(Value::Null),
        "null" => Err("null".to_owned()),
        "boolean" => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("true or false".to_owned()),
        },
        "integer" => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) => Ok(number.into()),
            (_, Ok(number)) => Ok(number.into()),
            _ => Err("an integer".to_owned()),
        },
        "number" => {
            // A whole number stays one: 3, not 3.0.
            let whole = text.parse::<i64>().map(Number::from).ok();
            let number = whole.or_else(|| text.parse().ok().and_then(Number::from_f64));
            number
                .map(Value::Number)
                .ok_or_else(|| "a number".to_owned())
        }
        "array" => {
            if text.trim_start().starts_with('[')
                && let Ok(items @ Value::Array(_)) = serde_json::from_str(text)
            {
                return Ok(items);
            }
            let items = schema.get("items").unwrap_or(&Value::Null);
            let item =
                convert(root, items, text).map_err(|what| format!("{what} (of the array)"))?;
            Ok(Value::Array(vec![item]))
        }
        "object" => match serde_json::from_str(text) {
            Ok(object @ Value::Object(_)) => Ok(object),
            _ => Err("a JSON object".to_owned()),
        },
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Follows references within the schema. One that leads nowhere, or in a circle, says nothing.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut at = schema;
    for _ in 0..16 {
        let Some(pointer) = at
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| path.strip_prefix('#'))
        else {
            return at;
        };
        at = root.pointer(pointer).unwrap_or(&Value::Null);
    }
    &Value::Null
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "n": {"type": "integer"},
                "x": {"type": "number"},
                "flag": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "sizes": {"type": "array", "items": {"type": "integer"}},
                "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "either": {"type": ["string", "integer"]},
                "mode": {"$ref": "#/$defs/Mode"},
                "deep": {"type": "object"},
                "any": {},
            },
            "$defs": {"Mode": {"enum": ["fast", "slow", 3]}},
            "additionalProperties": false,
        })
    }

    fn read(words: &[&str]) -> Result<Value, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        from_words(&schema(), Map::new(), &words)
    }

    #[test]
    fn the_schema_decides() {
        for (word, value) in [
            ("name=01234", json!({"name": "01234"})),
            ("name=", json!({"name": ""})),
            ("name=a=b", json!({"name": "a=b"})),
            ("n=-3", json!({"n": -3})),
            (
                "n=18446744073709551615",
                json!({"n": 18_446_744_073_709_551_615_u64}),
            ),
            ("x=3", json!({"x": 3})),
            ("x=0.5", json!({"x": 0.5})),
            ("flag=false", json!({"flag": false})),
            ("tags=a,b", json!({"tags": ["a,b"]})),
            (r#"tags=["a","b"]"#, json!({"tags": ["a", "b"]})),
            ("sizes=4", json!({"sizes": [4]})),
            ("maybe=null", json!({"maybe": null})),
            ("maybe=7", json!({"maybe": 7})),
            ("either=7", json!({"either": 7})),
            ("either=seven", json!({"either": "seven"})),
            ("mode=slow", json!({"mode": "slow"})),
            ("mode=3", json!({"mode": 3})),
            (r#"deep={"a":1}"#, json!({"deep": {"a": 1}})),
            ("any=3", json!({"any": "3"})),
            ("any:=3", json!({"any": 3})),
            ("name:=3", json!({"name": 3})),
        ] {
            assert_eq!(read(&[word]), Ok(value), "{word}");
        }
    }

    #[test]
    fn repeated_keys_make_arrays() {
        assert_eq!(read(&["tags=a", "tags=b"]), Ok(json!({"tags": ["a", "b"]})));
        assert_eq!(
            read(&["sizes=1", "sizes=[2,3]"]),
            Ok(json!({"sizes": [1, 2, 3]}))
        );
        assert!(read(&["n=1", "n=2"]).unwrap_err().contains("twice"));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (word, part) in [
            ("n=1.5", r#"argument "n": "1.5" is not an integer"#),
            ("x=nan", "not a number"),
            ("flag=yes", "true or false"),
            ("mode=medium", "one of fast, slow, 3"),
            ("maybe=x", "an integer or null"),
            ("deep=x", "a JSON object"),
            ("sizes=x", "an integer (of the array)"),
            ("nam=x", r#"no argument "nam"; it takes"#),
            ("any:={", "is not JSON"),
            ("word", "key=value"),
            ("=x", "no name"),
        ] {
            let error = read(&[word]).unwrap_err();
            assert!(error.contains(part), "{word}: {error}");
        }
    }

    #[test]
    fn the_base_is_overridden_and_checked() {
        let base = || json!({"n": 1, "flag": true}).as_object().unwrap().clone();
        let merged = from_words(&schema(), base(), &["n=2".to_owned()]);
        assert_eq!(merged, Ok(json!({"n": 2, "flag": true})));
        let mut required = schema();
        required["required"] = json!(["n", "name"]);
        assert_eq!(
            from_words(&required, base(), &[]),
            Err("missing: name".to_owned())
        );
        let wrong = json!({"other": 1}).as_object().unwrap().clone();
        assert!(
            from_words(&schema(), wrong, &[])
                .unwrap_err()
                .contains("other")
        );
    }

    #[test]
    fn references_that_go_round_say_nothing() {
        let schema = json!({"properties": {"a": {"$ref": "#/properties/a"}}});
        assert_eq!(
            from_words(&schema, Map::new(), &["a=1".into()]),
            Ok(json!({"a": "1"}))
        );
    }
}
