//! Copies: what is copied into a store of several shards stands with its owner, under the id that it had.

use std::collections::BTreeMap;

use async_trait::async_trait;
use outlast_core::archive::{Archive, Dossier, NamedKey, SmallRecord};
use outlast_core::{BlobWriter, Blobs, Result, Task};

use super::Sharded;

#[async_trait]
impl Archive for Sharded {
    async fn check_unused(&self) -> Result<()> {
        self.all(Archive::check_unused).await.map(|_| ())
    }

    async fn import(&self, dossier: Dossier) -> Result<()> {
        let (id, shard) = (dossier.task.id(), self.of_owner(&dossier.task.spec.owner));
        self.shards[shard].import(dossier).await?;
        self.note(id, shard);
        Ok(())
    }

    async fn blob_for(&self, task: &Task) -> Result<Box<dyn BlobWriter>> {
        let shard = self.of_owner(&task.spec.owner);
        self.shards[shard].blob_create(task.id()).await
    }

    async fn keys(&self) -> Result<Vec<NamedKey>> {
        Ok(self.all(Archive::keys).await?.concat())
    }

    async fn name(&self, keys: &[NamedKey]) -> Result<()> {
        let mut parts: BTreeMap<usize, Vec<NamedKey>> = BTreeMap::new();
        for key in keys {
            let shard = self.locate(key.task).await?;
            parts.entry(shard).or_default().push(key.clone());
        }
        for (shard, keys) in parts {
            self.shards[shard].name(&keys).await?;
        }
        Ok(())
    }

    async fn small_records(&self) -> Result<Vec<SmallRecord>> {
        Ok(self.all(Archive::small_records).await?.concat())
    }
}
