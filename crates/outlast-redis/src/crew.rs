//! Workers as others see them: a hash of signs of life. Those that are long past go with the next sign of
//! anybody.

use std::time::Duration;

use outlast_core::Result;
use outlast_core::worker::WorkerSign;

use crate::executor::Executor;
use crate::row;

const KEY: &str = "workers";

/// How long a sign that was not renewed is kept.
const KEPT: Duration = Duration::from_secs(60 * 60);

impl Executor {
    /// Keeps a sign, or removes the worker's if it is past already.
    pub(crate) async fn worker_put(&self, sign: &WorkerSign) -> Result<()> {
        let (now, key) = (self.clock.now(), self.link.key(KEY));
        let id = sign.worker.to_string();
        let mut gone: Vec<_> = self.signs().await?;
        gone.retain(|other| other.until + KEPT <= now || other.worker == sign.worker);
        let mut gone: Vec<_> = gone.iter().map(|other| other.worker.to_string()).collect();
        if sign.until > now {
            let entry = row::encode("sign of life", sign)?;
            let set = redis::cmd("HSET").arg(&key).arg(&id).arg(entry).take();
            self.link.command(&set).await?;
            gone.retain(|other| *other != id);
        }
        if gone.is_empty() {
            return Ok(());
        }
        let remove = redis::cmd("HDEL").arg(&key).arg(gone).take();
        self.link.command(&remove).await.map(|_| ())
    }

    /// The workers that are alive, in the order of their beginning.
    pub(crate) async fn workers(&self) -> Result<Vec<WorkerSign>> {
        let now = self.clock.now();
        let mut signs = self.signs().await?;
        signs.retain(|sign| sign.until > now);
        signs.sort_by_key(|sign| (sign.since, sign.worker));
        Ok(signs)
    }

    async fn signs(&self) -> Result<Vec<WorkerSign>> {
        let all = redis::cmd("HVALS").arg(self.link.key(KEY)).take();
        let all = row::array(self.link.command(&all).await?);
        // An entry of another version says nothing.
        let signs = all
            .iter()
            .map(|entry| serde_json::from_slice(row::bytes(entry)));
        Ok(signs.filter_map(std::result::Result::ok).collect())
    }
}
