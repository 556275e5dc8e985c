//! A prompt as a server offers it.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_core::RawJson;
use outlast_engine::{BoxFuture, Result};

use super::completion::CompletionRequest;
use super::request::RequestCx;

/// The code of a prompt.
pub trait PromptHandler: Send + Sync + 'static {
    /// The messages for these arguments. All required ones are there, and none that is unknown.
    ///
    /// The future is dropped when the client ends the request.
    fn get(
        &self,
        arguments: BTreeMap<String, String>,
        cx: RequestCx,
    ) -> BoxFuture<'static, Result<PromptMessages>>;

    /// Suggestions for the value of an argument. The default has none.
    fn complete(
        &self,
        request: CompletionRequest,
        cx: RequestCx,
    ) -> BoxFuture<'static, Result<Vec<String>>> {
        let _ = (request, cx);
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// What a prompt gives.
#[derive(Clone, PartialEq, Debug)]
pub struct PromptMessages {
    /// What this very prompt says, where that differs from the one in the list.
    pub description: Option<String>,
    /// An array of the protocol's PromptMessage objects.
    pub messages: RawJson,
    /// The result's own `_meta`, an object.
    pub meta: Option<RawJson>,
}

/// An argument of a prompt.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PromptArgument {
    /// Unique within the prompt.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether the prompt cannot do without it.
    pub required: bool,
}

/// A prompt.
#[derive(Clone)]
pub struct Prompt {
    /// Unique within a server.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it takes, in the order in which a form should ask for it.
    pub arguments: Vec<PromptArgument>,
    /// The protocol's `icons`, an array.
    pub icons: Option<RawJson>,
    /// The prompt's own `_meta`, an object.
    pub meta: Option<RawJson>,
    /// Whether [`PromptHandler::complete`] suggests anything.
    pub completes: bool,
    /// The code.
    pub handler: Arc<dyn PromptHandler>,
}

impl Prompt {
    /// A prompt without arguments; set the fields you need.
    pub fn new(name: impl Into<String>, handler: Arc<dyn PromptHandler>) -> Self {
        Self {
            name: name.into(),
            title: None,
            description: None,
            arguments: Vec::new(),
            icons: None,
            meta: None,
            completes: false,
            handler,
        }
    }

    /// Whether these arguments can be used.
    ///
    /// # Errors
    /// A required one is missing, or one is unknown; the sentence names it.
    pub(crate) fn check(
        &self,
        arguments: &BTreeMap<String, String>,
    ) -> std::result::Result<(), String> {
        let missing = |argument: &&PromptArgument| {
            argument.required && !arguments.contains_key(&argument.name)
        };
        if let Some(missing) = self.arguments.iter().find(missing) {
            return Err(format!(
                "the prompt {:?} needs the argument {:?}",
                self.name, missing.name
            ));
        }
        let known = |name: &&String| self.arguments.iter().any(|known| known.name == **name);
        let Some(unknown) = arguments.keys().find(|name| !known(name)) else {
            return Ok(());
        };
        let names: Vec<&str> = self.arguments.iter().map(|known| &*known.name).collect();
        Err(match &names[..] {
            [] => format!(
                "unknown argument {unknown:?}; the prompt {:?} takes none",
                self.name
            ),
            names => format!(
                "unknown argument {unknown:?}; allowed: {}",
                names.join(", ")
            ),
        })
    }
}
