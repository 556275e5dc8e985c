//! The unit: one transaction with the operations that share it.
//!
//! All changes of records go through [`Unit::change`], which applies a verb of the state machine and
//! writes record and events, and [`Unit::write`] below it. What the unit changes is seen by the
//! operations behind it in the same transaction and by nobody else until the commit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use outlast_core::machine::{Consequence, LeaseLost, Ledger};
use outlast_core::status::Phase;
use outlast_core::store::{Notice, Stats};
use outlast_core::task::Lease;
use outlast_core::{Clock, Error, Event, Task, TaskId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::cache::Cache;
use crate::failure::Failure;
use crate::ready::Ready;
use crate::row::{self, int};
use crate::tally::Counting;

/// What the writer knows beside the file. Rebuilt from it after a failed commit.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) ready: Ready,
    /// What limits, rates and quotas count.
    pub(crate) ledger: Ledger,
    /// The last sequence given.
    pub(crate) sequence: u64,
    nonces: Nonces,
}

/// One transaction.
pub(crate) struct Unit<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) known: &'a mut Known,
    pub(crate) clock: &'a dyn Clock,
    /// The time of the operation that runs.
    pub(crate) now: Timestamp,
    /// Whether the operation that runs has written anything.
    pub(crate) written: bool,
    /// Records as this unit leaves them; `None` for deleted ones.
    pub(crate) changed: HashMap<TaskId, Option<Arc<Task>>>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) counting: Counting,
    /// What the changes of the operation that runs mean for other tasks, not yet applied.
    pub(crate) owed: VecDeque<Consequence>,
    pub(crate) settling: bool,
    cache: &'a Cache,
}

impl<'a> Unit<'a> {
    /// A unit inside the transaction that was just begun on `conn`.
    pub(crate) fn new(
        conn: &'a Connection,
        known: &'a mut Known,
        clock: &'a dyn Clock,
        cache: &'a Cache,
    ) -> Self {
        Self {
            conn,
            known,
            clock,
            now: clock.now(),
            written: false,
            changed: HashMap::new(),
            notices: Vec::new(),
            counting: Counting::default(),
            owed: VecDeque::new(),
            settling: false,
            cache,
        }
    }

    /// Begins the next operation: the clock is read once for each.
    pub(crate) fn begin_operation(&mut self) {
        self.now = self.clock.now();
        self.written = false;
    }

    /// The record as this unit sees it.
    pub(crate) fn find(&mut self, id: TaskId) -> Result<Option<Arc<Task>>, Failure> {
        if let Some(task) = self.changed.get(&id) {
            return Ok(task.clone());
        }
        if let Some(task) = self.cache.get(id) {
            return Ok(Some(task));
        }
        read_task(self.conn, id)
    }

    /// Applies a verb to a record and writes what came of it. Returns the record after it.
    pub(crate) fn change<T>(
        &mut self,
        id: TaskId,
        verb: impl FnOnce(&mut Task) -> Result<(T, Vec<Event>), Error>,
    ) -> Result<(T, Arc<Task>), Failure> {
        let before = self.find(id)?.ok_or(Error::NotFound(id))?;
        self.change_found(&before, verb)
    }

    /// [`Unit::change`] for a record that was found before.
    pub(crate) fn change_found<T>(
        &mut self,
        before: &Arc<Task>,
        verb: impl FnOnce(&mut Task) -> Result<(T, Vec<Event>), Error>,
    ) -> Result<(T, Arc<Task>), Failure> {
        let mut task = Task::clone(before);
        let (value, events) = verb(&mut task)?;
        let after = Arc::new(task);
        self.write(before, &after, &events)?;
        self.owe(Some(before), &after)?;
        // What it meant for others may have come back to it.
        let after = self.find(after.id())?.unwrap_or(after);
        Ok((value, after))
    }

