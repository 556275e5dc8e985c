//! Putting one entry into a file that belongs to somebody else, or taking it out: everything else stays as it
//! is, comments, order and white space included.
//!
//! A file that cannot be read is left alone. Members of the entry that somebody added stay, except those that
//! say how the server is reached.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table, TableLike};

use super::clients::{Format, Known, TRANSPORT};

/// The text with the entry in it.
///
/// # Errors
/// The text cannot be read, or something else stands where the entry belongs.
pub(crate) fn put(known: &Known, text: &str, name: &str, entry: &Value) -> Result<String, String> {
    match known.format {
        Format::Json => put_json(known.servers, text, name, entry),
        Format::Toml => put_toml(known.servers, text, name, entry),
    }
}

/// The text without the entry; `None` if there is none.
///
/// # Errors
/// The text cannot be read.
pub(crate) fn remove(known: &Known, text: &str, name: &str) -> Result<Option<String>, String> {
    match known.format {
        Format::Json => {
            let root = parse_json(text)?;
            let servers = root
                .object_value()
                .and_then(|top| top.object_value(known.servers));
            let Some(entry) = servers.and_then(|servers| servers.get(name)) else {
                return Ok(None);
            };
            entry.remove();
            Ok(Some(root.to_string()))
        }
        Format::Toml => {
            let mut document = parse_toml(text)?;
            let servers = document
                .get_mut(known.servers)
                .and_then(Item::as_table_like_mut);
            let removed = servers.and_then(|servers| servers.remove(name));
            Ok(removed.map(|_| document.to_string()))
        }
    }
}

/// The servers that the client has, as JSON.
///
/// # Errors
/// The text cannot be read.
pub(crate) fn entries(known: &Known, text: &str) -> Result<Vec<(String, Value)>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let all = match known.format {
        Format::Json => jsonc_parser::parse_to_serde_value::<Value>(text, &ParseOptions::default())
            .map_err(|error| format!("not JSON: {error}"))?,
        Format::Toml => toml::from_str(text).map_err(|error| format!("not TOML: {error}"))?,
    };
    let servers = all[known.servers].as_object();
    let servers = servers.into_iter().flatten();
    Ok(servers
        .map(|(name, entry)| (name.clone(), entry.clone()))
        .collect())
}

fn parse_json(text: &str) -> Result<CstRootNode, String> {
    let root = CstRootNode::parse(text, &ParseOptions::default());
    let root = root.map_err(|error| format!("not JSON: {error}"))?;
    if root.value().is_some() && root.object_value().is_none() {
        return Err("not a JSON object".to_owned());
    }
    Ok(root)
}

fn put_json(servers: &str, text: &str, name: &str, entry: &Value) -> Result<String, String> {
    let occupied = |what: &str| format!("{what:?} is there and is no object");
    let fresh = text.trim().is_empty();
    let root = parse_json(if fresh { "{}" } else { text })?;
    let top = root.object_value_or_set();
    let all = top.object_value_or_create(servers);
    let all = all.ok_or_else(|| occupied(servers))?;
    let own = all.object_value_or_create(name);
    let own = own.ok_or_else(|| occupied(name))?;
    for member in TRANSPORT {
        if entry.get(member).is_none()
            && let Some(old) = own.get(member)
        {
            old.remove();
        }
    }
    for (member, value) in members(entry) {
        set(&own, member, value);
    }
    let mut text = root.to_string();
    if fresh {
        text.push('\n');
    }
    Ok(text)
}

/// The members of an entry in the order in which people write them.
fn members(entry: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let member = |name| Some((name, entry.get(name)?));
    TRANSPORT.into_iter().filter_map(member)
}

fn set(object: &CstObject, member: &str, value: &Value) {
    match object.get(member) {
        Some(there)
            if there
                .value()
                .is_some_and(|old| old.to_serde_value().as_ref() == Some(value)) => {}
        Some(there) => there.set_value(input(value)),
        None => {
            object.append(member, input(value));
        }
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            let members = members.iter();
            CstInputValue::Object(
                members
                    .map(|(key, value)| (key.clone(), input(value)))
                    .collect(),
            )
        }
    }
}

fn parse_toml(text: &str) -> Result<DocumentMut, String> {
    text.parse()
        .map_err(|error: toml_edit::TomlError| format!("not TOML: {}", error.message()))
}

