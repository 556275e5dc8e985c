//! A server with something of every kind, which counts what has run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_core::ToolResult;
use outlast_engine::{BoxFuture, Result as EngineResult, TaskSupport};
use outlast_mcp::offer::{
    CompletionRequest, Prompt, PromptArgument, PromptHandler, PromptMessages, ReadRequest,
    RequestCx, Resource, ResourceContents, ResourceHandler,
};
use serde_json::json;

use crate::rig::{Rig, tool};

/// Counts what has run.
struct Plain(Arc<AtomicUsize>);

impl PromptHandler for Plain {
    fn get(
        &self,
        _arguments: BTreeMap<String, String>,
        _cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<PromptMessages>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            Ok(PromptMessages {
                description: None,
                messages: json!([]).into(),
                meta: None,
            })
        })
    }

    fn complete(
        &self,
        _request: CompletionRequest,
        _cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<Vec<String>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Vec::new()) })
    }
}

impl ResourceHandler for Plain {
    fn read(
        &self,
        _request: ReadRequest,
        _cx: RequestCx,
    ) -> BoxFuture<'static, EngineResult<Option<Vec<ResourceContents>>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Some(vec![ResourceContents::text("plain")])) })
    }
}

/// A rig with something of every kind, and how often anything of it has run.
pub(super) async fn rig() -> (Rig, Arc<AtomicUsize>) {
    let rig = Rig::new().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let change = rig.server.catalog().change(|offer| {
        let counter = Arc::clone(&ran);
        offer.add_tool(tool("counts", TaskSupport::Forbidden, move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok(ToolResult::text("counted")) }
        }))?;
        let who = PromptArgument {
            name: "who".into(),
            required: true,
            ..PromptArgument::default()
        };
        offer.add_prompt(Prompt {
            arguments: vec![who],
            completes: true,
            ..Prompt::new("greet", Arc::new(Plain(Arc::clone(&ran))))
        })?;
        let plain = Arc::new(Plain(Arc::clone(&ran)));
        offer.add_resource(Resource::new("plain://one", "one", plain))
    });
    change.unwrap();
    (rig, ran)
}
