//! What the newer era repeats in HTTP headers (2026-07-28 Streamable HTTP, "Request Headers"): the
//! method, what the request is about, and the arguments a tool marked with `x-mcp-header`.

use std::collections::HashSet;

use base64::Engine as _;
use outlast_core::RawJson;
use serde_json::Value;

/// The text of a header value: as it is where that is safe, else in the Base64 form.
pub(super) fn value(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
        && text.trim() == text
        && !text.is_empty()
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if plain {
        return text.to_owned();
    }
    format!(
        "=?base64?{}?=",
        base64::engine::general_purpose::STANDARD.encode(text)
    )
}

/// An argument that is repeated in a header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mirrored {
    path: Vec<String>,
    header: String,
}

/// The arguments of a tool that are repeated in headers.
///
/// # Errors
/// The schema marks what may not be marked; the tool must not be used over HTTP. The text says why.
pub(super) fn mirrored(schema: &RawJson) -> Result<Vec<Mirrored>, String> {
    if !schema.as_str().contains("x-mcp-header") {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    walk(&schema.to_value(), &mut Vec::new(), true, &mut found)?;
    let mut seen = HashSet::new();
    for one in &found {
        if !seen.insert(one.header.to_ascii_lowercase()) {
            return Err(format!(
                "the header {:?} is used for two arguments",
                one.header
            ));
        }
    }
    Ok(found)
}

/// Goes through a schema. `reachable` is whether only `properties` led here.
fn walk(
    schema: &Value,
    path: &mut Vec<String>,
    reachable: bool,
    found: &mut Vec<Mirrored>,
) -> Result<(), String> {
    match schema {
        Value::Object(members) => {
            if let Some(header) = members.get("x-mcp-header") {
                let header = header.as_str().unwrap_or_default();
                let name = path.join(".");
                if !reachable || path.is_empty() {
                    return Err(format!(
                        "x-mcp-header {header:?} stands where no argument is"
                    ));
                }
                if header.is_empty() || !header.bytes().all(is_token) {
                    return Err(format!("argument {name}: {header:?} is no header name"));
                }
                let kind = members.get("type").and_then(Value::as_str);
                if !matches!(kind, Some("string" | "integer" | "boolean")) {
                    return Err(format!(
                        "argument {name}: only strings, integers and booleans may be headers"
                    ));
                }
                found.push(Mirrored {
                    path: path.clone(),
                    header: format!("Mcp-Param-{header}"),
                });
            }
            for (key, member) in members {
                match (key.as_str(), member) {
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties {
                            path.push(name.clone());
                            walk(property, path, reachable, found)?;
                            path.pop();
                        }
                    }
                    // Examples and defaults are data, not schemas.
                    ("default" | "const" | "enum" | "examples", _) => {}
                    _ => walk(member, path, false, found)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| walk(item, path, false, found)),
        _ => Ok(()),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The headers for these arguments. An argument that is absent or null has none.
pub(super) fn of_arguments(mirrored: &[Mirrored], arguments: &RawJson) -> Vec<(String, String)> {
    if mirrored.is_empty() {
        return Vec::new();
    }
    let arguments = arguments.to_value();
    let one = |mirrored: &Mirrored| {
        let at = mirrored
            .path
            .iter()
            .try_fold(&arguments, |at, key| at.get(key))?;
        let text = match at {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return None,
        };
        Some((mirrored.header.clone(), value(&text)))
    };
    mirrored.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(value: Value) -> RawJson {
        value.into()
    }

    #[test]
    fn unsafe_values_are_encoded() {
        for (text, header) in [
            ("us-west 1", "us-west 1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", "=?base64??="),
        ] {
            assert_eq!(value(text), header);
        }
    }

    #[test]
    fn marked_arguments_become_headers() {
        let schema = raw(json!({"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
            "other":{"type":"string"}}}));
        let marked = mirrored(&schema).unwrap();
        let headers = of_arguments(
            &marked,
            &raw(json!({"region":"eu","deep":{"n":3},"other":"x"})),
        );
        assert_eq!(headers.len(), 2);
        assert!(headers.contains(&("Mcp-Param-Region".into(), "eu".into())));
        assert!(headers.contains(&("Mcp-Param-N".into(), "3".into())));
        assert!(of_arguments(&marked, &raw(json!({"region":null}))).is_empty());
    }

    #[test]
    fn wrong_marks_are_found() {
        let property = |schema: Value| raw(json!({"type":"object","properties":{"a":schema}}));
        for bad in [
            property(json!({"type":"number","x-mcp-header":"A"})),
            property(json!({"type":"string","x-mcp-header":""})),
            property(json!({"type":"string","x-mcp-header":"a b"})),
            property(json!({"type":"array","items":{"type":"string","x-mcp-header":"A"}})),
            raw(json!({"type":"object","properties":{
                "a":{"type":"string","x-mcp-header":"X"},"b":{"type":"string","x-mcp-header":"x"}}})),
        ] {
            assert!(mirrored(&bad).is_err(), "{bad:?}");
        }
    }
}
