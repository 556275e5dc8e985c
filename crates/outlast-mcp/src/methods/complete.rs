//! `completion/complete`, both eras: suggestions for an argument of a prompt or a variable of a
//! resource template.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_core::status::Era;
use outlast_engine::{BoxFuture, Result as EngineResult};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::context::{Context, Reply};
use crate::jsonrpc::RpcError;
use crate::offer::{self, CompletionRequest, MOST_VALUES, RequestCx};

#[derive(Deserialize)]
struct Complete<'a> {
    #[serde(borrow, rename = "ref")]
    reference: &'a RawValue,
    #[serde(borrow)]
    argument: &'a RawValue,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Reference {
    #[serde(rename = "ref/prompt")]
    Prompt { name: String },
    #[serde(rename = "ref/resource")]
    Resource { uri: String },
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
struct Others {
    #[serde(default)]
    arguments: Option<BTreeMap<String, String>>,
}

pub(crate) async fn handle(cx: &Context<'_>) -> Reply {
    let offer = cx.server.offer();
    super::lists::require(offer.has_completions, "completion/complete")?;
    let Complete {
        reference,
        argument,
        context,
    } = cx.params.read()?;
    let reference: Reference = crate::protocol::object(reference).ok_or_else(|| {
        RpcError::invalid_params(
            r#""ref" must be {"type":"ref/prompt","name":…} or {"type":"ref/resource","uri":…}"#,
        )
    })?;
    let Argument { name, value } = crate::protocol::object(argument).ok_or_else(|| {
        RpcError::invalid_params(r#""argument" must be an object with "name" and "value", strings"#)
    })?;
    let others: Others = crate::protocol::object_or_default(context).ok_or_else(|| {
        RpcError::invalid_params(r#""context" must be an object whose "arguments" are strings"#)
    })?;
    let request = CompletionRequest {
        argument: name,
        value,
        others: others.arguments.unwrap_or_default(),
    };
    let asked = RequestCx::new(cx, None)?;
    let values = match reference {
        Reference::Prompt { name } => {
            let prompt = offer.prompts.get(&name).map(Arc::clone);
            let prompt = prompt
                .ok_or_else(|| RpcError::invalid_params(format!("unknown prompt {name:?}")))?;
            let names = prompt.arguments.iter().map(|argument| &*argument.name);
            known(&request, names)?;
            values(|| prompt.handler.complete(request, asked)).await?
        }
        Reference::Resource { uri } => {
            let template = offer.resources.templates.get(&uri).map(Arc::clone);
            let template = template.ok_or_else(|| {
                RpcError::invalid_params(format!("unknown resource template {uri:?}"))
            })?;
            known(&request, template.uri_template.variables())?;
            values(|| template.handler.complete(request, asked)).await?
        }
    };
    let shown = &values[..values.len().min(MOST_VALUES)];
    let list = serde_json::to_string(shown).expect("strings have a JSON form");
    Ok(cx.reply(list.len() + 384, |out| {
        let mut result = crate::wire::Object::new(out);
        result
            .object("completion")
            .raw("values", &list)
            .value("total", values.len())
            .value("hasMore", values.len() > shown.len());
        if cx.version.era() == Era::Modern {
            result
                .raw("resultType", r#""complete""#)
                .raw("_meta", cx.server.meta.as_str());
        }
    }))
}

fn known<'n>(
    request: &CompletionRequest,
    mut names: impl Iterator<Item = &'n str>,
) -> Result<(), RpcError> {
    if names.any(|name| name == request.argument) {
        return Ok(());
    }
    Err(RpcError::invalid_params(format!(
        "unknown argument {:?}",
        request.argument
    )))
}

async fn values(
    start: impl FnOnce() -> BoxFuture<'static, EngineResult<Vec<String>>>,
) -> Result<Vec<String>, RpcError> {
    offer::run(start).await
}
