//! A task's log: lines with a level, a logger and a byte offset.
//!
//! The log is one stream of bytes per task. Every chunk starts where the one before ended, so a
//! reader who remembers an offset goes on without a gap or a repeat. Log lines are not events: they
//! have offsets instead of numbers and never move `lastUpdatedAt`.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// How much of a task's log is kept: 64 MiB, the first and the last half of it.
pub const LOG_LIMIT: u64 = 64 * 1024 * 1024;

/// The longest piece of a log a store keeps as one chunk; longer text becomes several.
pub const LOG_PIECE: usize = 64 * 1024;

/// How many bytes at the end of a text are the beginning of a character of UTF-8 that has not ended, and
/// may yet: 0 to 3. Whoever stores a text piece by piece keeps them for the next one, for each piece is read
/// by itself.
pub fn unfinished(text: &[u8]) -> usize {
    for (back, byte) in text.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 0,
        };
        let here = back + 1;
        return if here < length { here } else { 0 };
    }
    0
}

/// The pieces of a text that a store keeps as chunks, each of at most [`LOG_PIECE`] bytes: cut between
/// characters, where there are any.
pub fn pieces(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let longest = &text[..text.len().min(LOG_PIECE)];
        let split = if longest.len() < text.len() {
            longest.len() - unfinished(longest)
        } else {
            longest.len()
        };
        let (piece, rest) = text.split_at(split);
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The severity of a line, in the protocol's words (RFC 5424).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    missing_docs,
    reason = "the words are the protocol's and explain themselves"
)]
pub enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// Every level, from the least to the most severe.
    pub const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

/// Text to be appended to a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    /// Severity.
    pub level: Level,
    /// Who speaks, for example `stdout`. Empty for the tool itself.
    pub logger: String,
    /// The bytes, line ends included. May hold many lines, and part of one.
    pub text: Vec<u8>,
    /// How far the writer has read its own source when these bytes are stored. A writer that
    /// follows a file finds here, after a crash, where to go on: see [`LogPage::mark`].
    pub mark: Option<u64>,
}

/// A stored piece of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogChunk {
    /// Where the first byte stands in the log.
    pub offset: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// Severity.
    pub level: Level,
    /// Who speaks.
    pub logger: String,
    /// The bytes.
    pub text: Vec<u8>,
}

impl LogChunk {
    /// The offset of the byte after this chunk.
    pub fn end(&self) -> u64 {
        self.offset + self.text.len() as u64
    }
}

/// Part of a log, read from an offset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogPage {
    /// The chunks in order. The first is cut so that it starts at the offset asked for, unless the
    /// bytes there were dropped: then it starts behind the gap.
    pub chunks: Vec<LogChunk>,
    /// Where to read on.
    pub next: u64,
    /// Where the log ends at present. `next < end` means that there is more to read now.
    pub end: u64,
    /// The last mark stored with this log.
    pub mark: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_has_not_ended_is_seen() {
        for whole in ["", "a", "ä", "€", "🌲", "a🌲"] {
            let bytes = whole.as_bytes();
            assert_eq!(unfinished(bytes), 0, "{whole}");
            let last = whole.chars().next_back().map_or(0, char::len_utf8);
            for cut in 1..last {
                let begun = &bytes[..bytes.len() - cut];
                assert_eq!(unfinished(begun), last - cut, "{whole} without {cut}");
            }
        }
        // What is no UTF-8 is waited for by nobody.
        for other in [
            &[0xFF][..],
            &[0x80, 0x80, 0x80, 0x80],
            &[0xC0],
            &[b'a', 0x80],
        ] {
            assert_eq!(unfinished(other), 0, "{other:?}");
        }
    }
}
