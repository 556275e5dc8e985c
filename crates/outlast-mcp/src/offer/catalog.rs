//! The catalogue: one snapshot of what is offered, and the one way to change it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use outlast_core::Owner;
use outlast_engine::{Handle, TaskSupport, Tool, Tools, WeakHandle};
use tokio::sync::{broadcast, watch};

use super::pages::Pages;
use super::prompt::Prompt;
use super::resource::{Resource, ResourceTemplate, Resources};
use super::tasks;
use super::template::has_scheme;
use super::tools::ToolPages;
use crate::http::ParamHeaders;
use crate::protocol::Version;
use crate::server::Config;
use crate::wire;

/// How many updates of resources may wait for one follower. Who falls further behind is told that it
/// did, and takes everything it follows as changed.
const UPDATES: usize = 1024;

/// What a server offers. Cheap to clone; all clones are the same catalogue.
///
/// It may be changed while the server is served: clients of every era are told
/// (`notifications/*/list_changed`), and each request sees the set either before or after.
#[derive(Clone)]
pub struct Catalog(Arc<Shared>);

struct Shared {
    /// Held while a change is made, so that none is lost.
    server: Mutex<Option<Attached>>,
    current: watch::Sender<Arc<Snapshot>>,
    updated: broadcast::Sender<Updated>,
}

/// A resource has changed.
#[derive(Clone)]
pub(crate) struct Updated {
    pub(crate) uri: Arc<str>,
    /// Whom it concerns, if not everybody.
    owner: Option<Owner>,
}

impl Updated {
    /// Whether this owner may be told.
    pub(crate) fn is_for(&self, owner: &Owner) -> bool {
        self.owner.as_ref().is_none_or(|own| own == owner)
    }
}

/// The server that the catalogue belongs to.
struct Attached {
    engine: WeakHandle,
    config: Arc<Config>,
}

/// Counts the changes of each list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Revisions {
    pub(crate) tools: u64,
    pub(crate) prompts: u64,
    pub(crate) resources: u64,
}

/// What is offered at one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) tools: Tools,
    pub(crate) prompts: BTreeMap<String, Arc<Prompt>>,
    pub(crate) resources: Resources,
    pub(crate) revisions: Revisions,
    /// Whether there are, or have been, prompts: a capability is not taken back.
    pub(crate) has_prompts: bool,
    /// The same of resources and templates.
    pub(crate) has_resources: bool,
    /// Whether there is, or has been, something to complete.
    pub(crate) has_completions: bool,
    /// Of the server; `None` as long as there is none.
    config: Option<Arc<Config>>,
    written: Written,
}

/// What is made of a snapshot when it is first asked for. A start makes a snapshot for each thing that a
/// program offers, and nobody looks at any but the last one.
#[derive(Default)]
struct Written {
    tools: OnceLock<ToolPages>,
    prompts: OnceLock<Pages>,
    resources: OnceLock<Pages>,
    templates: OnceLock<Pages>,
    param_headers: OnceLock<ParamHeaders>,
}

impl Snapshot {
    /// The lists of tools.
    pub(crate) fn tool_pages(&self) -> &ToolPages {
        let write = || match &self.config {
            Some(config) => ToolPages::new(&self.tools, config),
            None => ToolPages::default(),
        };
        self.written.tools.get_or_init(write)
    }

    /// The list of prompts.
    pub(crate) fn prompt_pages(&self) -> &Pages {
        self.pages(
            &self.written.prompts,
            "prompt",
            self.prompts.values(),
            |prompt| &prompt.name,
            |out, prompt, version| wire::prompt(out, prompt, version),
        )
    }

    /// The list of resources.
    pub(crate) fn resource_pages(&self) -> &Pages {
        self.pages(
            &self.written.resources,
            "resource",
            self.resources.fixed.values(),
            |resource| &resource.uri,
            |out, resource, version| wire::resource(out, resource, version),
        )
    }

    /// The list of resource templates.
    pub(crate) fn template_pages(&self) -> &Pages {
        self.pages(
            &self.written.templates,
            "template",
            self.resources.templates.values(),
            |template| template.uri_template.as_str(),
            |out, template, version| wire::resource_template(out, template, version),
        )
    }

