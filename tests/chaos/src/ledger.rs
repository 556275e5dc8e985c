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

    /// What is wrong with it: `expected` are the tasks and how many steps each has.
    pub(crate) fn check(&self, expected: &BTreeMap<String, u64>, disturbed: usize) -> Vec<String> {
        let runs = self.runs();
        let mut faults = Vec::new();
        for (task, steps) in expected {
            for step in 1..=*steps {
                match runs.get(&(task.clone(), step)).copied().unwrap_or(0) {
                    0 => faults.push(format!("step {step} of {task} never ran")),
                    ran if ran > 1 + disturbed => faults.push(format!(
                        "step {step} of {task} ran {ran} times with {disturbed} disturbances"
                    )),
                    _ => {}
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
}
