//! Which parts of a tool's arguments are secret, read from its JSON Schema.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How deep a schema is followed; one that refers to itself goes on for ever.
const DEPTH: usize = 16;

/// The secret parts of a value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fields {
    secret: bool,
    members: BTreeMap<String, Fields>,
    /// Of every item, or of every member that is not named.
    others: Option<Box<Fields>>,
}

impl Fields {
    /// The secret parts of what fits this schema; `None` if there is none.
    pub(crate) fn of(schema: &Value) -> Option<Self> {
        let mut fields = Self::default();
        fields.read(schema, schema, DEPTH);
        (!fields.is_empty()).then_some(fields)
    }

    fn is_empty(&self) -> bool {
        !self.secret && self.others.is_none() && self.members.values().all(Fields::is_empty)
    }

    fn read(&mut self, schema: &Value, root: &Value, depth: usize) {
        let (Some(schema), Some(depth)) = (schema.as_object(), depth.checked_sub(1)) else {
            return;
        };
        let is = |key: &str, value: Value| schema.get(key) == Some(&value);
        self.secret |= is("writeOnly", true.into()) || is("format", "password".into());
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str)
            && let Some(target) = reference.strip_prefix('#').and_then(|at| root.pointer(at))
        {
            self.read(target, root, depth);
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for one in schema
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                self.read(one, root, depth);
            }
        }
        for (name, member) in object(schema, "properties").into_iter().flatten() {
            let mut fields = self.members.remove(name).unwrap_or_default();
            fields.read(member, root, depth);
            if !fields.is_empty() {
                self.members.insert(name.clone(), fields);
            }
        }
        for key in ["items", "additionalProperties"] {
            let mut fields = self
                .others
                .take()
                .map_or_else(Self::default, |fields| *fields);
            fields.read(schema.get(key).unwrap_or(&Value::Null), root, depth);
            self.others = (!fields.is_empty()).then(|| Box::new(fields));
        }
    }

    /// Takes the secrets out of `value`, each with its JSON pointer, and puts `instead` in their place.
    pub(crate) fn take(&self, value: &mut Value, instead: &str) -> Vec<(String, Value)> {
        let mut taken = Vec::new();
        self.take_at(String::new(), value, instead, &mut taken);
        taken
    }

    fn take_at(
        &self,
        at: String,
        value: &mut Value,
        instead: &str,
        taken: &mut Vec<(String, Value)>,
    ) {
        if self.secret && !value.is_null() {
            taken.push((at, std::mem::replace(value, instead.into())));
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let fields = self.members.get(name).or(self.others.as_deref());
                    if let Some(fields) = fields {
                        let name = name.replace('~', "~0").replace('/', "~1");
                        fields.take_at(format!("{at}/{name}"), member, instead, taken);
                    }
                }
            }
            Value::Array(items) => {
                let Some(fields) = self.others.as_deref() else {
                    return;
                };
                for (index, item) in items.iter_mut().enumerate() {
                    fields.take_at(format!("{at}/{index}"), item, instead, taken);
                }
            }
            _ => {}
        }
    }
}

fn object<'a>(schema: &'a Map<String, Value>, key: &str) -> Option<&'a Map<String, Value>> {
    schema.get(key).and_then(Value::as_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_found_wherever_the_schema_has_them() {
        let schema = json!({
            "type": "object",
            "properties": {
                "user": {"type": "string"},
                "password": {"type": "string", "format": "password"},
                "logins": {"type": "array", "items": {"$ref": "#/$defs/Login"}},
                "maybe": {"anyOf": [{"type": "null"}, {"type": "integer", "writeOnly": true}]},
                "headers": {"additionalProperties": {"writeOnly": true}},
            },
            "$defs": {"Login": {"properties": {
                "pin/code": {"writeOnly": true}, "next": {"$ref": "#/$defs/Login"}}}},
        });
        let fields = Fields::of(&schema).unwrap();
        let mut value = json!({
            "user": "u", "password": "p", "maybe": 7, "headers": {"a": "b"},
            "logins": [{"pin/code": [1], "next": {"pin/code": 2}}, {"pin/code": null}],
        });
        let mut taken = fields.take(&mut value, "x");
        taken.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            Value::from_iter(
                taken
                    .iter()
                    .map(|(at, secret)| (at.clone(), secret.clone()))
            ),
            json!({"/headers/a": "b", "/logins/0/next/pin~1code": 2, "/logins/0/pin~1code": [1],
                "/maybe": 7, "/password": "p"})
        );
        assert_eq!(
            value,
            json!({"user": "u", "password": "x", "maybe": "x", "headers": {"a": "x"},
                "logins": [{"pin/code": "x", "next": {"pin/code": "x"}}, {"pin/code": null}]})
        );
        assert_eq!(
            Fields::of(&json!({"properties": {"a": {"type": "string"}}})),
            None
        );
    }
}
