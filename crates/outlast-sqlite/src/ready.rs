//! Who is next: the heads of the queues, in memory.
//!
//! Ready tasks of one tool version that need the same gates open form a lane; those under suspicion
//! form lanes of their own. A lane keeps its first tasks in the order of claiming and knows whether
//! there are more in the file.
//!
//! A lane whose gates are open stands in the order of its first task. When a claim comes to a lane and
//! finds one of its gates closed, the lane is parked there, and stays until a claim finds that gate
//! open; then the first lane parked there takes part in the order again. So a claim looks at few lanes
//! whatever the number of tasks, of tools and of keys, and what is parked cannot be forgotten: it is
//! found by its gate, and a gate that opens is offered by whatever opened it.
//!
//! The index in the file is the truth; what stands here can be thrown away at any time, and is after
//! a failed commit and after a change of the rules.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use outlast_core::machine::{Gate, Ledger};
use outlast_core::store::{ClaimBy, ToolVersion};
use outlast_core::{Task, TaskId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::failure::Failure;
use crate::row;

/// How many tasks of a lane are kept in memory; fewer where there may be many lanes.
const KEPT: usize = 2048;
const KEPT_GATED: usize = 64;

/// The first tasks of a lane.
pub(crate) const HEADS: &str = "SELECT priority, sequence, id FROM task
    WHERE phase = 'queued' AND tool = ?1 AND tool_version = ?2 AND suspect = ?3 AND gates = ?4
    ORDER BY priority DESC, sequence LIMIT ?5";

/// The lane behind another one.
pub(crate) const NEXT_LANE: &str = "SELECT tool, tool_version, suspect, gates FROM task
    WHERE phase = 'queued' AND (tool, tool_version, suspect, gates) > (?1, ?2, ?3, ?4)
    ORDER BY tool, tool_version, suspect, gates LIMIT 1";

/// The tool version behind another one.
pub(crate) const NEXT_VERSION: &str = "SELECT tool, tool_version FROM task
    WHERE phase = 'queued' AND (tool, tool_version) > (?1, ?2)
    ORDER BY tool, tool_version LIMIT 1";

/// Its tasks.
pub(crate) const OF_VERSION: &str = "SELECT id FROM task
    WHERE phase = 'queued' AND tool = ?1 AND tool_version = ?2
    ORDER BY suspect, gates, priority DESC, sequence LIMIT ?3 OFFSET ?4";

/// The place of a ready task among all: larger priorities first, then the order of creation.
pub(crate) type Place = (Reverse<i16>, u64);

/// Before every other: the place of a lane whose first task stands in the file only.
const UNKNOWN: Place = (Reverse(i16::MAX), 0);

/// The place of a task.
pub(crate) fn place(task: &Task) -> Place {
    (Reverse(task.spec.priority), task.state.sequence)
}

/// The heads of all lanes. A lane that is not here is empty.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    versions: BTreeMap<ToolVersion, Version>,
}

/// The tasks of one tool version: the ordinary ones, and those that may have crashed a process.
#[derive(Debug, Default)]
struct Version {
    clear: Lanes,
    suspect: Lanes,
}

/// What a lane needs open, as its column has it.
type Gates = Arc<str>;

#[derive(Debug, Default)]
struct Lanes {
    lanes: HashMap<Gates, Lane>,
    /// Lanes that nobody has found closed.
    open: BTreeSet<(Place, Gates)>,
    /// Lanes by the gate that was found closed.
    parked: HashMap<Gate, Parked>,
    /// The first lane of each gate that has opened since.
    offered: BTreeSet<(Place, Gate)>,
}

#[derive(Debug, Default)]
struct Parked {
    lanes: BTreeSet<(Place, Gates)>,
    /// As what it stands in `offered`.
    offered: Option<Place>,
}

#[derive(Debug)]
struct Lane {
    gates: Vec<Gate>,
    heads: BTreeMap<Place, TaskId>,
    /// Whether there is nothing behind the heads.
    complete: bool,
    /// Where it stands, and behind which gate.
    at: Place,
    parked: Option<Gate>,
}

