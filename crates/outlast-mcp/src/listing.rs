//! The pages of `tools/list`, written once for each version.
//!
//! The order is that of the names, the same for every caller and every time. A cursor names the
//! first tool of the next page.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outlast_core::RawJson;
use outlast_core::status::Era;
use outlast_engine::Tools;

use crate::protocol::Version;
use crate::wire::{self, Object};

/// How long a client of the newer era may keep the list.
const TTL_MS: u32 = 60_000;

/// The pages by version and cursor; the first page has no cursor.
pub(crate) struct Listing {
    pages: BTreeMap<(Version, String), Box<str>>,
}

impl Listing {
    pub(crate) fn new(tools: &Tools, page_size: usize, meta: &RawJson) -> Self {
        let tools: Vec<_> = tools.iter().collect();
        let mut pages = BTreeMap::new();
        for version in Version::ALL {
            let mut cursor = String::new();
            let mut rest = &tools[..];
            loop {
                let (page, after) = rest.split_at(rest.len().min(page_size));
                let next = after.first().map(|tool| cursor_to(&tool.name));
                let mut out = Vec::new();
                {
                    let mut object = Object::new(&mut out);
                    let list = object.buffer("tools");
                    list.push(b'[');
                    for (index, tool) in page.iter().enumerate() {
                        if index > 0 {
                            list.push(b',');
                        }
                        wire::tool(list, tool, version);
                    }
                    list.push(b']');
                    if let Some(next) = &next {
                        object.plain("nextCursor", next);
                    }
                    if version.era() == Era::Modern {
                        object
                            .raw("resultType", r#""complete""#)
                            .value("ttlMs", TTL_MS)
                            .raw("cacheScope", r#""public""#)
                            .raw("_meta", meta.as_str());
                    }
                }
                let text = String::from_utf8(out)
                    .expect("JSON is UTF-8")
                    .into_boxed_str();
                pages.insert((version, cursor), text);
                let Some(next) = next else { break };
                cursor = next;
                rest = after;
            }
        }
        Self { pages }
    }

    /// The result of `tools/list` from this cursor on. `None` for a cursor that was never given out.
    pub(crate) fn page(&self, version: Version, cursor: Option<&str>) -> Option<&str> {
        // The first page is asked for without a cursor, not with an empty one.
        if cursor == Some("") {
            return None;
        }
        let key = (version, cursor.unwrap_or_default().to_owned());
        self.pages.get(&key).map(|page| &**page)
    }
}

fn cursor_to(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("tool:{name}"))
}
