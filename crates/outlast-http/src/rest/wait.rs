//! `?wait=20s`: a long poll, bounded so that no proxy in between gives up first.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::{Principal, Task, TaskId, duration};
use outlast_mcp::Server;
use serde::{Deserialize, Deserializer, de};

use super::problem::Problem;

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait for the end of a task. Zero by default.
#[derive(Clone, Copy, Default)]
pub(super) struct Wait(Duration);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wait = duration::parse(&text).map_err(de::Error::custom)?;
        if wait > LONGEST {
            return Err(de::Error::custom(format!(
                "{text:?} is too long to wait in one request; the most is {}",
                duration::format(LONGEST)
            )));
        }
        Ok(Self(wait))
    }
}

impl Wait {
    /// The task once it has ended, or as it stands when the time is up or the server stops.
    ///
    /// # Errors
    /// As [`Handle::get`](outlast_engine::Handle::get).
    pub(super) async fn on(
        self,
        server: &Server,
        who: &Principal,
        id: TaskId,
    ) -> Result<Arc<Task>, Problem> {
        let handle = server.handle();
        if self.0.is_zero() {
            return Ok(handle.get(who, id).await?);
        }
        tokio::select! {
            waited = tokio::time::timeout(self.0, handle.wait(who, id)) => match waited {
                Ok(ended) => Ok(ended?),
                Err(_) => Ok(handle.get(who, id).await?),
            },
            () = server.stopping() => Ok(handle.get(who, id).await?),
        }
    }
}
