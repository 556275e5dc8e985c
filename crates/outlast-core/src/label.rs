//! Limits on labels, the words by which people find tasks.
//!
//! One rule for all who give them: the tool's declaration, the handler, and whoever calls. It is checked
//! where labels enter, so that no list or index is ever asked to hold more.
//!
//! Decision: of two that give a label of one key the more particular counts. A child inherits its parent's
//! labels, the tool's own stand before those, the caller's before the tool's, and what the handler says
//! while it runs ([`crate::JournalKind::Label`]) before all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many labels a task may have.
pub const MAX_LABELS: usize = 32;

/// The longest key, in bytes.
pub const LONGEST_KEY: usize = 64;

/// The longest value, in bytes.
pub const LONGEST_VALUE: usize = 256;

/// Whether a task may have these labels.
///
/// # Errors
/// There are too many, or one is too long, has no key, or holds a control character; the sentence names
/// it and the rule.
pub fn check(labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!(
            "there are {} labels, and a task has at most {MAX_LABELS}",
            labels.len()
        ));
    }
    labels
        .iter()
        .try_for_each(|(key, value)| check_one(key, value))
}

/// Whether a task may have this label, among others.
///
/// # Errors
/// It is too long, has no key, or holds a control character; the sentence names it and the rule.
pub fn check_one(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > LONGEST_KEY || key.chars().any(char::is_control) {
        return Err(format!(
            "the label key {key:?} is not allowed: 1 to {LONGEST_KEY} bytes without control characters"
        ));
    }
    if value.len() > LONGEST_VALUE || value.chars().any(char::is_control) {
        return Err(format!(
            "the value of the label {key:?} is not allowed: up to {LONGEST_VALUE} bytes without control \
             characters"
        ));
    }
    Ok(())
}

/// A label that a handler gave its task: what a journal entry of the kind
/// [`crate::JournalKind::Label`] records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordedLabel {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Result<(), String> {
        check(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn limits_are_exact() {
        assert_eq!(
            one(&"k".repeat(LONGEST_KEY), &"v".repeat(LONGEST_VALUE)),
            Ok(())
        );
        assert!(
            one(&"k".repeat(LONGEST_KEY + 1), "")
                .unwrap_err()
                .contains("64")
        );
        assert!(
            one("k", &"v".repeat(LONGEST_VALUE + 1))
                .unwrap_err()
                .contains("\"k\"")
        );
        assert!(one("", "v").is_err());
        assert!(one("a\nb", "v").is_err());
        assert!(one("k", "a\u{7}").is_err());
        let many = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(check(&many(MAX_LABELS)), Ok(()));
        assert!(
            check(&many(MAX_LABELS + 1))
                .unwrap_err()
                .contains("33 labels")
        );
    }
}
