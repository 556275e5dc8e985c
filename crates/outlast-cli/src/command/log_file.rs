//! `log_file`: a file that the command writes, followed into its log.
//!
//! The shim follows it, because the shim lives as long as the command does: what the file gets is
//! appended to the run's own log within a quarter of a second, whether a server is there or not, and a
//! server that comes back reads it there from its offset like everything else. What stood in the file
//! before the run belongs to an earlier one and is passed over. A file that is replaced, cut off or begun
//! anew is read from its beginning; what a program writes and cuts off between two looks is lost.
//!
//! A file that was begun anew and has grown past the old place within one look is as long as one that
//! was only written on. So the last bytes before the place are remembered, and where others stand there,
//! it is another text.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How much is copied at a time.
const PIECE: usize = 256 * 1024;

/// The most that is copied in one look. Whoever looks has other things to look after.
const MOST: u64 = 32 << 20;

/// How many bytes before the place are remembered.
const REMEMBERED: usize = 64;

/// A file on its way into a log.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    log: File,
    /// The file that is open, by which a replacement is noticed, and how far it has been copied.
    open: Option<(File, u64)>,
    offset: u64,
    /// What stood in the file before that.
    before: Vec<u8>,
}

impl LogFile {
    /// Follows `path` into `log`, from where it ends now.
    pub(super) fn follow(path: &Path, log: File) -> Self {
        let open = open(path);
        let offset = open.as_ref().map_or(0, |(file, _)| length(file));
        let before = match &open {
            Some((file, _)) => before(file, offset),
            None => Vec::new(),
        };
        Self {
            path: path.to_owned(),
            log,
            open,
            offset,
            before,
        }
    }

    /// Copies what has come, or a large part of it, and says whether there is more. A file that cannot be
    /// read is one that has not come yet.
    ///
    /// # Errors
    /// The log cannot be written. What has not reached it is copied the next time.
    pub(super) fn copy(&mut self) -> io::Result<bool> {
        if self.copy_rest()? {
            return Ok(true);
        }
        let there = std::fs::metadata(&self.path).ok().map(|file| file.ino());
        let known = self.open.as_ref().map(|(_, inode)| *inode);
        if there.is_none() || there == known {
            return Ok(false);
        }
        // The old one was copied to its end above.
        self.open = open(&self.path);
        self.offset = 0;
        self.before.clear();
        self.copy_rest()
    }

    fn copy_rest(&mut self) -> io::Result<bool> {
        let Some((file, _)) = &self.open else {
            return Ok(false);
        };
        // One that has become shorter has not as many bytes there.
        if before(file, self.offset) != self.before {
            self.offset = 0;
            self.before.clear();
        }
        let mut piece = vec![0; PIECE];
        let end = self.offset + MOST;
        while self.offset < end {
            let Ok(read @ 1..) = file.read_at(&mut piece, self.offset) else {
                return Ok(false);
            };
            let mut waiting = &piece[..read];
            while !waiting.is_empty() {
                // A part may still fit on a disk that is full for the whole.
                match self.log.write(waiting) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        self.offset += written as u64;
                        remember(&mut self.before, &waiting[..written]);
                        waiting = &waiting[written..];
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(true)
    }
}

/// Takes what was copied last in, and lets go of what was long before.
fn remember(before: &mut Vec<u8>, copied: &[u8]) {
    before.extend_from_slice(&copied[copied.len().saturating_sub(REMEMBERED)..]);
    before.drain(..before.len().saturating_sub(REMEMBERED));
}

/// The last bytes of a file before this place.
fn before(file: &File, place: u64) -> Vec<u8> {
    let from = place.saturating_sub(REMEMBERED as u64);
    let mut bytes = vec![0; usize::try_from(place - from).unwrap_or(REMEMBERED)];
    let read = file.read_at(&mut bytes, from).unwrap_or(0);
    bytes.truncate(read);
    bytes
}

/// Opens a regular file without waiting for anybody, as a pipe would make it, and says which it is.
fn open(path: &Path) -> Option<(File, u64)> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let about = file.metadata().ok()?;
    about.is_file().then(|| (file, about.ino()))
}

fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |about| about.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_followed_through_all_that_happens_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("a.log"), folder.path().join("log"));
        std::fs::write(&path, "of an earlier run\n").unwrap();
        let mut followed = LogFile::follow(&path, File::create(&log).unwrap());
        let append = |text: &str| {
            let mut file = OpenOptions::new().append(true).create(true).open(&path);
            file.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        };
        append("one\n");
        followed.copy().unwrap();
        append("two\n");
        std::fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        append("three\n");
        followed.copy().unwrap();
        std::fs::write(&path, "4\n").unwrap();
        followed.copy().unwrap();
        followed.copy().unwrap();
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text, "one\ntwo\nthree\n4\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_full_disk_refused_comes_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("a.log"), folder.path().join("log"));
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut followed = LogFile::follow(&path, full);
        std::fs::write(&path, "one\n").unwrap();
        let refused = followed.copy().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        followed.log = File::create(&log).unwrap();
        followed.copy().unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "one\n");
    }

    #[test]
    fn a_file_that_is_begun_anew_is_read_from_its_beginning_however_long_it_is_by_then() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("a.log"), folder.path().join("log"));
        let text = |word: &str| word.repeat(2000);
        std::fs::write(&path, text("earlier ")).unwrap();
        let mut followed = LogFile::follow(&path, File::create(&log).unwrap());
        // Truncated and longer than before by the time of the look, twice.
        std::fs::write(&path, text("first of this run ")).unwrap();
        followed.copy().unwrap();
        std::fs::write(&path, text("and a longer second ")).unwrap();
        followed.copy().unwrap();
        let expected = text("first of this run ") + &text("and a longer second ");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), expected);
    }

    #[test]
    fn a_look_has_an_end_however_much_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("a.log"), folder.path().join("log"));
        let mut followed = LogFile::follow(&path, File::create(&log).unwrap());
        let file = File::create(&path).unwrap();
        file.set_len(MOST + 10).unwrap();
        assert!(followed.copy().unwrap(), "there is more");
        assert_eq!(std::fs::metadata(&log).unwrap().len(), MOST);
        assert!(!followed.copy().unwrap());
        assert_eq!(std::fs::metadata(&log).unwrap().len(), MOST + 10);
    }

    #[test]
    fn a_file_that_comes_late_is_read_whole_and_a_pipe_never() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("a.log"), folder.path().join("log"));
        let mut followed = LogFile::follow(&path, File::create(&log).unwrap());
        followed.copy().unwrap();
        std::fs::create_dir(&path).unwrap();
        followed.copy().unwrap();
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "late\n").unwrap();
        followed.copy().unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "late\n");
    }
}
