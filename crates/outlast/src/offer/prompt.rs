//! A prompt as it is given to a server: what `#[prompt]` makes, and what can be written by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_engine::{BoxFuture, Namespace};
use outlast_mcp::offer::{
    CompletionRequest, PromptArgument, PromptHandler, PromptMessages, RequestCx,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::messages::IntoMessages;
use super::texts;
use crate::declared::{Declared, Listed, declares};
use crate::{Error, Result, schema};

type Get = Arc<
    dyn Fn(BTreeMap<String, String>, RequestCx) -> BoxFuture<'static, Result<PromptMessages>>
        + Send
        + Sync,
>;

/// Suggests values for an argument.
pub(super) type Suggest =
    Arc<dyn Fn(CompletionRequest, RequestCx) -> BoxFuture<'static, Vec<String>> + Send + Sync>;

/// A prompt: a template for messages that a person picks from a list.
///
/// `#[prompt]` writes these calls. By hand, for arguments of a type of your own:
///
/// ```
/// use outlast::prelude::*;
/// use outlast::Prompt;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Review {
///     /// The code to look at.
///     code: String,
///     /// What to look for.
///     focus: Option<String>,
/// }
///
/// let review = Prompt::typed("review", |Review { code, focus }, _cx| async move {
///     let focus = focus.unwrap_or_else(|| "everything".into());
///     Ok(format!("Review this code and look for {focus}:\n\n{code}"))
/// })
/// .description("Asks for a review.")
/// .complete("focus", |request, _cx| async move { request.matching(["bugs", "speed"]) });
/// let server = Server::new("reviews").prompt(review);
/// # let _ = server;
/// ```
#[derive(Clone)]
#[must_use = "a prompt does nothing until a server has it"]
pub struct Prompt {
    name: String,
    arguments: Vec<PromptArgument>,
    declared: Declared,
    run: Get,
    suggest: BTreeMap<String, Suggest>,
}

impl Prompt {
    /// A prompt whose arguments are the fields of `A`: an `Option`, or a field with a default, may be
    /// left out. Values of an enum are suggested.
    ///
    /// What the function returns may be anything that [`IntoMessages`] takes. An error with a code of
    /// its own is made with [`Error::protocol`].
    pub fn typed<A, T, F, Fut>(name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        T: IntoMessages,
        F: Fn(A, RequestCx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let run: Get = {
            let run = Arc::new(run);
            Arc::new(move |arguments, cx| {
                let run = Arc::clone(&run);
                Box::pin(async move {
                    let arguments = texts::read(arguments).map_err(Error::arguments)?;
                    run(arguments, cx).await?.into_messages().build()
                })
            })
        };
        let described = schema::fields(&schema::of::<A>(), texts::fields::<A>());
        let mut suggest = BTreeMap::new();
        let mut arguments = Vec::new();
        for field in described {
            if !field.choices.is_empty() {
                suggest.insert(field.name.clone(), choices(field.choices));
            }
            arguments.push(PromptArgument {
                name: field.name,
                title: None,
                description: field.description,
                required: field.required,
            });
        }
        Self {
            name: name.into(),
            arguments,
            declared: Declared::default(),
            run,
            suggest,
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    declares!("Says what the prompt is for.");

    /// Suggests values for an argument while it is typed; [`CompletionRequest::matching`] picks those
    /// that fit.
    pub fn complete<F, Fut>(mut self, argument: impl Into<String>, suggest: F) -> Self
    where
        F: Fn(CompletionRequest, RequestCx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<String>> + Send + 'static,
    {
        let suggest: Suggest = Arc::new(move |request, cx| Box::pin(suggest(request, cx)));
        self.suggest.insert(argument.into(), suggest);
        self
    }

    /// The prompt as it is served.
    ///
    /// # Errors
    /// A suggestion is for an argument that there is not, or clients could not read what it says.
    pub(crate) fn settle(
        self,
        namespace: Option<Arc<Namespace>>,
    ) -> Result<outlast_mcp::offer::Prompt, String> {
        let known = |name: &String| self.arguments.iter().any(|argument| argument.name == *name);
        if let Some(unknown) = self.suggest.keys().find(|name| !known(name)) {
            return Err(format!(
                "the prompt {:?} suggests values for {unknown:?}, which is none of its arguments",
                self.name
            ));
        }
        let Listed {
            title,
            description,
            icons,
            meta,
        } = self
            .declared
            .settle(format_args!("the prompt {:?}", self.name))?;
        let completes = !self.suggest.is_empty();
        let mut name = self.name;
        if let Some(namespace) = &namespace {
            name.insert_str(0, &namespace.prefix);
        }
        let handler = Handler {
            run: self.run,
            suggest: self.suggest,
            namespace,
        };
        Ok(outlast_mcp::offer::Prompt {
            title,
            description,
            arguments: self.arguments,
            icons,
            meta,
            completes,
            ..outlast_mcp::offer::Prompt::new(name, Arc::new(handler))
        })
    }
}

/// Suggests those of fixed values that fit.
pub(super) fn choices(values: Vec<String>) -> Suggest {
    let values = Arc::new(values);
    Arc::new(move |request, _cx| {
        let values = Arc::clone(&values);
        Box::pin(async move { request.matching(values.iter().cloned()) })
    })
}

struct Handler {
    run: Get,
    suggest: BTreeMap<String, Suggest>,
    namespace: Option<Arc<Namespace>>,
}

/// The request as the code of a mounted server sees it.
pub(super) fn within(cx: RequestCx, namespace: Option<&Arc<Namespace>>) -> RequestCx {
    match namespace {
        Some(namespace) => cx.within(Arc::clone(namespace)),
        None => cx,
    }
}

impl PromptHandler for Handler {
    fn get(
        &self,
        arguments: BTreeMap<String, String>,
        cx: RequestCx,
    ) -> BoxFuture<'static, Result<PromptMessages>> {
        (self.run)(arguments, within(cx, self.namespace.as_ref()))
    }

    fn complete(
        &self,
        request: CompletionRequest,
        cx: RequestCx,
    ) -> BoxFuture<'static, Result<Vec<String>>> {
        let cx = within(cx, self.namespace.as_ref());
        suggested(&self.suggest, request, cx)
    }
}

pub(super) fn suggested(
    suggest: &BTreeMap<String, Suggest>,
    request: CompletionRequest,
    cx: RequestCx,
) -> BoxFuture<'static, Result<Vec<String>>> {
    match suggest.get(&request.argument) {
        None => Box::pin(async { Ok(Vec::new()) }),
        Some(suggest) => {
            let values = suggest(request, cx);
            Box::pin(async { Ok(values.await) })
        }
    }
}

/// What a server takes as a prompt: a [`Prompt`], or the name of a function with `#[prompt]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a prompt",
    label = "not a prompt",
    note = "put #[prompt] on the function and give the server its name without calling it, or make \
            a `Prompt` by hand with `Prompt::typed`"
)]
pub trait IntoPrompt {
    /// The prompt.
    fn into_prompt(self) -> Prompt;
}

impl IntoPrompt for Prompt {
    fn into_prompt(self) -> Prompt {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce() -> Prompt> IntoPrompt for F {
    fn into_prompt(self) -> Prompt {
        self()
    }
}
