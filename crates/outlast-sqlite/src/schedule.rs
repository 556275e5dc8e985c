//! Schedules: small records beside the tasks, each with the moment at which it is due.
//!
//! One that cannot be read holds up no other, nor what else is due: it stays as it is and does not fire, for
//! a release that can read it may come back. Whoever asks for it by name is told, and it can be removed.

use outlast_core::store::{Notice, SchedulePut};
use outlast_core::task::NewTask;
use outlast_core::{Error, Schedule, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::failure::Failure;
use crate::row::{self, int};
use crate::unit::Unit;

/// Schedules whose moment has come.
pub(crate) const DUE: &str =
    "SELECT name, CAST(record AS BLOB) FROM schedule WHERE due_at <= ?1 ORDER BY due_at, name";

/// The next such moment.
pub(crate) const NEXT_DUE: &str = "SELECT min(due_at) FROM schedule WHERE due_at > ?1";

/// One schedule.
pub(crate) const FIND: &str = "SELECT CAST(record AS BLOB) FROM schedule WHERE name = ?1";

impl Unit<'_> {
    pub(crate) fn schedule_put(
        &mut self,
        expected: Option<u64>,
        mut schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut, Failure> {
        let there = find(self.conn, &schedule.spec.name)?;
        if there.as_ref().map(|there| there.state.version) != expected {
            return Ok(SchedulePut::Stale(there));
        }
        if there.is_none() {
            let count: i64 = self
                .conn
                .prepare_cached("SELECT count(*) FROM schedule")?
                .query_row([], |row| row.get(0))?;
            Schedule::check_number(usize::try_from(count).unwrap_or(usize::MAX))?;
        }
        // What cannot be kept is refused before anything is written; so is the task, by itself.
        row::encode("schedule", &schedule)?;
        let wanted = task.as_ref().map(|task| task.id);
        let created = task.map(|task| self.create(task, None)).transpose()?;
        if let (Some(wanted), Some(created)) = (wanted, &created) {
            schedule.joined(wanted, created.task.id());
        }
        let record = row::encode("schedule", &schedule)?;
        self.statement(
            "INSERT OR REPLACE INTO schedule (name, version, due_at, record)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            schedule.spec.name,
            int(schedule.state.version),
            schedule.due_at().map(Timestamp::as_millis),
            record
        ])?;
        self.notices.extend(schedule.due_at().map(Notice::Due));
        Ok(SchedulePut::Done { schedule, created })
    }

    pub(crate) fn schedule_delete(&mut self, name: &str) -> Result<bool, Failure> {
        let rows = self
            .statement("DELETE FROM schedule WHERE name = ?1")?
            .execute([name])?;
        Ok(rows == 1)
    }

    /// Those that are due, and the next moment at which another one is.
    pub(crate) fn due_schedules(&mut self) -> Result<(Vec<Schedule>, Option<Timestamp>), Failure> {
        let now = self.now.as_millis();
        let due = read(self.conn, DUE, [now])?;
        let next: Option<i64> = self
            .conn
            .prepare_cached(NEXT_DUE)?
            .query_row([now], |row| row.get(0))?;
        Ok((due, next.map(Timestamp::from_millis)))
    }
}

/// The schedule of this name.
pub(crate) fn find(conn: &Connection, name: &str) -> Result<Option<Schedule>, Failure> {
    let record: Option<Vec<u8>> = conn
        .prepare_cached(FIND)?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(record.map(|record| decode(name, &record)).transpose()?)
}

/// All of them, by name.
pub(crate) fn all(conn: &Connection) -> Result<Vec<Schedule>, Failure> {
    read(
        conn,
        "SELECT name, CAST(record AS BLOB) FROM schedule ORDER BY name",
        [],
    )
}

fn decode(name: &str, record: &[u8]) -> Result<Schedule, Error> {
    serde_json::from_slice(record).map_err(|error| Schedule::unreadable(name, &error))
}

/// Those that can be read.
fn read(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<Schedule>, Failure> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, record): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        match decode(&name, &record) {
            Ok(schedule) => found.push(schedule),
            Err(error) => tracing::error!(%error, "a schedule is left out"),
        }
    }
    Ok(found)
}
