//! What a task has given out, as links at the end of its result: a model that fetches the result in a
//! later turn finds the artifacts there, and nowhere else.

use outlast_core::{Error, RawJson, Task, ToolResult};

use crate::context::Context;
use crate::offer::{uri_of_artifact, uri_of_artifacts};
use crate::wire::Object;

/// How many artifacts are linked one by one; of more there is one link, to the list.
const MOST: usize = 20;

/// The result with a link for each artifact of its task, where the client knows links.
///
/// # Errors
/// As [`outlast_engine::Handle::artifacts`].
pub(super) async fn add(
    cx: &Context<'_>,
    task: &Task,
    mut result: ToolResult,
) -> Result<ToolResult, Error> {
    if !cx.version.has_resource_links() {
        return Ok(result);
    }
    let artifacts = cx.server.handle.artifacts(cx.principal, task.id()).await?;
    if artifacts.is_empty() {
        return Ok(result);
    }
    let mut content = result.content.as_str().trim_end().as_bytes().to_vec();
    // The array goes on.
    content.pop();
    let mut first = content.trim_ascii_end().ends_with(b"[");
    let mut link = |uri: &str, name: &str, mime: &str, size: Option<u64>| {
        if !std::mem::take(&mut first) {
            content.push(b',');
        }
        let mut link = Object::new(&mut content);
        link.text("type", "resource_link")
            .text("uri", uri)
            .text("name", name)
            .text("mimeType", mime);
        if let Some(size) = size {
            link.value("size", size);
        }
    };
    if artifacts.len() > MOST {
        let name = format!("{} artifacts", artifacts.len());
        link(
            &uri_of_artifacts(task.id()),
            &name,
            "application/json",
            None,
        );
    } else {
        for artifact in &artifacts {
            let uri = uri_of_artifact(task.id(), &artifact.name);
            link(&uri, &artifact.name, &artifact.mime, Some(artifact.size));
        }
    }
    content.push(b']');
    let content = String::from_utf8(content).expect("JSON is UTF-8");
    result.content = RawJson::parse(content).expect("an array with further objects");
    Ok(result)
}
