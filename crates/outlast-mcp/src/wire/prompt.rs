//! The Prompt object of each version, and what `prompts/get` gives.

use super::content;
use super::object::{Object, merge_meta};
use crate::offer::{Prompt, PromptMessages};
use crate::protocol::Version;

/// One entry of `prompts/list`.
pub(crate) fn prompt(out: &mut Vec<u8>, prompt: &Prompt, version: Version) {
    let mut object = Object::new(out);
    object.text("name", &prompt.name);
    let titles = version.has_structured_content();
    if let Some(title) = prompt.title.as_ref().filter(|_| titles) {
        object.text("title", title);
    }
    if let Some(description) = &prompt.description {
        object.text("description", description);
    }
    if !prompt.arguments.is_empty() {
        let list = object.buffer("arguments");
        list.push(b'[');
        for (index, argument) in prompt.arguments.iter().enumerate() {
            if index > 0 {
                list.push(b',');
            }
            let mut object = Object::new(list);
            object.text("name", &argument.name);
            if let Some(title) = argument.title.as_ref().filter(|_| titles) {
                object.text("title", title);
            }
            if let Some(description) = &argument.description {
                object.text("description", description);
            }
            object.value("required", argument.required);
        }
        list.push(b']');
    }
    if let Some(icons) = prompt.icons.as_ref().filter(|_| version.has_icons()) {
        object.raw("icons", icons.as_str());
    }
    if let Some(meta) = prompt.meta.as_ref().filter(|_| titles) {
        object.raw("_meta", meta.as_str());
    }
}

/// The members of a GetPromptResult that are the prompt's own. `ours` is added to its `_meta`.
pub(crate) fn prompt_messages(
    object: &mut Object<'_>,
    messages: &PromptMessages,
    declared: Option<&str>,
    version: Version,
    ours: &[(&str, &str)],
) {
    if let Some(description) = messages.description.as_deref().or(declared) {
        object.text("description", description);
    }
    object.raw("messages", &content::messages(&messages.messages, version));
    merge_meta(
        object,
        messages.meta.as_ref().map(|meta| meta.as_str()),
        ours,
    );
}
