//! Where a tool's tasks may run: a tool requires labels, and only workers that have all of them run it.
//!
//! Decision: labels belong to tools and workers, not to tasks. A claim names the tools that its worker runs,
//! so one whose labels the worker lacks is left out of the claim: every store keeps the rule, with a
//! creation that is claimed at once too, and none has to know of labels. Tasks that no living worker may
//! run wait, as those of an unknown tool do.

use crate::tool::{TaskSupport, Tool};

/// How long a label may be.
const LONGEST: usize = 64;

/// Reads a label of workers.
///
/// # Errors
/// It is none; the sentence says what one is.
pub fn worker_label(text: &str) -> Result<String, String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=/:".contains(&byte);
    if (1..=LONGEST).contains(&text.len()) && text.bytes().all(known) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no label of a worker: use 1 to {LONGEST} letters, digits, `-`, `_`, `.`, `=`, `/` \
         and `:`, as in gpu or region=eu"
    ))
}

/// Whether what the tool requires can hold.
pub(crate) fn check(tool: &Tool) -> Result<(), String> {
    for label in &tool.requires {
        worker_label(label).map_err(|problem| format!("tool {:?}: {problem}", tool.name))?;
    }
    match (&tool.task, tool.requires.first()) {
        (TaskSupport::Forbidden, Some(label)) => Err(format!(
            "tool {:?} requires workers with the label {label:?}, and is never a task, so it would run where \
             it is called: make it one that may run as a task",
            tool.name
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::worker_label;

    #[test]
    fn a_label_is_a_word() {
        for label in ["gpu", "region=eu-west.1", "team:a/b_c"] {
            assert_eq!(worker_label(label).as_deref(), Ok(label));
        }
        for label in ["", "two words", "a,b", "größe", &"x".repeat(65)] {
            let problem = worker_label(label).expect_err("it is none");
            assert!(problem.contains("letters, digits"), "{problem}");
        }
    }
}
