//! What a call means that leaves arguments out: the values that the tool's schema gives as their defaults.
//!
//! A call that leaves out what another one says does the same work, so whoever tells calls apart by their
//! arguments (limits, rates, quotas, equal calls, idempotency keys) looks at both with the defaults filled in.
//! What is stored and shown stays as it was given.

use outlast_core::RawJson;
use serde_json::Value;

/// `arguments` with the defaults of what they leave out; `None` if that is nothing.
pub(crate) fn filled(arguments: &RawJson, schema: &RawJson) -> Option<RawJson> {
    if !schema.as_str().contains("\"default\"") {
        return None;
    }
    let (mut value, schema) = (arguments.to_value(), schema.to_value());
    fill(&mut value, &schema).then(|| value.into())
}

/// Whether anything was put in.
fn fill(value: &mut Value, schema: &Value) -> bool {
    let (Some(given), Some(properties)) = (value.as_object_mut(), schema["properties"].as_object())
    else {
        return false;
    };
    let mut changed = false;
    for (name, property) in properties {
        match given.get_mut(name) {
            Some(inner) => changed |= fill(inner, property),
            None => {
                if let Some(default) = property.get("default") {
                    given.insert(name.clone(), default.clone());
                    changed = true;
                }
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        let json = |text: &str| RawJson::parse(text).unwrap();
        let schema = json(
            r#"{"properties": {"a": {"default": 1}, "b": {},
                "c": {"properties": {"d": {"default": [2]}}}}}"#,
        );
        let filled = |text: &str| filled(&json(text), &schema).map(|filled| filled.to_value());
        assert_eq!(
            filled(r#"{"b": 0}"#),
            Some(serde_json::json!({"a": 1, "b": 0}))
        );
        assert_eq!(
            filled(r#"{"a": null, "c": {}}"#),
            Some(serde_json::json!({"a": null, "c": {"d": [2]}}))
        );
        assert_eq!(filled(r#"{"a": 1}"#), None);
        assert_eq!(filled("[]"), None);
        assert_eq!(super::filled(&json("{}"), &json("{}")), None);
    }
}
