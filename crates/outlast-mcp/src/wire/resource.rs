//! The Resource and ResourceTemplate objects of each version, and their contents.

use outlast_core::RawJson;

use super::object::Object;
use crate::offer::ContentsBody;
use crate::offer::{Resource, ResourceContents, ResourceTemplate};
use crate::protocol::Version;

/// One entry of `resources/list`.
pub(crate) fn resource(out: &mut Vec<u8>, resource: &Resource, version: Version) {
    let mut object = Object::new(out);
    object.text("uri", &resource.uri);
    described(
        &mut object,
        version,
        &resource.name,
        [&resource.title, &resource.description, &resource.mime_type],
        [&resource.annotations, &resource.icons, &resource.meta],
    );
    // Unknown before 2025-03-26, and harmless there.
    if let Some(size) = resource.size {
        object.value("size", size);
    }
}

/// One entry of `resources/templates/list`.
pub(crate) fn resource_template(out: &mut Vec<u8>, template: &ResourceTemplate, version: Version) {
    let mut object = Object::new(out);
    object.text("uriTemplate", template.uri_template.as_str());
    described(
        &mut object,
        version,
        &template.name,
        [&template.title, &template.description, &template.mime_type],
        [&template.annotations, &template.icons, &template.meta],
    );
}

fn described(
    object: &mut Object<'_>,
    version: Version,
    name: &str,
    [title, description, mime_type]: [&Option<String>; 3],
    [annotations, icons, meta]: [&Option<RawJson>; 3],
) {
    object.text("name", name);
    let titles = version.has_structured_content();
    if let Some(title) = title.as_ref().filter(|_| titles) {
        object.text("title", title);
    }
    if let Some(description) = description {
        object.text("description", description);
    }
    if let Some(mime_type) = mime_type {
        object.text("mimeType", mime_type);
    }
    if let Some(annotations) = annotations {
        object.raw("annotations", annotations.as_str());
    }
    if let Some(icons) = icons.as_ref().filter(|_| version.has_icons()) {
        object.raw("icons", icons.as_str());
    }
    if let Some(meta) = meta.as_ref().filter(|_| titles) {
        object.raw("_meta", meta.as_str());
    }
}

/// The `contents` of a ReadResourceResult.
pub(crate) fn resource_contents(
    out: &mut Vec<u8>,
    uri: &str,
    mime_type: Option<&str>,
    contents: &[ResourceContents],
) {
    out.push(b'[');
    for (index, piece) in contents.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let mut object = Object::new(out);
        object.text("uri", piece.uri.as_deref().unwrap_or(uri));
        if let Some(mime_type) = piece.mime_type.as_deref().or(mime_type) {
            object.text("mimeType", mime_type);
        }
        match &piece.body {
            ContentsBody::Text(text) => object.text("text", text),
            ContentsBody::Blob(base64) => object.plain("blob", base64),
        };
        if let Some(meta) = &piece.meta {
            object.raw("_meta", meta.as_str());
        }
    }
    out.push(b']');
}
