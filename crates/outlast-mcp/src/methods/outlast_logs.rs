//! `outlast/logs`, both eras: the log of a task from an offset.
//!
//! No part of the protocol, which has no logs that outlive a call; the name is in our own space, so
//! that it collides with nothing. Params: `taskId`, `offset` (a byte, default 0), `limit` (bytes,
//! default 64 KiB, at most 1 MiB). Result: `chunks` in order, `next` to read on from, `end` of the
//! log at present; there is more to read now while `next` is less than `end`. A chunk has `offset`,
//! `at`, `level`, `logger`, and its bytes as `text`, or as `base64` where they are not UTF-8: a chunk
//! may end inside a character.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast_core::LogChunk;
use outlast_core::status::Era;
use serde::Deserialize;

use crate::context::{Context, Reply, from_store};
use crate::wire::Object;

const USUAL_LIMIT: usize = 64 * 1024;
const LARGEST_LIMIT: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    limit: Option<usize>,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let id = cx.task_id()?;
    let Read { offset, limit } = cx.params.read()?;
    let limit = limit.unwrap_or(USUAL_LIMIT).clamp(1, LARGEST_LIMIT);
    let page = cx
        .server
        .handle
        .log(cx.principal, id, offset, limit)
        .await
        .map_err(from_store)?;
    Ok(cx.reply(limit + 256, |out| {
        let mut result = Object::new(out);
        if cx.version.era() == Era::Modern {
            result.raw("resultType", r#""complete""#);
        }
        let chunks = result.buffer("chunks");
        chunks.push(b'[');
        for (index, part) in page.chunks.iter().enumerate() {
            if index > 0 {
                chunks.push(b',');
            }
            chunk(&mut Object::new(chunks), part);
        }
        chunks.push(b']');
        result.value("next", page.next).value("end", page.end);
        if cx.version.era() == Era::Modern {
            result.raw("_meta", cx.server.meta.as_str());
        }
    }))
}

fn chunk(object: &mut Object<'_>, chunk: &LogChunk) {
    object
        .value("offset", chunk.offset)
        .plain("at", chunk.at)
        .plain("level", chunk.level.as_str())
        .text("logger", &chunk.logger);
    match std::str::from_utf8(&chunk.text) {
        Ok(text) => object.text("text", text),
        Err(_) => object.plain("base64", STANDARD.encode(&chunk.text)),
    };
}
