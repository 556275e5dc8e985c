//! How many tasks stand in each phase.
//!
//! Counting reads an index over all tasks, so it is done once, when somebody first asks; from then on
//! the writer keeps the figures up with every change.

use outlast_core::Phase;
use outlast_core::store::Stats;
use rusqlite::Connection;

use crate::row;

const PHASES: [Phase; 6] = [
    Phase::Scheduled,
    Phase::Queued,
    Phase::Blocked,
    Phase::Running,
    Phase::Suspended,
    Phase::Finished,
];

/// Tasks by phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally([i64; PHASES.len()]);

impl Tally {
    /// Counts what is in the file.
    pub(crate) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut tally = Self::default();
        let mut unfinished = 0;
        let mut statement = conn.prepare_cached(
            "SELECT phase, count(*) FROM task INDEXED BY task_unfinished
             WHERE phase <> 'finished' GROUP BY phase",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (word, tasks): (String, i64) = (row.get(0)?, row.get(1)?);
            unfinished += tasks;
            if let Some(phase) = PHASES.into_iter().find(|phase| phase.as_str() == word) {
                tally.add(phase, tasks);
            }
        }
        let all: i64 = conn
            .prepare_cached("SELECT count(*) FROM task")?
            .query_row([], |row| row.get(0))?;
        tally.add(Phase::Finished, all - unfinished);
        Ok(tally)
    }

    /// Counts `by` more tasks in `phase`.
    pub(crate) fn add(&mut self, phase: Phase, by: i64) {
        let slot = PHASES.iter().position(|known| *known == phase);
        self.0[slot.expect("every phase is listed")] += by;
    }

    /// The counts, without zeros.
    pub(crate) fn stats(&self) -> Stats {
        let counted = PHASES.iter().zip(self.0).filter(|(_, tasks)| *tasks > 0);
        Stats {
            phases: counted
                .map(|(phase, tasks)| (phase.as_str().to_owned(), row::count(tasks)))
                .collect(),
        }
    }
}
