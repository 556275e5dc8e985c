//! What is wrong with a configuration file, said in one message.
//!
//! Every problem names the line, the key path and what is allowed there, and a file's problems are
//! reported together: a person with three typos should not need three runs to find them.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The key's full path, for example `tools.run_tests.timeout`; empty for the file itself.
    pub key: String,
    /// What is wrong and what is allowed, lower-case and without a full stop.
    pub message: String,
}

/// A configuration file that cannot be used. Nothing was started.
///
/// Its `Display` is complete: one line per problem, each in the form
/// `FILE:LINE: KEY: what is wrong; allowed: …`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot be read: {source}{}", path.display(), hint_for(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was read and does not make sense.
    #[error("{}", lines(path, problems))]
    Invalid {
        /// The file, as it was named by the caller.
        path: PathBuf,
        /// All that is wrong, in the order of the lines. Never empty.
        problems: Vec<Problem>,
    },
}

fn hint_for(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "; write one with `outlast init`, or name yours with --config FILE"
        }
        std::io::ErrorKind::InvalidData => "; it must be UTF-8 text",
        _ => "",
    }
}

fn lines(path: &Path, problems: &[Problem]) -> String {
    let one = |problem: &Problem| {
        let separator = if problem.key.is_empty() { "" } else { ": " };
        format!(
            "{}:{}: {}{separator}{}",
            path.display(),
            problem.line,
            problem.key,
            problem.message
        )
    };
    problems.iter().map(one).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.key, self.message)
    }
}

/// The name among `known` that `given` was probably meant to be.
pub(crate) fn closest<'a>(
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (given.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(given, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // The first row and column count what is deleted or inserted; the rest is overwritten.
    let mut rows: Vec<Vec<usize>> = (0..=a.len())
        .map(|i| (0..=b.len()).map(|j| i + j).collect())
        .collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_does_not() {
        let known = ["command", "timeout", "max_timeout", "task"];
        assert_eq!(closest("timeot", known), Some("timeout"));
        assert_eq!(closest("comamnd", known), Some("command"));
        assert_eq!(closest("tsak", known), Some("task"));
        assert_eq!(closest("banana", known), None);
    }
}
