//! Changing what a running server offers.

use std::any::TypeId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::NewSchedule;
use outlast_engine::{Namespace, TaskSupport};

use super::prompt::IntoPrompt;
use super::resource::IntoResource;
use crate::declared::{Declared, TagFilter};
use crate::definition::{IntoTool, Tool};
use crate::error::StartError;
use crate::layer::AnyLayer;
use crate::settings::Settings;

/// What a running server offers, to be changed while it is served. Cheap to clone.
///
/// A handler takes it as `State<Catalog>` (that of the outermost server, with whole names, also where its
/// own is mounted), an application from [`crate::RunningServer::catalog`]. Each
/// change is seen as a whole, and clients are told of it (`notifications/*/list_changed`).
///
/// ```
/// use outlast::prelude::*;
/// use outlast::Catalog;
///
/// /// Says hello.
/// #[tool]
/// async fn hello() -> &'static str {
///     "hello"
/// }
///
/// /// Adds the tool `hello`.
/// #[tool]
/// async fn learn(catalog: State<Catalog>) -> Result<&'static str> {
///     catalog.add_tool(hello).map_err(Error::tool)?;
///     Ok("learned")
/// }
///
/// let server = Server::new("pupil").tool(learn);
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct Catalog {
    offer: outlast_mcp::offer::Catalog,
    defaults: Defaults,
    states: Arc<HashSet<TypeId>>,
    /// Whose tags let through what is added here, the outermost server's first.
    filters: Arc<[TagFilter]>,
    /// Where the names of what is added here belong, if it is not the outermost server.
    namespace: Option<Arc<Namespace>>,
    /// What is put around each handler, the innermost first.
    layers: Arc<[AnyLayer]>,
}

/// What a server says where a tool says nothing itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Defaults {
    pub(crate) task: Option<TaskSupport>,
    pub(crate) retention: Option<Duration>,
}

impl Defaults {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            task: settings.task,
            retention: settings.retention,
        }
    }
}

impl Catalog {
    pub(crate) fn new(defaults: Defaults, mut states: HashSet<TypeId>, filter: TagFilter) -> Self {
        states.insert(TypeId::of::<Self>());
        Self {
            offer: outlast_mcp::offer::Catalog::new(),
            defaults,
            states: Arc::new(states),
            filters: [filter].into(),
            namespace: None,
            layers: Arc::default(),
        }
    }

    /// A catalogue of nothing, for handlers that are given the same states.
    pub(crate) fn empty(&self, defaults: Defaults, filter: TagFilter) -> Self {
        Self {
            states: Arc::clone(&self.states),
            ..Self::new(defaults, HashSet::new(), filter)
        }
    }

    /// This catalogue as a mounted server adds to it.
    pub(crate) fn mounted(
        &self,
        namespace: Arc<Namespace>,
        states: &HashSet<TypeId>,
        defaults: Defaults,
        filter: TagFilter,
    ) -> Self {
        Self {
            filters: self.filters.iter().cloned().chain([filter]).collect(),
            defaults,
            states: Arc::new(self.states.union(states).copied().collect()),
            namespace: Some(namespace),
            ..self.clone()
        }
    }

    /// This catalogue with these layers, the innermost first, inside of those that it has.
    pub(crate) fn with_layers(self, inner: &[AnyLayer]) -> Self {
        let layers = inner.iter().chain(&*self.layers).cloned().collect();
        Self { layers, ..self }
    }

    pub(crate) fn namespace(&self) -> Option<&Arc<Namespace>> {
        self.namespace.as_ref()
    }

    pub(crate) fn offer(&self) -> &outlast_mcp::offer::Catalog {
        &self.offer
    }

    /// Whether what is declared is to be offered.
    ///
    /// # Errors
    /// It is, and takes a state that the server does not have.
    fn wants(&self, kind: &str, name: &str, declared: &Declared) -> Result<bool, StartError> {
        if !self
            .filters
            .iter()
            .all(|filter| filter.admits(&declared.tags))
        {
            return Ok(false);
        }
        match declared
            .needs
            .iter()
            .find(|need| !self.states.contains(&need.id))
        {
            None => Ok(true),
            Some(need) => Err(StartError::new(format!(
                "the {kind} {name:?} takes State<{}>, but the server was given no such value: add \
                 .state(…) to the server",
                need.name
            ))),
        }
    }

