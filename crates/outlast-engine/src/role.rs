//! What a process does for a store that several share.
//!
//! Decision: servers alone declare limits and schedules, each for the tools that it knows; a worker or a
//! scheduler with another file changes nothing for anybody. Of two servers that declare the same thing
//! differently the one that starts last decides, as in a deployment it should, and says in a warning what
//! it has replaced. What a server does not speak of (another one's tools, limits over all tools where it
//! has none itself) it leaves alone, unless it is the only process on the store: then nobody else can
//! have meant it.

use outlast_core::Error;
use outlast_core::limit::{Control, Controls};

use crate::shared::Shared;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// Everything: it creates tasks for clients, runs them, and does what is due.
    #[default]
    Server,
    /// Runs tasks that others create, and does what is due.
    Worker,
    /// Does what is due (timers, schedules, expired leases and records), and runs no task.
    Scheduler,
}

impl Role {
    pub(crate) fn declares(self) -> bool {
        self == Self::Server
    }

    pub(crate) fn runs_tasks(self) -> bool {
        self != Self::Scheduler
    }
}

impl Shared {
    /// Whether no other process is known to work on the store.
    pub(crate) async fn is_alone(&self) -> Result<bool, Error> {
        let workers = self.store.workers().await?;
        Ok(workers.iter().all(|sign| sign.worker == self.worker))
    }
}

/// Says which rules of another server are going to be replaced.
pub(crate) fn warn_of(changes: &[Control], there: &Controls) {
    for change in changes {
        let Control::Rule(name, rule) = change else {
            continue;
        };
        let Some(before) = there.rules.get(name) else {
            continue;
        };
        match rule {
            Some(rule) => tracing::warn!(
                limit = name,
                ?before,
                now = ?rule,
                "replaced a limit that another server on this store may have declared: the one that \
                 starts last decides; give them the same limits"
            ),
            None => tracing::warn!(
                limit = name,
                ?before,
                "removed a limit that another server on this store may have declared: the one that \
                 starts last decides; give them the same limits"
            ),
        }
    }
}
