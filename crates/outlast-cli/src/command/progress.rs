//! Progress found in a command's output by regular expressions.
//!
//! Output is cut into lines at `\n` and `\r` (progress bars end theirs with the latter), colour
//! codes are removed, and the first pattern that matches a line speaks for it. What a pattern finds
//! is never trusted to be sensible: a number that is not finite is ignored.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

/// The named groups that mean something.
const GROUPS: [&str; 4] = ["done", "total", "percent", "message"];

/// A line is looked at up to this length; no progress line is longer.
const LINE: usize = 4096;

/// A regular expression with at least one of the groups `done`, `total`, `percent`, `message`.
#[derive(Clone, Debug)]
pub struct ProgressPattern {
    regex: Regex,
    /// The same for many lines at once: where it finds nothing, `regex` finds nothing in any line.
    /// `None` for patterns of which that is not sure.
    filter: Option<Regex>,
}

/// Why a text is not a progress pattern.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum PatternError {
    /// It does not compile.
    #[error("not a valid regular expression: {0}")]
    Regex(regex::Error),
    /// Nothing in it says what was found.
    #[error("no named group; allowed: (?P<done>…), (?P<total>…), (?P<percent>…), (?P<message>…)")]
    NoGroup,
    /// A group has a name without meaning.
    #[error("unknown group \"{0}\"; allowed: done, total, percent, message")]
    UnknownGroup(String),
}

impl ProgressPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it does not compile, has no named group, or one with a name that means nothing.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let regex = Regex::new(pattern).map_err(PatternError::Regex)?;
        let names: Vec<&str> = regex.capture_names().flatten().collect();
        if names.is_empty() {
            return Err(PatternError::NoGroup);
        }
        if let Some(unknown) = names.iter().find(|name| !GROUPS.contains(name)) {
            return Err(PatternError::UnknownGroup((*unknown).to_owned()));
        }
        // Anchors of the whole text, and flags switched off, mean something else in many lines.
        let plain = !["\\A", "\\z", "(?"].iter().any(|part| {
            pattern
                .match_indices(part)
                .any(|(at, _)| !pattern[at..].starts_with("(?P<"))
        });
        let filter = plain.then(|| {
            RegexBuilder::new(pattern)
                .multi_line(true)
                .crlf(true)
                .build()
                .map_err(PatternError::Regex)
        });
        Ok(Self {
            regex,
            filter: filter.transpose()?,
        })
    }

    /// Whether one of the lines may match.
    fn may_match(&self, lines: &str) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.is_match(lines))
    }

    fn has(&self, group: &str) -> bool {
        self.regex
            .capture_names()
            .flatten()
            .any(|name| name == group)
    }

    /// What this pattern finds in a line.
    fn read(&self, line: &str) -> Option<Found> {
        let captures = self.regex.captures(line)?;
        let text = |name| captures.name(name).map(|found| found.as_str().trim());
        Some(Found {
            done: text("done").and_then(number),
            total: text("total").and_then(number).filter(|total| *total > 0.0),
            percent: text("percent").and_then(number),
            message: text("message")
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
        })
    }
}

struct Found {
    done: Option<f64>,
    total: Option<f64>,
    percent: Option<f64>,
    message: Option<String>,
}

/// A number as programs print it, thousands separators included.
fn number(text: &str) -> Option<f64> {
    let plain: String = text
        .chars()
        .filter(|c| !matches!(c, ',' | '_' | ' ' | '\''))
        .collect();
    plain
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// The news in a piece of output; fields that nothing was said about are `None`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProgressUpdate {
    /// Finished items.
    pub done: Option<f64>,
    /// All items.
    pub total: Option<f64>,
    /// What is being done.
    pub message: Option<String>,
}

impl ProgressUpdate {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Finds progress in a stream of output, fed in pieces of any size.
///
/// Only the last word of a piece counts, so its lines are read from the end until everything is
/// known that the patterns can tell, and not at all if none of them can match. That makes a command
/// that prints a million lines a second cost little more than one that prints ten.
#[derive(Debug)]
pub struct ProgressReader {
    patterns: Vec<ProgressPattern>,
    /// Whether any pattern tells how much is done, of how much, and what is happening.
    tells: [bool; 3],
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// The last total that was told.
    total: Option<f64>,
}

/// The latest that the lines of a piece tell.
#[derive(Default)]
struct Latest {
    value: Option<Value>,
    total: Option<f64>,
    message: Option<String>,
}

#[derive(Clone, Copy)]
enum Value {
    Items(f64),
    Percent(f64),
}

impl ProgressReader {
    /// A reader at the start of a line.
    #[must_use]
    pub fn new(patterns: Vec<ProgressPattern>) -> Self {
        let any = |groups: &[&str]| {
            patterns
                .iter()
                .any(|pattern| groups.iter().any(|group| pattern.has(group)))
        };
        let tells = [
            any(&["done", "percent"]),
            any(&["total"]),
            any(&["message"]),
        ];
        Self {
            patterns,
            tells,
            line: Vec::new(),
            total: None,
        }
    }