/// A claim as far as it concerns the order.
pub(crate) struct Looking<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) by: &'a ClaimBy,
    /// Whether it may take suspects.
    pub(crate) suspects: bool,
    pub(crate) now: Timestamp,
}

impl Ready {
    /// Finds the lanes that have tasks, by jumping from one to the next along the index.
    pub(crate) fn load(conn: &Connection) -> Result<Self, Failure> {
        let mut ready = Self::default();
        let mut last: Option<(String, String, bool, String)> = None;
        loop {
            let found = match &last {
                None => conn
                    .prepare_cached(
                        "SELECT tool, tool_version, suspect, gates FROM task WHERE phase = 'queued'
                         ORDER BY tool, tool_version, suspect, gates LIMIT 1",
                    )?
                    .query_row([], lane_key),
                Some((tool, version, suspect, gates)) => conn
                    .prepare_cached(NEXT_LANE)?
                    .query_row(params![tool, version, suspect, gates], lane_key),
            };
            let Some((tool, version, suspect, gates)) = found.optional()? else {
                return Ok(ready);
            };
            let key = ToolVersion {
                tool: tool.clone(),
                version: version.clone(),
            };
            let lane = Lane {
                gates: row::decode_gates(&gates)?,
                heads: BTreeMap::new(),
                complete: false,
                at: UNKNOWN,
                parked: None,
            };
            let lanes = ready.versions.entry(key).or_default().lanes(suspect);
            let name = Gates::from(gates.as_str());
            lanes.open.insert((UNKNOWN, Arc::clone(&name)));
            lanes.lanes.insert(name, lane);
            last = Some((tool, version, suspect, gates));
        }
    }

    /// Notes a task that became ready. Its row says so already, with the same `gates`.
    pub(crate) fn insert(&mut self, task: &Task, gates: &str) {
        self.versions
            .entry(key(task))
            .or_default()
            .lanes(task.state.suspect)
            .insert(task, gates);
    }

    /// Notes a task that is ready no more.
    pub(crate) fn remove(&mut self, task: &Task, gates: &str) {
        let key = key(task);
        if let Some(version) = self.versions.get_mut(&key) {
            version.lanes(task.state.suspect).remove(task, gates);
            if version.is_empty() {
                self.versions.remove(&key);
            }
        }
    }

    /// Lets what is parked behind a gate take part again, for it may have opened.
    pub(crate) fn offer(&mut self, gate: &Gate) {
        for version in self.versions.values_mut() {
            version.clear.offer(gate);
            version.suspect.offer(gate);
        }
    }

    /// The first ready task that this worker may take.
    pub(crate) fn first(
        &mut self,
        looking: &Looking<'_>,
        ledger: &Ledger,
    ) -> Result<Option<(Place, TaskId)>, Failure> {
        let mut first = None;
        let mut empty = Vec::new();
        let mut look = |key: &ToolVersion, version: &mut Version| -> Result<(), Failure> {
            if ledger.controls().is_paused(&key.tool) {
                return Ok(());
            }
            let mut heads = vec![version.clear.first(looking, key, false, ledger)?];
            if looking.suspects {
                heads.push(version.suspect.first(looking, key, true, ledger)?);
            }
            if version.is_empty() {
                empty.push(key.clone());
            }
            for head in heads.into_iter().flatten() {
                if first.is_none_or(|(place, _)| head.0 < place) {
                    first = Some(head);
                }
            }
            Ok(())
        };
        let known: &BTreeSet<ToolVersion> = &looking.by.tools;
        if known.len() < self.versions.len() {
            for key in known {
                if let Some(version) = self.versions.get_mut(key) {
                    look(key, version)?;
                }
            }
        } else {
            for (key, version) in &mut self.versions {
                if known.contains(key) {
                    look(key, version)?;
                }
            }
        }
        for key in empty {
            self.versions.remove(&key);
        }
        Ok(first)
    }
}

