//! How many tasks there are of each kind.
//!
//! Counting reads an index over all tasks, so it is done once, when somebody first asks; from then on
//! every commit adds what it changed. Until then nobody counts.

use std::collections::HashMap;

use outlast_core::filter::Kind;
use outlast_core::store::Stats;
use outlast_core::{Owner, Phase, Standing, Task};
use rusqlite::Connection;

use crate::failure::Failure;
use crate::row;

/// All tasks by owner and tool, from an index alone.
pub(crate) const ALL: &str =
    "SELECT tool, owner, count(*) FROM task INDEXED BY task_tool GROUP BY owner, tool";

/// Those that are not 'completed', from indexes that hold no others.
pub(crate) const OTHERS: [&str; 2] = [
    "SELECT tool, owner, phase, standing, count(*) FROM task INDEXED BY task_unfinished
     WHERE phase <> 'finished' GROUP BY tool, owner, phase, standing",
    "SELECT tool, owner, phase, standing, count(*) FROM task INDEXED BY task_unsuccessful
     WHERE standing IN ('error', 'failed', 'cancelled') AND phase = 'finished'
     GROUP BY tool, owner, phase, standing",
];

/// Tasks by kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally(HashMap<Kind, i64>);

impl Tally {
    /// Counts what is in the file.
    pub(crate) fn load(conn: &Connection) -> Result<Self, Failure> {
        let mut tally = Self::default();
        let completed = |tool, owner: String| Kind {
            tool,
            owner: Owner::new(owner),
            phase: Phase::Finished,
            standing: Standing::Completed,
        };
        for sql in OTHERS {
            let mut statement = conn.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let tasks: i64 = row.get(4)?;
                let all = completed(row.get(0)?, row.get(1)?);
                let kind = Kind {
                    phase: row::word("phase", row.get_ref(2)?)?,
                    standing: row::word("standing", row.get_ref(3)?)?,
                    ..all.clone()
                };
                tally.add(kind, tasks);
                tally.add(all, -tasks);
            }
        }
        let mut statement = conn.prepare_cached(ALL)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            tally.add(completed(row.get(0)?, row.get(1)?), row.get(2)?);
        }
        Ok(tally)
    }

    fn add(&mut self, kind: Kind, by: i64) {
        *self.0.entry(kind).or_default() += by;
    }

    /// The counts.
    pub(crate) fn stats(&self) -> Stats {
        let counted = self.0.iter().filter(|(_, tasks)| **tasks > 0);
        Stats {
            counts: counted
                .map(|(kind, tasks)| (kind.clone(), row::count(*tasks)))
                .collect(),
        }
    }
}

/// What a transaction changes in the counts.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    /// Whether anybody has asked for counts yet.
    pub(crate) wanted: bool,
    /// What was counted in this transaction, with everything that it has changed.
    loaded: Option<Tally>,
    changes: Vec<(Kind, i64)>,
}

impl Counting {
    /// Notes that a record became another one; a missing one was not there.
    pub(crate) fn note(&mut self, before: Option<&Task>, after: Option<&Task>) {
        if !self.wanted && self.loaded.is_none() {
            return;
        }
        let (before, after) = (before.map(Kind::of), after.map(Kind::of));
        if before == after {
            return;
        }
        let changes = [(before, -1), (after, 1)];
        let changes = changes
            .into_iter()
            .filter_map(|(kind, by)| Some((kind?, by)));
        match &mut self.loaded {
            Some(tally) => changes.for_each(|(kind, by)| tally.add(kind, by)),
            None => self.changes.extend(changes),
        }
    }

    /// Counts anew, where anybody counts: something has changed that cannot be said one by one.
    pub(crate) fn recount(&mut self, conn: &Connection) -> Result<(), Failure> {
        if self.wanted || self.loaded.is_some() {
            self.changes.clear();
            self.loaded = Some(Tally::load(conn)?);
        }
        Ok(())
    }

    /// The counts as this transaction sees them.
    pub(crate) fn stats(&mut self, conn: &Connection) -> Result<Stats, Failure> {
        let tally = match &mut self.loaded {
            Some(tally) => tally,
            slot => slot.insert(Tally::load(conn)?),
        };
        Ok(tally.stats())
    }

    /// Brings the counts of the last commit to those of this one.
    pub(crate) fn commit(self, last: &mut Option<Tally>) {
        if self.loaded.is_some() {
            *last = self.loaded;
        } else if let Some(tally) = last {
            for (kind, by) in self.changes {
                tally.add(kind, by);
            }
        }
    }
}
