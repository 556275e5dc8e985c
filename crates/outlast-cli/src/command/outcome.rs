//! What a caller gets when a command has ended.
//!
//! Text for the model: how it ended, if not well, and the end of what it printed. Structured content
//! for programs: the status, the times and the output, whole as long as it is not larger than
//! [`WHOLE`]. Nothing is cut without a word that says so, and the output stays in the task's
//! log, of very much its beginning and its end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use outlast_core::{RawJson, ToolResult, duration};
use serde::Serialize;

use super::artifacts::Kept;
use super::folder::{End, Spec, Status, StopCause, Used};
use super::limits::bytes;
use super::output::HALF;

/// Output up to this many bytes is returned whole as structured content.
pub const WHOLE: u64 = 256 * 1024;

/// Characters of the output's end that are returned as text.
pub const TAIL: usize = 10_000;

/// The structured content of a command's result.
#[derive(Serialize)]
struct Structured<'a> {
    /// Absent where the command was killed or not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    timed_out: bool,
    /// Why the command was stopped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<StopCause>,
    duration_ms: u64,
    #[serde(flatten)]
    used: Option<Used>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    artifacts: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    not_kept: &'a [String],
    output: &'a str,
    output_bytes: u64,
    truncated: bool,
    #[serde(skip_serializing_if = "is_zero")]
    leftover_processes: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The result of a command that ended with `status` and printed what is in `log`.
///
/// A limit of `spec` that ran out is named; `kept` says what became of its files. `whole` tells where all of the output can be read; empty if
/// nowhere.
///
/// # Errors
/// When the log cannot be read.
pub fn result(
    status: &Status,
    log: &Path,
    spec: &Spec,
    whole: &str,
    kept: &Kept,
) -> io::Result<ToolResult> {
    let printed = Printed::read(log)?;
    let timed_out = matches!(
        status.stopped,
        Some(StopCause::Timeout | StopCause::IdleTimeout)
    );
    let (exit_code, signal) = match status.end {
        End::Exited(code) => (Some(code), None),
        End::Signalled(signal) => (None, Some(signal)),
        End::NotRun(_) => (None, None),
    };
    let truncated = printed.bytes > WHOLE;
    let tail = printed.tail();
    let structured = Structured {
        exit_code,
        signal,
        timed_out,
        stopped: status.stopped,
        duration_ms: status.duration_ms,
        used: status.used,
        artifacts: &kept.names,
        not_kept: &kept.failed,
        output: if truncated { tail } else { &printed.text },
        output_bytes: printed.bytes,
        truncated,
        leftover_processes: status.leftovers,
    };
    let trouble = trouble(status, spec);
    let is_error = trouble.is_some();
    let mut text = text(trouble, &printed, whole);
    for (what, names) in [
        ("files kept with the task", &kept.names),
        ("files that could not be kept", &kept.failed),
    ] {
        if !names.is_empty() {
            let line = if text.ends_with('\n') { "" } else { "\n" };
            text.push_str(&format!("{line}{what}: {}", names.join(", ")));
        }
    }
    let result = if is_error {
        ToolResult::error(text)
    } else {
        ToolResult::text(text)
    };
    Ok(ToolResult {
        structured: Some(RawJson::of(&structured)?),
        ..result
    })
}

