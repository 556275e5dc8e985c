//! Suggestions for the value of an argument while somebody types it (`completion/complete`).

use std::collections::BTreeMap;

/// How many values one answer may have (2025-11-25 and 2026-07-28 completion, "Completion Results").
pub const MOST_VALUES: usize = 100;

/// What is to be completed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompletionRequest {
    /// The argument of the prompt, or the variable of the template.
    pub argument: String,
    /// What has been typed so far; may be empty.
    pub value: String,
    /// The arguments that have their values already.
    pub others: BTreeMap<String, String>,
}

impl CompletionRequest {
    /// Those of `values` that begin with what has been typed, whatever their case.
    #[must_use]
    pub fn matching<T: Into<String>>(&self, values: impl IntoIterator<Item = T>) -> Vec<String> {
        let typed = self.value.to_lowercase();
        let values = values.into_iter().map(Into::into);
        values
            .filter(|value: &String| value.to_lowercase().starts_with(&typed))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter() {
        let request = CompletionRequest {
            argument: "city".into(),
            value: "pa".into(),
            others: BTreeMap::new(),
        };
        assert_eq!(
            request.matching(["Paris", "Palermo", "Oslo"]),
            ["Paris", "Palermo"]
        );
    }
}
