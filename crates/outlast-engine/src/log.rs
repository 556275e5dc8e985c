//! What a run has logged and its driver has not stored yet.
//!
//! Logging never fails a handler and never blocks it: lines go into a buffer of a stated size, which
//! the driver empties at least every quarter of a second: one mebibyte. What does not fit is dropped
//! and counted: the count is logged where the lines would have been, and kept in the record
//! (`Usage::lines_dropped`). A handler that must not lose a byte, as
//! one that copies a command's output, writes with back-pressure instead (`Cx::write_log`).
//!
//! The mark that is stored with the lines is their number, by which a replay knows what stands in the
//! log already. A handler that keeps marks of its own there (`Cx::log_mark`) is not replayed line by line:
//! its lines carry none, and none of them is taken for a repetition.

use std::sync::{Mutex, MutexGuard};

use outlast_core::{Level, LogLine};

/// Bytes that may wait for the store.
const LIMIT: usize = 1024 * 1024;

#[derive(Default)]
pub(crate) struct LogBuffer {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    lines: Vec<LogLine>,
    bytes: usize,
    dropped: u64,
    /// Lines of this entry that were dropped, whether that has been told or not.
    dropped_in_all: u64,
    /// Lines logged by this entry so far.
    count: u64,
    /// Lines of earlier entries, which a replay logs again and which are not stored again.
    replayed: u64,
    /// The marks in the log are the handler's.
    marks_are_taken: bool,
}

impl Inner {
    fn mark(&self) -> Option<u64> {
        (!self.marks_are_taken).then_some(self.count)
    }
}

impl LogBuffer {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics under this lock")
    }

    /// The first `count` lines of this entry are repetitions.
    pub(crate) fn swallow(&self, count: u64) {
        self.lock().replayed = count;
    }

    /// From now on the marks in the log are the handler's own.
    pub(crate) fn leave_marks(&self) {
        let mut inner = self.lock();
        inner.marks_are_taken = true;
        inner.replayed = 0;
        inner.lines.iter_mut().for_each(|line| line.mark = None);
    }

    /// Whether the marks in the log are the handler's own, and with them what stands there.
    pub(crate) fn is_the_handlers(&self) -> bool {
        self.lock().marks_are_taken
    }

    /// Takes a line; returns it if it is not a repetition, so that observers hear it too.
    pub(crate) fn push(&self, level: Level, logger: &str, text: &str) -> Option<LogLine> {
        let mut inner = self.lock();
        inner.count += 1;
        if inner.count <= inner.replayed {
            return None;
        }
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
        let mark = inner.mark();
        let line = LogLine {
            level,
            logger: logger.to_owned(),
            text: bytes,
            mark,
        };
        if inner.bytes + line.text.len() > LIMIT {
            inner.dropped += 1;
            inner.dropped_in_all += 1;
        } else {
            inner.bytes += line.text.len();
            inner.lines.push(line.clone());
        }
        Some(line)
    }

    /// What was drained could not be stored: it is to be stored again, before what came since.
    pub(crate) fn put_back(&self, mut lines: Vec<LogLine>) {
        let mut inner = self.lock();
        inner.bytes += lines.iter().map(|line| line.text.len()).sum::<usize>();
        lines.append(&mut inner.lines);
        inner.lines = lines;
    }

    /// How many lines of this entry were dropped.
    pub(crate) fn lost_lines(&self) -> u64 {
        self.lock().dropped_in_all
    }

    pub(crate) fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.lines.is_empty() && inner.dropped == 0
    }

    /// Everything that waits, with a line about what was dropped.
    pub(crate) fn drain(&self) -> Vec<LogLine> {
        let mut inner = self.lock();
        inner.bytes = 0;
        let mut lines = std::mem::take(&mut inner.lines);
        let dropped = std::mem::take(&mut inner.dropped);
        if dropped > 0 {
            lines.push(LogLine {
                level: Level::Warning,
                logger: "outlast".into(),
                text: format!("{dropped} log lines were dropped: logged faster than stored\n")
                    .into_bytes(),
                mark: inner.mark(),
            });
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_counted() {
        let log = LogBuffer::default();
        let line = "x".repeat(LIMIT / 2);
        for _ in 0..4 {
            log.push(Level::Info, "", &line);
        }
        let stored = log.drain();
        assert_eq!(stored.len(), 2, "one line and the note");
        let note = String::from_utf8(stored[1].text.clone()).unwrap();
        assert!(note.starts_with("3 log lines were dropped"), "{note}");
        assert!(log.is_empty());
        assert_eq!(log.lost_lines(), 3, "the count outlives the note");
    }

    #[test]
    fn a_replay_repeats_nothing() {
        let log = LogBuffer::default();
        log.swallow(2);
        let stored: Vec<_> = ["a", "b", "c"]
            .iter()
            .filter_map(|text| log.push(Level::Info, "", text))
            .collect();
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].mark, Some(3));
    }

    /// The number of a line would be read as how far the handler has got.
    #[test]
    fn who_keeps_marks_has_lines_without() {
        let log = LogBuffer::default();
        log.swallow(4 << 48);
        assert!(
            log.push(Level::Info, "", "a repetition, as it seems")
                .is_none()
        );
        log.leave_marks();
        let line = log.push(Level::Info, "", "no repetition").unwrap();
        assert_eq!(line.mark, None);
        assert!(log.drain().iter().all(|line| line.mark.is_none()));
    }
}