    fn pages<'s, T: 's>(
        &'s self,
        written: &'s OnceLock<Pages>,
        kind: &'static str,
        items: impl Iterator<Item = &'s Arc<T>>,
        key: impl Fn(&Arc<T>) -> &str,
        write: impl Fn(&mut Vec<u8>, &Arc<T>, Version),
    ) -> &'s Pages {
        let page_size = self
            .config
            .as_ref()
            .map_or(usize::MAX, |config| config.page_size);
        written.get_or_init(|| Pages::new(kind, page_size, items, key, write))
    }

    /// Which arguments are repeated as headers.
    pub(crate) fn param_headers(&self) -> &ParamHeaders {
        let read = || ParamHeaders::new(&self.tools);
        self.written.param_headers.get_or_init(read)
    }

    /// The revisions of what comes in the place of this: a list that reads as before has not changed,
    /// whatever runs behind it.
    fn revisions_of(&self, next: &Self) -> Revisions {
        let count = |before: u64, same: bool| before + u64::from(!same);
        let resources = self.resource_pages() == next.resource_pages()
            && self.template_pages() == next.template_pages();
        Revisions {
            tools: count(self.revisions.tools, self.tool_pages() == next.tool_pages()),
            prompts: count(
                self.revisions.prompts,
                self.prompt_pages() == next.prompt_pages(),
            ),
            resources: count(self.revisions.resources, resources),
        }
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self(Arc::new(Shared {
            server: Mutex::default(),
            current: watch::Sender::default(),
            updated: broadcast::Sender::new(UPDATES),
        }))
    }
}

impl Catalog {
    /// An empty catalogue.
    pub fn new() -> Self {
        Self::default()
    }

    /// A catalogue of these tools and nothing else.
    pub fn of(tools: Tools) -> Self {
        let catalog = Self::new();
        let changes = Changes {
            tools,
            prompts: BTreeMap::new(),
            resources: Resources::default(),
            changed: Revisions::default(),
            replaced: false,
        };
        catalog.publish(None, changes);
        catalog
    }

    /// The tools that are offered now.
    pub fn tools(&self) -> Tools {
        self.current().tools.clone()
    }

    /// Changes what is offered, in one step: `change` makes any number of changes, and the whole of
    /// them is seen, or, if it fails, nothing.
    ///
    /// A tool that is removed can no longer be called. Its tasks that run go on to their end; those
    /// that wait keep waiting until a server knows the tool again.
    ///
    /// # Errors
    /// Those of `change`; or a tool has the name of a helper tool of the server.
    pub fn change<R>(
        &self,
        change: impl FnOnce(&mut Changes) -> Result<R, String>,
    ) -> Result<R, String> {
        let server = self
            .0
            .server
            .lock()
            .expect("nothing panics under this lock");
        let before = self.current();
        let mut changes = Changes {
            tools: before.tools.clone(),
            prompts: before.prompts.clone(),
            resources: before.resources.clone(),
            changed: Revisions::default(),
            replaced: false,
        };
        let result = change(&mut changes)?;
        if let Some(server) = server.as_ref() {
            server.config.helpers.check(&changes.tools)?;
        }
        if changes.replaced || changes.changed != Revisions::default() {
            self.publish(server.as_ref(), changes);
        }
        Ok(result)
    }

    /// Says that the contents of a resource have changed: whoever has subscribed to it is told
    /// (`notifications/resources/updated`).
    pub fn resource_updated(&self, uri: &str) {
        // Nobody may be following.
        let _ = self.0.updated.send(Updated {
            uri: uri.into(),
            owner: None,
        });
    }

    /// Says to those of this owner, who may see the task, that a view of a task has changed.
    pub(crate) fn task_updated(&self, owner: &Owner, uri: &str) {
        let _ = self.0.updated.send(Updated {
            uri: uri.into(),
            owner: Some(owner.clone()),
        });
    }

