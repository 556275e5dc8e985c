//! Writing to the standard streams: a reader that goes away (`| head`) ends the program quietly, and
//! nothing from a server reaches a terminal with control characters in it.

use std::io::{self, IsTerminal, Write};

use outlast_core::TaskStatus;
use serde_json::Value;

/// Writes to standard output.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    finish(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Writes a line to standard output.
pub(crate) fn line(text: &str) {
    let mut text = clean(text, io::stdout().is_terminal());
    text.push('\n');
    bytes(text.as_bytes());
}

/// Writes a line to standard error. It is lost if nobody reads it.
pub(crate) fn complain(text: &str) {
    let text = clean(text, io::stderr().is_terminal());
    // There is nowhere left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a JSON document: readable on a terminal, on one line otherwise.
pub(crate) fn json(document: &Value) {
    let pretty = io::stdout().is_terminal();
    let text = if pretty {
        serde_json::to_string_pretty(document)
    } else {
        serde_json::to_string(document)
    };
    let mut text = text.expect("a JSON tree has a text");
    text.push('\n');
    bytes(text.as_bytes());
}

/// Writes a line of a stream of JSON documents.
pub(crate) fn json_line(document: &Value) {
    bytes(format!("{document}\n").as_bytes());
}

/// Whether standard error may be coloured (<https://no-color.org>).
pub(crate) fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A text of ours in a colour, where standard output may have some.
pub(crate) fn coloured(text: &str, code: u8) -> String {
    if colour() && io::stdout().is_terminal() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// A status as wide as the longest, in its colour.
pub(crate) fn status(status: TaskStatus) -> String {
    coloured(&format!("{:14}", status.as_str()), status_colour(status))
}

/// The colour of a status, as a terminal counts them.
pub(crate) fn status_colour(status: TaskStatus) -> u8 {
    match status {
        TaskStatus::Working => 36,
        TaskStatus::InputRequired => 33,
        TaskStatus::Completed => 32,
        TaskStatus::Failed => 31,
        TaskStatus::Cancelled => 90,
    }
}

/// Writes a line that begins with a status, and whose rest is not ours.
pub(crate) fn status_line(before: &str, of: TaskStatus, rest: &str) {
    styled_line(&format!("{before}{}", status(of)), rest);
}

/// Writes a line that begins with words of ours, perhaps coloured, and whose rest is somebody else's.
pub(crate) fn styled_line(ours: &str, rest: &str) {
    let rest = clean(rest, io::stdout().is_terminal());
    let line = format!("{ours}  {rest}");
    bytes(format!("{}\n", line.trim_end()).as_bytes());
}

/// Without the characters that make a terminal do things, if it is one.
pub(super) fn clean(text: &str, terminal: bool) -> String {
    if !terminal {
        return text.to_owned();
    }
    let safe = |c: char| {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(safe).collect()
}

fn finish(written: io::Result<()>) {
    match written {
        Ok(()) => {}
        // As a program killed by SIGPIPE would end.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(141),
        Err(error) => {
            complain(&format!(
                "outlast: standard output cannot be written: {error}"
            ));
            std::process::exit(3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_left_in_peace() {
        assert_eq!(clean("a\u{1b}[2Jb\n\tc", true), "a\u{fffd}[2Jb\n\tc");
        assert_eq!(clean("a\u{1b}[2Jb", false), "a\u{1b}[2Jb");
    }
}
