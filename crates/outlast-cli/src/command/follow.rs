//! Following a run from outside: its output as it comes, and its end.
//!
//! The follower only reads. It can be dropped at any point and a new one, in another process and
//! after any time, goes on at an offset; that is how a restarted server adopts the runs of the one
//! before it. It polls, with a pause that grows from 10 to 250 ms while nothing comes: four cheap
//! system calls four times a second are less than what a file watcher per run costs, and they work
//! on every file system.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::folder::{RunFolder, RunState, Started, Status};
use super::output::HALF;

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(250);

/// The most output that is returned at once.
const PIECE: usize = 256 * 1024;

/// What happened next in a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Followed {
    /// The command printed this.
    Output(Vec<u8>),
    /// It printed so many bytes more, which are not kept.
    Gap(u64),
    /// Nothing has been started, and nobody is about to.
    NotStarted,
    /// It ended; all output has been returned before, but for what is not kept.
    Ended(Status),
    /// Its shim is gone without a status; all output has been returned before.
    Vanished(Started),
}

/// Reads a run's output from an offset on, up to its end.
#[derive(Debug)]
pub struct Follower {
    folder: RunFolder,
    log: Option<File>,
    offset: u64,
    pause: Duration,
}

impl Follower {
    /// A follower that returns the output from the byte `offset` on.
    #[must_use]
    pub fn new(folder: RunFolder, offset: u64) -> Self {
        Self {
            folder,
            log: None,
            offset,
            pause: SHORTEST,
        }
    }

    /// How far the output has been returned, in bytes from its beginning.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Waits for the next output or for the end.
    ///
    /// [`Followed::NotStarted`] is returned without waiting, after a short pause when asked again.
    ///
    /// # Errors
    /// When the folder cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped: output is read and the offset moved without a
    /// wait in between.
    pub async fn next(&mut self) -> io::Result<Followed> {
        loop {
            if let Some(next) = self.read()? {
                return Ok(next);
            }
            let state = self.folder.state()?;
            if state == RunState::Running {
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LONGEST);
                continue;
            }
            // Whoever wrote has stopped; what came between the read and the look is all there is.
            if let Some(next) = self.read()? {
                return Ok(next);
            }
            return Ok(match state {
                RunState::Ended(status) => Followed::Ended(status),
                RunState::Vanished(started) => Followed::Vanished(started),
                RunState::NotStarted | RunState::Running => Followed::NotStarted,
            });
        }
    }

    /// Passes over so many bytes more.
    pub(super) fn pass_over(&mut self, bytes: u64) {
        self.offset += bytes;
    }

    /// More output, or the gap in it, if there is some.
    fn read(&mut self) -> io::Result<Option<Followed>> {
        if self.log.is_none() {
            self.log = match File::open(self.folder.log_path()) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        let Some(log) = &self.log else {
            return Ok(None);
        };
        let waiting = log.metadata()?.len().saturating_sub(self.offset);
        if waiting == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(waiting).unwrap_or(PIECE))];
        let length = log.read_at(&mut piece, self.offset)?;
        piece.truncate(length);
        self.pause = SHORTEST;
        if self.offset + length as u64 > HALF {
            // After the reading: a gap is written down before it is made.
            let gap_end = self.folder.gap_end()?;
            if self.offset >= HALF && self.offset < gap_end {
                let gone = gap_end - self.offset;
                self.offset = gap_end;
                return Ok(Some(Followed::Gap(gone)));
            }
            if self.offset < gap_end {
                piece.truncate(usize::try_from(HALF - self.offset).unwrap_or(PIECE));
            }
        }
        self.offset += piece.len() as u64;
        Ok((!piece.is_empty()).then_some(Followed::Output(piece)))
    }
}
