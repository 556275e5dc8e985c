//! `tools/list` for each audience.
//!
//! A list says how each tool runs for the client that reads it, and holds the helper tools where that
//! client may need them. What depends on the request, and not on the server alone, must not be kept
//! in caches that several callers share (2026-07-28 caching, "Cache Scope"): such a list is private.

use std::sync::Arc;

use outlast_engine::{TaskSupport, Tool, Tools};

use super::contents::CacheScope;
use super::pages::Pages;
use crate::helpers::{self, Helper};
use crate::server::Config;
use crate::wire;

/// Whom a list of tools is for, as far as lists of one version differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Audience {
    /// The request declares the tasks extension of the newer era. Never so in the older one, which has
    /// no such capability.
    pub(crate) has_tasks: bool,
    /// Tasks may be listed.
    pub(crate) may_list: bool,
}

impl Audience {
    /// All of them, each at its own [`Audience::index`].
    fn all() -> [Self; 4] {
        [(false, false), (false, true), (true, false), (true, true)].map(|(has_tasks, may_list)| {
            Self {
                has_tasks,
                may_list,
            }
        })
    }

    fn index(self) -> usize {
        usize::from(self.has_tasks) * 2 + usize::from(self.may_list)
    }
}

/// The lists of tools.
#[derive(Default, PartialEq)]
pub(crate) struct ToolPages {
    /// For each audience, in the order of [`Audience::all`].
    lists: [Pages; 4],
    scope: CacheScope,
}

/// One entry of a list.
enum Entry<'a> {
    Tool(&'a Arc<Tool>),
    Helper(Helper),
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Tool(tool) => &tool.name,
            Self::Helper(helper) => helper.name(),
        }
    }
}

impl ToolPages {
    pub(crate) fn new(tools: &Tools, config: &Config) -> Self {
        let any_task = tools.iter().any(|tool| tool.task != TaskSupport::Forbidden);
        Self {
            lists: Audience::all().map(|audience| list(tools, config, audience)),
            scope: if any_task {
                CacheScope::Private
            } else {
                CacheScope::Public
            },
        }
    }

    /// The list for this audience.
    pub(crate) fn pages(&self, audience: Audience) -> &Pages {
        &self.lists[audience.index()]
    }

    /// Who may keep a copy.
    pub(crate) fn scope(&self) -> CacheScope {
        self.scope
    }
}

fn list(tools: &Tools, config: &Config, audience: Audience) -> Pages {
    let mut entries: Vec<Entry<'_>> = tools.iter().map(Entry::Tool).collect();
    let with_helpers = config.helpers.are_offered(tools, audience);
    if with_helpers {
        let offered = |helper: &Helper| *helper != Helper::List || audience.may_list;
        let helpers = Helper::ALL.into_iter().filter(offered);
        entries.extend(helpers.map(Entry::Helper));
        entries.sort_by(|one, other| one.name().cmp(other.name()));
    }
    Pages::new(
        "tool",
        config.page_size,
        entries.iter(),
        Entry::name,
        |out, entry, version| match entry {
            Entry::Tool(tool) => {
                let guidance = helpers::sentence(tool, config, audience, with_helpers);
                wire::tool(out, tool, version, guidance.as_deref());
            }
            Entry::Helper(helper) => helpers::write(out, *helper, version),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_audience_has_its_place() {
        for (index, audience) in Audience::all().into_iter().enumerate() {
            assert_eq!(audience.index(), index);
        }
    }
}
