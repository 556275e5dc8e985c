//! The part of a server that a mounted server is: its names and its state.
//!
//! A server that is mounted in another is written without knowing under which prefix. So its handlers
//! say the names that they know, and its tools carry what these mean here.

use std::sync::Arc;

use crate::state::StateMap;
use crate::tool::{Tool, Tools};

/// What the tools, prompts and resources of one mounted server have in common.
#[derive(Clone, Default)]
pub struct Namespace {
    /// Stands before the names of its tools, as they are known outside, with whatever separates the two.
    pub prefix: String,
    /// What its handlers see as the application's state, that of the servers around it included.
    pub state: StateMap,
}

impl Namespace {
    /// The tool that a handler of `namespace` means: one of its own, else one of the whole server.
    pub(crate) fn find(namespace: Option<&Self>, tools: &Tools, name: &str) -> Option<Arc<Tool>> {
        let own = namespace.and_then(|own| tools.get(&format!("{}{name}", own.prefix)));
        own.or_else(|| tools.get(name)).cloned()
    }
}