    /// What is offered now.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.current.borrow())
    }

    /// Follows the changes of the lists.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.current.subscribe()
    }

    /// Follows the updates of resources.
    pub(crate) fn follow_updates(&self) -> broadcast::Receiver<Updated> {
        self.0.updated.subscribe()
    }

    /// From here on the engine runs what the catalogue offers.
    pub(crate) fn attach(&self, engine: &Handle, config: &Config) {
        let mut server = self
            .0
            .server
            .lock()
            .expect("nothing panics under this lock");
        let now = self.current();
        let changes = Changes {
            tools: now.tools.clone(),
            prompts: now.prompts.clone(),
            resources: now.resources.clone(),
            changed: Revisions::default(),
            replaced: false,
        };
        let attached = server.insert(Attached {
            engine: engine.downgrade(),
            config: Arc::new(config.clone()),
        });
        self.publish(Some(attached), changes);
    }

    fn publish(&self, server: Option<&Attached>, changes: Changes) {
        let before = self.current();
        let Changes {
            tools,
            prompts,
            mut resources,
            changed,
            replaced,
        } = changes;
        if tools.iter().any(|tool| tool.task != TaskSupport::Forbidden) {
            for template in tasks::templates() {
                let text = template.uri_template.as_str().to_owned();
                resources.templates.entry(text).or_insert(template);
            }
        }
        let completes = prompts.values().any(|prompt| prompt.completes)
            || resources.templates.values().any(|one| one.completes);
        let mut next = Snapshot {
            revisions: Revisions {
                tools: before.revisions.tools + changed.tools,
                prompts: before.revisions.prompts + changed.prompts,
                resources: before.revisions.resources + changed.resources,
            },
            has_prompts: before.has_prompts || !prompts.is_empty(),
            has_resources: before.has_resources || !resources.is_empty(),
            has_completions: before.has_completions || completes,
            config: server.map(|server| Arc::clone(&server.config)),
            written: Written::default(),
            tools,
            prompts,
            resources,
        };
        if replaced {
            next.revisions = before.revisions_of(&next);
        }
        // The worker first: what can be called can be run.
        if let Some(engine) = server.and_then(|server| server.engine.upgrade()) {
            engine.set_tools(next.tools.clone());
        }
        self.0.current.send_replace(Arc::new(next));
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.current();
        f.debug_struct("Catalog")
            .field("tools", &now.tools.len())
            .field("prompts", &now.prompts.len())
            .field("resources", &now.resources.fixed.len())
            .field("templates", &now.resources.templates.len())
            .finish()
    }
}

/// A change of a [`Catalog`] that is being made.
pub struct Changes {
    tools: Tools,
    prompts: BTreeMap<String, Arc<Prompt>>,
    resources: Resources,
    changed: Revisions,
    /// Everything is new; what has changed is found out by comparing.
    replaced: bool,
}

