//! The Tool object of each version.

use outlast_engine::{TaskSupport, Tool};

use super::object::Object;
use crate::protocol::Version;

/// One entry of `tools/list`. `guidance` is added to the description: how the tool runs for this
/// client.
pub(crate) fn tool(out: &mut Vec<u8>, tool: &Tool, version: Version, guidance: Option<&str>) {
    let mut object = Object::new(out);
    object.text("name", &tool.name);
    if let Some(title) = tool
        .title
        .as_ref()
        .filter(|_| version.has_structured_content())
    {
        object.text("title", title);
    }
    match (&tool.description, guidance) {
        (Some(description), Some(guidance)) => {
            object.text("description", &format!("{description}\n\n{guidance}"));
        }
        (Some(description), None) => {
            object.text("description", description);
        }
        (None, Some(guidance)) => {
            object.text("description", guidance);
        }
        (None, None) => {}
    }
    object.raw("inputSchema", tool.input_schema.as_str());
    if let Some(schema) = tool
        .output_schema
        .as_ref()
        .filter(|_| version.has_structured_content() && !tool.serving.detach)
    {
        object.raw("outputSchema", schema.as_str());
    }
    if let Some(annotations) = tool
        .annotations
        .as_ref()
        .filter(|_| version.has_annotations())
    {
        object.raw("annotations", annotations.as_str());
    }
    if let Some(icons) = tool.icons.as_ref().filter(|_| version.has_icons()) {
        object.raw("icons", icons.as_str());
    }
    if version.has_legacy_tasks() && tool.task != TaskSupport::Forbidden {
        object
            .object("execution")
            .plain("taskSupport", tool.task.as_str());
    }
    if let Some(meta) = tool
        .meta
        .as_ref()
        .filter(|_| version.has_structured_content())
    {
        object.raw("_meta", meta.as_str());
    }
}
