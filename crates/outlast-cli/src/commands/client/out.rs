//! Writing to the standard streams: a reader that goes away (`| head`) ends the program quietly, and
//! nothing from a server reaches a terminal with control characters in it, but for looks in what a tool
//! wrote ([`super::tame`]). What goes into a pipe or a file is left as it is.

use std::io::{self, IsTerminal, Write};

use outlast_core::TaskStatus;
use serde_json::Value;

use super::tame::{Tamer, tamed};

/// Writes to standard output.
pub(crate) fn bytes(bytes: &[u8]) {
    finish(try_bytes(bytes));
}

/// As [`bytes`], for what must be undone if nobody reads it; [`finish`] ends the program then.
fn try_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush())
}

/// Writes a line to standard output.
pub(crate) fn line(text: &str) {
    finish(try_line(text));
}

/// As [`line`], for what must be undone if nobody reads it.
pub(crate) fn try_line(text: &str) -> io::Result<()> {
    let mut text = clean(text, io::stdout().is_terminal());
    text.push('\n');
    try_bytes(text.as_bytes())
}

/// Writes what a tool wrote, with its colours, and ends the line.
pub(crate) fn text(text: &str) {
    if !io::stdout().is_terminal() {
        return line(text);
    }
    bytes(format!("{}\n", tamed(text, !colour())).as_bytes());
}

/// Writes a stream of a tool's bytes.
pub(crate) struct Stream(Option<Tamer>);

impl Stream {
    /// To standard output.
    pub(crate) fn new() -> Self {
        Self(io::stdout().is_terminal().then(|| Tamer::new(!colour())))
    }

    /// Writes the next ones.
    pub(crate) fn push(&mut self, new: &[u8]) {
        match &mut self.0 {
            Some(tamer) => bytes(tamer.push(new).as_bytes()),
            None => bytes(new),
        }
    }
}

impl Drop for Stream {
    /// However it ends, the terminal is left as it was.
    fn drop(&mut self) {
        if let Some(tamer) = &mut self.0 {
            bytes(tamer.end().as_bytes());
        }
    }
}

/// Writes a line to standard error. It is lost if nobody reads it.
pub(crate) fn complain(text: &str) {
    let text = clean(text, io::stderr().is_terminal());
    // There is nowhere left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a JSON document: readable on a terminal, on one line otherwise.
pub(crate) fn json(document: &Value) {
    finish(try_json(document));
}

/// As [`json`], for what must be undone if nobody reads it.
pub(crate) fn try_json(document: &Value) -> io::Result<()> {
    if io::stdout().is_terminal() {
        let text = serde_json::to_string_pretty(document).expect("a JSON tree has a text");
        try_bytes(format!("{}\n", escaped(&text)).as_bytes())
    } else {
        try_bytes(format!("{document}\n").as_bytes())
    }
}

/// Writes a line of a stream of JSON documents.
pub(crate) fn json_line(document: &Value) {
    let mut text = document.to_string();
    if io::stdout().is_terminal() {
        text = escaped(&text);
    }
    bytes(format!("{text}\n").as_bytes());
}

/// The same JSON without the control characters that JSON lets stand in a text: those from U+007F on.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() && c != '\n' {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
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

/// Writes a line with a status between words that are not ours.
pub(crate) fn status_line(before: &str, of: TaskStatus, rest: &str) {
    let before = clean(before, io::stdout().is_terminal());
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

/// Ends the program where standard output has not taken what was written.
pub(crate) fn finish(written: io::Result<()>) {
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
        let document = serde_json::json!({"a": "\u{9b}2J\u{7f}\u{1b}\n"});
        let text = escaped(&serde_json::to_string_pretty(&document).unwrap());
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    }
}
