//! Records that cannot be read: damaged on the disk or by hand, or written by a newer release.
//!
//! Decision: a record that cannot be read must hold up nobody else. Whoever comes to one to change it (the
//! clock, a claim, the rescue after a crash, a deletion, a worker that had it) lets it fail first: as far as
//! its call can be read it stays the same task, its undos run, and what depends on it is told. What
//! stood there is kept as a small record for a while, for whoever wants to look at it. Lists leave out what
//! cannot be read.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::status::Phase;
use outlast_core::store::Notice;
use outlast_core::{Error, JournalKind, Owner, RawJson, Task, TaskId, TaskSpec};
use rusqlite::params;

use crate::failure::Failure;
use crate::row;
use crate::unit::{Known, Unit};

/// The space of the small records with what stood there.
const SPACE: &str = "set aside";

/// How long they are kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A row without a look at what its texts say.
const RAW: &str = "SELECT sequence, owner, tool, tool_version,
    CAST(coalesce(spec, (SELECT spec FROM long_spec WHERE long_spec.task = task.sequence)) AS BLOB),
    CAST(state AS BLOB), CAST(outcome AS BLOB) FROM task WHERE id = ?1";

impl Unit<'_> {
    /// The record as this unit sees it; one that cannot be read has failed by then.
    pub(crate) fn readable(&mut self, id: TaskId) -> Result<Option<Arc<Task>>, Failure> {
        match self.find(id) {
            Err(Failure::Unreadable(error)) => self.set_aside(id, &error).map(Some),
            found => found,
        }
    }

    /// Lets a task fail whose record, or what belongs to it, cannot be read.
    pub(crate) fn set_aside(&mut self, id: TaskId, error: &Error) -> Result<Arc<Task>, Failure> {
        tracing::error!(%error, task = %id, "a task fails because it cannot be read");
        type Text = Option<Vec<u8>>;
        let (sequence, owner, tool, tool_version, spec, state, outcome) = self
            .conn
            .prepare_cached(RAW)?
            .query_row([id.as_bytes()], |row| {
                let known: (i64, String, String, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                let texts: (Text, Text, Text) = (row.get(4)?, row.get(5)?, row.get(6)?);
                let (sequence, owner, tool, version) = known;
                let (spec, state, outcome) = texts;
                Ok((sequence, owner, tool, version, spec, state, outcome))
            })?;
        let shown = |text: &Text| {
            text.as_deref()
                .map(String::from_utf8_lossy)
                .map(String::from)
        };
        let stood = serde_json::json!({
            "spec": shown(&spec), "state": shown(&state), "outcome": shown(&outcome),
        });
        let until = self.now + KEPT;
        let stood = stood.to_string();
        self.record_put(SPACE, &id.to_string(), stood.as_bytes(), Some(until))?;

        let known = spec.and_then(|spec| serde_json::from_slice::<TaskSpec>(&spec).ok());
        let known = known.filter(|spec| spec.id == id);
        let is_known = known.is_some();
        let spec = known.unwrap_or_else(|| TaskSpec {
            id,
            owner: Owner::new(owner),
            tool_version,
            ..TaskSpec::new(tool, RawJson::empty_object())
        });
        let (mut before, _) = Task::create(Arc::new(spec), row::count(sequence), self.now);
        let last: Option<i64> = self
            .conn
            .prepare_cached("SELECT max(last) FROM event WHERE task = ?1")?
            .query_row([sequence], |row| row.get(0))?;
        before.state.version = row::count(last.unwrap_or(0));
        // It neither stands in a queue nor holds anything, as far as is known.
        before.state.phase = Phase::Suspended;
        before.state.ready_since = None;
        before.state.blocked.clear();
        // No lease that was given had a later one, for each came with an event.
        before.state.epoch = before.state.version;
        before.state.undos = self.undos_left(sequence)?;
        // Whoever has left an undo has run.
        before.state.started_at = (before.state.undos > 0).then_some(self.now);
        let mut after = before.clone();
        let event = after.give_up(self.now);
        let after = Arc::new(after);
        let ended = after.outcome.as_deref();
        let ended = ended
            .map(|ended| row::encode("result", ended))
            .transpose()?;
        self.statement(
            "UPDATE task SET suspect = ?2, phase = ?3, standing = ?4, due_at = ?5, state = ?6,
             outcome = ?7, gates = ?8, holds = ?9, waits = ?10 WHERE sequence = ?1",
        )?
        .execute(params![
            sequence,
            after.state.suspect,
            after.state.phase.as_str(),
            after.standing().as_str(),
            after.due_at().as_millis(),
            row::encode("record", &after.state)?,
            ended,
            row::encode_gates(&after)?,
            row::encode_keys(after.held_keys())?,
            row::encode_keys(after.quota_keys().iter())?
        ])?;
        if !is_known {
            self.write_spec(&after, &after)?;
        }
        let events = row::encode_events(std::slice::from_ref(&event))?;
        self.write_events(&after, &events)?;
        self.changed.insert(id, Some(Arc::clone(&after)));
        self.notices.extend([
            Notice::Changed {
                task: id,
                version: after.state.version,
            },
            Notice::Due(after.due_at()),
            Notice::Ready,
        ]);
        self.owe(Some(&before), &after)?;
        // What it counted as before is not known any more.
        *self.known = Known::load(self.conn, self.now)?;
        self.counting.recount(self.conn)?;
        Ok(after)
    }

    /// How many undos have not run, if the journal can be read.
    fn undos_left(&mut self, sequence: i64) -> Result<u32, Failure> {
        let journal = match crate::query::journal_of(self.conn, sequence) {
            Ok(journal) => journal,
            Err(Failure::Sql(error)) => return Err(Failure::Sql(error)),
            Err(Failure::Told(_) | Failure::Unreadable(_)) => return Ok(0),
        };
        let count = |kind| journal.iter().filter(|entry| entry.kind == kind).count();
        let left = count(JournalKind::Undo).saturating_sub(count(JournalKind::Undone));
        Ok(u32::try_from(left).unwrap_or(u32::MAX))
    }
}
