//! Tools that return each kind of content.

use std::time::Duration;

use outlast::prelude::*;
use outlast::reply;

/// A red pixel.
pub(crate) const PNG: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0,
    1, 0, 0, 0, 1, 8, 2, 0, 0, 0, 0x90, 0x77, 0x53, 0xde, 0, 0, 0, 12, b'I', b'D', b'A', b'T',
    0x08, 0xd7, 0x63, 0xf8, 0xcf, 0xc0, 0, 0, 3, 1, 1, 0, 0x18, 0xdd, 0x8d, 0xb0, 0, 0, 0, 0, b'I',
    b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

/// A moment of silence.
const WAV: &[u8] = &[
    b'R', b'I', b'F', b'F', 38, 0, 0, 0, b'W', b'A', b'V', b'E', b'f', b'm', b't', b' ', 16, 0, 0,
    0, 1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0, b'd', b'a', b't', b'a', 2, 0,
    0, 0, 0, 0,
];

pub(crate) fn tools() -> Result<Vec<Tool>> {
    Ok(vec![
        test_simple_text(),
        test_image_content(),
        test_audio_content(),
        test_embedded_resource(),
        test_multiple_content_types(),
        test_error_handling(),
        test_tool_with_logging(),
        test_logging_tool(),
        test_reconnection(),
        json_schema_2020_12_tool()?,
    ])
}

/// Returns text.
#[tool]
async fn test_simple_text() -> &'static str {
    "This is a simple text response for testing."
}

/// Returns an image.
#[tool]
async fn test_image_content() -> Bytes {
    Bytes::new("image/png", PNG)
}

/// Returns sound.
#[tool]
async fn test_audio_content() -> Bytes {
    Bytes::new("audio/wav", WAV)
}

fn resource(uri: &str, text: &str) -> Content {
    Content::text_resource(uri, "text/plain", text)
}

/// Returns a resource inside the result.
#[tool]
async fn test_embedded_resource() -> Content {
    resource(
        "test://embedded-resource",
        "This is an embedded resource content.",
    )
}

/// Returns text, an image and a resource.
#[tool]
async fn test_multiple_content_types() -> Vec<Content> {
    vec![
        Content::text("Multiple content types test:"),
        Content::image("image/png", PNG),
        resource(
            "test://mixed-content-resource",
            r#"{"test":"data","value":123}"#,
        ),
    ]
}

/// Fails as a tool.
#[tool]
async fn test_error_handling() -> Result<String> {
    Err(Error::tool(
        "This tool intentionally returns an error for testing",
    ))
}

/// Logs three lines.
#[tool]
async fn test_tool_with_logging(cx: Cx) -> &'static str {
    for line in [
        "Tool execution started",
        "Tool processing data",
        "Tool execution completed",
    ] {
        cx.info(line);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    "logged"
}

/// Lets its caller's connection go in the middle of the call; the result waits for the next one.
#[tool]
async fn test_reconnection(cx: Cx) -> &'static str {
    cx.close_stream();
    "Reconnection test completed successfully"
}

/// Logs a line at each level that a client may ask for.
#[tool]
async fn test_logging_tool(cx: Cx) -> &'static str {
    cx.debug("a detail");
    cx.info("a fact");
    cx.warning("a worry");
    "logged"
}

/// A schema with everything that a server must pass on unchanged.
fn json_schema_2020_12_tool() -> Result<Tool> {
    let schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}}
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"}
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}, {}]}],
        "if": {
            "properties": {"contactMethod": {"const": "phone"}},
            "required": ["contactMethod"]
        },
        "then": {"required": ["phone"]},
        "else": {},
        "additionalProperties": false
    });
    let tool = Tool::untyped(
        "json_schema_2020_12_tool",
        &schema,
        |arguments, _cx| async move { reply::of(format!("called with {}", arguments.as_str())) },
    )?;
    Ok(tool.description("Takes arguments that only JSON Schema 2020-12 can describe."))
}
