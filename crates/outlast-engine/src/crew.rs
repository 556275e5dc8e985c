//! The processes that run tasks of a store: each shows the others a sign of life with every renewal of its
//! leases, and whether this one can take work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outlast_core::Error;
use outlast_core::worker::WorkerSign;

use crate::handle::Handle;
use crate::shared::Shared;

/// The least time without a heartbeat after which this process counts as sick. The heart beats every ten
/// seconds and has a thread of its own, so only a store that does not answer holds it up.
const SICK: Duration = Duration::from_secs(30);

/// What this process says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelfName {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// When the heart has beaten last.
pub(crate) struct Pulse(std::sync::Mutex<Instant>);

impl Default for Pulse {
    fn default() -> Self {
        Self(std::sync::Mutex::new(Instant::now()))
    }
}

impl Pulse {
    pub(crate) fn beat(&self) {
        *self.0.lock().expect("nothing panics under this lock") = Instant::now();
    }

    fn silence(&self) -> Duration {
        let last = *self.0.lock().expect("nothing panics under this lock");
        last.elapsed()
    }
}

/// The sign of this process.
fn sign(shared: &Arc<Shared>, lives: Duration) -> WorkerSign {
    let handle = Handle {
        shared: Arc::clone(shared),
    };
    let (figures, now) = (handle.figures(), shared.store.clock().now());
    let mut tools: Vec<_> = shared
        .claimed()
        .iter()
        .map(|one| one.tool.clone())
        .collect();
    tools.dedup();
    WorkerSign {
        worker: shared.worker,
        name: shared.called.name.clone(),
        version: shared.called.version.clone(),
        machine: machine(),
        pid: std::process::id(),
        since: figures.since,
        seen_at: now,
        until: now + lives,
        slots: figures.slots,
        slots_taken: figures.slots_taken,
        attempts: figures.tools.values().map(|tool| tool.attempts).sum(),
        retries: figures.tools.values().map(|tool| tool.retries).sum(),
        leases_lost: figures.leases_lost,
        labels: shared.worker_labels.iter().cloned().collect(),
        tools,
        runs: shared.claimed().as_ref().clone(),
    }
}

/// Shows the others that this process lives.
pub(crate) async fn show(shared: &Arc<Shared>) {
    let sign = sign(shared, shared.settings.lease);
    if let Err(error) = shared.store.worker_put(sign).await {
        tracing::debug!(%error, "could not show a sign of life; trying again");
    }
}

/// Shows the others that this process goes.
pub(crate) async fn leave(shared: &Arc<Shared>) {
    let sign = sign(shared, Duration::ZERO);
    if let Err(error) = shared.store.worker_put(sign).await {
        tracing::debug!(%error, "could not say that this process goes; the others will see");
    }
}

fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let name = name.ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.unwrap_or_default().trim().to_owned()
}

impl Handle {
    /// The workers of the store that are alive, this process first: itself as it is now, the others as they
    /// have shown themselves last, which is some seconds ago.
    ///
    /// # Errors
    /// The store failed.
    pub async fn workers(&self) -> Result<Vec<WorkerSign>, Error> {
        let shared = &self.shared;
        let mut all = shared.store.workers().await?;
        all.retain(|sign| sign.worker != shared.worker);
        all.insert(0, sign(shared, shared.settings.lease));
        Ok(all)
    }

    /// Whether this process can run tasks.
    ///
    /// # Errors
    /// Why not: it is stopping, or its leases are not renewed because the store does not answer.
    pub fn check_alive(&self) -> Result<(), String> {
        if self.shared.stopping.is_cancelled() {
            return Err("the server is stopping".into());
        }
        let silence = self.shared.pulse.silence();
        if silence > SICK.max(self.shared.settings.lease) {
            return Err(format!(
                "leases have not been renewed for {} s: the store does not answer",
                silence.as_secs()
            ));
        }
        Ok(())
    }
}
