//! How much a command has printed, and how much of that the disk keeps.
//!
//! A command writes its log itself, so nothing can hold a byte back before it is in the file: one that
//! prints without end would fill the disk on which the tasks are. So the shim takes the middle out again.
//! A run's log keeps its first and its last [`HALF`], a little less than the task's log does in the store,
//! so that the word on what is missing is kept there; between them the file becomes a hole, which has a
//! length and no blocks. Offsets stay what they were, and whoever had read the middle before has it.
//!
//! What is gone stands in the file `gap` before it is gone, and a reader looks there after it has read:
//! so no zero of a hole is ever taken for output ([`super::follow`]). The file is made while there is room,
//! when half of what may be kept has been printed.
//!
//! Beside that a tool may say how much its command may print at all, `max_output`; more ends it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::folder::RunFolder;

/// How much of a run's output is kept from its beginning, and as much from its end.
pub(super) const HALF: u64 = 30 << 20;

/// Holes are made in steps of this: a file system can only take whole blocks out.
const STEP: u64 = 1 << 20;

/// The output of a command that runs.
pub(super) struct Output {
    log: File,
    /// Where the place of the gap is written, once there may be one.
    gap: Option<File>,
    /// Where the gap ends.
    cut: u64,
    /// The file system can make no holes.
    whole: bool,
    length: u64,
    grows: bool,
    idle_limit: Option<Duration>,
    since: Instant,
}

impl Output {
    /// Begins with a command that has printed nothing yet and may be silent for as long.
    pub(super) fn begin(
        folder: &RunFolder,
        idle_limit: Option<Duration>,
        now: Instant,
    ) -> io::Result<Self> {
        Ok(Self {
            log: folder.log_for_writing()?,
            gap: None,
            cut: HALF,
            whole: false,
            length: 0,
            grows: false,
            idle_limit,
            since: now,
        })
    }

    /// Looks how much has been printed, and takes the middle out where that is too much to be kept.
    ///
    /// # Errors
    /// The file cannot be looked at, or the middle not be taken out this time.
    pub(super) fn look(&mut self, folder: &RunFolder, now: Instant) -> io::Result<()> {
        let length = self.log.metadata()?.len();
        self.grows = length.saturating_sub(self.length) > HALF / 4;
        if length != self.length {
            self.length = length;
            self.since = now;
        }
        if length <= HALF || self.whole {
            return Ok(());
        }
        let gap = match &mut self.gap {
            Some(gap) => gap,
            none => {
                let gap = folder.gap_for_writing()?;
                // It has its block then, also on a disk that is full by the time that it is needed.
                gap.write_all_at(&0_u64.to_le_bytes(), 0)?;
                none.insert(gap)
            }
        };
        let end = (length - HALF) / STEP * STEP;
        if end <= self.cut {
            return Ok(());
        }
        gap.write_all_at(&end.to_le_bytes(), 0)?;
        match make_hole(&self.log, self.cut, end - self.cut) {
            Ok(()) => self.cut = end,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                // Nothing is gone.
                gap.write_all_at(&0_u64.to_le_bytes(), 0)?;
                self.whole = true;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// When it will have been silent for too long, if nothing is printed until then.
    pub(super) fn silence_ends(&self) -> Option<Instant> {
        Some(self.since + self.idle_limit?)
    }

    /// Whether it has printed nothing for too long.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silence_ends().is_some_and(|ends| ends <= now)
    }

    /// Whether it has printed more than so many bytes.
    pub(super) fn exceeds(&self, most: Option<u64>) -> bool {
        most.is_some_and(|most| self.length > most)
    }

    /// Whether it prints so fast that the next look should come soon.
    pub(super) fn grows_fast(&self) -> bool {
        self.grows
    }
}

/// Gives the blocks of this part of a file back. It reads as zeros then, and the length stays.
#[cfg(target_os = "linux")]
fn make_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, flags, offset, length).map_err(|error| match error {
        Errno::OPNOTSUPP | Errno::NOSYS => io::ErrorKind::Unsupported.into(),
        other => other.into(),
    })
}

