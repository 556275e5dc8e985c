//! A progress bar on standard error, if that is a terminal.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use outlast_core::Progress;

use super::out::clean;

/// A bar that appears with the first thing to show. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bar {
    shown: bool,
    bar: Arc<Mutex<Option<ProgressBar>>>,
}

impl Bar {
    /// A bar; never shown beside JSON, or where there is no terminal.
    pub(crate) fn new(json: bool) -> Self {
        let shown = !json && std::io::stderr().is_terminal();
        Self {
            shown,
            bar: Arc::default(),
        }
    }

    /// Shows that `what` goes on.
    pub(crate) fn start(&self, what: &str) {
        if !self.shown {
            return;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(spinner());
        bar.set_prefix(clean(what, true));
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.lock() = Some(bar);
    }

    /// Shows how far it is.
    pub(crate) fn set(&self, progress: &Progress, message: Option<&str>) {
        let guard = self.lock();
        let Some(bar) = &*guard else { return };
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
        // A status message repeats the figures, which the bar shows already.
        let figures = progress
            .total
            .map(|total| format!("{} of {total}", progress.done));
        let text = progress
            .message
            .as_deref()
            .or(figures.as_deref())
            .or(message);
        let line = text.unwrap_or_default().lines().next().unwrap_or_default();
        bar.set_message(clean(line, true));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    /// Prints something above the bar.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        self.suspend(print);
    }

    /// Does something at the terminal with the bar out of the way.
    pub(super) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        let bar = self.lock().clone();
        match bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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
        "{prefix} [{bar:30.cyan}] {percent}% {elapsed} {wide_msg}"
    } else {
        "{prefix} [{bar:30}] {percent}% {elapsed} {wide_msg}"
    };
    ProgressStyle::with_template(template)
        .expect("a constant template")
        .progress_chars("=> ")
}
