//! Content blocks in the kinds that each version knows: the one table.
//!
//! A client of an older version that reads its messages strictly refuses a result whole because of one
//! block of a kind that came later. So such a block is sent as what the client's version has for it:
//! audio as an embedded resource, a link to a resource as a text that names it.

use std::borrow::Cow;

use outlast_core::RawJson;
use serde_json::{Value, json};

use crate::protocol::Version;

/// Since when each kind exists, of those that the first version lacks.
fn is_known(version: Version, kind: &str) -> bool {
    match kind {
        "audio" => version.has_audio(),
        "resource_link" => version.has_resource_links(),
        _ => true,
    }
}

/// The blocks of a result.
pub(crate) fn blocks(content: &RawJson, version: Version) -> Cow<'_, str> {
    rendered(content, version, |block| Some(block))
}

/// The messages of a prompt, each of which has one block.
pub(crate) fn messages(messages: &RawJson, version: Version) -> Cow<'_, str> {
    rendered(messages, version, |message| message.get_mut("content"))
}

fn rendered(
    list: &RawJson,
    version: Version,
    block_of: impl Fn(&mut Value) -> Option<&mut Value>,
) -> Cow<'_, str> {
    let text = list.as_str();
    // Looked for in the text first: hardly any result has such a block.
    let later = ["audio", "resource_link"]
        .into_iter()
        .any(|kind| !is_known(version, kind) && text.contains(kind));
    if !later {
        return Cow::Borrowed(text);
    }
    let mut list = list.to_value();
    for (index, item) in list.as_array_mut().into_iter().flatten().enumerate() {
        if let Some(block) = block_of(item)
            && let Some(instead) = instead(block, version, index)
        {
            *block = instead;
        }
    }
    Cow::Owned(list.to_string())
}

/// What stands for a block of a kind that this version lacks.
fn instead(block: &Value, version: Version, index: usize) -> Option<Value> {
    let kind = block["type"].as_str()?;
    if is_known(version, kind) {
        return None;
    }
    let mut instead = match kind {
        "audio" => json!({"type": "resource", "resource": {
            "uri": format!("urn:outlast:audio:{index}"),
            "mimeType": block["mimeType"],
            "blob": block["data"],
        }}),
        _ => {
            let uri = block["uri"].as_str().unwrap_or_default();
            let name = block["title"].as_str().or(block["name"].as_str());
            let text = name.map_or_else(|| uri.to_owned(), |name| format!("{name}: {uri}"));
            json!({"type": "text", "text": text})
        }
    };
    if let Some(annotations) = block.get("annotations") {
        instead["annotations"] = annotations.clone();
    }
    Some(instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of the official schema of each version.
    const KINDS: [(Version, &[&str]); 5] = [
        (Version::V2024_11_05, &["text", "image", "resource"]),
        (
            Version::V2025_03_26,
            &["text", "image", "audio", "resource"],
        ),
        (
            Version::V2025_06_18,
            &["text", "image", "audio", "resource", "resource_link"],
        ),
        (
            Version::V2025_11_25,
            &["text", "image", "audio", "resource", "resource_link"],
        ),
        (
            Version::V2026_07_28,
            &["text", "image", "audio", "resource", "resource_link"],
        ),
    ];

    fn all() -> Vec<Value> {
        vec![
            json!({"type": "text", "text": "an audio, and a resource_link"}),
            json!({"type": "image", "data": "aQ==", "mimeType": "image/png"}),
            json!({"type": "audio", "data": "YQ==", "mimeType": "audio/wav",
                "annotations": {"priority": 1}}),
            json!({"type": "resource", "resource": {"uri": "a://b", "text": "c"}}),
            json!({"type": "resource_link", "uri": "file:///r.txt", "name": "r", "size": 3}),
        ]
    }

    #[test]
    fn each_version_gets_the_kinds_it_knows_and_nothing_is_lost() {
        for (version, kinds) in KINDS {
            let content = RawJson::of(&all()).unwrap();
            let sent: Vec<Value> = serde_json::from_str(&blocks(&content, version)).unwrap();
            for (block, sent) in all().iter().zip(&sent) {
                let kind = sent["type"].as_str().unwrap();
                assert!(kinds.contains(&kind), "{kind} to {version:?}");
                if kinds.contains(&block["type"].as_str().unwrap()) {
                    assert_eq!(sent, block);
                }
            }
            assert_eq!(sent.len(), all().len());
            let whole = Value::from(sent).to_string();
            for said in ["YQ==", "audio/wav", "priority", "file:///r.txt"] {
                assert!(whole.contains(said), "{said} to {version:?}");
            }
        }
    }

    #[test]
    fn prompts_are_held_to_it_too() {
        let list = RawJson::of(&[json!({"role": "user", "content": all()[2]})]).unwrap();
        let sent = messages(&list, Version::V2024_11_05).into_owned();
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(sent[0]["role"], "user");
        assert_eq!(sent[0]["content"]["resource"]["blob"], "YQ==");
        assert_eq!(messages(&list, Version::V2025_03_26), list.as_str());
    }
}