    /// Adds a tool. Its tasks that waited for a server that knows it are run. One that the server's tags
    /// leave out ([`crate::Server::include_tags`]) is not offered.
    ///
    /// # Errors
    /// There is one of this name, it takes a state that the server does not have, it brings a schedule,
    /// or what it says does not fit together; the sentence says which.
    pub fn add_tool(&self, tool: impl IntoTool) -> Result<(), StartError> {
        let tool = tool.into_tool();
        if tool.has_schedules() {
            return Err(StartError::new(format!(
                "the tool {:?} brings a schedule, and those of tools are declared when the server starts: \
                 make it by Handle::schedules",
                tool.name()
            )));
        }
        self.add(tool).map(drop)
    }

    /// Adds a tool, if the tags let it through. Returns the schedules that it brings, with the names that
    /// they and it have outside; whoever adds it declares them.
    pub(crate) fn add(&self, mut tool: Tool) -> Result<Vec<NewSchedule>, StartError> {
        if !self.wants("tool", tool.name(), tool.declared())? {
            return Ok(Vec::new());
        }
        let schedules = tool.take_schedules();
        let mut tool = tool.settle(self.defaults.task, self.defaults.retention)?;
        if let Some(namespace) = &self.namespace {
            tool.name.insert_str(0, &namespace.prefix);
            tool.namespace = Some(Arc::clone(namespace));
        }
        for layer in &*self.layers {
            tool.handler = layer(&tool.name, tool.handler);
        }
        let prefix = self.namespace.as_ref().map_or("", |there| &there.prefix);
        let schedules = schedules.into_iter().map(|mut schedule| {
            if !schedule.name.is_empty() {
                schedule.name.insert_str(0, prefix);
            }
            schedule.of_tool(tool.name.clone())
        });
        let schedules = schedules.collect();
        self.offer.change(|offer| offer.add_tool(tool))?;
        Ok(schedules)
    }

    /// Removes a tool; `false` if there is none of this name. It can no longer be called; its running
    /// tasks go on, and those that wait keep waiting until a server knows it again.
    pub fn remove_tool(&self, name: &str) -> bool {
        self.removed(|offer| offer.remove_tool(name))
    }

    /// Adds a prompt, tags as for tools.
    ///
    /// # Errors
    /// As [`Catalog::add_tool`].
    pub fn add_prompt(&self, prompt: impl IntoPrompt) -> Result<(), StartError> {
        let prompt = prompt.into_prompt();
        if !self.wants("prompt", prompt.name(), prompt.declared())? {
            return Ok(());
        }
        let prompt = prompt.settle(self.namespace.clone())?;
        Ok(self.offer.change(|offer| offer.add_prompt(prompt))?)
    }

    /// Removes a prompt; `false` if there is none of this name.
    pub fn remove_prompt(&self, name: &str) -> bool {
        self.removed(|offer| offer.remove_prompt(name))
    }

    /// Adds a resource, or a template, tags as for tools.
    ///
    /// # Errors
    /// As [`Catalog::add_tool`]; also if its URI is none, or does not fit its function.
    pub fn add_resource(&self, resource: impl IntoResource) -> Result<(), StartError> {
        let resource = resource.into_resource();
        if !self.wants("resource", resource.uri(), resource.declared())? {
            return Ok(());
        }
        Ok(self
            .offer
            .change(|offer| resource.add_to(offer, self.namespace.clone()))?)
    }

    /// Removes a resource, or a template; `false` if there is none with this URI.
    pub fn remove_resource(&self, uri: &str) -> bool {
        self.removed(|offer| offer.remove_resource(uri) || offer.remove_resource_template(uri))
    }

    /// Says that the contents of a resource have changed: clients that have subscribed to it are told.
    pub fn resource_updated(&self, uri: &str) {
        self.offer.resource_updated(uri);
    }

    fn removed(&self, remove: impl FnOnce(&mut outlast_mcp::offer::Changes) -> bool) -> bool {
        self.offer
            .change(|offer| Ok(remove(offer)))
            .is_ok_and(|there| there)
    }
}
