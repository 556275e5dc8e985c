//! `tools/list`, `prompts/list`, `resources/list` and `resources/templates/list`, both eras.

use std::borrow::Cow;

use outlast_core::status::Era;
use serde::Deserialize;

use crate::context::{Context, Reply};
use crate::jsonrpc::RpcError;
use crate::methods::tasks_list;
use crate::offer::{Audience, CacheScope, Pages};

/// How long a client of the newer era may keep a list. It is told of changes if it listens.
const TTL_MS: u32 = 60_000;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
}

pub(crate) fn tools(cx: &Context<'_>) -> Reply {
    let audience = Audience {
        has_tasks: cx.capabilities.tasks,
        may_list: tasks_list::is_offered(cx.transport, cx.principal),
    };
    let offer = cx.server.offer();
    let tools = offer.tool_pages();
    page(cx, "tools", tools.pages(audience), tools.scope())
}

pub(crate) fn prompts(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    require(offer.has_prompts, "prompts/list")?;
    page(cx, "prompts", offer.prompt_pages(), CacheScope::Public)
}

pub(crate) fn resources(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    require(offer.has_resources, "resources/list")?;
    page(cx, "resources", offer.resource_pages(), CacheScope::Public)
}

pub(crate) fn resource_templates(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    require(offer.has_resources, "resources/templates/list")?;
    page(
        cx,
        "resourceTemplates",
        offer.template_pages(),
        CacheScope::Public,
    )
}

/// A method whose capability is not declared does not exist.
pub(crate) fn require(declared: bool, method: &str) -> Result<(), RpcError> {
    if declared {
        Ok(())
    } else {
        Err(RpcError::method_not_found(method))
    }
}

fn page(cx: &Context<'_>, member: &str, pages: &Pages, scope: CacheScope) -> Reply {
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
                .plain("cacheScope", scope.as_str())
                .raw("_meta", cx.server.meta.as_str());
        }
    }))
}
