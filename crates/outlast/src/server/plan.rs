//! What is settled before anything is begun: for a server that is to start, and for whoever only asks whether
//! it would.
//!
//! Both go the same way in the same order, so that a configuration that is checked is refused for what the
//! start would refuse it for, in the same words. A check makes and changes nothing, asks nobody over a network
//! but for the address of a name, and leaves out what may be otherwise a moment later: a port or a store that
//! another process has now.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_engine::{Declarations, Role, TaskSupport, Webhooks};
use outlast_http::auth::{AnyOf, Gate, GateOptions};

use super::store::examine_store;
use super::{Offered, Server, concurrency, secret_key, unix};
use crate::error::StartError;
use crate::icon::icons;
use crate::offer::Catalog;
use crate::settings::{Listen, Settings, StoreAt};

/// A server that may start, as far as its settings go.
pub(super) struct Plan {
    pub(super) offered: Offered,
    /// Who lets users in, where there are users.
    pub(super) gate: Option<Gate>,
    pub(super) webhooks: Option<Webhooks>,
    /// Where it is to listen.
    pub(super) wanted: Vec<SocketAddr>,
    pub(super) unix_path: Option<PathBuf>,
    /// Other machines may reach it.
    pub(super) reachable: bool,
    pub(super) mcp_path: String,
    pub(super) config: outlast_mcp::Config,
}

impl Server {
    /// Tells whether [`Server::run_with`] would refuse to start with these settings, without starting: nothing
    /// is made, changed or listened on, and no server is asked anything, a Redis neither. What is wrong only
    /// for now is left out: a port or a store that another process has.
    ///
    /// ```
    /// use outlast::{Server, Settings};
    ///
    /// let open = Settings {
    ///     listen: Some("0.0.0.0:9876".parse()?),
    ///     ..Settings::default()
    /// };
    /// let refused = Server::new("reports").check(&open).unwrap_err();
    /// assert!(refused.to_string().contains("there are no users"));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// The sentence that the start would end with.
    pub fn check(&self, settings: &Settings) -> Result<(), StartError> {
        let settings = settings.clone().over(self.settings.clone());
        self.collector(&settings)?;
        let listen = match (&settings.listen, settings.stdio) {
            (None, None) => Some(Listen::usual()),
            (listen, _) => listen.clone(),
        };
        let plan = self.plan(&settings, listen.as_ref(), Role::Server)?;
        let database = self.resolved(&settings)?;
        examine_store(&database, &self.name, &settings)?;
        // Of several addresses the first must be had.
        for address in plan.wanted.first().into_iter().chain(&settings.health) {
            let here = outlast_http::check_address(*address);
            here.map_err(|error| StartError::new(error.to_string()))?;
        }
        if let Some(path) = &plan.unix_path {
            unix::examine(path)?;
        }
        secret_key::examine(&database)
    }

    /// Settles what can be settled without the store.
    pub(super) fn plan(
        &self,
        settings: &Settings,
        listen: Option<&Listen>,
        role: Role,
    ) -> Result<Plan, StartError> {
        check_name(&self.name)?;
        crate::settings::check(settings)?;
        let offered = self.settle(settings)?;
        check_default_tool(&offered.catalog, settings)?;
        let tools = offered.catalog.offer().tools();
        Declarations::check(&tools, self.order.clone(), offered.schedules.clone())?;
        concurrency::check(settings, role)?;
        let gate = self.gate(settings)?;
        let webhooks = webhooks(settings)?;
        let open = gate.is_some() || settings.allow_unauthenticated == Some(true);
        let wanted = match listen {
            Some(listen) => listen.resolve(open)?,
            None => Vec::new(),
        };
        let reachable = wanted.iter().any(|address| !address.ip().is_loopback());
        let config = self.mcp_config(settings, reachable, gate.is_some())?;
        let mcp_path = settings.mcp_path.as_deref();
        let mcp_path = mcp_path.unwrap_or(outlast_http::DEFAULT_MCP_PATH);
        Ok(Plan {
            offered,
            gate,
            webhooks,
            wanted,
            unix_path: listen.and_then(Listen::unix_path).map(Path::to_owned),
            reachable,
            mcp_path: mcp_path.to_owned(),
            config,
        })
    }

    /// The gate of a server with users.
    pub(super) fn gate(&self, settings: &Settings) -> Result<Option<Gate>, StartError> {
        let mut ways = self.authenticators.clone();
        let set = settings.auth.build();
        ways.extend(set.map_err(|error| StartError::new(error.to_string()))?);
        if ways.is_empty() {
            return Ok(None);
        }
        let servers = settings.auth.authorization_servers.clone();
        let options = GateOptions {
            resource: resource(settings),
            authorization_servers: servers.unwrap_or_default(),
            name: Some(self.title.clone().unwrap_or_else(|| self.name.clone())),
        };
        Ok(Some(Gate::new(Arc::new(AnyOf::new(ways)), options)))
    }