    /// Takes more output and returns the latest of what its complete lines say, if anything.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<ProgressUpdate> {
        if self.patterns.is_empty() {
            return None;
        }
        let Some(first) = bytes.iter().position(is_end) else {
            self.take(bytes);
            return None;
        };
        let last = bytes.iter().rposition(is_end).unwrap_or(first);
        let mut latest = Latest::default();
        if last > first {
            self.read_lines(&bytes[first + 1..last], &mut latest);
        }
        self.take(&bytes[..first]);
        let line = std::mem::take(&mut self.line);
        self.read_line(&line, &mut latest);
        self.take(&bytes[last + 1..]);
        self.update(latest)
    }

    /// The output has ended: what its last, unfinished line says.
    pub fn finish(&mut self) -> Option<ProgressUpdate> {
        self.feed(b"\n")
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = LINE - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Reads whole lines, the last one first.
    fn read_lines(&self, lines: &[u8], latest: &mut Latest) {
        // Damaged text and colours are seen to line by line.
        if let Ok(text) = std::str::from_utf8(lines)
            && !lines.contains(&ESCAPE)
            && !self.patterns.iter().any(|pattern| pattern.may_match(text))
        {
            return;
        }
        for line in lines.rsplit(is_end) {
            if self.knows_all(latest) {
                return;
            }
            self.read_line(&line[..line.len().min(LINE)], latest);
        }
    }

    fn knows_all(&self, latest: &Latest) -> bool {
        let known = [
            latest.value.is_some(),
            latest.total.is_some(),
            latest.message.is_some(),
        ];
        self.tells
            .iter()
            .zip(known)
            .all(|(tells, known)| known || !tells)
    }

    /// Takes from a line what later lines did not tell.
    fn read_line(&self, line: &[u8], latest: &mut Latest) {
        let line = String::from_utf8_lossy(line);
        let plain = without_escapes(&line);
        let Some(found) = self
            .patterns
            .iter()
            .find_map(|pattern| pattern.read(&plain))
        else {
            return;
        };
        let value = found
            .done
            .map(Value::Items)
            .or(found.percent.map(Value::Percent));
        latest.value = latest.value.or(value);
        latest.total = latest.total.or(found.total);
        latest.message = latest.message.take().or(found.message);
    }

    fn update(&mut self, latest: Latest) -> Option<ProgressUpdate> {
        self.total = latest.total.or(self.total);
        let update = match latest.value {
            // A share of a total that another pattern told us counts in that total's items.
            Some(Value::Percent(percent)) => {
                let whole = self.total.unwrap_or(100.0);
                ProgressUpdate {
                    done: Some(percent.min(100.0) / 100.0 * whole),
                    total: Some(whole),
                    message: latest.message,
                }
            }
            value => ProgressUpdate {
                done: value.map(|value| match value {
                    Value::Items(number) | Value::Percent(number) => number,
                }),
                total: latest.total,
                message: latest.message,
            },
        };
        (!update.is_empty()).then_some(update)
    }
}

/// The byte with which terminal escape sequences begin.
const ESCAPE: u8 = 0x1b;

fn is_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The text without terminal escape sequences (ECMA-48 control sequences and operating system
/// commands).
pub(crate) fn without_escapes(text: &str) -> std::borrow::Cow<'_, str> {
    static ESCAPES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
            .expect("the pattern is fixed and valid")
    });
    if text.contains('\x1b') {
        ESCAPES.replace_all(text, "")
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(patterns: &[&str]) -> ProgressReader {
        ProgressReader::new(
            patterns
                .iter()
                .map(|p| ProgressPattern::new(p).unwrap())
                .collect(),
        )
    }

    fn update(done: f64, total: Option<f64>, message: Option<&str>) -> Option<ProgressUpdate> {
        Some(ProgressUpdate {
            done: Some(done),
            total,
            message: message.map(str::to_owned),
        })
    }

    #[test]
    fn counts_and_messages_are_found() {
        let mut reader = reader(&[r"(?P<done>[\d,]+) of (?P<total>[\d,]+)(?:: (?P<message>.*))?"]);
        assert_eq!(
            reader.feed(b"3 of 1,200: linking\n"),
            update(3.0, Some(1200.0), Some("linking"))
        );
        assert_eq!(reader.feed(b"nothing here\n"), None);
        assert_eq!(reader.feed(b"4 of"), None, "the line is not complete");
        assert_eq!(reader.feed(b" 1,200\r"), update(4.0, Some(1200.0), None));
    }

    #[test]
    fn one_update_for_a_piece_and_the_last_word_counts() {
        let mut reader = reader(&[r"^(?P<done>\d+)$", "^now (?P<message>.+)"]);
        assert_eq!(
            reader.feed(b"1\nnow here\n2\n3\n"),
            update(3.0, None, Some("here"))
        );
        assert_eq!(reader.feed(b"9"), None);
        assert_eq!(reader.finish(), update(9.0, None, None));
    }

    #[test]
    fn percentages_become_items() {
        let mut reader = reader(&[r"(?P<done>\d+)/(?P<total>\d+)", r"(?P<percent>[\d.]+)%"]);
        assert_eq!(reader.feed(b"12.5%\n"), update(12.5, Some(100.0), None));
        assert_eq!(reader.feed(b"1/8\n50%\n"), update(4.0, Some(8.0), None));
        assert_eq!(reader.feed(b"900%\n"), update(8.0, Some(8.0), None));
    }

    #[test]
    fn colours_do_not_hide_progress() {
        let mut reader = reader(&[r"^(?P<percent>\d+)%$"]);
        assert_eq!(
            reader.feed(b"\x1b[1;32m40%\x1b[0m\x1b[K\r"),
            update(40.0, Some(100.0), None)
        );
    }

    #[test]
    fn lines_without_end_do_not_grow() {
        let mut reader = reader(&["(?P<done>7)"]);
        for _ in 0..1000 {
            assert_eq!(reader.feed(&[b'x'; 1000]), None);
        }
        assert!(reader.line.len() <= LINE);
        assert_eq!(reader.feed(b"\n7\n"), update(7.0, None, None));
    }

    #[test]
    fn nonsense_is_ignored() {
        let mut reader = reader(&[r"(?P<done>\S+) of (?P<total>\S+)"]);
        assert_eq!(reader.feed(b"inf of nan\n"), None);
        assert_eq!(reader.feed(b"2 of 0\n"), update(2.0, None, None));
    }

    #[test]
    fn patterns_are_checked() {
        assert!(matches!(
            ProgressPattern::new("("),
            Err(PatternError::Regex(_))
        ));
        assert_eq!(
            ProgressPattern::new(r"\d+").unwrap_err(),
            PatternError::NoGroup
        );
        assert_eq!(
            ProgressPattern::new(r"(?P<step>\d+)").unwrap_err(),
            PatternError::UnknownGroup("step".into())
        );
    }

    /// What the reader would find if it read every line in order.
    fn slowly(patterns: &[&str], pieces: &[String]) -> Vec<Option<ProgressUpdate>> {
        let mut reader = reader(patterns);
        let mut line = String::new();
        let mut updates = Vec::new();
        for piece in pieces {
            let mut latest = Latest::default();
            for c in piece.chars() {
                if !matches!(c, '\n' | '\r') {
                    line.push(c);
                    continue;
                }
                let mut of_line = Latest::default();
                reader.read_line(line.as_bytes(), &mut of_line);
                latest.value = of_line.value.or(latest.value);
                latest.total = of_line.total.or(latest.total);
                latest.message = of_line.message.or(latest.message);
                line.clear();
            }
            updates.push(reader.update(latest));
        }
        updates
    }

    proptest::proptest! {
        /// Reading from the end, and not at all, finds what reading everything finds.
        #[test]
        fn shortcuts_change_nothing(
            pieces in proptest::collection::vec("([0-9%/ abé\u{1b}m\\[]{0,5}[\r\n]?){0,12}", 0..6),
            patterns in proptest::sample::subsequence(vec![
                r"(?P<done>\d)/(?P<total>\d)", r"^(?P<percent>\d+)%$", r"(?P<message>a.*)$",
                r"\A(?P<message>b)\z", r"(?i)(?P<done>\d)B", r"(?P<total>\d)\s(?P<done>\d)",
            ], 1..4),
        ) {
            let mut reader = reader(&patterns);
            let quickly: Vec<_> =
                pieces.iter().map(|piece| reader.feed(piece.as_bytes())).collect();
            proptest::prop_assert_eq!(quickly, slowly(&patterns, &pieces));
        }
    }
}