    /// Applies a verb that needs a lease. Without a record the lease is as lost as with another one.
    pub(crate) fn under_lease<T>(
        &mut self,
        lease: &Lease,
        verb: impl FnOnce(&mut Task) -> Result<(T, Vec<Event>), LeaseLost>,
    ) -> Result<(T, Arc<Task>), Failure> {
        let lost = || Error::LeaseLost(lease.task);
        let before = self.readable(lease.task)?.ok_or_else(lost)?;
        self.change_found(&before, |task| verb(task).map_err(|LeaseLost| lost()))
    }

    /// The record, if it runs under this lease.
    pub(crate) fn fenced(&mut self, lease: &Lease) -> Result<Arc<Task>, Failure> {
        self.readable(lease.task)?
            .filter(|task| task.holds(lease))
            .ok_or(Failure::Told(Error::LeaseLost(lease.task)))
    }

    /// Writes a changed record with its events.
    fn write(&mut self, before: &Task, after: &Arc<Task>, events: &[Event]) -> Result<(), Failure> {
        let (old, new) = (&before.state, &after.state);
        let ended = before.outcome.is_none() && after.outcome.is_some();
        let respecified = !Arc::ptr_eq(&before.spec, &after.spec) && before.spec != after.spec;
        if old == new && !ended && !respecified {
            return Ok(());
        }
        let sequence = int(new.sequence);
        let state = row::encode("record", new)?;
        let events_text = match events {
            [] => None,
            events => Some(row::encode_events(events)?),
        };
        let standing = after.standing();
        let due_at = after.due_at();
        let gates = row::encode_gates(after)?;
        // The row says what it holds and waits under as a function of these.
        let in_place = before.counts_as(after)
            && old.suspect == new.suspect
            && before.standing() == standing
            && !ended;
        let rows = if in_place && before.due_at() == due_at {
            self.statement("UPDATE task SET state = ?2 WHERE sequence = ?1")?
                .execute(params![sequence, state])?
        } else if in_place {
            self.statement("UPDATE task SET due_at = ?2, state = ?3 WHERE sequence = ?1")?
                .execute(params![sequence, due_at.as_millis(), state])?
        } else {
            let outcome = match &after.outcome {
                Some(outcome) => Some(row::encode("result", &**outcome)?),
                None => None,
            };
            let holds = row::encode_keys(after.held_keys())?;
            let waits = row::encode_keys(after.quota_keys().iter())?;
            self.statement(
                "UPDATE task SET suspect = ?2, phase = ?3, standing = ?4, due_at = ?5, state = ?6,
                 outcome = ?7, gates = ?8, holds = ?9, waits = ?10 WHERE sequence = ?1",
            )?
            .execute(params![
                sequence,
                new.suspect,
                new.phase.as_str(),
                standing.as_str(),
                due_at.as_millis(),
                state,
                outcome,
                gates,
                holds,
                waits
            ])?
        };
        if rows != 1 {
            return Err(Failure::Told(Error::broken(format!(
                "the task store lost the row of task {}: restore a backup",
                after.id()
            ))));
        }
        if respecified {
            self.write_spec(before, after)?;
        }
        if let Some(text) = events_text {
            self.write_events(after, &text)?;
        }
        if old.phase == Phase::Queued {
            self.known.ready.remove(before, &row::encode_gates(before)?);
        }
        if new.phase == Phase::Queued {
            self.known.ready.insert(after, &gates);
        }
        self.count_keys(Some(before), Some(after));
        self.counting.note(Some(before), Some(after));
        self.notices.extend(Notice::between(before, after));
        self.changed.insert(after.id(), Some(Arc::clone(after)));
        Ok(())
    }

    /// Writes a new record with its events. `false` if its id is taken; then nothing is written.
    pub(crate) fn insert(&mut self, task: &Arc<Task>, events: &[Event]) -> Result<bool, Failure> {
        if !self.insert_as_is(task, events)? {
            return Ok(false);
        }
        self.owe(None, task)?;
        Ok(true)
    }

