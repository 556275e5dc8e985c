//! Limits in the file: the ledger as it can be built again, and what changes it.
//!
//! What tasks hold and wait under stands in columns of their own with an index over those rows alone, so
//! that a start reads as many rows as tasks hold something, and not all of them.

use outlast_core::limit::{Arrival, Control, Controls, Key};
use outlast_core::machine::{Gate, Ledger};
use outlast_core::store::Notice;
use outlast_core::{Task, Timestamp};
use rusqlite::{Connection, params};

use crate::failure::Failure;
use crate::ready::Ready;
use crate::row;
use crate::schema::{get_meta, put_meta};
use crate::unit::Unit;

/// What tasks hold.
pub(crate) const HOLDS: &str =
    "SELECT holds, count(*) FROM task WHERE holds IS NOT NULL GROUP BY holds";

/// What tasks wait under.
pub(crate) const WAITS: &str =
    "SELECT waits, count(*) FROM task WHERE waits IS NOT NULL GROUP BY waits";

/// Rates that stand as if they had never been used.
pub(crate) const FORGET: &str = "DELETE FROM rate WHERE arrival <= ?1";

/// Builds the ledger from the file.
pub(crate) fn load(conn: &Connection, now: Timestamp) -> Result<Ledger, Failure> {
    let mut ledger = Ledger::new(controls(conn)?);
    each(conn, HOLDS, |keys, tasks| {
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        keys.iter().for_each(|key| ledger.hold(key, tasks));
    })?;
    each(conn, WAITS, |keys, tasks| {
        keys.iter().for_each(|key| ledger.wait(key, tasks));
    })?;
    let mut statement = conn.prepare_cached("SELECT key, arrival FROM rate")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (key, arrival): (String, i64) = (row.get(0)?, row.get(1)?);
        let key: Key = row::decode_text("rate key", &key)?;
        ledger.set_arrival(key, Arrival::from_micros(arrival), now);
    }
    Ok(ledger)
}

/// The rules and pauses.
pub(crate) fn controls(conn: &Connection) -> Result<Controls, Failure> {
    match get_meta(conn, "controls")? {
        Some(text) => row::decode_text("controls", &text),
        None => Ok(Controls::default()),
    }
}

fn each(conn: &Connection, sql: &str, mut count: impl FnMut(&[Key], u64)) -> Result<(), Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (keys, tasks): (String, i64) = (row.get(0)?, row.get(1)?);
        let keys: Vec<Key> = row::decode_text("limit key", &keys)?;
        count(&keys, row::count(tasks));
    }
    Ok(())
}

impl Unit<'_> {
    pub(crate) fn control(&mut self, changes: Vec<Control>) -> Result<Controls, Failure> {
        let mut controls = self.known.ledger.controls().clone();
        let mut changed = false;
        for change in changes {
            changed |= controls.apply(change);
        }
        if changed {
            let text = row::encode("controls", &controls)?;
            self.written = true;
            put_meta(self.conn, "controls", &text)?;
            self.known.ledger.set_controls(controls.clone(), self.now);
            // What is parked was parked by the old rules.
            self.known.ready = Ready::load(self.conn)?;
        }
        self.notices.extend([Notice::Ready, Notice::Due(self.now)]);
        Ok(controls)
    }

    /// Counts a change of a record for its limits, and announces the room that it made.
    pub(crate) fn count_keys(&mut self, before: Option<&Task>, after: Option<&Task>) {
        let freed = self.known.ledger.changed(before, after, self.now);
        if !freed.is_empty() {
            self.notices.push(Notice::Ready);
        }
        for key in freed {
            self.known.ready.offer(&Gate::Limit(key));
        }
    }

    /// Takes a start from each rate of a task that is being claimed.
    pub(crate) fn start(&mut self, ready: &Task) -> Result<(), Failure> {
        if ready.spec.keys.rates.is_empty() {
            return Ok(());
        }
        for (key, arrival) in self.known.ledger.start(ready, self.now) {
            let key = row::encode("rate key", &key)?;
            self.statement(
                "INSERT INTO rate (key, arrival) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET arrival = excluded.arrival",
            )?
            .execute(params![key, arrival.as_micros()])?;
        }
        let opening = self.known.ledger.next_opening(self.now);
        self.notices.extend(opening.map(Notice::Due));
        Ok(())
    }

    /// Lets what waited for rates that have opened take part again; says whether there were any.
    pub(crate) fn open_rates(&mut self) -> bool {
        let opened = self.known.ledger.opened(self.now);
        let any = !opened.is_empty();
        for key in opened {
            self.known.ready.offer(&Gate::Rate(key));
        }
        any
    }

    /// Forgets rates that stand as if they had never been used.
    pub(crate) fn forget_rates(&mut self) -> Result<(), Failure> {
        if self.known.ledger.forget_past(self.now) {
            let now = self.now.as_millis().saturating_mul(1000);
            self.statement(FORGET)?.execute([now])?;
        }
        Ok(())
    }
}
