//! The table a run prints: a Markdown table for people, JSON for programs.
//!
//! Beside every figure stands what it is compared with, from the same run on the
//! same machine. The last column states what the project wants to reach; nothing
//! here passes or fails, because what is read from a clock is a measurement and
//! no check.

use std::{fmt::Write as _, fs, path::PathBuf};

use serde::Serialize;

use crate::{Result, machine::Machine};

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Outlast's figure.
    pub(crate) outlast: String,
    /// What stands beside it, and that figure.
    pub(crate) beside: String,
    /// The one divided by the other, with its spread.
    pub(crate) ratio: String,
    /// What the project wants to reach.
    pub(crate) reach: String,
    /// The same as numbers, for programs.
    pub(crate) figures: serde_json::Value,
}

impl Row {
    /// A row with its `figures` still to come.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Row {
            what: what.into(),
            outlast: String::new(),
            beside: String::new(),
            ratio: String::new(),
            reach: String::new(),
            figures: serde_json::Value::Null,
        }
    }
}

/// A run: the machine, how it was loaded, and the rows.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) method: String,
    pub(crate) rows: Vec<Row>,
    /// What was left out, and why.
    pub(crate) left_out: Vec<String>,
}

impl Report {
    /// The Markdown text.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n{}\n\n", self.machine.line(), self.method);
        text.push_str("| what | Outlast | beside it | ratio | to reach |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                row.what, row.outlast, row.beside, row.ratio, row.reach
            );
        }
        for line in &self.left_out {
            let _ = write!(text, "\nLeft out: {line}.\n");
        }
        text
    }

    /// Writes the Markdown text to `bench/results/<date>-<machine>.md`.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn save(&self) -> Result<PathBuf> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}-{}.md", self.machine.date, self.machine.slug()));
        fs::write(&path, self.markdown())?;
        Ok(path)
    }
}
