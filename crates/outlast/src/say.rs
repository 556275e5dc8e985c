//! What a program says to people on standard error, besides its log.
//!
//! `eprintln!` panics where standard error takes nothing: a full disk, a pipe whose reader is gone. A server is
//! not to end, and work not to be lost, because nobody could be told something.

use std::fmt::Arguments;
use std::io::Write as _;

/// Writes a line. It is lost if nobody takes it.
pub(crate) fn line(what: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{what}");
}

/// As `eprintln!`, and never panics.
macro_rules! say {
    ($($what:tt)*) => {
        $crate::say::line(format_args!($($what)*))
    };
}

pub(crate) use say;
