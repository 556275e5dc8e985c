//! `ping`, older era: an empty answer.

use crate::context::{Context, Reply};

pub(crate) fn handle(cx: &Context<'_>) -> Reply {
    Ok(cx.reply(2, |out| out.extend_from_slice(b"{}")))
}
