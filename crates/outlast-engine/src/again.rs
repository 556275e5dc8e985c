//! Retry by hand: the call of a task that has ended, made once more.
//!
//! Finished is final, so what comes of it is a new task of its own, which names the old one. It begins at
//! the top, with nothing of the old one's journal: what went wrong may stand there.

use std::sync::Arc;

use outlast_core::{Error, Task, TaskId};

use crate::handle::{Handle, NewCall};
use crate::sharing::{Asker, Right};
use crate::webhook;

impl Handle {
    /// Makes the call of a task that has ended once more: same tool in its present version, arguments,
    /// owner, labels, webhooks and priority. The new task names the old one ([`outlast_core::TaskSpec::retry_of`]).
    /// It comes after nothing, belongs to no parent, and starts as soon as it may.
    ///
    /// # Errors
    /// As [`Handle::get`] and [`Handle::create`]; [`Error::Invalid`] if the task has not ended, its tool
    /// is gone or refuses the arguments now, or its secrets were sealed with another key.
    pub async fn retry<'a>(
        &self,
        who: impl Into<Asker<'a>>,
        id: TaskId,
    ) -> Result<Arc<Task>, Error> {
        let task = self.permitted(who.into(), id, Right::Run).await?;
        let wrong = |why: String| Error::Invalid(format!("task {id} cannot be retried: {why}"));
        if !task.is_finished() {
            return Err(wrong("it has not ended; cancel it first".into()));
        }
        let spec = &task.spec;
        let tool = self.tools().get(&spec.tool).cloned();
        let tool = tool.ok_or_else(|| wrong(format!("there is no tool {:?}", spec.tool)))?;
        let opened = self.shared.vault.open_arguments(spec).map_err(wrong)?;
        let arguments = opened.arguments.unwrap_or_else(|| spec.arguments.clone());
        tool.handler.check(&arguments).map_err(wrong)?;
        let call = NewCall {
            client: spec.client.clone(),
            request_meta: spec.request_meta.clone(),
            first_answers: spec.first_answers.clone(),
            ttl: spec.ttl,
            priority: spec.priority,
            labels: spec.labels.clone(),
            webhooks: webhook::named_by(&self.shared.vault, spec).map_err(wrong)?,
            ..NewCall::new(tool, arguments, spec.owner.clone())
        };
        let mut again = call.into_spec(&self.shared);
        again.retry_of = Some(id);
        self.create_spec(again).await
    }
}
