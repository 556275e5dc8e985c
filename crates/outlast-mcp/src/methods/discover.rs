//! `server/discover`, newer era: what this server speaks and offers.

use crate::context::{Context, Reply};
use crate::protocol::Version;
use crate::protocol::names::TASKS_EXTENSION;

/// How long a client may keep the answer.
const TTL_MS: u32 = 60_000;

pub(crate) fn handle(cx: &Context<'_>) -> Reply {
    Ok(cx.reply_object(|result| {
        result.raw("resultType", r#""complete""#);
        result.raw("supportedVersions", &supported());
        {
            let mut capabilities = result.object("capabilities");
            capabilities.object("logging");
            capabilities.object("tools");
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
