//! `server/discover`, newer era: what this server speaks and offers.

use crate::context::{Context, Reply};
use crate::protocol::Version;
use crate::protocol::names::TASKS_EXTENSION;
use crate::server::Inner;
use crate::wire::Object;

/// How long a client may keep the answer.
const TTL_MS: u32 = 60_000;

pub(crate) fn handle(cx: &Context<'_>) -> Reply {
    Ok(cx.reply_object(|result| {
        result.raw("resultType", r#""complete""#);
        result.raw("supportedVersions", &supported());
        {
            let mut capabilities = result.object("capabilities");
            offered(&mut capabilities, cx.server, cx.version);
            // Some clients take anything but an empty object for "no tasks".
            capabilities.object("extensions").object(TASKS_EXTENSION);
        }
        if let Some(instructions) = &cx.server.config.instructions {
            result.text("instructions", instructions);
        }
        result
            .value("ttlMs", TTL_MS)
            .raw("cacheScope", r#""public""#)
            .raw("_meta", cx.server.meta.as_str());
    }))
}

/// The capabilities that both eras have alike: what there is, and that the set may change.
pub(crate) fn offered(capabilities: &mut Object<'_>, server: &Inner, version: Version) {
    let offer = server.offer();
    if offer.has_completions && version.has_completions_capability() {
        capabilities.object("completions");
    }
    capabilities.object("logging");
    if offer.has_prompts {
        capabilities.object("prompts").value("listChanged", true);
    }
    if offer.has_resources {
        capabilities
            .object("resources")
            .value("subscribe", true)
            .value("listChanged", true);
    }
    capabilities.object("tools").value("listChanged", true);
}

/// The versions a client may choose from, newest first, as a JSON array. The first version of all is
/// left out: it has no HTTP transport of today's kind.
pub(crate) fn supported() -> String {
    let versions: Vec<&str> = Version::ALL
        .iter()
        .rev()
        .filter(|v| **v > Version::V2024_11_05)
        .map(|v| v.as_str())
        .collect();
    serde_json::to_string(&versions).expect("strings have a JSON form")
}