/// What went wrong; `None` for a command that says it did not.
fn trouble(status: &Status, spec: &Spec) -> Option<String> {
    let of = |limit: Option<u64>| {
        limit.map_or_else(String::new, |ms| {
            format!(" of {}", duration::format(Duration::from_millis(ms)))
        })
    };
    match status.stopped {
        Some(StopCause::Timeout) => {
            let limit = of(spec.timeout_ms);
            return Some(format!(
                "the command was stopped because its time limit{limit} ran out"
            ));
        }
        Some(StopCause::IdleTimeout) => {
            let limit = of(spec.idle_timeout_ms);
            return Some(format!(
                "the command was stopped because it printed nothing for longer than its limit{limit}"
            ));
        }
        Some(StopCause::CpuTime) => {
            return Some(format!(
                "the command was stopped because one of its processes used more than {} of processor \
                 time",
                spec.limits.cpu_text()
            ));
        }
        Some(StopCause::Processes) => {
            return Some(format!(
                "the command was stopped because it had more processes at a time than the {} it may",
                spec.limits.processes.unwrap_or_default()
            ));
        }
        Some(StopCause::Output) => {
            let most = spec.limits.output.map(bytes).unwrap_or_default();
            return Some(format!(
                "the command was stopped because it printed more than the {most} it may"
            ));
        }
        Some(StopCause::Cancel | StopCause::Signal) | None => {}
    }
    let failed = match &status.end {
        End::Exited(0) => None,
        End::Exited(code) => Some(format!("the command failed with exit status {code}")),
        End::Signalled(signal) => {
            let name = signal_name(*signal).map_or_else(String::new, |name| format!(" ({name})"));
            Some(format!("the command was killed by signal {signal}{name}"))
        }
        End::NotRun(reason) => return Some(format!("the command could not be run: {reason}")),
    };
    let remark = spec
        .limits
        .memory_remark(status.used.and_then(|used| used.peak_memory));
    failed.map(|failed| match remark {
        Some(remark) => format!("{failed}; {remark}"),
        None => failed,
    })
}

fn text(trouble: Option<String>, printed: &Printed, whole: &str) -> String {
    let tail = printed.tail();
    let cut = tail.len() < printed.text.len() || printed.bytes > WHOLE;
    let mut text = String::new();
    if let Some(trouble) = &trouble {
        text.push_str(trouble);
    }
    if tail.is_empty() {
        let nothing = if text.is_empty() {
            "the command printed nothing"
        } else {
            "; it printed nothing"
        };
        text.push_str(nothing);
        return text;
    }
    match (trouble.is_some(), cut) {
        (false, false) => {}
        (true, false) => text.push_str("; it printed:\n"),
        (failed, true) => {
            let intro = if failed { "; " } else { "" };
            let more = if whole.is_empty() {
                String::new()
            } else if printed.bytes <= 2 * HALF {
                format!("; all of it: {whole}")
            } else {
                format!("; its beginning and its end: {whole}")
            };
            text.push_str(&format!(
                "{intro}the last {} characters of {} bytes of output{more}\n",
                tail.chars().count(),
                printed.bytes
            ));
        }
    }
    text.push_str(tail);
    text
}

/// What a command printed, or its end.
struct Printed {
    /// All of it, in bytes.
    bytes: u64,
    /// The last part, at most [`WHOLE`] bytes, as text.
    text: String,
}

impl Printed {
    fn read(log: &Path) -> io::Result<Self> {
        let file = match File::open(log) {
            Ok(file) => file,
            // A command that never ran has no log.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    bytes: 0,
                    text: String::new(),
                });
            }
            Err(error) => return Err(error),
        };
        let bytes = file.metadata()?.len();
        let from = bytes.saturating_sub(WHOLE);
        let mut end = vec![0; usize::try_from(bytes - from).unwrap_or_default()];
        file.read_exact_at(&mut end, from)?;
        // A character that the cut went through is left out, not shown as damage.
        let start = if from == 0 {
            0
        } else {
            end.iter()
                .take(4)
                .position(|byte| byte & 0xC0 != 0x80)
                .unwrap_or(0)
        };
        Ok(Self {
            bytes,
            text: String::from_utf8_lossy(&end[start..]).into_owned(),
        })
    }

    /// The last [`TAIL`] characters, from the beginning of a line where there is one.
    fn tail(&self) -> &str {
        let Some((at, _)) = self
            .text
            .char_indices()
            .rev()
            .nth(TAIL - 1)
            .filter(|(at, _)| *at > 0)
        else {
            return &self.text;
        };
        let tail = &self.text[at..];
        let line = tail.find('\n').map_or(0, |end| end + 1);
        // A last line longer than the tail is better cut than lost.
        if line < tail.len() && !self.text[..at].ends_with('\n') {
            &tail[line..]
        } else {
            tail
        }
    }
}

