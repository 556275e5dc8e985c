//! Who called for a task, as far as it decides who may be asked what the task asks.
//!
//! A task asks for its caller: the roots are those of the caller's project, a sample is of the caller's
//! model, and whoever would answer by itself answers without a person who sees it. So these go to the
//! session that the work came from, or to a client of the older era that waits for its result, and to
//! nobody else. What a person is asked may be answered wherever the person is, with one exception: a
//! synchronous call of the newer era has been given the question in its response and comes back with the
//! answer, which is an answer to that very request (2026-07-28, multi-round-trip requests). Others are
//! asked only when it has not come back for [`COMES_BACK`].

use std::sync::Arc;
use std::time::Duration;

use outlast_core::{InputRequest, Owner, Task};
use tokio::time::Instant;

use crate::answers;
use crate::protocol::{Capabilities, ModernMeta};
use crate::serve;
use crate::server::Inner;

/// How long a question is left to the caller who was given it in a response.
const COMES_BACK: Duration = Duration::from_secs(10 * 60);

/// How many tasks above one are looked at.
const HIGHEST: usize = 32;

/// Where the work of a task came from.
#[derive(Default)]
pub(super) struct Origin {
    /// The older era's session that called, for this task or the one that started it all.
    pub(super) session: Option<String>,
    /// What a caller of the newer era said that it can do.
    modern: Option<Capabilities>,
}

impl Origin {
    /// The origin of a task: that of the call at the top of its family.
    pub(super) async fn of(server: &Inner, owner: &Owner, task: &Arc<Task>) -> Self {
        let mut top = Arc::clone(task);
        for _ in 0..HIGHEST {
            let Some(parent) = &top.spec.parent else {
                break;
            };
            // One that cannot be seen, or is gone, had a caller whom nobody knows.
            match server.handle.get(owner, parent.task).await {
                Ok(parent) => top = parent,
                Err(_) => return Self::default(),
            }
        }
        Self {
            session: top.spec.reply_to.as_ref().map(|to| to.session.clone()),
            modern: modern(&top),
        }
    }

    /// Whether the answer depends on who gives it, and comes without a person.
    pub(super) fn is_personal(question: &InputRequest) -> bool {
        question.method != "elicitation/create"
    }

    /// Whether a client may be asked that waits for the result in the older era.
    pub(super) fn lets_waiters_answer(&self, question: &InputRequest) -> bool {
        self.modern.is_none() || !Self::is_personal(question)
    }

    /// Whether other clients of the owner may be asked; else, from when on if that is to come.
    pub(super) fn lets_others_answer(
        &self,
        server: &Inner,
        task: &Task,
        question: &InputRequest,
    ) -> Result<(), Option<Instant>> {
        if Self::is_personal(question) {
            return Err(None);
        }
        let comes_back = |caller: Capabilities| !caller.tasks && answers::can(caller, question);
        if !self.modern.is_some_and(comes_back) {
            return Ok(());
        }
        let passed = server.handle.now().since(task.state.updated_at);
        match COMES_BACK.checked_sub(passed) {
            Some(rest) if !rest.is_zero() => Err(Some(Instant::now() + rest)),
            _ => Ok(()),
        }
    }
}

/// What the caller of the newer era declared who made this task.
fn modern(task: &Task) -> Option<Capabilities> {
    let meta = task.spec.request_meta.as_ref()?;
    let raw: &serde_json::value::RawValue = serde_json::from_str(meta.as_str()).ok()?;
    let meta = ModernMeta::parse(Some(raw)).ok()?;
    meta.version?;
    serve::declared(&meta).ok().map(|(_, declared)| declared)
}
