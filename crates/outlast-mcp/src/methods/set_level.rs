//! `logging/setLevel`, older era: from which level on log messages of synchronous calls are sent.

use outlast_core::Level;
use serde::Deserialize;

use crate::context::{Context, Reply, from_store};

#[derive(Deserialize)]
struct SetLevel {
    level: Level,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let SetLevel { level } = cx.params.read()?;
    if let Some(session) = cx.session {
        let store = cx.server.side();
        cx.server
            .sessions
            .set_level(store, session, level)
            .await
            .map_err(from_store)?;
    }
    Ok(cx.reply(2, |out| out.extend_from_slice(b"{}")))
}
