//! Progress bars on standard error, if that is a terminal: a line for each task.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use outlast_core::Progress;

use super::out::{clean, colour};
use super::pace::{Figures, Pace};

/// A bar that appears with the first thing to show. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bar {
    /// The lines of this terminal; `None` if nothing is shown.
    lines: Option<MultiProgress>,
    line: Arc<Mutex<Option<Line>>>,
}

struct Line {
    bar: ProgressBar,
    pace: Pace,
    figures: Figures,
}

impl Bar {
    /// A bar; never shown beside JSON, or where there is no terminal.
    pub(crate) fn new(json: bool) -> Self {
        let shown = !json && std::io::stderr().is_terminal();
        let lines = shown.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self {
            lines,
            line: Arc::default(),
        }
    }

    /// Whether anything is shown here.
    pub(crate) fn is_shown(&self) -> bool {
        self.lines.is_some()
    }

    /// A bar below this one.
    pub(crate) fn below(&self) -> Self {
        Self {
            lines: self.lines.clone(),
            line: Arc::default(),
        }
    }

    /// Shows that `what` goes on.
    pub(crate) fn start(&self, what: &str) {
        let Some(lines) = &self.lines else { return };
        let bar = lines.add(ProgressBar::no_length());
        bar.set_style(spinner());
        bar.set_prefix(clean(what, true));
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.lock() = Some(Line {
            bar,
            pace: Pace::default(),
            figures: Figures::default(),
        });
    }

    /// Shows how far it is.
    pub(crate) fn set(&self, progress: &Progress, message: Option<&str>) {
        let mut guard = self.lock();
        let Some(Line { bar, pace, figures }) = &mut *guard else {
            return;
        };
        let progress = &figures.real(progress);
        pace.look(progress.done, Instant::now());
        if let Some(percent) = progress.percent() {
            bar.set_style(with_percent());
            bar.set_length(10_000);
            // Hundredths of a percent, so that a slow bar is seen to move. In range by definition.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 10000"
            )]
            bar.set_position((percent * 100.0) as u64);
        }
        let figures = pace.words(progress);
        // A status message repeats the figures.
        let text = progress.message.as_deref();
        let text = text.or(message.filter(|_| figures.is_empty()));
        let text = text.unwrap_or_default().lines().next().unwrap_or_default();
        let gap = if figures.is_empty() || text.is_empty() {
            ""
        } else {
            "  "
        };
        bar.set_message(clean(&format!("{figures}{gap}{text}"), true));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let (Some(line), Some(lines)) = (self.lock().take(), &self.lines) {
            line.bar.finish_and_clear();
            lines.remove(&line.bar);
        }
    }

    /// Prints something above the bars.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        self.suspend(print);
    }

    /// Does something at the terminal with the bars out of the way.
    pub(super) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.lines {
            Some(lines) => lines.suspend(work),
            None => work(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn spinner() -> ProgressStyle {
    let template = if colour() {
        "{prefix} {spinner:.cyan} {elapsed} {wide_msg}"
    } else {
        "{prefix} {spinner} {elapsed} {wide_msg}"
    };
    ProgressStyle::with_template(template).expect("a constant template")
}

fn with_percent() -> ProgressStyle {
    let template = if colour() {
        "{prefix} [{bar:20.cyan}] {percent:>3}% {elapsed} {wide_msg}"
    } else {
        "{prefix} [{bar:20}] {percent:>3}% {elapsed} {wide_msg}"
    };
    ProgressStyle::with_template(template)
        .expect("a constant template")
        .progress_chars("=> ")
}
