//! A server: what it offers, state and settings put together, and then run.

mod concurrency;
mod connections;
mod copy;
mod lifespan;
mod mount;
mod observe;
mod parts;
mod plan;
mod reload;
mod run;
mod running;
mod secret_key;
mod socket;
mod store;
mod unix;

use std::any::TypeId;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use outlast_core::{NewSchedule, ToolResult};
use outlast_engine::{BoxFuture, Handle, Order, ProgressSink, StateMap};
use outlast_http::auth::Authenticator;

use crate::definition::{IntoTool, Tool};
use crate::error::StartError;
use crate::icon::Icon;
use crate::layer::{self, AnyLayer, Layer, Service, ToolCall, ToolService};
use crate::offer::{Catalog, Defaults, IntoPrompt, IntoResource, Prompt, Resource};
use crate::settings::Settings;

use self::lifespan::Lifespan;
use self::mount::Mount;

pub(crate) use lifespan::Stops;
pub(crate) use mount::mounted_uri;
#[cfg(feature = "testing")]
pub(crate) use parts::Doors;
pub use reload::Reloaded;
pub use running::RunningServer;
pub use secret_key::KeyOfCopy;
pub(crate) use socket::socket_path;
pub(crate) use socket::{beside, connect};

/// A server of tools.
///
/// ```no_run
/// use outlast::prelude::*;
///
/// /// Counts to `n`, slowly.
/// #[tool(task)]
/// async fn count(n: u32, cx: Cx) -> Result<String> {
///     for i in cx.progress().over(1..=n) {
///         cx.step(format!("number {i}"), || async move { Ok(i) }).await?;
///     }
///     Ok(format!("counted to {n}"))
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<()> {
///     Server::new("counter").tool(count).run().await
/// }
/// ```
#[derive(Clone)]
#[must_use = "a server does nothing until it is run"]
pub struct Server {
    name: String,
    title: Option<String>,
    version: String,
    instructions: Option<String>,
    description: Option<String>,
    website_url: Option<String>,
    icons: Vec<Icon>,
    tools: Vec<Tool>,
    prompts: Vec<Prompt>,
    resources: Vec<Resource>,
    state: StateMap,
    states: HashSet<TypeId>,
    mounts: Vec<Mount>,
    lifespans: Vec<Lifespan>,
    layers: Vec<AnyLayer>,
    settings: Settings,
    built_from: Vec<u8>,
    /// The command line says no more than the settings and what it was built from.
    command_line_is_settings: bool,
    background: Vec<Background>,
    order: Order,
    schedules: Vec<NewSchedule>,
    progress_sinks: Vec<Arc<dyn ProgressSink>>,
    authenticators: Vec<Arc<dyn Authenticator>>,
    /// What its run was told, which stands above its own settings.
    told: Settings,
    source: Option<reload::Source>,
    stdio_command: Option<String>,
    /// What carries traces and metrics away, once it runs as a program.
    #[cfg(feature = "otlp")]
    telemetry: Option<Arc<outlast_otel::Telemetry>>,
}

/// All that a server and those mounted in it offer.
struct Offered {
    catalog: Catalog,
    /// Their own and those of the tools that are offered.
    schedules: Vec<NewSchedule>,
}

/// What a server in process is made of.
#[cfg(feature = "testing")]
pub(crate) struct PartsForTests {
    pub(crate) catalog: outlast_mcp::offer::Catalog,
    pub(crate) state: StateMap,
    pub(crate) schedules: Vec<NewSchedule>,
    pub(crate) order: Order,
}

/// Work that an application does beside the server.
type Background = Arc<dyn Fn(Handle) -> BoxFuture<'static, ()> + Send + Sync>;

impl Server {
    /// A server without tools. The name is what clients see; a store remembers it and refuses a
    /// server of another name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: None,
            version: "0.0.0".into(),
            instructions: None,
            description: None,
            website_url: None,
            icons: Vec::new(),
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            state: StateMap::default(),
            states: HashSet::new(),
            mounts: Vec::new(),
            lifespans: Vec::new(),
            layers: Vec::new(),
            settings: Settings::default(),
            built_from: Vec::new(),
            command_line_is_settings: false,
            background: Vec::new(),
            order: Order::new(),
            schedules: Vec::new(),
            progress_sinks: Vec::new(),
            authenticators: Vec::new(),
            told: Settings::default(),
            source: None,
            stdio_command: None,
            #[cfg(feature = "otlp")]
            telemetry: None,
        }
    }

    /// Sets the server's own version, as clients see it; `env!("CARGO_PKG_VERSION")` is a good one.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets a name for people.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Says what a model should know about the server as a whole.
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// Says what the server is for, to people who look at a list of servers.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets where people read about the server.
    pub fn website_url(mut self, url: impl Into<String>) -> Self {
        self.website_url = Some(url.into());
        self
    }

    /// Adds an icon of the server.
    pub fn icon(mut self, icon: impl Into<Icon>) -> Self {
        self.icons.push(icon.into());
        self
    }

    /// Adds a tool: the name of a function with `#[tool]`, or a [`Tool`].
    pub fn tool(mut self, tool: impl IntoTool) -> Self {
        self.tools.push(tool.into_tool());
        self
    }

    /// Adds tools.
    pub fn tools<T: IntoTool>(mut self, tools: impl IntoIterator<Item = T>) -> Self {
        self.tools
            .extend(tools.into_iter().map(IntoTool::into_tool));
        self
    }

    /// Offers only tools, prompts and resources that have at least one of these tags. Without this all
    /// are offered. What is left out does not exist for anybody: it cannot be called either, not by
    /// other handlers, and its tasks wait for a server that has it. [`Settings::include_tags`] replaces the list.
    pub fn include_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let known = self.settings.include_tags.get_or_insert_default();
        known.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Leaves out what has one of these tags, whatever other tags it has; otherwise as
    /// [`Server::include_tags`].
    pub fn exclude_tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        let known = self.settings.exclude_tags.get_or_insert_default();
        known.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Adds a prompt: the name of a function with `#[prompt]`, or a [`Prompt`].
    pub fn prompt(mut self, prompt: impl IntoPrompt) -> Self {
        self.prompts.push(prompt.into_prompt());
        self
    }

    /// Adds a resource or a template: the name of a function with `#[resource]`, or a [`Resource`].
    pub fn resource(mut self, resource: impl IntoResource) -> Self {
        self.resources.push(resource.into_resource());
        self
    }

    /// Gives the handlers a value of the application, which they take as [`crate::State`]. One value
    /// for each type; a second one of the same type takes the place of the first.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.state.insert(value);
        self.states.insert(TypeId::of::<T>());
        self
    }

    /// Gives the handlers a value that lives as long as the server runs, such as a pool of connections:
    /// `start` makes it before the first handler is called, `stop` takes it down after the last one.
    /// Handlers take it as [`crate::State`]; otherwise like [`Server::state`].
    ///
    /// Values are made in the order in which they are given, those of [mounted](Server::mount) servers
    /// last, and taken down in the opposite order. If one cannot be made, the server does not start. A
    /// process that is killed takes nothing down; and a blocking handler that outlasts the grace period of
    /// the stop still holds the value.
    ///
    /// ```
    /// use outlast::prelude::*;
    /// # struct Pool;
    /// # impl Pool {
    /// #     async fn open(_: &str) -> std::io::Result<Self> { Ok(Self) }
    /// #     async fn count(&self) -> u64 { 7 }
    /// #     async fn close(&self) {}
    /// # }
    ///
    /// /// Counts the rows.
    /// #[tool]
    /// async fn rows(pool: State<Pool>) -> u64 {
    ///     pool.count().await
    /// }
    ///
    /// let server = Server::new("tables")
    ///     .lifespan(
    ///         || async { Ok(Pool::open("app.db").await?) },
    ///         |pool| async move { pool.close().await },
    ///     )
    ///     .tool(rows);
    /// # let _ = server;
    /// ```
    pub fn lifespan<T, S, Made, E, Gone>(mut self, start: S, stop: E) -> Self
    where
        T: Send + Sync + 'static,
        S: Fn() -> Made + Send + Sync + 'static,
        Made: Future<Output = crate::Result<T>> + Send + 'static,
        E: Fn(Arc<T>) -> Gone + Send + Sync + 'static,
        Gone: Future<Output = ()> + Send + 'static,
    {
        let lifespan = Lifespan::new(start, stop);
        self.states.insert(lifespan.type_id);
        self.lifespans.push(lifespan);
        self
    }

    /// Offers what another server offers, under a prefix: its tool or prompt `build` as `prefix_build`, its
    /// resource `logs://today` as `logs://prefix/today`. An empty prefix changes no name.
    ///
    /// The other server stays as it was written: its handlers start its own tools by their own names, and
    /// have its own state before this one's. Its lifespans, background work, layers, progress sinks, tags
    /// and defaults for tools hold for what is its own; everything else (where to listen, the store, users,
    /// instructions) is this server's. `State<Catalog>` is the whole server's, with whole names.
    ///
    /// Names that collide are an error at the start; so is a mounted server with users of its own.
    ///
    /// ```
    /// use outlast::prelude::*;
    ///
    /// /// Builds everything.
    /// #[tool(task)]
    /// async fn build() -> &'static str {
    ///     "built"
    /// }
    ///
    /// let ci = Server::new("ci").tool(build);
    /// let server = Server::new("team").mount("ci", ci); // has the tool `ci_build`
    /// # let _ = server;
    /// ```
    pub fn mount(mut self, prefix: impl Into<String>, server: Self) -> Self {
        let prefix = prefix.into();
        self.mounts.push(Mount { prefix, server });
        self
    }

    /// Puts a `tower` layer around every call of every tool, those of mounted servers included, however it
    /// is served. A layer that is added later is outside of those before. See [`crate::layer`].
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<ToolService> + Send + Sync + 'static,
        L::Service: Service<ToolCall, Response = ToolResult> + Clone + Send + Sync + 'static,
        <L::Service as Service<ToolCall>>::Error:
            Into<Box<dyn std::error::Error + Send + Sync>> + Send,
        <L::Service as Service<ToolCall>>::Future: Send,
    {
        self.layers.push(layer::erase(layer));
        self
    }

    /// Adds a sink of the application's own that hears every change of progress, as it is made. It has
    /// a thread of its own: however slow it is, and whatever fails in it, no task is held up.
    ///
    /// ```
    /// use outlast::{ProgressSink, ProgressUpdate, Server};
    ///
    /// struct Meter;
    ///
    /// impl ProgressSink for Meter {
    ///     fn progress(&self, update: &ProgressUpdate) {
    ///         let percent = update.progress.percent().unwrap_or(0.0);
    ///         eprintln!("{} {} {percent:.0} %", update.spec.tool, update.spec.id);
    ///     }
    /// }
    ///
    /// let server = Server::new("metered").progress_sink(Meter);
    /// # let _ = server;
    /// ```
    pub fn progress_sink(mut self, sink: impl ProgressSink) -> Self {
        self.progress_sinks.push(Arc::new(sink));
        self
    }

    /// Calls a tool by itself, at the times that the schedule says. Its arguments are checked at the
    /// start as those of any call. The store remembers when it fired last, over restarts; what is not
    /// declared any more at a later start is removed. See the guide, `schedules`.
    ///
    /// ```
    /// use outlast::prelude::*;
    /// use outlast::{NewSchedule, Server};
    ///
    /// /// Sends the report of the last days.
    /// #[tool(task)]
    /// async fn report(days: u32) -> Result<String> {
    ///     Ok(format!("sent for {days}"))
    /// }
    ///
    /// let every_morning = NewSchedule::cron("0 7 * * *")
    ///     .time_zone("Europe/Berlin")
    ///     .call("report", &serde_json::json!({"days": 1}));
    /// let server = Server::new("reports").tool(report).schedule(every_morning);
    /// # let _ = server;
    /// ```
    pub fn schedule(mut self, schedule: NewSchedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// Adds schedules, as [`Server::schedule`] does. Those of a mounted server name its tools as they are
    /// offered here.
    pub fn schedules(mut self, schedules: impl IntoIterator<Item = NewSchedule>) -> Self {
        self.schedules.extend(schedules);
        self
    }

    /// Sets limits, rates and quotas over all tools together, for the whole server or for each owner:
    /// what one owner may have running holds for all of the tools. They hold for tasks, not for tools
    /// that are never one. The priority and the sameness of `order` have no meaning here.
    ///
    /// ```
    /// use outlast::prelude::*;
    /// use outlast::{Order, Per};
    ///
    /// # fn main() -> Result<(), String> {
    /// let order = Order::new()
    ///     .max_running_per(4, Per::Owner)
    ///     .rate_per("100/h".parse()?, Per::Owner)
    ///     .max_queued_per(50, Per::Owner);
    /// let server = Server::new("shared").order(order);
    /// # let _ = server;
    /// # Ok(())
    /// # }
    /// ```
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets what the command line and the environment may still override.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings.over(self.settings);
        self
    }

    /// Adds to what the server was built from, besides its binary and its settings: the text of an
    /// application's own configuration file, for example. A server that was started behind `--stdio`
    /// is replaced when this differs.
    pub fn built_from(mut self, text: impl AsRef<[u8]>) -> Self {
        self.built_from.extend_from_slice(text.as_ref());
        self.built_from.push(0);
        self
    }

    /// Says that the program's command line holds nothing that is not in the settings or in what the server was
    /// [built from](Self::built_from). Then two command lines that mean the same have one server behind
    /// `--stdio`; otherwise each of them replaces the other's.
    pub fn command_line_is_settings(mut self) -> Self {
        self.command_line_is_settings = true;
        self
    }

    /// Lets in whom `authenticator` knows, besides those whom [`Settings::auth`] lets in; those added
    /// first are asked first, and before the settings' ways. A server that has one has users.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.authenticators.push(Arc::new(authenticator));
        self
    }

    /// The command line that a client starts to speak with this server on standard input and output, for
    /// people: it is printed at the start.
    pub fn stdio_command(mut self, command: impl Into<String>) -> Self {
        self.stdio_command = Some(command.into());
        self
    }

    /// Does `work` beside the server: from its start, when what an earlier process left has been taken
    /// up, until it stops; then the future is dropped. A bridge does no work.
    pub fn background<F, Fut>(mut self, work: F) -> Self
    where
        F: Fn(Handle) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.background
            .push(Arc::new(move |handle| Box::pin(work(handle))));
        self
    }

    /// The file in which a server with `settings` over its own keeps its tasks. Nothing is made.
    ///
    /// # Errors
    /// No path is known; the sentence says what to do.
    pub fn database_with(&self, settings: &Settings) -> Result<PathBuf, StartError> {
        self.resolved(&settings.clone().over(self.settings.clone()))
    }

    /// What a server in process runs.
    #[cfg(feature = "testing")]
    pub(crate) fn parts_for_tests(&self) -> Result<PartsForTests, StartError> {
        let Offered { catalog, schedules } = self.settle(&self.settings)?;
        let (offer, mut state) = (catalog.offer().clone(), self.state.clone());
        state.insert(catalog);
        Ok(PartsForTests {
            catalog: offer,
            state,
            schedules,
            order: self.order.clone(),
        })
    }

    /// What is offered, with the defaults of `settings`, all of what it needs being there.
    fn settle(&self, settings: &Settings) -> Result<Offered, StartError> {
        let defaults = Defaults::of(settings);
        let catalog = Catalog::new(defaults, self.states.clone(), settings.tag_filter());
        self.settle_with(catalog, settings)
    }

    /// What is offered in the place of what a running server offers in `there`, with the states of that one.
    fn settle_in(&self, settings: &Settings, there: &Catalog) -> Result<Offered, StartError> {
        let catalog = there.empty(Defaults::of(settings), settings.tag_filter());
        self.settle_with(catalog, settings)
    }

    fn settle_with(&self, catalog: Catalog, settings: &Settings) -> Result<Offered, StartError> {
        let catalog = catalog.with_layers(&self.layers);
        let mut schedules = Vec::new();
        self.add_to(&catalog, settings, &mut schedules)?;
        settings
            .helpers
            .unwrap_or_default()
            .check(&catalog.offer().tools())?;
        Ok(Offered { catalog, schedules })
    }
}