impl Version {
    fn lanes(&mut self, suspect: bool) -> &mut Lanes {
        if suspect {
            &mut self.suspect
        } else {
            &mut self.clear
        }
    }

    fn is_empty(&self) -> bool {
        self.clear.lanes.is_empty() && self.suspect.lanes.is_empty()
    }
}

impl Lanes {
    fn insert(&mut self, task: &Task, gates: &str) {
        if !self.lanes.contains_key(gates) {
            let name = Gates::from(gates);
            self.open.insert((place(task), Arc::clone(&name)));
            let lane = Lane {
                gates: task.gates().collect(),
                heads: BTreeMap::new(),
                complete: true,
                at: place(task),
                parked: None,
            };
            self.lanes.insert(name, lane);
        }
        let (name, lane) = self.take(gates);
        lane.insert(place(task), task.id());
        self.stand(&name);
    }

    fn remove(&mut self, task: &Task, gates: &str) {
        if self.lanes.contains_key(gates) {
            let (name, lane) = self.take(gates);
            lane.heads.remove(&place(task));
            self.stand(&name);
        }
    }

    fn take(&mut self, gates: &str) -> (Gates, &mut Lane) {
        let (name, _) = self.lanes.get_key_value(gates).expect("looked up before");
        let name = Arc::clone(name);
        let lane = self.lanes.get_mut(&name).expect("just found");
        (name, lane)
    }

    /// Puts a lane where its first task belongs, or drops it if it is empty.
    fn stand(&mut self, name: &Gates) {
        let lane = self.lanes.get_mut(name).expect("it is known");
        let at = match lane.heads.first_key_value() {
            Some((place, _)) => Some(*place),
            None if lane.complete => None,
            None => Some(UNKNOWN),
        };
        if at == Some(lane.at) {
            return;
        }
        let old = (lane.at, Arc::clone(name));
        let parked = lane.parked.clone();
        if let Some(at) = at {
            lane.at = at;
        } else {
            self.lanes.remove(name);
        }
        let new = at.map(|at| (at, Arc::clone(name)));
        match parked {
            None => {
                self.open.remove(&old);
                self.open.extend(new);
            }
            Some(gate) => {
                let parked = self.parked.get_mut(&gate).expect("the lane stands there");
                parked.lanes.remove(&old);
                parked.lanes.extend(new);
                if parked.offered.is_some() {
                    self.offer(&gate);
                } else if parked.lanes.is_empty() {
                    self.parked.remove(&gate);
                }
            }
        }
    }

    fn offer(&mut self, gate: &Gate) {
        let Some(parked) = self.parked.get_mut(gate) else {
            return;
        };
        let first = parked.lanes.first().map(|(place, _)| *place);
        if parked.offered != first {
            if let Some(place) = parked.offered {
                self.offered.remove(&(place, gate.clone()));
            }
            if let Some(place) = first {
                self.offered.insert((place, gate.clone()));
            }
            parked.offered = first;
        }
        if first.is_none() {
            self.parked.remove(gate);
        }
    }

    fn withdraw(&mut self, gate: &Gate) {
        let parked = self.parked.get_mut(gate).expect("it was offered");
        if let Some(place) = parked.offered.take() {
            self.offered.remove(&(place, gate.clone()));
        }
    }

    /// Moves a lane behind `gate`, which is closed.
    fn park(&mut self, name: &Gates, gate: Gate) {
        let lane = self.lanes.get_mut(name).expect("it is known");
        let entry = (lane.at, Arc::clone(name));
        let old = lane.parked.replace(gate.clone());
        match old {
            None => {
                self.open.remove(&entry);
            }
            Some(old) => {
                let parked = self.parked.get_mut(&old).expect("the lane stands there");
                parked.lanes.remove(&entry);
                self.offer(&old);
            }
        }
        self.parked.entry(gate).or_default().lanes.insert(entry);
    }

