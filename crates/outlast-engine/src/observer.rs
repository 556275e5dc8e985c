//! Where the progress and the log of a running call go besides its record, and its questions.

use outlast_core::{InputRequest, LogLine, Progress, TaskId};

use crate::error::{Error, ErrorKind, Result};

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

    /// The caller may be let go: it comes back for what follows, if it can.
    fn let_go(&self) {}

    /// The call was written down as this task: from now on it survives this process.
    fn stored(&self, task: TaskId) {
        let _ = task;
    }

    /// The handler is about to ask. The questions of a task are kept with it and may be answered by
    /// anybody who is allowed to; those of a run without a record can be answered by its caller only,
    /// with [`Running::answer`](crate::Running::answer).
    ///
    /// # Errors
    /// They cannot be asked: the handler gets this error, and nothing was asked or stored. Unless an
    /// observer says otherwise, a run without a record cannot ask.
    fn may_ask(&self, questions: &[InputRequest], is_task: bool) -> Result<()> {
        let _ = questions;
        if is_task {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::NotATask("ask")))
        }
    }

    /// What the person was sent to a URL for, by the question `key` of a run without a record, is done. `run`
    /// is the id the run would have as a task.
    fn url_completed(&self, run: TaskId, key: &str) {
        let _ = (run, key);
    }

    /// The run waits for answers to these questions.
    fn asked(&self, questions: &[InputRequest]) {
        let _ = questions;
    }
}
