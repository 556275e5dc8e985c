//! Tasks that somebody has subscribed to as resources.
//!
//! A task that is followed tells its changes as updates of its URIs, the same way as any other
//! resource. However many of one owner follow it, it is watched once, and they alone are told: whoever
//! loses the right to see it hears nothing more, and others who follow it are told by a watch of theirs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use outlast_core::{Owner, Principal, TaskId};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::live::Session;
use crate::offer::{Uris, task_of};
use crate::server::Inner;

/// How long changes are gathered: a log may grow a thousand times a second.
const GATHER: Duration = Duration::from_millis(200);

/// The tasks that are followed.
#[derive(Default)]
pub(crate) struct Followed(Mutex<HashMap<(Owner, TaskId), Weak<DropGuard>>>);

/// A task is followed for as long as somebody holds this.
pub(crate) type Following = Arc<DropGuard>;

impl Followed {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Owner, TaskId), Weak<DropGuard>>> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// Follows the task of `uri`, if it is one that `principal` may see.
    pub(crate) fn follow(
        &self,
        server: &Arc<Inner>,
        principal: &Principal,
        uri: &str,
    ) -> Option<Following> {
        let task = task_of(uri)?;
        let key = (principal.owner().clone(), task);
        let mut followed = self.lock();
        if let Some(following) = followed.get(&key).and_then(Weak::upgrade) {
            return Some(following);
        }
        followed.retain(|_, following| following.strong_count() > 0);
        let unfollowed = CancellationToken::new();
        let following = Arc::new(unfollowed.clone().drop_guard());
        followed.insert(key, Arc::downgrade(&following));
        let watching = watch(Arc::downgrade(server), principal.clone(), task);
        let stopping = server.stopping.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watching => {}
                () = unfollowed.cancelled() => {}
                () = stopping.cancelled() => {}
            }
        });
        Some(following)
    }

    /// Follows what a session had subscribed to before this process knew it.
    pub(crate) fn resume(&self, server: &Arc<Inner>, session: &Session, principal: &Principal) {
        for uri in session.subscribed() {
            session.follow(&uri, || self.follow(server, principal, &uri));
        }
    }
}

/// Tells the changes of a task until it ends or is deleted.
async fn watch(server: Weak<Inner>, who: Principal, id: TaskId) {
    let uris = Uris::of(id);
    let owner = who.owner().clone();
    let Some(mut watch) = ({
        match server.upgrade() {
            Some(server) => server.handle.watch(&who, id).await.ok(),
            None => None,
        }
    }) else {
        return;
    };
    let mut version = watch.task().state.version;
    while !watch.task().is_finished() {
        if watch.changed().await.is_err() {
            return;
        }
        let Some(server) = server.upgrade() else {
            return;
        };
        let task = watch.task();
        let tell = |uri: &str| server.catalog.task_updated(&owner, uri);
        // A new version may hide that something else has changed since the last look, and whoever is told
        // in vain reads once more than needed.
        tell(&uris.log);
        tell(&uris.artifacts);
        tell(&uris.partials);
        if task.state.version != version {
            version = task.state.version;
            tell(&uris.status);
        }
        if task.is_finished() {
            tell(&uris.result);
        } else {
            drop(server);
            tokio::time::sleep(GATHER).await;
        }
    }
}
