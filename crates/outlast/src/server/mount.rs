//! Servers inside a server: one endpoint, one store, one list of everything.
//!
//! A mounted server gives its tools, prompts and resources to the one it is mounted in, under a prefix:
//! the tool `build` of a server mounted as `ci` is `ci_build`, and the resource `logs://today` is
//! `logs://ci/today`. Its handlers do not notice: they say their own names (`cx.spawn("build", …)`) and see
//! their own state. Names that collide are an error at the start, never one in place of the other.
//!
//! Everything that concerns the process is the outermost server's: where it listens, its store, its
//! users, its name and instructions.

use std::sync::Arc;

use outlast_core::NewSchedule;
use outlast_engine::{Namespace, StateMap};
use outlast_http::auth::AuthSettings;

use super::Server;
use crate::error::StartError;
use crate::offer::{Catalog, Defaults};
use crate::settings::Settings;

/// What stands between a prefix and a name.
const SEPARATOR: char = '_';

/// A server and the prefix it is mounted under, which may be empty.
#[derive(Clone)]
pub(super) struct Mount {
    pub(super) prefix: String,
    pub(super) server: Server,
}

impl Server {
    /// Adds what this server and those mounted in it offer to `catalog`, and the schedules that they have and
    /// that their tools bring to `schedules`.
    pub(super) fn add_to(
        &self,
        catalog: &Catalog,
        settings: &Settings,
        schedules: &mut Vec<NewSchedule>,
    ) -> Result<(), StartError> {
        schedules.extend(self.schedules.iter().cloned());
        for tool in &self.tools {
            schedules.extend(catalog.add(tool.clone())?);
        }
        for prompt in &self.prompts {
            catalog.add_prompt(prompt.clone())?;
        }
        for resource in &self.resources {
            catalog.add_resource(resource.clone())?;
        }
        for Mount { prefix, server } in &self.mounts {
            check_prefix(prefix)?;
            if !server.authenticators.is_empty() || server.settings.auth != AuthSettings::default()
            {
                return Err(StartError::new(format!(
                    "the server {:?} is mounted and says who may use it, which is for the outermost \
                     server to say: move its users there",
                    server.name
                )));
            }
            let settings = server.settings.clone().over(Settings {
                task: settings.task,
                retention: settings.retention,
                ..Settings::default()
            });
            let defaults = Defaults::of(&settings);
            let namespace = server.namespace(catalog, prefix);
            let filter = settings.tag_filter();
            let inside = catalog.mounted(namespace, &server.states, defaults, filter);
            let inside = inside.with_layers(&server.layers);
            server.add_to(&inside, &settings, schedules)?;
        }
        Ok(())
    }

    /// What this server is where it is mounted as `prefix` in the one that `around` belongs to.
    fn namespace(&self, around: &Catalog, prefix: &str) -> Arc<Namespace> {
        let outer = around.namespace();
        let mut full = outer.map_or_else(String::new, |outer| outer.prefix.clone());
        if !prefix.is_empty() {
            full.push_str(prefix);
            full.push(SEPARATOR);
        }
        let mut state: StateMap = self.state.clone();
        if let Some(outer) = outer {
            state.fill(&outer.state);
        }
        Arc::new(Namespace {
            prefix: full,
            state,
        })
    }

    /// This server and all that are mounted in it, the outer before the inner.
    pub(super) fn with_mounted(&self) -> Vec<&Self> {
        let mut all = vec![self];
        for mount in &self.mounts {
            all.extend(mount.server.with_mounted());
        }
        all
    }
}

fn check_prefix(prefix: &str) -> Result<(), StartError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if prefix.chars().all(fits) {
        return Ok(());
    }
    Err(StartError::new(format!(
        "a server cannot be mounted as {prefix:?}: a prefix consists of letters, digits, \"_\" and \"-\""
    )))
}

/// A URI as it is known outside: the prefix stands behind the scheme, as the first part of the path.
///
/// # Errors
/// It has no `://`, so that there is no such place.
pub(crate) fn mounted_uri(prefix: &str, uri: &str) -> Result<String, String> {
    let prefix = prefix.trim_end_matches(SEPARATOR);
    if prefix.is_empty() {
        return Ok(uri.to_owned());
    }
    match uri.split_once("://") {
        Some((scheme, rest)) => Ok(format!("{scheme}://{prefix}/{rest}")),
        None => Err(format!(
            "the resource {uri:?} cannot be mounted as {prefix:?}: its URI has no \"://\" for the prefix \
             to follow"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_goes_behind_the_scheme() {
        let of = |prefix, uri| mounted_uri(prefix, uri);
        assert_eq!(of("ci_", "logs://today").unwrap(), "logs://ci/today");
        assert_eq!(
            of("a_b_", "rows://{table}{?page}").unwrap(),
            "rows://a_b/{table}{?page}"
        );
        assert_eq!(of("", "mailto:x").unwrap(), "mailto:x");
        assert!(of("ci_", "mailto:x").unwrap_err().contains("://"));
        assert!(check_prefix("a/b").is_err() && check_prefix("a-B_1").is_ok());
    }
}
