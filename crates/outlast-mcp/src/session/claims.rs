//! Which of several servers of one store says something to a client that more than one of them reaches.
//!
//! The streams of one client may end at several servers, and each of them follows the tasks that its clients
//! have to do with. Each message goes out on one stream alone (2025-11-25 transports, "Multiple
//! Connections"), and a question that is asked twice may be answered by the wrong client, so whoever has
//! something to say first takes a claim, which is a record in the store, and gives it back when its way to the
//! client has ended. A claim of a server that is gone counts for nothing: each server writes down every
//! [`SIGN`] that it lives.
//!
//! A claim that is given back is not taken away but followed by the next one, because of two servers that put
//! a record where none was exactly one is told that it did.

use std::time::Duration;

use outlast_core::{Side, TaskId, Timestamp};

use crate::seal::random;

/// How often a server writes down that it lives.
pub(crate) const SIGN: Duration = Duration::from_secs(5);

/// How long that is believed.
const BELIEVED: Duration = Duration::from_secs(20);

/// The store's space for servers that live.
const INSTANCES: &str = "mcp-instance";

/// The store's space for claims.
const CLAIMS: &str = "mcp-claim";

/// How long a claim is kept: longer than a question waits for its answer.
const KEPT: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// In a claim that was given back.
const GIVEN_BACK: &[u8] = b"-";

/// How often one thing can be claimed before it is left to chance.
const MOST: u32 = 1000;

/// Something that this server alone says.
#[derive(Debug)]
pub(super) struct Claim {
    key: String,
}

/// This server among those of its store.
pub(crate) struct Instance {
    id: [u8; 8],
    text: String,
}

impl Instance {
    pub(crate) fn new() -> Self {
        let id: [u8; 8] = random();
        let text = text(&id);
        Self { id, text }
    }

    /// What stands for this server where others read it.
    pub(crate) fn id(&self) -> [u8; 8] {
        self.id
    }

    /// Writes down that this server lives.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn sign(&self, side: &dyn Side, now: Timestamp) -> outlast_core::Result<()> {
        let until = Some(now + BELIEVED);
        side.record_put(INSTANCES, &self.text, Vec::new(), until)
            .await
    }

    /// Writes down that this server has ended.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn sign_off(
        &self,
        side: &dyn Side,
        now: Timestamp,
    ) -> outlast_core::Result<()> {
        side.record_put(INSTANCES, &self.text, Vec::new(), Some(now))
            .await
    }

    /// Whether another server lives, as far as the store says.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn lives(
        &self,
        side: &dyn Side,
        other: &[u8; 8],
    ) -> outlast_core::Result<bool> {
        Ok(other != &self.id && is_signed(side, &text(other)).await?)
    }

    /// Claims what is said of a task under this key. `None` while another server has it.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn claim(
        &self,
        side: &dyn Side,
        now: Timestamp,
        task: TaskId,
        what: &str,
    ) -> outlast_core::Result<Option<Claim>> {
        for number in 0..MOST {
            let key = format!("{task}/{number}/{what}");
            let own = self.text.as_bytes();
            let there = side.record_init(CLAIMS, &key, own.to_vec()).await?;
            if there == own {
                // Its expiry, which it could not be made with.
                side.record_put(CLAIMS, &key, there, Some(now + KEPT))
                    .await?;
                return Ok(Some(Claim { key }));
            }
            if there != GIVEN_BACK {
                let other = String::from_utf8_lossy(&there);
                if is_signed(side, &other).await? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(Claim {
            key: format!("{task}/{MOST}/{what}"),
        }))
    }

    /// Lets another server say what this one has no way for any more.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn give_back(
        &self,
        side: &dyn Side,
        now: Timestamp,
        claim: &Claim,
    ) -> outlast_core::Result<()> {
        let until = Some(now + KEPT);
        side.record_put(CLAIMS, &claim.key, GIVEN_BACK.to_vec(), until)
            .await
    }
}

fn text(id: &[u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(*id))
}

async fn is_signed(side: &dyn Side, instance: &str) -> outlast_core::Result<bool> {
    let sign = side.record_get(INSTANCES, instance).await?;
    Ok(sign.is_some())
}

#[cfg(test)]
mod tests {
    use outlast_core::testing::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn one_of_those_that_live_has_a_claim() {
        let store = MemoryStore::default();
        let now = outlast_core::Store::clock(&store).now();
        let [one, two] = [Instance::new(), Instance::new()];
        one.sign(&store, now).await.unwrap();
        two.sign(&store, now).await.unwrap();
        let task = TaskId::random();
        let claimed = one.claim(&store, now, task, "q").await.unwrap().unwrap();
        assert!(two.claim(&store, now, task, "q").await.unwrap().is_none());
        assert!(two.claim(&store, now, task, "r").await.unwrap().is_some());
        assert!(one.lives(&store, &two.id()).await.unwrap());
        one.give_back(&store, now, &claimed).await.unwrap();
        assert!(two.claim(&store, now, task, "q").await.unwrap().is_some());
        assert!(one.claim(&store, now, task, "q").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_claim_of_a_server_that_is_gone_is_nothing() {
        let store = MemoryStore::default();
        let now = outlast_core::Store::clock(&store).now();
        let [gone, next] = [Instance::new(), Instance::new()];
        let task = TaskId::random();
        assert!(gone.claim(&store, now, task, "q").await.unwrap().is_some());
        assert!(!next.lives(&store, &gone.id()).await.unwrap());
        assert!(next.claim(&store, now, task, "q").await.unwrap().is_some());
    }
}
