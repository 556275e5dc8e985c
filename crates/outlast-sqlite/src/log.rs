//! Logs and small records.
//!
//! A log is a row for each piece of at most [`LOG_PIECE`](outlast_core::log::LOG_PIECE) bytes, keyed by where it starts, and one
//! row that says where the log ends and what the writer's last mark was. Beyond the limit the pieces
//! in the middle go.

use outlast_core::log::{LOG_LIMIT, pieces};
use outlast_core::store::Notice;
use outlast_core::task::Lease;
use outlast_core::{LogLine, Timestamp};
use rusqlite::{OptionalExtension, params};

use crate::failure::Failure;
use crate::row::{self, int};
use crate::unit::Unit;

/// Deletes records that have expired.
pub(crate) const FORGET: &str = "DELETE FROM record WHERE (space, key) IN (
    SELECT space, key FROM record WHERE expires_at IS NOT NULL AND expires_at <= ?1
    ORDER BY expires_at LIMIT ?2)";

/// Refuses lines that no row can hold.
pub(crate) fn check_lines(lines: &[LogLine]) -> Result<(), Failure> {
    lines
        .iter()
        .try_for_each(|line| row::check_length("name of a logger", line.logger.len()))
}

impl Unit<'_> {
    pub(crate) fn log_append(&mut self, lease: &Lease, lines: &[LogLine]) -> Result<u64, Failure> {
        let task = self.fenced(lease)?;
        let sequence = int(task.state.sequence);
        let head: Option<(i64, Option<i64>)> = self
            .conn
            .prepare_cached("SELECT log_end, mark FROM log_head WHERE task = ?1")?
            .query_row([sequence], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (end, mut mark) = head.unwrap_or_default();
        let mut end = row::count(end);
        check_lines(lines)?;
        for line in lines {
            mark = line.mark.map(int).or(mark);
        }
        for line in lines {
            for piece in pieces(&line.text) {
                self.statement(
                    "INSERT INTO log (task, start, at, level, logger, text)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    sequence,
                    int(end),
                    self.now.as_millis(),
                    line.level.as_str(),
                    line.logger,
                    piece
                ])?;
                end += piece.len() as u64;
            }
        }
        self.statement(
            "INSERT INTO log_head (task, log_end, mark) VALUES (?1, ?2, ?3)
             ON CONFLICT (task) DO UPDATE SET log_end = excluded.log_end, mark = excluded.mark",
        )?
        .execute(params![sequence, int(end), mark])?;
        if end > LOG_LIMIT {
            let (first, last) = (LOG_LIMIT / 2, end - LOG_LIMIT / 2);
            self.statement(
                "DELETE FROM log WHERE task = ?1 AND start >= ?2 AND start < ?3
                 AND start + length(text) <= ?3",
            )?
            .execute(params![sequence, int(first), int(last)])?;
        }
        self.notices.push(Notice::Logged(lease.task));
        Ok(end)
    }

    pub(crate) fn record_put(
        &mut self,
        space: &str,
        key: &str,
        value: &[u8],
        expires_at: Option<Timestamp>,
    ) -> Result<(), Failure> {
        row::check_length("record", space.len() + key.len() + value.len())?;
        self.statement(
            "INSERT INTO record (space, key, expires_at, value) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (space, key)
             DO UPDATE SET expires_at = excluded.expires_at, value = excluded.value",
        )?
        .execute(params![
            space,
            key,
            expires_at.map(Timestamp::as_millis),
            value
        ])?;
        Ok(())
    }

    pub(crate) fn record_init(
        &mut self,
        space: &str,
        key: &str,
        value: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        if let Some(there) = crate::query::record_of(self.conn, space, key, self.now)? {
            return Ok(there);
        }
        self.record_put(space, key, &value, None)?;
        Ok(value)
    }

    /// Deletes some of the records that have expired.
    pub(crate) fn forget_records(&mut self, budget: usize) -> Result<(), Failure> {
        self.statement(FORGET)?
            .execute(params![self.now.as_millis(), row::limit(budget)])?;
        Ok(())
    }
}