fn put_toml(servers: &str, text: &str, name: &str, entry: &Value) -> Result<String, String> {
    let mut document = parse_toml(text)?;
    if document.is_empty() && !text.is_empty() {
        // Comments alone belong to nothing, and would come after what is put in.
        let gap = if text.ends_with('\n') { "" } else { "\n" };
        let alone = put_toml(servers, "", name, entry)?;
        return Ok(format!("{text}{gap}{alone}"));
    }
    let all = document.entry(servers).or_insert_with(|| {
        let mut table = Table::new();
        // Its tables have headers of their own.
        table.set_implicit(true);
        Item::Table(table)
    });
    let occupied = |what: &str| format!("{what:?} is there and is no table");
    let all = all.as_table_like_mut().ok_or_else(|| occupied(servers))?;
    let own = all.entry(name).or_insert_with(toml_edit::table);
    let own: &mut dyn TableLike = own.as_table_like_mut().ok_or_else(|| occupied(name))?;
    for member in TRANSPORT {
        if entry.get(member).is_none() {
            own.remove(member);
        }
    }
    for (member, value) in members(entry) {
        let value = match value {
            Value::String(text) => toml_edit::Value::from(text.as_str()),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            other => toml_edit::Value::from(other.to_string()),
        };
        own.insert(member, Item::Value(value));
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::clients::find;
    use super::*;

    fn of(known: &Known, text: &str, name: &str) -> Value {
        let all = entries(known, text).unwrap();
        let found = all.into_iter().find(|(there, _)| there == name);
        found.map_or(Value::Null, |(_, entry)| entry)
    }

    #[test]
    fn what_else_is_in_a_file_stays() {
        let zed = find("zed").unwrap();
        let text = "// mine\n{\n  \"theme\": \"One\", // the best\n  \"context_servers\": {\n    \"other\": {\"command\": \"x\"},\n  },\n}\n";
        let entry = json!({"command": "/o", "args": ["serve"]});
        let put_in = put(&zed, text, "jobs", &entry).unwrap();
        for kept in [
            "// mine",
            "\"theme\": \"One\", // the best",
            "\"other\": {\"command\": \"x\"}",
        ] {
            assert!(put_in.contains(kept), "{put_in}");
        }
        assert_eq!(of(&zed, &put_in, "jobs"), entry);
        assert_eq!(
            put(&zed, &put_in, "jobs", &entry).unwrap(),
            put_in,
            "twice is once"
        );
        let out = remove(&zed, &put_in, "jobs").unwrap().unwrap();
        assert_eq!(entries(&zed, &out).unwrap().len(), 1, "{out}");
        assert!(
            out.contains("// mine") && out.contains("// the best"),
            "{out}"
        );
        assert_eq!(remove(&zed, &out, "jobs").unwrap(), None);
    }

    #[test]
    fn another_way_takes_the_place_of_the_first_and_what_was_added_stays() {
        let cursor = find("cursor").unwrap();
        let text = r#"{"mcpServers": {"jobs": {"command": "/o", "args": [], "disabled": true}}}"#;
        let put_in = put(&cursor, text, "jobs", &json!({"url": "http://a/mcp"})).unwrap();
        assert_eq!(
            entries(&cursor, &put_in).unwrap(),
            [(
                "jobs".into(),
                json!({"url": "http://a/mcp", "disabled": true})
            )]
        );
        let empty = put(&cursor, "", "jobs", &json!({"url": "u"})).unwrap();
        assert_eq!(entries(&cursor, &empty).unwrap().len(), 1, "{empty}");
    }

    #[test]
    fn toml_keeps_comments_and_order() {
        let codex = find("codex").unwrap();
        let text = "# mine\nmodel = \"o\" # this one\n\n[mcp_servers.other]\ncommand = \"x\"\n";
        let entry = json!({"command": "/o", "args": ["serve", "--stdio"]});
        let put_in = put(&codex, text, "jobs", &entry).unwrap();
        assert!(put_in.starts_with(text), "{put_in}");
        assert!(put_in.contains("[mcp_servers.jobs]"), "{put_in}");
        assert_eq!(put(&codex, &put_in, "jobs", &entry).unwrap(), put_in);
        let http = json!({"url": "u", "bearer_token_env_var": "T"});
        let changed = put(&codex, &put_in, "jobs", &http).unwrap();
        assert_eq!(of(&codex, &changed, "jobs"), http, "{changed}");
        assert_eq!(
            remove(&codex, &put_in, "jobs").unwrap().unwrap().trim(),
            text.trim()
        );
        let alone = put(&codex, "", "jobs", &entry).unwrap();
        assert!(alone.starts_with("[mcp_servers.jobs]\ncommand"), "{alone}");
        let commented = put(&codex, "# mine", "jobs", &entry).unwrap();
        assert_eq!(commented, format!("# mine\n{alone}"));
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let cursor = find("cursor").unwrap();
        for text in [
            "{",
            "[]",
            "{\"mcpServers\": 7}",
            "{\"mcpServers\": {\"jobs\": 7}}",
        ] {
            assert!(
                put(&cursor, text, "jobs", &json!({"url": "u"})).is_err(),
                "{text}"
            );
        }
        let codex = find("codex").unwrap();
        for text in ["=", "mcp_servers = 7", "[mcp_servers]\njobs = 7"] {
            assert!(
                put(&codex, text, "jobs", &json!({"url": "u"})).is_err(),
                "{text}"
            );
        }
    }
}
