//! Leases: renewed, and taken back from replies that never arrived.
//!
//! A call that claims and is cut off leaves it open whether it has claimed. Its caller runs nothing
//! under such a lease, and nobody else may, until it runs out; a task that may not be repeated would
//! even end then, although it never began. The nonce is the caller's, so whoever has sent one in vain
//! looks for it among the running tasks and gives the task back: for as long as the call may still be
//! on its way, since a Redis that was paused carries out what had reached it ([`crate::doubt`]).

use std::time::{Duration, Instant};

use outlast_core::machine::AttemptEnd;
use outlast_core::store::{BeatReply, Notice};
use outlast_core::task::Lease;
use outlast_core::{Result, TaskId, Timestamp};
use redis::Value;

use crate::executor::Executor;
use crate::row;
use crate::script::Script;

/// The nonces of claims whose replies got lost.
#[derive(Default)]
pub(crate) struct Strays(std::sync::Mutex<Vec<String>>);

impl Strays {
    /// Notes nonces that may be the nonces of leases.
    pub(crate) fn note(&self, nonces: impl IntoIterator<Item = String>) {
        let mut strays = self.0.lock().expect("nothing panics under this lock");
        strays.extend(nonces);
    }

    fn nonces(&self) -> Vec<String> {
        let strays = self.0.lock().expect("nothing panics under this lock");
        strays.clone()
    }

    /// Nothing turns up any more.
    pub(crate) fn forget_all(&self) {
        let mut strays = self.0.lock().expect("nothing panics under this lock");
        strays.clear();
    }

    fn forget(&self, found: &str) {
        let mut strays = self.0.lock().expect("nothing panics under this lock");
        strays.retain(|nonce| nonce != found);
    }
}

impl Executor {
    /// Renews leases.
    pub(crate) async fn heartbeat(
        &self,
        leases: &[Lease],
        length: Duration,
    ) -> Result<Vec<BeatReply>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let mut arguments = vec![row::millis(self.clock.now()), length.to_string()];
        for lease in leases {
            let Lease { task, epoch, nonce } = lease;
            arguments.extend([task.to_string(), epoch.to_string(), nonce.to_string()]);
        }
        let answer = row::array(self.link.script(Script::Heartbeat, arguments).await?);
        let mut replies = Vec::new();
        for (lease, reply) in leases.iter().zip(answer) {
            let reply = row::array(reply);
            let part = |index: usize| reply.get(index).cloned().unwrap_or(Value::Nil);
            let (revision, until) = (row::int(&part(1)), row::int(&part(2)));
            let until = Timestamp::from_millis(i64::try_from(until).unwrap_or(i64::MAX));
            replies.push(match row::bytes(&part(0)) {
                b"held" => BeatReply::Held,
                b"cancelled" => BeatReply::Cancelled,
                _ => BeatReply::Lost,
            });
            self.renewed(lease.task, revision, until);
        }
        Ok(replies)
    }

    /// Looks for what calls may have done that have brought no answer. Called whenever Redis has answered.
    ///
    /// # Errors
    /// Redis cannot be reached; to be tried again.
    pub(crate) async fn settle_doubt(&self) -> Result<()> {
        if !self.link.doubt.remains(Instant::now()) {
            self.strays.forget_all();
            return Ok(());
        }
        // A change whose reply got lost was told to all processes but this one.
        self.sink.tell([Notice::Missed]);
        self.give_back_strays().await
    }

    /// Gives back the tasks that were claimed in replies that got lost.
    async fn give_back_strays(&self) -> Result<()> {
        let nonces = self.strays.nonces();
        if nonces.is_empty() {
            return Ok(());
        }
        let found = self.link.script(Script::Strays, nonces).await?;
        for stray in row::array(found) {
            let stray = row::array(stray);
            let [id, epoch, nonce] = stray.as_slice() else {
                continue;
            };
            let Ok(task) = row::text(id).parse::<TaskId>() else {
                continue;
            };
            let lease = Lease {
                task,
                epoch: row::int(epoch),
                nonce: row::int(nonce),
            };
            let given = self.run(|unit| unit.finish(&lease, &AttemptEnd::Release), |_| None);
            match given.await {
                Err(error) if error.is_retryable() => return Err(error),
                // Its lease has been lost in the meantime, or its record cannot be read.
                Ok(_) | Err(_) => self.strays.forget(&row::text(nonce)),
            }
        }
        Ok(())
    }
}