/// The name of a common signal; their numbers are the same on all systems named here.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::command::expand::Invocation;

    fn status(end: End) -> Status {
        Status {
            end,
            stopped: None,
            started_at_ms: 1,
            duration_ms: 42,
            leftovers: 0,
            used: None,
        }
    }

    fn of(status: &Status, output: &[u8]) -> (String, bool, Value) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, output).unwrap();
        let spec = Spec {
            timeout_ms: Some(90_000),
            idle_timeout_ms: Some(30_000),
            ..Spec::new(Invocation {
                argv: vec![],
                env: vec![],
                secret_env: vec![],
                working_dir: "/".into(),
            })
        };
        let none = Kept::default();
        let result = result(status, &log, &spec, "outlast tasks logs ID", &none).unwrap();
        let text = result.content.to_value()[0]["text"]
            .as_str()
            .unwrap()
            .to_owned();
        (text, result.is_error, result.structured.unwrap().to_value())
    }

    #[test]
    fn success_is_the_output() {
        let (text, is_error, structured) = of(&status(End::Exited(0)), b"one\ntwo\n");
        assert_eq!((text.as_str(), is_error), ("one\ntwo\n", false));
        assert_eq!(
            structured,
            json!({"exit_code": 0, "duration_ms": 42, "output": "one\ntwo\n", "output_bytes": 8, "truncated": false})
        );
        assert_eq!(
            of(&status(End::Exited(0)), b"").0,
            "the command printed nothing"
        );
    }

    #[test]
    fn failures_are_named() {
        let (text, is_error, structured) = of(&status(End::Exited(7)), b"oh\n");
        assert_eq!(
            text,
            "the command failed with exit status 7; it printed:\noh\n"
        );
        assert!(is_error);
        assert_eq!(structured["exit_code"], 7);

        let (text, is_error, structured) = of(&status(End::Signalled(11)), b"");
        assert_eq!(
            text,
            "the command was killed by signal 11 (SIGSEGV); it printed nothing"
        );
        assert!(is_error);
        assert_eq!(
            (structured["signal"].clone(), structured.get("exit_code")),
            (json!(11), None)
        );

        let late = Status {
            stopped: Some(StopCause::Timeout),
            ..status(End::Signalled(9))
        };
        let (text, is_error, structured) = of(&late, b"x");
        assert_eq!(
            text,
            "the command was stopped because its time limit of 1m30s ran out; it printed:\nx"
        );
        assert!(is_error && structured["timed_out"] == true);

        let silent = Status {
            stopped: Some(StopCause::IdleTimeout),
            ..status(End::Signalled(2))
        };
        let (text, _, structured) = of(&silent, b"x");
        assert!(
            text.starts_with("the command was stopped because it printed nothing for longer than its limit of 30s"),
            "{text}"
        );
        assert_eq!(structured["stopped"], "idle_timeout");

        let (text, is_error, _) = of(&status(End::NotRun("no such file".into())), b"");
        assert_eq!(
            text,
            "the command could not be run: no such file; it printed nothing"
        );
        assert!(is_error);
    }

    #[test]
    fn long_output_is_cut_at_a_line_and_says_so() {
        let output: String = (0..10_000).map(|line| format!("line {line}\n")).collect();
        let (text, _, structured) = of(&status(End::Exited(0)), output.as_bytes());
        let (intro, tail) = text.split_once('\n').unwrap();
        assert!(intro.contains("of 98890 bytes of output; all of it: outlast tasks logs ID"));
        assert!(tail.starts_with("line ") && tail.ends_with("line 9999\n"));
        assert!((9_900..=TAIL).contains(&tail.chars().count()));
        assert_eq!(structured["output"], output, "whole as structured content");
        assert_eq!(structured["truncated"], false);
    }

    #[test]
    fn huge_output_is_cut_everywhere_and_says_so() {
        let output = "ä".repeat(300_000);
        let (text, is_error, structured) = of(&status(End::Exited(1)), output.as_bytes());
        assert!(is_error);
        let (intro, tail) = text.split_once('\n').unwrap();
        assert_eq!(
            intro,
            "the command failed with exit status 1; the last 10000 characters of 600000 bytes of \
             output; all of it: outlast tasks logs ID"
        );
        assert_eq!(tail, "ä".repeat(TAIL), "no half characters");
        assert_eq!(structured["output"], tail);
        assert_eq!(
            (
                structured["output_bytes"].clone(),
                structured["truncated"].clone()
            ),
            (json!(600_000), json!(true))
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        let (text, _, structured) = of(&status(End::Exited(0)), b"a\xff\x00b");
        assert_eq!(text, "a\u{fffd}\0b");
        assert_eq!(structured["output_bytes"], 4);
    }
}
