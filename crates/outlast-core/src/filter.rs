//! Which tasks to list, and how many there are: what lists and counts of a store are asked by.
//!
//! Every store means the same by a filter: [`Filter::matches`]. A store finds by its indexes what has
//! one (owner, tool, parent, phase, status, label, creation) and asks this function about the rest. For
//! a text there is no index: a list with one looks at [`SCAN`] tasks or more, and where to look on is in
//! [`Page::next`]. So a search over any number of tasks never holds up other readers for long.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::id::{Owner, TaskId};
use crate::status::{Phase, Standing};
use crate::task::Task;

/// How many tasks a list looks at, at least, before it may answer with fewer than were asked for.
pub const SCAN: usize = 5_000;

/// A span of time, from its beginning on and before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Not before this moment.
    pub from: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether it is all of time.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `at` lies in it.
    pub fn has(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// Which tasks to list. Every condition has to hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Only this owner's. `None` lists everybody's and is for operators.
    pub owner: Option<Owner>,
    /// Only of this tool.
    pub tool: Option<String>,
    /// Only children of this task, detached ones too.
    pub parent: Option<TaskId>,
    /// Only in these phases; empty means all.
    pub phases: Vec<Phase>,
    /// Only those that stand so; empty means all.
    pub standings: Vec<Standing>,
    /// Only with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only created in this span. A store may rely on the order of creation being that of its clock.
    pub created: Span,
    /// Only changed last in this span.
    pub updated: Span,
    /// Only with this text, in any case, in the id, tool, owner, arguments, labels, keys and values, or
    /// status message.
    pub text: Option<String>,
    /// The earliest created first.
    pub oldest_first: bool,
}

impl Filter {
    /// Whether a task is one of those asked for.
    pub fn matches(&self, task: &Task) -> bool {
        let (spec, state) = (&task.spec, &task.state);
        self.owner.as_ref().is_none_or(|owner| spec.owner == *owner)
            && self
                .parent
                .is_none_or(|parent| spec.parent.is_some_and(|of| of.task == parent))
            && self.tool.as_ref().is_none_or(|tool| spec.tool == *tool)
            && (self.phases.is_empty() || self.phases.contains(&state.phase))
            && (self.standings.is_empty() || self.standings.contains(&task.standing()))
            && self
                .labels
                .iter()
                .all(|(key, value)| spec.labels.get(key) == Some(value))
            && self.created.has(state.created_at)
            && self.updated.has(state.updated_at)
            && self.text.as_deref().is_none_or(|text| mentions(task, text))
    }

    /// Whether every task that is asked for is unfinished, of which there are few among many.
    pub fn is_unfinished(&self) -> bool {
        let phases = &self.phases;
        let standings = &self.standings;
        (!phases.is_empty() && !phases.contains(&Phase::Finished))
            || (!standings.is_empty() && !standings.iter().any(|standing| standing.is_terminal()))
    }
}

fn mentions(task: &Task, text: &str) -> bool {
    let wanted = text.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let spec = &task.spec;
    has(&spec.id.to_string())
        || has(&spec.tool)
        || has(spec.owner.as_str())
        || has(spec.arguments.as_str())
        || spec
            .labels
            .iter()
            .any(|(key, value)| has(key) || has(value))
        || task.status_message().is_some_and(|message| has(&message))
}

/// Some tasks.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<Arc<Task>>,
    /// The sequence of the last task looked at; ask again from there. `None` on the last page.
    pub next: Option<u64>,
}

/// What tasks are counted by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind {
    /// The tool.
    pub tool: String,
    /// The owner.
    pub owner: Owner,
    /// The phase.
    pub phase: Phase,
    /// Where it stands.
    pub standing: Standing,
}

impl Kind {
    /// What a task is counted under.
    pub fn of(task: &Task) -> Self {
        Self {
            tool: task.spec.tool.clone(),
            owner: task.spec.owner.clone(),
            phase: task.state.phase,
            standing: task.standing(),
        }
    }
}

/// Counts over the whole store. Of tasks past the end of their retention it may still count some.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// How many tasks there are of each kind; those of which there are none are left out.
    pub counts: BTreeMap<Kind, u64>,
}

impl Stats {
    /// How many tasks are of a kind that fits.
    pub fn count(&self, fits: impl Fn(&Kind) -> bool) -> u64 {
        let counts = self.counts.iter().filter(|(kind, _)| fits(kind));
        counts.map(|(_, count)| count).sum()
    }

    /// Tasks by phase, without zeros.
    pub fn phases(&self) -> BTreeMap<&'static str, u64> {
        let mut phases = BTreeMap::new();
        for (kind, count) in &self.counts {
            *phases.entry(kind.phase.as_str()).or_default() += count;
        }
        phases
    }
}