    /// [`Unit::insert`] without what the record means for others.
    pub(crate) fn insert_as_is(
        &mut self,
        task: &Arc<Task>,
        events: &[Event],
    ) -> Result<bool, Failure> {
        let sequence = int(task.state.sequence);
        let spec = row::encode("call", &*task.spec)?;
        let state = row::encode("record", &task.state)?;
        let events = row::encode_events(events)?;
        let gates = row::encode_gates(task)?;
        let holds = row::encode_keys(task.held_keys())?;
        let waits = row::encode_keys(task.quota_keys().iter())?;
        let outcome = task.outcome.as_deref();
        let outcome = outcome
            .map(|outcome| row::encode("result", outcome))
            .transpose()?;
        let rows = self
            .statement(
                "INSERT INTO task (sequence, id, owner, tool, tool_version, priority, suspect,
                 phase, standing, due_at, state, spec, gates, holds, waits, outcome,
                 parent)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?17, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
                 ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![
                sequence,
                task.id().as_bytes(),
                task.spec.owner.as_str(),
                task.spec.tool,
                task.spec.tool_version,
                task.spec.priority,
                task.state.phase.as_str(),
                task.standing().as_str(),
                task.due_at().as_millis(),
                state,
                (spec.len() <= SHORT_SPEC).then_some(&spec),
                gates,
                holds,
                waits,
                outcome,
                task.spec.parent.map(|parent| *parent.task.as_bytes()),
                task.state.suspect
            ])?;
        if rows == 0 {
            return Ok(false);
        }
        if spec.len() > SHORT_SPEC {
            self.statement("INSERT INTO long_spec (task, spec) VALUES (?1, ?2)")?
                .execute(params![sequence, spec])?;
        }
        self.write_events(task, &events)?;
        self.write_labels(task)?;
        self.known.sequence = task.state.sequence;
        self.counting.note(None, Some(task));
        if task.state.phase == Phase::Queued {
            self.known.ready.insert(task, &gates);
        }
        self.count_keys(None, Some(task));
        self.changed.insert(task.id(), Some(Arc::clone(task)));
        self.insert_relations(task)?;
        Ok(true)
    }

    /// Deletes a finished record with everything that belongs to it.
    pub(crate) fn remove(&mut self, task: &Task) -> Result<(), Failure> {
        let sequence = int(task.state.sequence);
        if task.state.sequence == self.known.sequence {
            // No later task may get this place in the order, not even after a restart.
            crate::schema::put_meta(self.conn, "sequence", &sequence.to_string())?;
        }
        for statement in [
            "DELETE FROM task WHERE sequence = ?1",
            "DELETE FROM long_spec WHERE task = ?1",
            "DELETE FROM event WHERE task = ?1",
            "DELETE FROM journal WHERE task = ?1",
            "DELETE FROM signal WHERE task = ?1",
            "DELETE FROM log WHERE task = ?1",
            "DELETE FROM log_head WHERE task = ?1",
            crate::same::FORGET,
        ] {
            self.statement(statement)?.execute([sequence])?;
        }
        self.remove_relations(task)?;
        self.count_keys(Some(task), None);
        self.counting.note(Some(task), None);
        self.forget_labels(task)?;
        self.changed.insert(task.id(), None);
        self.notices.push(Notice::Changed {
            task: task.id(),
            version: task.state.version,
        });
        Ok(())
    }

    /// [`Unit::remove`] for a record in any phase, which another one is to replace.
    pub(crate) fn replace_away(&mut self, task: &Task) -> Result<(), Failure> {
        if task.state.phase == Phase::Queued {
            self.known.ready.remove(task, &row::encode_gates(task)?);
        }
        self.remove(task)
    }

    /// A statement that will write.
    pub(crate) fn statement(
        &mut self,
        sql: &'static str,
    ) -> rusqlite::Result<rusqlite::CachedStatement<'a>> {
        self.written = true;
        self.conn.prepare_cached(sql)
    }

    /// Tasks by kind.
    pub(crate) fn stats(&mut self) -> Result<Stats, Failure> {
        self.counting.stats(self.conn)
    }

    /// A number that no lease had before.
    pub(crate) fn nonce(&mut self) -> Result<u64, Failure> {
        self.known.nonces.next()
    }

    /// Writes a specification that has changed.
    pub(crate) fn write_spec(&mut self, before: &Task, after: &Task) -> Result<(), Failure> {
        let spec = row::encode("call", &*after.spec)?;
        let sequence = int(after.state.sequence);
        let short = spec.len() <= SHORT_SPEC;
        if before.spec.labels != after.spec.labels {
            self.forget_labels(before)?;
            self.write_labels(after)?;
        }
        self.statement(
            "UPDATE task SET tool_version = ?2, priority = ?3, spec = ?4 WHERE sequence = ?1",
        )?
        .execute(params![
            sequence,
            after.spec.tool_version,
            after.spec.priority,
            short.then_some(&spec)
        ])?;
        self.statement("DELETE FROM long_spec WHERE task = ?1")?
            .execute([sequence])?;
        if !short {
            self.statement("INSERT INTO long_spec (task, spec) VALUES (?1, ?2)")?
                .execute(params![sequence, spec])?;
        }
        Ok(())
    }

    pub(crate) fn write_events(&mut self, task: &Task, text: &str) -> rusqlite::Result<()> {
        self.statement("INSERT INTO event (task, last, events) VALUES (?1, ?2, ?3)")?
            .execute(params![
                int(task.state.sequence),
                int(task.state.version),
                text
            ])?;
        Ok(())
    }

    fn write_labels(&mut self, task: &Task) -> rusqlite::Result<()> {
        for (key, value) in &task.spec.labels {
            self.statement("INSERT OR IGNORE INTO label (key, value, task) VALUES (?1, ?2, ?3)")?
                .execute(params![key, value, int(task.state.sequence)])?;
        }
        Ok(())
    }

    fn forget_labels(&mut self, task: &Task) -> rusqlite::Result<()> {
        for (key, value) in &task.spec.labels {
            self.statement("DELETE FROM label WHERE key = ?1 AND value = ?2 AND task = ?3")?
                .execute(params![key, value, int(task.state.sequence)])?;
        }
        Ok(())
    }
}

