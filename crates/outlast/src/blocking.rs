//! How many blocking handlers are at work in this process.
//!
//! Such a handler cannot be stopped. A server that has handed its tasks back must not let one go on
//! beside the next attempt, nor wait for it: the end of the process is the only way, and only where
//! the count says that it is needed.

use std::sync::atomic::{AtomicUsize, Ordering};

static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Counts one handler for as long as it lives.
pub(crate) struct Counted(());

impl Counted {
    pub(crate) fn new() -> Self {
        AT_WORK.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a blocking handler is at work.
pub(crate) fn at_work() -> bool {
    AT_WORK.load(Ordering::Acquire) > 0
}
