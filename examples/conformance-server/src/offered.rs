//! Prompts, resources and tools that change what is offered.

use outlast::prelude::*;
use outlast::{Answer, Ask, Catalog, CompletionRequest, Json, ResourceContents};
use serde_json::{Value, json};

use crate::content::PNG;

pub(crate) fn offer(server: Server) -> Server {
    server
        .prompt(test_simple_prompt)
        .prompt(test_prompt_with_arguments)
        .prompt(test_prompt_with_embedded_resource)
        .prompt(test_prompt_with_image)
        .prompt(test_input_required_result_prompt)
        .resource(static_text)
        .resource(static_binary)
        .resource(template_data)
        .resource(watched_resource)
        .tool(test_trigger_tool_change)
        .tool(test_trigger_prompt_change)
        .tool(test_trigger_resource_change)
        .tool(test_custom_header)
}

/// A prompt without arguments.
#[prompt]
async fn test_simple_prompt() -> &'static str {
    "This is a simple prompt for testing."
}

/// A prompt with two arguments.
#[prompt]
async fn test_prompt_with_arguments(
    /// The first argument.
    #[complete(first_argument)]
    arg1: String,
    /// The second argument.
    arg2: String,
) -> String {
    format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")
}

async fn first_argument(request: CompletionRequest, _cx: RequestCx) -> Vec<String> {
    request.matching(["paris", "park", "party", "test", "testing"])
}

/// A prompt that brings a resource along.
#[prompt]
async fn test_prompt_with_embedded_resource(
    /// The URI of the resource.
    #[serde(rename = "resourceUri")]
    resource_uri: String,
) -> Vec<Message> {
    let text = "Embedded resource content for testing.";
    vec![
        Message::user(Content::text_resource(resource_uri, "text/plain", text)),
        Message::user("Please process the embedded resource above."),
    ]
}

/// A prompt that shows an image.
#[prompt]
async fn test_prompt_with_image() -> Vec<Message> {
    vec![
        Message::user(Content::image("image/png", PNG)),
        Message::user("Please analyze the image above."),
    ]
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct UserContext {
    /// What the prompt is about.
    context: String,
}

/// A prompt that asks what it is about.
#[prompt]
async fn test_input_required_result_prompt(cx: RequestCx) -> Result<String> {
    let message = "What context should the prompt use?";
    let answer = cx.ask::<UserContext>("user_context", message).await?;
    Ok(match answer {
        Answer::Accepted(UserContext { context }) => format!("Talk about: {context}"),
        _ => "Talk about anything.".into(),
    })
}

/// Text that stays the same.
#[resource("test://static-text", mime_type = "text/plain", cache = "1m")]
async fn static_text() -> &'static str {
    "This is the content of the static text resource."
}

/// An image that stays the same.
#[resource("test://static-binary", cache = "1m")]
async fn static_binary() -> ResourceContents {
    ResourceContents::blob(PNG).mime_type("image/png")
}

/// Data of some id.
#[resource("test://template/{id}/data")]
async fn template_data(id: String) -> Json<Value> {
    let data = format!("Data for ID: {id}");
    Json(json!({"id": id, "templateTest": true, "data": data}))
}

/// Something to subscribe to.
#[resource("test://watched-resource", mime_type = "text/plain")]
async fn watched_resource() -> &'static str {
    "Watched resource content"
}

/// Comes and goes.
#[tool]
async fn test_passing_tool() -> &'static str {
    "here for now"
}

/// Adds a tool, or removes it again.
#[tool]
async fn test_trigger_tool_change(catalog: State<Catalog>) -> Result<&'static str> {
    if catalog.remove_tool("test_passing_tool") {
        return Ok("removed a tool");
    }
    catalog.add_tool(test_passing_tool).map_err(Error::tool)?;
    Ok("added a tool")
}

/// Comes and goes.
#[prompt]
async fn test_passing_prompt() -> &'static str {
    "here for now"
}

/// Adds a prompt, or removes it again.
#[tool]
async fn test_trigger_prompt_change(catalog: State<Catalog>) -> Result<&'static str> {
    if catalog.remove_prompt("test_passing_prompt") {
        return Ok("removed a prompt");
    }
    catalog
        .add_prompt(test_passing_prompt)
        .map_err(Error::tool)?;
    Ok("added a prompt")
}

/// Says that the watched resource has changed.
#[tool]
async fn test_trigger_resource_change(catalog: State<Catalog>) -> &'static str {
    catalog.resource_updated("test://watched-resource");
    "told"
}

/// Repeats an argument that its caller also sends as a header.
#[tool]
async fn test_custom_header(
    /// The region.
    #[schemars(extend("x-mcp-header" = "Region"))]
    region: String,
) -> String {
    region
}
