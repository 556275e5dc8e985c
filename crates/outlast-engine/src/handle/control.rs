//! Pausing and resuming queues and tools.

use outlast_core::Error;
use outlast_core::limit::{Control, Controls, Queue};

use super::Handle;

impl Handle {
    /// The rules of limits, and what is paused.
    ///
    /// # Errors
    /// The store failed.
    pub async fn controls(&self) -> Result<Controls, Error> {
        self.store().controls().await
    }

    /// Stops claims of these tasks, durably: they are created and wait, and those that run go on. Calls
    /// that are never tasks are not stopped. Repeating it is harmless.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such tool; or the store failed.
    pub async fn pause(&self, queue: Queue) -> Result<Controls, Error> {
        if let Queue::Tool(name) = &queue
            && self.tools().get(name).is_none()
        {
            let known: Vec<_> = self
                .shared
                .tools()
                .iter()
                .map(|tool| tool.name.clone())
                .collect();
            return Err(Error::Invalid(format!(
                "there is no tool {name:?} to pause; the tools are {}",
                known.join(", ")
            )));
        }
        self.control(vec![Control::Pause(queue)]).await
    }

    /// Allows claims again. Repeating it is harmless.
    ///
    /// # Errors
    /// The store failed.
    pub async fn resume(&self, queue: Queue) -> Result<Controls, Error> {
        self.control(vec![Control::Resume(queue)]).await
    }

    async fn control(&self, changes: Vec<Control>) -> Result<Controls, Error> {
        let controls = self.store().control(changes).await?;
        self.shared.note_controls(&controls);
        Ok(controls)
    }
}
