//! `prompts/get`, both eras: the messages of a prompt, whose code may ask
//! its caller.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_core::RawJson;
use outlast_core::status::Era;
use serde::Deserialize;

use crate::context::{Context, Reply};
use crate::jsonrpc::RpcError;
use crate::methods::rounds::{self, Ended, Named};
use crate::methods::tools_call::meta_of_result;
use crate::wire::{self, Object};

#[derive(Deserialize)]
struct Get {
    #[serde(default)]
    arguments: Option<BTreeMap<String, String>>,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    super::lists::require(offer.has_prompts, "prompts/get")?;
    let name = cx.named("name", cx.params.name)?;
    let prompt = offer.prompts.get(&*name).map(Arc::clone);
    let prompt =
        prompt.ok_or_else(|| RpcError::invalid_params(format!("unknown prompt {name:?}")))?;
    let Get { arguments } = cx.params.read()?;
    let arguments = arguments.unwrap_or_default();
    prompt.check(&arguments).map_err(RpcError::invalid_params)?;
    let named = Named {
        method: "prompts/get",
        name: &name,
        arguments: RawJson::of(&arguments).expect("strings have a JSON form"),
    };
    let handler = Arc::clone(&prompt.handler);
    let messages = rounds::run(cx, named, move |request| handler.get(arguments, request)).await?;
    let messages = match messages {
        Ended::With(messages) => messages,
        Ended::Asking(reply) => return Ok(reply),
    };
    let room = messages.messages.as_str().len() + 384;
    Ok(cx.reply(room, |out| {
        let mut result = Object::new(out);
        if cx.version.era() == Era::Modern {
            result.raw("resultType", r#""complete""#);
        }
        let ours = meta_of_result(cx);
        wire::prompt_messages(
            &mut result,
            &messages,
            prompt.description.as_deref(),
            cx.version,
            ours.as_slice(),
        );
    }))
}
