//! Signals: kept in the order in which they came, and read as often as the handler runs.

use outlast_core::store::Signalled;
use outlast_core::{Error, NewSignal, Signal, TaskId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::failure::Failure;
use crate::query::sequence_of;
use crate::row::{self, int};
use crate::unit::Unit;

impl Unit<'_> {
    pub(crate) fn signal(&mut self, id: TaskId, signal: &NewSignal) -> Result<Signalled, Failure> {
        signal.check()?;
        let task = self.find(id)?.ok_or(Error::NotFound(id))?;
        let sequence = int(task.state.sequence);
        if let Some(signal_id) = &signal.id {
            let number: Option<i64> = self
                .conn
                .prepare_cached("SELECT number FROM signal WHERE task = ?1 AND id = ?2")?
                .query_row(params![sequence, signal_id], |row| row.get(0))
                .optional()?;
            if let Some(number) = number {
                return Ok(Signalled {
                    number: row::count(number),
                    repeated: true,
                });
            }
        }
        let now = self.now;
        let (number, _) = self.change_found(&task, |task| task.signal(&signal.name, now))?;
        self.statement(
            "INSERT INTO signal (task, name, number, id, at, payload)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            sequence,
            signal.name,
            int(number),
            signal.id,
            now.as_millis(),
            signal.payload.as_str()
        ])?;
        Ok(Signalled {
            number,
            repeated: false,
        })
    }
}

/// The signals under `name` with numbers above `after`.
pub(crate) fn signals(
    conn: &Connection,
    id: TaskId,
    name: &str,
    after: u64,
    limit: usize,
) -> Result<Vec<Signal>, Failure> {
    let Some(task) = sequence_of(conn, id)? else {
        return Ok(Vec::new());
    };
    let mut statement = conn.prepare_cached(
        "SELECT number, id, at, payload FROM signal
         WHERE task = ?1 AND name = ?2 AND number > ?3 ORDER BY number LIMIT ?4",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![task, name, after, row::limit(limit)])?;
    let mut signals = Vec::new();
    while let Some(row) = rows.next()? {
        signals.push(Signal {
            name: name.to_owned(),
            number: row::count(row.get(0)?),
            id: row.get(1)?,
            at: Timestamp::from_millis(row.get(2)?),
            payload: row::json("signal", row.get_ref(3)?)?,
        });
    }
    Ok(signals)
}