    fn first(
        &mut self,
        looking: &Looking<'_>,
        key: &ToolVersion,
        suspect: bool,
        ledger: &Ledger,
    ) -> Result<Option<(Place, TaskId)>, Failure> {
        loop {
            let open = self.open.first().map(|(place, _)| *place);
            let offered = self.offered.first().map(|(place, _)| *place);
            let name = match (open, offered) {
                (None, None) => return Ok(None),
                (Some(open), offered) if offered.is_none_or(|offered| open <= offered) => {
                    let (_, name) = self.open.first().expect("looked at above");
                    Arc::clone(name)
                }
                _ => {
                    let (_, gate) = self.offered.first().expect("looked at above");
                    let gate = gate.clone();
                    if !ledger.is_open(&gate, looking.now) {
                        self.withdraw(&gate);
                        continue;
                    }
                    let (_, name) = self.parked[&gate].lanes.first().expect("it is offered");
                    Arc::clone(name)
                }
            };
            let lane = self.lanes.get_mut(&name).expect("it stands in the order");
            if lane.heads.is_empty() {
                lane.refill(looking.conn, key, suspect, &name)?;
                self.stand(&name);
                continue;
            }
            let mut gates = lane.gates.iter();
            match gates.find(|gate| !ledger.is_open(gate, looking.now)) {
                Some(closed) => {
                    let closed = closed.clone();
                    self.park(&name, closed);
                }
                None => {
                    let first = lane.heads.first_key_value();
                    return Ok(first.map(|(place, id)| (*place, *id)));
                }
            }
        }
    }
}

impl Lane {
    fn kept(&self) -> usize {
        if self.gates.is_empty() {
            KEPT
        } else {
            KEPT_GATED
        }
    }

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
        if self.heads.len() > self.kept() {
            self.heads.pop_last();
            self.complete = false;
        }
    }

    fn refill(
        &mut self,
        conn: &Connection,
        key: &ToolVersion,
        suspect: bool,
        gates: &str,
    ) -> Result<(), Failure> {
        let mut statement = conn.prepare_cached(HEADS)?;
        let limit = row::limit(self.kept());
        let mut rows = statement.query(params![key.tool, key.version, suspect, gates, limit])?;
        while let Some(row) = rows.next()? {
            let place = (Reverse(row.get(0)?), row::count(row.get(1)?));
            self.heads.insert(place, TaskId::from_bytes(row.get(2)?));
        }
        self.complete = self.heads.len() < self.kept();
        Ok(())
    }
}

fn key(task: &Task) -> ToolVersion {
    ToolVersion::of(&task.spec)
}

/// The tool versions that have lanes, by jumping from one to the next along the index.
pub(crate) fn versions(conn: &Connection) -> Result<BTreeSet<ToolVersion>, Failure> {
    let mut statement = conn.prepare_cached(NEXT_VERSION)?;
    let mut versions = BTreeSet::new();
    // Before every other.
    let (mut tool, mut version) = (String::new(), String::new());
    loop {
        let next = statement.query_row([&tool, &version], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some(found) = next.optional()? else {
            return Ok(versions);
        };
        (tool, version) = found;
        versions.insert(ToolVersion {
            tool: tool.clone(),
            version: version.clone(),
        });
    }
}

/// Some of the tasks of one version, in the order of the index.
pub(crate) fn tasks(
    conn: &Connection,
    version: &ToolVersion,
    skip: usize,
    limit: usize,
) -> Result<Vec<TaskId>, Failure> {
    let mut statement = conn.prepare_cached(OF_VERSION)?;
    let page = params![
        version.tool,
        version.version,
        row::limit(limit),
        row::limit(skip)
    ];
    let ids = statement.query_map(page, |row| row.get(0))?;
    Ok(ids
        .map(|id| id.map(TaskId::from_bytes))
        .collect::<rusqlite::Result<_>>()?)
}

fn lane_key(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String, bool, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}
