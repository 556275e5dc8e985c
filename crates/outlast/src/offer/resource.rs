//! A resource as it is given to a server: what `#[resource]` makes, and what can be written by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_engine::{BoxFuture, Namespace};
use outlast_mcp::offer::{
    CacheScope, Caching, Changes, CompletionRequest, ReadRequest, RequestCx, ResourceContents,
    ResourceHandler, ResourceTemplate, UriTemplate,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::contents::IntoContents;
use super::prompt::{Suggest, choices, suggested, within};
use super::texts;
use crate::declared::{Declared, Listed, declares};
use crate::server::mounted_uri;
use crate::{Error, Result, schema};

type Read = Arc<
    dyn Fn(ReadRequest, RequestCx) -> BoxFuture<'static, Result<Option<Vec<ResourceContents>>>>
        + Send
        + Sync,
>;

/// A resource, or with variables in its URI a template for many: contents that a client reads.
///
/// `#[resource("…")]` writes these calls. By hand:
///
/// ```
/// use outlast::prelude::*;
/// use outlast::Resource;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Page {
///     table: String,
///     page: Option<u32>,
/// }
///
/// let version = Resource::new("app://version", "version", |_cx| async { Ok("1.2.3") });
/// let rows = Resource::typed("rows://{table}{?page}", "rows", |Page { table, page }, _cx| async move {
///     Ok(format!("page {} of {table}", page.unwrap_or(1)))
/// })
/// .mime_type("text/plain");
/// let server = Server::new("tables").resource(version).resource(rows);
/// # let _ = server;
/// ```
#[derive(Clone)]
#[must_use = "a resource does nothing until a server has it"]
pub struct Resource {
    uri: String,
    name: String,
    mime_type: Option<String>,
    size: Option<u64>,
    annotations: Map<String, Value>,
    caching: Caching,
    declared: Declared,
    /// The fields of the type that the variables are read into; `None` for a fixed URI.
    fields: Option<Vec<schema::Field>>,
    run: Read,
    suggest: BTreeMap<String, Suggest>,
}

impl Resource {
    /// A resource with a fixed URI.
    pub fn new<T, F, Fut>(uri: impl Into<String>, name: impl Into<String>, run: F) -> Self
    where
        T: IntoContents,
        F: Fn(RequestCx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let run = Arc::new(run);
        let read: Read = Arc::new(move |_request, cx| {
            let run = Arc::clone(&run);
            Box::pin(async move { run(cx).await?.into_contents() })
        });
        Self::around(uri.into(), name.into(), None, read)
    }

    /// Resources whose URIs follow a template: `{name}` is one segment of the path, `{+path}` may
    /// contain `/`, `{?page,limit}` are parameters of the query that may be left out. The variables
    /// are read into the fields of `A`: numbers, switches and choices as well as texts. Values of an
    /// enum are suggested.
    ///
    /// A server whose template and type do not name the same variables does not start.
    pub fn typed<A, T, F, Fut>(uri: impl Into<String>, name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + Send + 'static,
        T: IntoContents,
        F: Fn(A, RequestCx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let run = Arc::new(run);
        let read: Read = Arc::new(move |request: ReadRequest, cx| {
            let run = Arc::clone(&run);
            Box::pin(async move {
                let variables = texts::read(request.variables).map_err(Error::arguments)?;
                run(variables, cx).await?.into_contents()
            })
        });
        let fields = schema::fields(&schema::of::<A>(), texts::fields::<A>());
        Self::around(uri.into(), name.into(), Some(fields), read)
    }

    fn around(uri: String, name: String, fields: Option<Vec<schema::Field>>, run: Read) -> Self {
        let known = fields.iter().flatten();
        let suggest = known.filter(|field| !field.choices.is_empty());
        let suggest = suggest.map(|field| (field.name.clone(), choices(field.choices.clone())));
        Self {
            uri,
            name,
            mime_type: None,
            size: None,
            annotations: Map::new(),
            caching: Caching::default(),
            declared: Declared::default(),
            suggest: suggest.collect(),
            fields,
            run,
        }
    }

    /// The URI, or the template for it.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    declares!("Says what the resource is.");

    /// Sets the type of the contents, where they do not say it themselves.
    pub fn mime_type(mut self, mime_type: impl Into<String>) -> Self {
        self.mime_type = Some(mime_type.into());
        self
    }

    /// Sets how large the contents are, in bytes; a template has no size.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Says how important the resource is, from 0 (optional) to 1 (required).
    pub fn priority(mut self, priority: f64) -> Self {
        let priority = priority.clamp(0.0, 1.0);
        self.annotations.insert("priority".into(), priority.into());
        self
    }

    /// Says that the resource is for the user, for the assistant, or for both.
    pub fn audience(mut self, user: bool, assistant: bool) -> Self {
        let roles = [("user", user), ("assistant", assistant)];
        let roles = roles
            .into_iter()
            .filter_map(|(role, meant)| meant.then_some(role));
        self.annotations.insert("audience".into(), roles.collect());
        self
    }

    /// Says when the contents last changed, in ISO 8601.
    pub fn last_modified(mut self, moment: impl Into<String>) -> Self {
        let moment: String = moment.into();
        self.annotations
            .insert("lastModified".into(), moment.into());
        self
    }

    /// Allows a copy of the contents to be used for so long, and by whom. Default: not at all.
    pub fn cache(mut self, ttl: Duration, scope: CacheScope) -> Self {
        self.caching = Caching { ttl, scope };
        self
    }

    /// Suggests values for a variable while it is typed.
    pub fn complete<F, Fut>(mut self, variable: impl Into<String>, suggest: F) -> Self
    where
        F: Fn(CompletionRequest, RequestCx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<String>> + Send + 'static,
    {
        let suggest: Suggest = Arc::new(move |request, cx| Box::pin(suggest(request, cx)));
        self.suggest.insert(variable.into(), suggest);
        self
    }

    /// Adds the resource to what is offered.
    ///
    /// # Errors
    /// The URI or template is not one, or is there already; the template and the type differ; clients could
    /// not read what it says.
    pub(crate) fn add_to(
        mut self,
        offer: &mut Changes,
        namespace: Option<Arc<Namespace>>,
    ) -> Result<(), String> {
        if let Some(namespace) = &namespace {
            self.uri = mounted_uri(&namespace.prefix, &self.uri)?;
        }
        let template = match &self.fields {
            Some(fields) if !fields.is_empty() || self.uri.contains('{') => {
                Some(self.template(fields)?)
            }
            _ if self.uri.contains('{') => {
                return Err(format!(
                    "the resource {:?} has variables in its URI that its function does not take",
                    self.uri
                ));
            }
            _ => None,
        };
        if let Some(unknown) = self.suggest.keys().find(|name| {
            !template
                .as_ref()
                .is_some_and(|template| template.variables().any(|known| known == **name))
        }) {
            return Err(format!(
                "the resource {:?} suggests values for {unknown:?}, which is none of its variables",
                self.uri
            ));
        }
        let Listed {
            title,
            description,
            icons,
            meta,
        } = self
            .declared
            .settle(format_args!("the resource {:?}", self.uri))?;
        let completes = !self.suggest.is_empty();
        let handler = Arc::new(Handler {
            run: self.run,
            suggest: self.suggest,
            namespace,
        });
        let annotations = Some(self.annotations).filter(|hints| !hints.is_empty());
        let annotations = annotations.map(|hints| Value::Object(hints).into());
        match template {
            Some(uri) => offer.add_resource_template(ResourceTemplate {
                title,
                description,
                mime_type: self.mime_type,
                annotations,
                icons,
                meta,
                caching: self.caching,
                completes,
                ..ResourceTemplate::new(uri, self.name, handler)
            }),
            None => offer.add_resource(outlast_mcp::offer::Resource {
                title,
                description,
                mime_type: self.mime_type,
                size: self.size,
                annotations,
                icons,
                meta,
                caching: self.caching,
                ..outlast_mcp::offer::Resource::new(self.uri, self.name, handler)
            }),
        }
    }

    /// The template, which names the fields and nothing else.
    fn template(&self, fields: &[schema::Field]) -> Result<UriTemplate, String> {
        let template = UriTemplate::new(&self.uri)?;
        for field in fields {
            if !template.variables().any(|name| name == field.name) {
                return Err(format!(
                    "the function of the resource {:?} takes {:?}, which its URI does not have",
                    self.uri, field.name
                ));
            }
            if field.required && template.query_variables().contains(&field.name) {
                return Err(format!(
                    "the query parameter {:?} of {:?} may be left out: take an Option, or give it a \
                     default",
                    field.name, self.uri
                ));
            }
        }
        let untaken = |name: &&str| fields.iter().all(|field| field.name != **name);
        if let Some(name) = template.variables().find(untaken) {
            return Err(format!(
                "the URI {:?} has the variable {name:?}, which its function does not take",
                self.uri
            ));
        }
        Ok(template)
    }
}

struct Handler {
    run: Read,
    suggest: BTreeMap<String, Suggest>,
    namespace: Option<Arc<Namespace>>,
}

impl ResourceHandler for Handler {
    fn read(
        &self,
        request: ReadRequest,
        cx: RequestCx,
    ) -> BoxFuture<'static, Result<Option<Vec<ResourceContents>>>> {
        (self.run)(request, within(cx, self.namespace.as_ref()))
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

/// What a server takes as a resource: a [`Resource`], or the name of a function with `#[resource]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a resource",
    label = "not a resource",
    note = "put #[resource(\"scheme://…\")] on the function and give the server its name without \
            calling it, or make a `Resource` by hand with `Resource::new` or `Resource::typed`"
)]
pub trait IntoResource {
    /// The resource.
    fn into_resource(self) -> Resource;
}

impl IntoResource for Resource {
    fn into_resource(self) -> Resource {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<F: FnOnce() -> Resource> IntoResource for F {
    fn into_resource(self) -> Resource {
        self()
    }
}
