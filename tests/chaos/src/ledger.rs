//! The ledger: a file that every step appends to and syncs, outside of any store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file of lines `<task id> <step>`.
pub(crate) struct Ledger(PathBuf);

/// What a ledger says in all.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) steps: usize,
    /// Lines beyond the first of a step.
    pub(crate) surplus: usize,
}

impl Ledger {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.join("ledger"))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("the folder's name is UTF-8")
    }

    /// How often each step of each task ran.
    fn runs(&self) -> BTreeMap<(String, u64), usize> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let mut runs = BTreeMap::new();
        for line in text.lines() {
            let (task, step) = line.split_once(' ').expect("two words a line");
            let step = step.parse().expect("a number");
            *runs.entry((task.to_owned(), step)).or_default() += 1;
        }
        runs
    }

    pub(crate) fn count(&self) -> Counts {
        let runs = self.runs();
        Counts {
            steps: runs.len(),
            surplus: runs.values().map(|runs| runs - 1).sum(),
        }
    }

    /// What is wrong with it: `expected` are the tasks and how many steps each has, `taken` says how often a run of
    /// a task ended before the task did.
    pub(crate) fn check(
        &self,
        expected: &BTreeMap<String, u64>,
        taken: impl FnMut(&str) -> usize,
    ) -> Vec<String> {
        faults(&self.runs(), expected, taken)
    }
}

/// Steps that never ran, ran for nobody, or ran again although they had been recorded: a run that ends early can
/// leave behind only the one step that it was in.
fn faults(
    runs: &BTreeMap<(String, u64), usize>,
    expected: &BTreeMap<String, u64>,
    mut taken: impl FnMut(&str) -> usize,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (task, steps) in expected {
        let mut surplus = 0;
        for step in 1..=*steps {
            match runs.get(&(task.clone(), step)).copied().unwrap_or(0) {
                0 => faults.push(format!("step {step} of {task} never ran")),
                ran => surplus += ran - 1,
            }
        }
        if surplus > 0 {
            let taken = taken(task);
            if surplus > taken {
                faults.push(format!(
                    "{task} did {surplus} steps again, and {taken} of its runs ended early"
                ));
            }
        }
    }
    for (task, step) in runs.keys() {
        if !expected.contains_key(task) {
            faults.push(format!(
                "step {step} ran for {task}, which nobody was told of"
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a task `a` of three steps; `ran` says how often each of them ran.
    fn found(ran: [usize; 3], taken: usize) -> Vec<String> {
        let runs = (1..)
            .zip(ran)
            .filter(|(_, ran)| *ran > 0)
            .map(|(step, ran)| (("a".to_owned(), step), ran))
            .collect();
        let expected = BTreeMap::from([("a".to_owned(), 3)]);
        faults(&runs, &expected, |_| taken)
    }

    #[test]
    fn a_step_that_was_recorded_and_ran_again_is_found() {
        assert!(found([1, 1, 1], 0).is_empty());
        assert!(found([1, 2, 1], 1).is_empty());
        assert!(found([2, 2, 1], 2).is_empty());
        let forgetful = found([2, 2, 1], 1);
        assert_eq!(forgetful.len(), 1, "{forgetful:?}");
        assert!(forgetful[0].contains("2 steps again"), "{forgetful:?}");
        assert_eq!(found([1, 2, 1], 0).len(), 1);
    }

    #[test]
    fn a_step_that_never_ran_and_one_of_nobody_are_found() {
        assert!(found([1, 0, 1], 1)[0].contains("step 2 of a never ran"));
        let runs = BTreeMap::from([(("b".to_owned(), 1), 1)]);
        let strange = faults(&runs, &BTreeMap::new(), |_| 0);
        assert!(strange[0].contains("nobody was told of"), "{strange:?}");
    }
}
