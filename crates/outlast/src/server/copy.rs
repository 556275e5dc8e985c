//! Copying one store into another: from a file to Redis when one machine is not enough, and back.

use std::path::PathBuf;
use std::sync::Arc;

use outlast_core::archive::{self, Archive, Copied};
use outlast_sqlite::{Options, SqliteStore};

use super::Server;
use super::secret_key::{self, KeyOfCopy, Sealed};
use crate::error::StartError;
use crate::settings::{Settings, StoreAt, StoreUrl};

impl Server {
    /// Copies everything that the store `from` keeps of this server into `to`: tasks with their journals,
    /// events, logs, signals and artifacts, whether they have ended or not, schedules, pauses, and what
    /// sessions and grants rest on. Both belong to this server by name, and no server may run on
    /// either. `progress` hears of every task.
    ///
    /// May be repeated: what is there as it is stays, what has changed since is copied again, and what has
    /// gone on in `to` is left alone, even if it has gone on in `from` too. A grant that was taken back in
    /// either is taken back. The file with the key that secrets are sealed with is copied to where a server
    /// on this machine looks for it; of a key in `OUTLAST_KEY` that is only told. The folders of commands that
    /// run stay where they are.
    ///
    /// # Errors
    /// A sentence that says what to do: a store that is in use, another server's, or out of reach.
    ///
    /// # Cancel safety
    /// What was copied before it was dropped is whole.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn copy_store(
        &self,
        from: &StoreUrl,
        to: &StoreUrl,
        progress: impl FnMut(&Copied) + Send,
    ) -> Result<(Copied, KeyOfCopy), StartError> {
        if from == to {
            return Err(StartError::new(format!(
                "{from} would be copied into itself: name another store to copy into"
            )));
        }
        if let StoreAt::Sqlite(path) = from.at()
            && !path.is_file()
        {
            return Err(StartError::new(format!(
                "there is no task store in {}: name the file that a server has made",
                path.display()
            )));
        }
        let (old, from) = self.open_archive(from).await?;
        let (new, to) = self.open_archive(to).await?;
        let copied = async {
            from.check_unused().await?;
            to.check_unused().await?;
            let sealed = |database, side| Sealed { database, side };
            let key = secret_key::take_along(sealed(&old, &*from), sealed(&new, &*to)).await?;
            let copied = archive::copy(&*from, &*to, progress).await?;
            Ok::<_, StartError>((copied, key))
        };
        let copied = copied.await;
        // What was copied is written down by then, whatever comes of closing.
        let closed = [from.close().await, to.close().await];
        let copied = copied?;
        for closed in closed {
            closed?;
        }
        Ok(copied)
    }

    /// The store, and its file or the place beside it.
    async fn open_archive(
        &self,
        url: &StoreUrl,
    ) -> Result<(PathBuf, Arc<dyn Archive>), StartError> {
        let settings = Settings {
            store: Some(url.clone()),
            ..Settings::default()
        };
        let path = self.database(&settings)?;
        let store: Arc<dyn Archive> = match url.at() {
            StoreAt::Sqlite(_) => Arc::new(SqliteStore::open(Options::new(&path, &self.name))?),
            StoreAt::Redis(address) => {
                super::store::open_redis_archive(address, &self.name).await?
            }
        };
        Ok((path, store))
    }
}
