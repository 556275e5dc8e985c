//! The Tool object of each version.

use outlast_engine::{TaskSupport, Tool};

use super::object::Object;
use crate::protocol::Version;

/// One entry of `tools/list`.
pub(crate) fn tool(out: &mut Vec<u8>, tool: &Tool, version: Version) {
    let mut object = Object::new(out);
    object.text("name", &tool.name);
    if let Some(title) = tool
        .title
        .as_ref()
        .filter(|_| version.has_structured_content())
    {
        object.text("title", title);
    }
    if let Some(description) = &tool.description {
        object.text("description", description);
    }
    object.raw("inputSchema", tool.input_schema.as_str());
    if let Some(schema) = tool
        .output_schema
        .as_ref()
        .filter(|_| version.has_structured_content())
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
