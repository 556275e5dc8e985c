//! `logging/setLevel`, older era: from which level on log messages of synchronous calls are sent.

use outlast_core::Level;
use serde::Deserialize;

use crate::context::{Context, Reply};
use crate::methods::subscribe::made;

#[derive(Deserialize)]
struct SetLevel {
    level: Level,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let SetLevel { level } = cx.params.read()?;
    if let Some(session) = cx.session {
        let sessions = &cx.server.sessions;
        let change = sessions.set_level(cx.server.side(), session, level).await;
        made(change)?;
    }
    Ok(cx.reply(2, |out| out.extend_from_slice(b"{}")))
}
