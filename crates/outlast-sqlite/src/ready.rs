//! Who is next: the heads of the queues, in memory.
//!
//! Ready tasks of one tool version form a lane; those under suspicion form another. A lane keeps its
//! first tasks in the order of claiming and knows whether there are more in the file. A claim looks
//! at the heads of the lanes that its worker knows, so its cost depends neither on the number of
//! tasks nor on how many tasks of other tools stand before.
//!
//! The index in the file is the truth; what stands here can be thrown away at any time, and is after
//! a failed commit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use outlast_core::store::{ClaimBy, ToolVersion};
use outlast_core::{Task, TaskId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::row;

/// How many tasks of a lane are kept in memory.
const KEPT: usize = 2048;

/// The first tasks of a lane.
pub(crate) const HEADS: &str = "SELECT priority, sequence, id FROM task
    WHERE phase = 'queued' AND tool = ?1 AND tool_version = ?2 AND suspect = ?3
    ORDER BY priority DESC, sequence LIMIT ?4";

/// The lane behind another one.
pub(crate) const NEXT_LANE: &str = "SELECT tool, tool_version, suspect FROM task
    WHERE phase = 'queued' AND (tool, tool_version, suspect) > (?1, ?2, ?3)
    ORDER BY tool, tool_version, suspect LIMIT 1";

/// The place of a ready task among all: larger priorities first, then the order of creation.
pub(crate) type Place = (Reverse<i16>, u64);

/// The place of a task.
pub(crate) fn place(task: &Task) -> Place {
    (Reverse(task.spec.priority), task.state.sequence)
}

/// The heads of all lanes. A lane that is not here is empty.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    lanes: BTreeMap<ToolVersion, Lanes>,
}

/// The tasks of one tool version: the ordinary ones, and those that may have crashed a process.
#[derive(Debug, Default)]
struct Lanes {
    clear: Lane,
    suspect: Lane,
}

#[derive(Debug)]
struct Lane {
    heads: BTreeMap<Place, TaskId>,
    /// Whether there is nothing behind the heads.
    complete: bool,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            heads: BTreeMap::new(),
            complete: true,
        }
    }
}

impl Ready {
    /// Finds the lanes that have tasks, by jumping from one to the next along the index.
    pub(crate) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut ready = Self::default();
        let mut last: Option<(String, String, bool)> = None;
        loop {
            let found = match &last {
                None => conn
                    .prepare_cached(
                        "SELECT tool, tool_version, suspect FROM task WHERE phase = 'queued'
                         ORDER BY tool, tool_version, suspect LIMIT 1",
                    )?
                    .query_row([], lane_key),
                Some((tool, version, suspect)) => conn
                    .prepare_cached(NEXT_LANE)?
                    .query_row(params![tool, version, suspect], lane_key),
            };
            let Some((tool, version, suspect)) = found.optional()? else {
                return Ok(ready);
            };
            let key = ToolVersion {
                tool: tool.clone(),
                version: version.clone(),
            };
            ready.lanes.entry(key).or_default().lane(suspect).complete = false;
            last = Some((tool, version, suspect));
        }
    }

    /// Notes a task that became ready. Its row says so already.
    pub(crate) fn insert(&mut self, task: &Task) {
        let lanes = self.lanes.entry(key(task)).or_default();
        lanes
            .lane(task.state.suspect)
            .insert(place(task), task.id());
    }

    /// Notes a task that is ready no more.
    pub(crate) fn remove(&mut self, task: &Task) {
        let key = key(task);
        if let Some(lanes) = self.lanes.get_mut(&key) {
            lanes.lane(task.state.suspect).heads.remove(&place(task));
            if lanes.is_empty() {
                self.lanes.remove(&key);
            }
        }
    }

    /// The first ready task that this worker could take; suspects only if `suspects`.
    pub(crate) fn first(
        &mut self,
        conn: &Connection,
        by: &ClaimBy,
        suspects: bool,
    ) -> rusqlite::Result<Option<(Place, TaskId)>> {
        let mut first = None;
        let mut empty = Vec::new();
        let mut look = |key: &ToolVersion, lanes: &mut Lanes| -> rusqlite::Result<()> {
            let mut heads = vec![lanes.clear.first(conn, key, false)?];
            // The other lane is looked at only to learn whether it is empty.
            let suspect = lanes.suspect.first(conn, key, true)?;
            if heads[0].is_none() && suspect.is_none() {
                empty.push(key.clone());
            }
            if suspects {
                heads.push(suspect);
            }
            for head in heads.into_iter().flatten() {
                if first.is_none_or(|(place, _)| head.0 < place) {
                    first = Some(head);
                }
            }
            Ok(())
        };
        let known: &BTreeSet<ToolVersion> = &by.tools;
        if known.len() < self.lanes.len() {
            for key in known {
                if let Some(lanes) = self.lanes.get_mut(key) {
                    look(key, lanes)?;
                }
            }
        } else {
            for (key, lanes) in &mut self.lanes {
                if known.contains(key) {
                    look(key, lanes)?;
                }
            }
        }
        for key in empty {
            self.lanes.remove(&key);
        }
        Ok(first)
    }
}

impl Lanes {
    fn lane(&mut self, suspect: bool) -> &mut Lane {
        if suspect {
            &mut self.suspect
        } else {
            &mut self.clear
        }
    }

    fn is_empty(&self) -> bool {
        [&self.clear, &self.suspect]
            .iter()
            .all(|lane| lane.complete && lane.heads.is_empty())
    }
}

impl Lane {
    fn insert(&mut self, place: Place, id: TaskId) {
        let within = self.complete
            || self
                .heads
                .last_key_value()
                .is_some_and(|(last, _)| place < *last);
        if !within {
            return;
        }
        self.heads.insert(place, id);
        if self.heads.len() > KEPT {
            self.heads.pop_last();
            self.complete = false;
        }
    }

    fn first(
        &mut self,
        conn: &Connection,
        key: &ToolVersion,
        suspect: bool,
    ) -> rusqlite::Result<Option<(Place, TaskId)>> {
        if self.heads.is_empty() && !self.complete {
            self.refill(conn, key, suspect)?;
        }
        Ok(self
            .heads
            .first_key_value()
            .map(|(place, id)| (*place, *id)))
    }

    fn refill(
        &mut self,
        conn: &Connection,
        key: &ToolVersion,
        suspect: bool,
    ) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached(HEADS)?;
        let limit = row::limit(KEPT);
        let mut rows = statement.query(params![key.tool, key.version, suspect, limit])?;
        while let Some(row) = rows.next()? {
            let place = (Reverse(row.get(0)?), row::count(row.get(1)?));
            self.heads.insert(place, TaskId::from_bytes(row.get(2)?));
        }
        self.complete = self.heads.len() < KEPT;
        Ok(())
    }
}

fn key(task: &Task) -> ToolVersion {
    ToolVersion {
        tool: task.spec.tool.clone(),
        version: task.spec.tool_version.clone(),
    }
}

fn lane_key(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String, bool)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}
