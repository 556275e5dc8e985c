//! Parts of the work with weights: each has a share of the whole and counts its own items.
//!
//! With parts the whole is told in per cent. A part that begins at 10 % says so, whatever came before
//! it: shares need not be worked off in order, skipped parts count as done, and the whole never goes
//! back.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use outlast_core::progress::ProgressPhase;

use super::{Items, ProgressReporter, short};
use crate::context::Cx;

/// The whole, where it has parts.
const WHOLE: f64 = 100.0;

/// A part of the work, made by [`Cx::phase`]. Cheap to clone; every clone speaks for the same part.
#[derive(Clone)]
pub struct ProgressPart {
    reporter: ProgressReporter,
    /// With the names of the parts it is in: `Deleting / page 3`.
    name: String,
    /// What it is of the whole, from 0 to 1.
    share: Range<f64>,
    counted: Arc<Mutex<Counted>>,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    done: f64,
    total: f64,
}

impl Cx {
    /// Begins a part of the work: `share` says from where to where it is of the whole, from 0 to 1,
    /// and `items` how many items it has. Bounds outside of that are moved inside.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn fetch() -> Result<Vec<String>> { Ok(Vec::new()) }
    /// # async fn delete(_: &str) -> Result<()> { Ok(()) }
    /// # async fn handler(cx: Cx) -> Result<String> {
    /// cx.phase("Fetching", 0.0..0.1, 1);
    /// let subjects = fetch().await?;
    /// let deleting = cx.phase("Deleting", 0.1..0.9, subjects.len());
    /// for subject in deleting.over(&subjects) {
    ///     delete(subject).await?;
    /// }
    /// cx.phase("Tidying up", 0.9..1.0, 1);
    /// # Ok(String::new()) }
    /// ```
    pub fn phase(
        &self,
        name: impl Into<String>,
        share: Range<f64>,
        items: impl Items,
    ) -> ProgressPart {
        ProgressPart::begin(
            self.progress(),
            short(name.into()),
            inside(&share),
            items.count(),
        )
    }
}

impl ProgressPart {
    fn begin(reporter: ProgressReporter, name: String, share: Range<f64>, total: f64) -> Self {
        let part = Self {
            reporter,
            name,
            share,
            counted: Arc::new(Mutex::new(Counted { done: 0.0, total })),
        };
        part.count(|_| {});
        part
    }

    fn count(&self, change: impl FnOnce(&mut Counted)) -> &Self {
        let mut counted = self.counted.lock().expect("nothing panics under this lock");
        change(&mut counted);
        let Counted { done, total } = *counted;
        drop(counted);
        let part = if total > 0.0 {
            (done / total).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let whole = self.share.start + (self.share.end - self.share.start) * part;
        // Sums of shares must not fall short of the figure they mean by a last bit.
        let whole = (whole * WHOLE * 1e6).round() / 1e6;
        self.reporter.change(|progress| {
            // Behind what is recorded: a replay, or a part that runs beside a later one.
            if whole < progress.done {
                return;
            }
            progress.total = Some(WHOLE);
            progress.done = whole;
            progress.phase = Some(ProgressPhase {
                name: self.name.clone(),
                done,
                total: Some(total).filter(|total| *total > 0.0 && total.is_finite()),
            });
        });
        self
    }

    /// Sets how many items the part has. May be corrected at any time.
    pub fn total(&self, total: impl Items) -> &Self {
        let total = total.count();
        self.count(|counted| counted.total = total)
    }

    /// Counts `items` more as finished.
    pub fn inc(&self, items: impl Items) -> &Self {
        let items = items.count();
        self.count(|counted| counted.done += items.max(0.0))
    }

    /// Sets how many items are finished. A smaller number than before changes nothing.
    pub fn done(&self, done: impl Items) -> &Self {
        let done = done.count();
        self.count(|counted| counted.done = counted.done.max(done))
    }

    /// Says what is happening now.
    pub fn message(&self, message: impl Into<String>) -> &Self {
        self.reporter.message(message);
        self
    }

    /// Begins a part of this part: `share` says from where to where it is of this one.
    pub fn phase(&self, name: impl AsRef<str>, share: Range<f64>, items: impl Items) -> Self {
        let width = self.share.end - self.share.start;
        let inner = inside(&share);
        let share = self.share.start + width * inner.start..self.share.start + width * inner.end;
        let name = short(format!("{} / {}", self.name, name.as_ref()));
        Self::begin(self.reporter.clone(), name, share, items.count())
    }
}

fn inside(share: &Range<f64>) -> Range<f64> {
    let bound = |at: f64, otherwise: f64| {
        if at.is_nan() {
            otherwise
        } else {
            at.clamp(0.0, 1.0)
        }
    };
    let start = bound(share.start, 0.0);
    start..bound(share.end, 1.0).max(start)
}