/// Other systems want other calls for it, which no library we use has.
#[cfg(not(target_os = "linux"))]
fn make_hole(_: &File, _: u64, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::command::expand::Invocation;
    use crate::command::folder::Spec;
    use crate::command::follow::{Followed, Follower};

    fn folder(dir: &tempfile::TempDir) -> RunFolder {
        let spec = Spec::new(Invocation {
            argv: vec!["x".into()],
            env: vec![],
            secret_env: vec![],
            working_dir: "/".into(),
        });
        RunFolder::create(&dir.path().join("1"), &spec).unwrap()
    }

    /// A number of lines of 1 KiB each, numbered from this on.
    fn lines(from: u64, number: u64) -> Vec<u8> {
        let lines = (from..from + number).map(|line| format!("{line:0>1023}\n"));
        lines.collect::<String>().into_bytes()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_printed_without_end_keeps_its_beginning_and_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir);
        let now = Instant::now();
        let mut output = Output::begin(&folder, None, now).unwrap();
        let mut log = folder.log_for_writing().unwrap();
        let mut follower = Follower::new(folder.clone(), 0);
        let half = HALF / 1024;
        log.write_all(&lines(0, half)).unwrap();
        output.look(&folder, now).unwrap();
        assert_eq!(folder.gap_end().unwrap(), 0, "nothing is gone yet");
        // Far more than is kept, in pieces, as it would come.
        for piece in 1..8 {
            log.write_all(&lines(piece * half, half)).unwrap();
            output.look(&folder, now).unwrap();
        }
        log.write_all(b"the end\n").unwrap();
        output.look(&folder, now).unwrap();
        let about = std::fs::metadata(folder.log_path()).unwrap();
        assert_eq!(about.len(), 8 * HALF + 8, "offsets stay");
        assert!(
            about.blocks() * 512 <= 2 * HALF + 2 * STEP,
            "{}",
            about.blocks()
        );

        let (mut kept, mut gone) = (Vec::new(), 0);
        loop {
            match follower.next().await.unwrap() {
                Followed::Output(bytes) => kept.extend(bytes),
                Followed::Gap(bytes) => {
                    assert_eq!(
                        kept.len() as u64,
                        HALF,
                        "the whole beginning is told before"
                    );
                    gone += bytes;
                }
                Followed::NotStarted => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(kept.len() as u64 + gone, 8 * HALF + 8);
        assert_eq!(gone, folder.gap_end().unwrap() - HALF);
        assert!(kept.ends_with(b"the end\n") && !kept.contains(&0));
        assert!(kept[usize::try_from(HALF).unwrap()..].len() as u64 >= HALF);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn whoever_has_read_the_middle_hears_of_no_gap() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir);
        let now = Instant::now();
        let mut output = Output::begin(&folder, None, now).unwrap();
        let mut log = folder.log_for_writing().unwrap();
        let mut follower = Follower::new(folder.clone(), 0);
        let mut read = 0;
        for piece in 0..5 {
            log.write_all(&lines(piece, HALF / 1024)).unwrap();
            loop {
                match follower.next().await.unwrap() {
                    Followed::Output(bytes) => read += bytes.len() as u64,
                    Followed::NotStarted => break,
                    other => panic!("{other:?}"),
                }
            }
            output.look(&folder, now).unwrap();
        }
        assert_eq!(read, 5 * HALF);
        assert_eq!(folder.gap_end().unwrap(), 4 * HALF);
    }

    #[test]
    fn silence_lasts_from_the_last_output() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir);
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut output = Output::begin(&folder, Some(10 * second), begin).unwrap();
        output.look(&folder, begin + 9 * second).unwrap();
        assert!(!output.is_silent(begin + 9 * second));
        assert!(output.is_silent(begin + 10 * second));
        folder.log_for_writing().unwrap().write_all(b"x").unwrap();
        output.look(&folder, begin + 10 * second).unwrap();
        assert!(!output.is_silent(begin + 19 * second));
        assert_eq!(output.silence_ends(), Some(begin + 20 * second));
        assert!(output.exceeds(Some(0)) && !output.exceeds(Some(1)) && !output.exceeds(None));
    }
}
