//! Creating tasks.

use std::sync::Arc;

use outlast_core::store::{ClaimNow, Claimed};
use outlast_core::{Error, Task, TaskSpec, label};
use tracing::Instrument;

use super::{Handle, NewCall};
use crate::{lifecycle, trace, worker};

impl Handle {
    /// Creates a task, or returns the one that the call means ([`outlast_core::same`]). When this
    /// returns, the task is stored: it survives this process. It runs as soon as a worker has a slot
    /// and every limit that applies to it has room.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::KeyReused`]: nothing was stored. Otherwise:
    /// [`Error::Invalid`] if the call comes after a task that `owner` does not have, or names one
    /// twice, or its labels exceed a limit of [`outlast_core::label`]; nothing is created.
    /// Or the store failed; then it is unknown whether the task exists.
    ///
    /// # Cancel safety
    /// A dropped call creates the task or does not; a task that exists is run.
    pub async fn create(&self, call: NewCall) -> Result<Arc<Task>, Error> {
        self.create_spec(call.into_spec(&self.shared)).await
    }

    pub(crate) async fn create_spec(&self, spec: TaskSpec) -> Result<Arc<Task>, Error> {
        label::check(&spec.labels).map_err(Error::Invalid)?;
        let shared = Arc::clone(&self.shared);
        // On a task of its own: a caller that goes away between the commit and the start must not
        // leave a claimed task behind that nobody runs.
        // Counted, for a clean stop must not close the store between the two either.
        let counted = self.shared.running.token();
        let created = tokio::spawn(async move {
            let _counted = counted;
            let slot = shared.slots.try_take();
            let claim = slot
                .as_ref()
                .map(|_| ClaimNow::IfNext(shared.claim_by(false)));
            let span = trace::create(&spec);
            let created = shared.store.create(spec, claim);
            let created = shared
                .meters
                .timed("create", created)
                .instrument(span)
                .await?;
            if !created.joined {
                lifecycle::created(&created.task);
                shared.meters.created(&created.task);
            }
            if let (Some(lease), Some(slot)) = (created.lease, slot) {
                let task = Arc::clone(&created.task);
                worker::start(
                    &shared,
                    Claimed {
                        task,
                        lease,
                        journal: Vec::new(),
                    },
                    slot,
                );
            }
            Ok(created.task)
        });
        created.await.unwrap_or_else(|error| {
            Err(Error::unavailable(
                "the server is stopping; try again",
                error,
            ))
        })
    }
}