impl Changes {
    /// Takes everything that `other` offers in the place of what is offered here. Clients are told of the
    /// lists that read differently then, and of no others.
    pub fn replace_by(&mut self, other: &Catalog) {
        let other = other.current();
        self.tools = other.tools.clone();
        self.prompts = other.prompts.clone();
        self.resources = other.resources.clone();
        self.replaced = true;
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// There is one of this name, or the name is empty.
    pub fn add_tool(&mut self, tool: Tool) -> Result<(), String> {
        self.tools = self.tools.with(tool)?;
        self.changed.tools = 1;
        Ok(())
    }

    /// Removes a tool; `false` if there is none of this name.
    pub fn remove_tool(&mut self, name: &str) -> bool {
        let there = self.tools.get(name).is_some();
        if there {
            self.tools = self.tools.without(name);
            self.changed.tools = 1;
        }
        there
    }

    /// Adds a prompt.
    ///
    /// # Errors
    /// There is one of this name, the name is empty, or two arguments have the same name.
    pub fn add_prompt(&mut self, prompt: Prompt) -> Result<(), String> {
        if prompt.name.is_empty() {
            return Err("a prompt has an empty name".into());
        }
        for (index, argument) in prompt.arguments.iter().enumerate() {
            let before = &prompt.arguments[..index];
            if before.iter().any(|other| other.name == argument.name) {
                return Err(format!(
                    "the prompt {:?} has two arguments named {:?}",
                    prompt.name, argument.name
                ));
            }
        }
        if self.prompts.contains_key(&prompt.name) {
            return Err(format!(
                "two prompts are named {:?}; names must differ",
                prompt.name
            ));
        }
        self.prompts.insert(prompt.name.clone(), Arc::new(prompt));
        self.changed.prompts = 1;
        Ok(())
    }

    /// Removes a prompt; `false` if there is none of this name.
    pub fn remove_prompt(&mut self, name: &str) -> bool {
        let there = self.prompts.remove(name).is_some();
        self.changed.prompts |= u64::from(there);
        there
    }

    /// Adds a resource with a fixed URI.
    ///
    /// # Errors
    /// There is one with this URI, or the URI has no scheme.
    pub fn add_resource(&mut self, resource: Resource) -> Result<(), String> {
        if !has_scheme(&resource.uri) {
            return Err(format!(
                "the URI {:?} of a resource must begin with a scheme, for example \"config://app\"",
                resource.uri
            ));
        }
        if self.resources.fixed.contains_key(&resource.uri) {
            return Err(format!(
                "two resources have the URI {:?}; URIs must differ",
                resource.uri
            ));
        }
        let uri = resource.uri.clone();
        self.resources.fixed.insert(uri, Arc::new(resource));
        self.changed.resources = 1;
        Ok(())
    }

    /// Removes a resource; `false` if there is none with this URI.
    pub fn remove_resource(&mut self, uri: &str) -> bool {
        let there = self.resources.fixed.remove(uri).is_some();
        self.changed.resources |= u64::from(there);
        there
    }

    /// Adds a resource template.
    ///
    /// # Errors
    /// There is one with this text.
    pub fn add_resource_template(&mut self, template: ResourceTemplate) -> Result<(), String> {
        let text = template.uri_template.as_str().to_owned();
        if self.resources.templates.contains_key(&text) {
            return Err(format!(
                "two resource templates are {text:?}; they must differ"
            ));
        }
        self.resources.templates.insert(text, Arc::new(template));
        self.changed.resources = 1;
        Ok(())
    }

    /// Removes a resource template; `false` if there is none with this text.
    pub fn remove_resource_template(&mut self, uri_template: &str) -> bool {
        let there = self.resources.templates.remove(uri_template).is_some();
        self.changed.resources |= u64::from(there);
        there
    }
}

#[cfg(test)]
mod tests {
    use outlast_core::testing::MemoryStore;
    use outlast_core::{RawJson, Store, ToolResult};
    use outlast_engine::{BoxFuture, Cx, Engine, Handler, Result as EngineResult};

    use super::*;
    use crate::server::Server;

    struct Nothing;

    impl Handler for Nothing {
        fn check(&self, _arguments: &RawJson) -> Result<(), String> {
            Ok(())
        }

        fn call(
            &self,
            _arguments: RawJson,
            _cx: Cx,
        ) -> BoxFuture<'static, EngineResult<ToolResult>> {
            Box::pin(async { Ok(ToolResult::text("")) })
        }
    }

    #[tokio::test]
    async fn lists_are_written_when_somebody_looks_and_once() {
        let catalog = Catalog::new();
        for name in ["a", "b", "c"] {
            let tool = Tool::new(name, Arc::new(Nothing));
            catalog.change(|offer| offer.add_tool(tool)).unwrap();
        }
        let engine = Engine::builder(Arc::new(MemoryStore::default()) as Arc<dyn Store>)
            .tools(catalog.tools())
            .start()
            .await
            .unwrap();
        let config = Config::new("test", "1");
        let server = Server::with_catalog(engine.handle(), catalog.clone(), config);
        let _server = server.await.unwrap();
        let now = catalog.current();
        let Written {
            tools,
            prompts,
            resources,
            templates,
            param_headers,
        } = &now.written;
        assert!(tools.get().is_none() && param_headers.get().is_none());
        assert!(prompts.get().is_none() && resources.get().is_none() && templates.get().is_none());
        let first = now.tool_pages();
        assert!(std::ptr::eq(first, catalog.current().tool_pages()));
        catalog.change(|offer| Ok(offer.remove_tool("a"))).unwrap();
        assert!(catalog.current().written.tools.get().is_none());
    }
}