/// The longest call that is kept in the task's own row.
const SHORT_SPEC: usize = 1500;

/// See [`row::task`].
const READ_TASK: &str = "SELECT
    coalesce(spec, (SELECT spec FROM long_spec WHERE long_spec.task = task.sequence)),
    state, outcome FROM task WHERE id = ?1";

/// Reads a record from the file.
pub(crate) fn read_task(conn: &Connection, id: TaskId) -> Result<Option<Arc<Task>>, Failure> {
    let mut statement = conn.prepare_cached(READ_TASK)?;
    let mut rows = statement.query([id.as_bytes()])?;
    match rows.next()? {
        Some(row) => Ok(Some(Arc::new(row::task(row, 0)?))),
        None => Ok(None),
    }
}

impl Known {
    /// What the file says.
    pub(crate) fn load(conn: &Connection, now: Timestamp) -> Result<Self, Failure> {
        let last: Option<i64> = conn
            .query_row("SELECT max(sequence) FROM task", [], |row| row.get(0))
            .optional()?
            .flatten();
        let deleted = crate::schema::get_meta(conn, "sequence")?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        Ok(Self {
            ready: Ready::load(conn)?,
            ledger: crate::limit::load(conn, now)?,
            sequence: row::count(last.unwrap_or(0)).max(deleted),
            nonces: Nonces::default(),
        })
    }
}

/// Random numbers from the operating system, fetched some at a time.
#[derive(Debug)]
struct Nonces {
    bytes: [u8; 256],
    used: usize,
}

impl Default for Nonces {
    fn default() -> Self {
        Self {
            bytes: [0; 256],
            used: 256,
        }
    }
}

impl Nonces {
    fn next(&mut self) -> Result<u64, Failure> {
        if self.used == self.bytes.len() {
            getrandom::fill(&mut self.bytes).map_err(|error| {
                Error::broken(format!(
                    "the operating system gives no random numbers: {error}"
                ))
            })?;
            self.used = 0;
        }
        let (number, _) = self.bytes[self.used..]
            .split_first_chunk()
            .expect("a multiple of eight is left");
        self.used += 8;
        Ok(u64::from_le_bytes(*number))
    }
}
