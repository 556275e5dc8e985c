//! `tools/list`, `prompts/list`, `resources/list` and `resources/templates/list`, both eras.

use std::borrow::Cow;

use outlast_core::status::Era;
use serde::Deserialize;

use crate::context::{Context, Reply};
use crate::jsonrpc::RpcError;
use crate::offer::Pages;

/// How long a client of the newer era may keep a list. It is told of changes if it listens.
const TTL_MS: u32 = 60_000;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
}

pub(crate) fn tools(cx: &Context<'_>) -> Reply {
    page(cx, "tools", &cx.server.offer().tool_pages)
}

pub(crate) fn prompts(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    require(offer.has_prompts, "prompts/list")?;
    page(cx, "prompts", &offer.prompt_pages)
}

pub(crate) fn resources(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    require(offer.has_resources, "resources/list")?;
    page(cx, "resources", &offer.resource_pages)
}

pub(crate) fn resource_templates(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    require(offer.has_resources, "resources/templates/list")?;
    page(cx, "resourceTemplates", &offer.template_pages)
}

/// A method whose capability is not declared does not exist.
pub(crate) fn require(declared: bool, method: &str) -> Result<(), RpcError> {
    if declared {
        Ok(())
    } else {
        Err(RpcError::method_not_found(method))
    }
}

fn page(cx: &Context<'_>, member: &str, pages: &Pages) -> Reply {
    let List { cursor } = cx.params.read()?;
    let (entries, next) = pages.page(cx.version, cursor.as_deref())?;
    let room = entries.iter().map(|entry| entry.len() + 1).sum::<usize>() + 384;
    Ok(cx.reply(room, |out| {
        let mut result = crate::wire::Object::new(out);
        let list = result.buffer(member);
        list.push(b'[');
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                list.push(b',');
            }
            list.extend_from_slice(entry.as_bytes());
        }
        list.push(b']');
        if let Some(next) = next {
            result.plain("nextCursor", next);
        }
        if cx.version.era() == Era::Modern {
            result
                .raw("resultType", r#""complete""#)
                .value("ttlMs", TTL_MS)
                .raw("cacheScope", r#""public""#)
                .raw("_meta", cx.server.meta.as_str());
        }
    }))
}