    pub(super) fn mcp_config(
        &self,
        settings: &Settings,
        reachable: bool,
        has_users: bool,
    ) -> Result<outlast_mcp::Config, StartError> {
        let mut config = outlast_mcp::Config::new(&self.name, &self.version);
        config.title.clone_from(&self.title);
        config.instructions.clone_from(&self.instructions);
        config.description.clone_from(&self.description);
        config.website_url.clone_from(&self.website_url);
        config.icons = icons(&self.icons)
            .map_err(|why| StartError::new(format!("the server {:?}: {why}", self.name)))?;
        config.detach_after = settings.detach_after.unwrap_or_default();
        if let Some(heartbeat) = settings.heartbeat {
            config.heartbeat = heartbeat;
        }
        config.helpers = settings.helpers.unwrap_or_default();
        // Where there are users, none of them can use up what all share.
        let of_one = |all: usize| if has_users { all.div_ceil(10) } else { all };
        let most =
            |set: Option<NonZeroUsize>| set.map_or(outlast_mcp::DEFAULT_OPEN, NonZeroUsize::get);
        config.max_sessions = most(settings.max_sessions);
        config.max_sessions_per_owner = of_one(config.max_sessions);
        config.max_streams = most(settings.max_streams);
        config.max_streams_per_owner = of_one(config.max_streams);
        config.allowed_hosts = allowed_hosts(settings);
        config.allow_address_hosts = reachable;
        config.allowed_origins = settings.allowed_origins.clone().unwrap_or_default();
        let store = settings.store.as_ref();
        config.shared = store.is_some_and(|store| matches!(store.at(), StoreAt::Redis(_)));
        Ok(config)
    }
}

/// The address that OAuth clients know the server by, where one is settled: they refuse what names another than
/// the one they were given (RFC 9728, section 3.3), so behind a proxy it follows the public one.
fn resource(settings: &Settings) -> Option<String> {
    let mcp_path = settings.mcp_path.as_deref();
    let public = settings.public_url.as_ref().map(|url| {
        let path = mcp_path.unwrap_or(outlast_http::DEFAULT_MCP_PATH);
        format!("{}{path}", url.trim_end_matches('/'))
    });
    settings.auth.resource.clone().or(public)
}

/// The names that requests may be for: those allowed, and those that the server is said to be reached by.
fn allowed_hosts(settings: &Settings) -> Vec<String> {
    let mut hosts = settings.allowed_hosts.clone().unwrap_or_default();
    for address in [&settings.public_url, &settings.auth.resource] {
        let address = address.as_deref().and_then(|address| address.parse().ok());
        let host = address.as_ref().and_then(http::Uri::host);
        if let Some(host) = host
            && !hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
        {
            hosts.push(host.to_owned());
        }
    }
    hosts
}

/// The name is printed, logged and sent to clients.
fn check_name(name: &str) -> Result<(), StartError> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(StartError::new(format!(
            "the server is called {name:?}; a name has at least one letter and no control characters"
        )));
    }
    Ok(())
}

/// Who is told over HTTP.
pub(super) fn webhooks(settings: &Settings) -> Result<Option<Webhooks>, StartError> {
    #[cfg(feature = "webhooks")]
    return settings
        .webhooks
        .build(settings.public_url.as_deref())
        .map_err(StartError::new);
    #[cfg(not(feature = "webhooks"))]
    match settings.webhooks.is_empty() {
        true => Ok(None),
        false => Err(StartError::new(
            "webhooks are set, and this server was built without the feature `webhooks`",
        )),
    }
}

/// Refuses a default tool that `POST /tasks` could never call.
pub(super) fn check_default_tool(catalog: &Catalog, settings: &Settings) -> Result<(), StartError> {
    let Some(name) = &settings.default_tool else {
        return Ok(());
    };
    let tools = catalog.offer().tools();
    let why = match tools.get(name) {
        Some(tool) if tool.task != TaskSupport::Forbidden => return Ok(()),
        Some(_) => "never runs as a task",
        None => "is none of the tools",
    };
    Err(StartError::new(format!(
        "the default tool {name:?} {why}: name one that POST /tasks can call"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_reach_the_server_by_is_its_own_name() {
        let mut settings = Settings::default();
        assert_eq!(
            (resource(&settings), allowed_hosts(&settings)),
            (None, vec![])
        );
        settings.public_url = Some("https://tasks.example.org:8443/outlast".into());
        assert_eq!(
            resource(&settings).as_deref(),
            Some("https://tasks.example.org:8443/outlast/mcp")
        );
        settings.mcp_path = Some("/tools".into());
        settings.allowed_hosts = Some(vec!["box.local".into(), "TASKS.example.org".into()]);
        assert_eq!(
            resource(&settings).as_deref(),
            Some("https://tasks.example.org:8443/outlast/tools")
        );
        assert_eq!(allowed_hosts(&settings), ["box.local", "TASKS.example.org"]);
        settings.auth.resource = Some("https://mcp.example.net/mcp".into());
        assert_eq!(
            resource(&settings).as_deref(),
            Some("https://mcp.example.net/mcp")
        );
        assert_eq!(
            allowed_hosts(&settings),
            ["box.local", "TASKS.example.org", "mcp.example.net"]
        );
    }
}
