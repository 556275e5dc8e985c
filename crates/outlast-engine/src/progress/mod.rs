//! Progress: what a handler reports, and when it is told to the world.
//!
//! Reporting is a change of a few numbers under a lock; it never waits and never fails. The driver
//! stores what is worth it: a step of more than one per cent, a new message, or anything after a
//! second; and always the last word. What is done never decreases. Sinks of the application hear every
//! change ([`ProgressSink`]).
//!
//! Progress counts *finished* items.

mod cell;
mod estimate;
mod items;
mod phase;
mod sink;

pub(crate) use cell::{ProgressCell, Tell};
pub use items::{Items, Over, OverReader, OverStream};
pub use phase::ProgressPart;
pub use sink::{ProgressSink, ProgressUpdate};
pub(crate) use sink::{SinkSet, Sinks};

use std::sync::Arc;

use outlast_core::Progress;

use crate::run::Run;

/// A message is cut to this many characters: it is a line for people, not a place for data.
pub(crate) const LONGEST_MESSAGE: usize = 2_000;

/// Reports progress. Cheap to clone; every clone speaks for the same run.
///
/// ```
/// # use outlast_engine::{Cx, Result};
/// # async fn resize(_: &str) -> Result<()> { Ok(()) }
/// # async fn handler(cx: Cx, files: Vec<String>) -> Result<String> {
/// cx.progress().message("resizing");
/// for file in cx.progress().over(&files) {
///     resize(file).await?;
/// }
/// # Ok(String::new()) }
/// ```
#[derive(Clone)]
pub struct ProgressReporter {
    pub(crate) run: Arc<Run>,
}

impl ProgressReporter {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Progress)) -> &Self {
        let now = self.run.store().clock().now();
        self.tell(self.run.progress.change(now, change))
    }

    fn count(&self, to: impl FnOnce(f64) -> f64) -> &Self {
        let now = self.run.store().clock().now();
        self.tell(self.run.progress.count(now, to))
    }

    fn tell(&self, changed: Option<Progress>) -> &Self {
        let run = &self.run;
        if let Some(progress) = changed {
            run.sign_of_life();
            run.shared.sinks.tell(&run.spec, progress);
            run.poke.notify_one();
        }
        self
    }

    /// Sets how many items there are. May be corrected at any time.
    pub fn total(&self, total: impl Items) -> &Self {
        let total = total.count();
        self.change(|progress| progress.total = Some(total).filter(|total| total.is_finite()))
    }

    /// Counts `items` more as finished. The count begins at nothing whenever the handler is run again
    /// from its top, and what was recorded before stands until it is reached; so a replay counts nothing
    /// twice.
    pub fn inc(&self, items: impl Items) -> &Self {
        let items = items.count();
        self.count(|counted| counted + items.max(0.0))
    }

    /// Sets how many items are finished. A smaller number than before changes nothing.
    pub fn done(&self, done: impl Items) -> &Self {
        let done = done.count();
        self.count(|counted| counted.max(done))
    }

    /// Says what is happening now. At most 2,000 characters are kept.
    pub fn message(&self, message: impl Into<String>) -> &Self {
        let message = message.into();
        let message = short(self.run.mask().text(&message).into_owned());
        self.change(|progress| progress.message = Some(message))
    }

    /// What has been reported so far.
    pub fn snapshot(&self) -> Progress {
        self.run.progress.snapshot()
    }
}

fn short(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(LONGEST_MESSAGE) {
        text.truncate(at);
        text.push('…');
    }
    text
}
