//! Where the progress and the log of a running call go besides its record.

use outlast_core::{LogLine, Progress, TaskId};

/// Hears what a call reports while it runs. All methods are called from the run itself: they must
/// not block and must not fail it.
pub trait Observer: Send + Sync + 'static {
    /// Progress changed; throttled as in the record, and the last word always comes.
    fn progress(&self, progress: &Progress) {
        let _ = progress;
    }

    /// A line was logged.
    fn log(&self, line: &LogLine) {
        let _ = line;
    }

    /// The call was written down as this task: from now on it survives this process.
    fn stored(&self, task: TaskId) {
        let _ = task;
    }
}
