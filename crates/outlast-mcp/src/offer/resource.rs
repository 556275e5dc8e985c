//! Resources and resource templates as a server offers them.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_core::RawJson;
use outlast_engine::{BoxFuture, Result};

use super::completion::CompletionRequest;
use super::contents::{Caching, ResourceContents};
use super::request::RequestCx;
use super::template::UriTemplate;

/// What is to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadRequest {
    /// The URI as it was asked for.
    pub uri: String,
    /// The values of the template's variables; empty for a resource with a fixed URI.
    pub variables: BTreeMap<String, String>,
}

/// The code of a resource or of a template.
pub trait ResourceHandler: Send + Sync + 'static {
    /// The contents. `None` if there is no such resource, which the protocol tells the client.
    ///
    /// The future is dropped when the client ends the request.
    fn read(
        &self,
        request: ReadRequest,
        cx: RequestCx,
    ) -> BoxFuture<'static, Result<Option<Vec<ResourceContents>>>>;

    /// Suggestions for the value of a variable. The default has none.
    fn complete(
        &self,
        request: CompletionRequest,
        cx: RequestCx,
    ) -> BoxFuture<'static, Result<Vec<String>>> {
        let _ = (request, cx);
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// A resource with a fixed URI.
#[derive(Clone)]
pub struct Resource {
    /// Unique within a server.
    pub uri: String,
    /// For programs.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// The type of its contents.
    pub mime_type: Option<String>,
    /// How large it is, in bytes, before any encoding.
    pub size: Option<u64>,
    /// The protocol's `annotations` object.
    pub annotations: Option<RawJson>,
    /// The protocol's `icons`, an array.
    pub icons: Option<RawJson>,
    /// The resource's own `_meta`, an object.
    pub meta: Option<RawJson>,
    /// How long a copy of its contents may be used.
    pub caching: Caching,
    /// The code.
    pub handler: Arc<dyn ResourceHandler>,
}

impl Resource {
    /// A resource about which nothing else is said; set the fields you need.
    pub fn new(
        uri: impl Into<String>,
        name: impl Into<String>,
        handler: Arc<dyn ResourceHandler>,
    ) -> Self {
        Self {
            uri: uri.into(),
            name: name.into(),
            title: None,
            description: None,
            mime_type: None,
            size: None,
            annotations: None,
            icons: None,
            meta: None,
            caching: Caching::default(),
            handler,
        }
    }
}

/// Resources whose URIs follow a template.
#[derive(Clone)]
pub struct ResourceTemplate {
    /// The form of the URIs; unique within a server.
    pub uri_template: UriTemplate,
    /// For programs.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// What they are.
    pub description: Option<String>,
    /// The type of their contents, if it is the same for all.
    pub mime_type: Option<String>,
    /// The protocol's `annotations` object.
    pub annotations: Option<RawJson>,
    /// The protocol's `icons`, an array.
    pub icons: Option<RawJson>,
    /// The template's own `_meta`, an object.
    pub meta: Option<RawJson>,
    /// How long a copy of the contents may be used.
    pub caching: Caching,
    /// Whether [`ResourceHandler::complete`] suggests anything.
    pub completes: bool,
    /// The code.
    pub handler: Arc<dyn ResourceHandler>,
}

impl ResourceTemplate {
    /// A template about which nothing else is said; set the fields you need.
    pub fn new(
        uri_template: UriTemplate,
        name: impl Into<String>,
        handler: Arc<dyn ResourceHandler>,
    ) -> Self {
        Self {
            uri_template,
            name: name.into(),
            title: None,
            description: None,
            mime_type: None,
            annotations: None,
            icons: None,
            meta: None,
            caching: Caching::default(),
            completes: false,
            handler,
        }
    }
}

/// The resources of a server.
#[derive(Clone, Default)]
pub(crate) struct Resources {
    pub(crate) fixed: BTreeMap<String, Arc<Resource>>,
    /// By their texts. The first that fits a URI has it.
    pub(crate) templates: BTreeMap<String, Arc<ResourceTemplate>>,
}

/// Who has the contents of a URI.
pub(crate) struct Found {
    pub(crate) handler: Arc<dyn ResourceHandler>,
    pub(crate) variables: BTreeMap<String, String>,
    /// The type that was declared.
    pub(crate) mime_type: Option<String>,
    pub(crate) caching: Caching,
}

impl Resources {
    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.templates.is_empty()
    }

    /// Who has the contents of `uri`. A fixed URI comes before every template.
    ///
    /// # Errors
    /// A template fits but for its query; the sentence says what is wrong with it.
    pub(crate) fn find(&self, uri: &str) -> std::result::Result<Option<Found>, String> {
        if let Some(resource) = self.fixed.get(uri) {
            return Ok(Some(Found {
                handler: Arc::clone(&resource.handler),
                variables: BTreeMap::new(),
                mime_type: resource.mime_type.clone(),
                caching: resource.caching,
            }));
        }
        let mut problem = None;
        for template in self.templates.values() {
            match template.uri_template.read(uri) {
                Ok(None) => {}
                Ok(Some(variables)) => {
                    return Ok(Some(Found {
                        handler: Arc::clone(&template.handler),
                        variables,
                        mime_type: template.mime_type.clone(),
                        caching: template.caching,
                    }));
                }
                Err(wrong) => problem = Some(wrong),
            }
        }
        problem.map_or(Ok(None), Err)
    }
}
