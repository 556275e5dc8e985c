//! How much clients may keep open: sessions and streams, of all owners together and of one.
//!
//! Whoever comes too late is refused at the door, before anything is looked up or run, and is told when
//! to come again; what is open stays open. One owner has a bound of its own so that nobody can use up
//! what all share: its status is 429, that of a full server 503.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;
use outlast_core::{Owner, RawJson};

use crate::jsonrpc::{RpcError, code};

/// When to come again, in seconds.
pub(crate) const AGAIN: u64 = 5;

/// How much of something there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) all: usize,
    pub(crate) of_one: usize,
}

/// There is no room for one more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// Of all owners together there are as many as there may be.
    All(usize),
    /// This owner has as many as one may have.
    Owner(usize),
}

impl Full {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::All(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Owner(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// When to come again.
    pub fn retry_after(self) -> Duration {
        Duration::from_secs(AGAIN)
    }

    /// What is said to whoever comes too late; `things` are what there are too many of.
    pub fn sentence(self, things: &str) -> String {
        match self {
            Self::All(most) => format!(
                "this server has {most} {things} open, which is as many as it takes; try again in {AGAIN} s"
            ),
            Self::Owner(most) => format!(
                "you have {most} {things} open, which is as many as one owner may have; close some first"
            ),
        }
    }

    /// The error; `things` are what there are too many of.
    pub(crate) fn into_error(self, things: &str) -> RpcError {
        let data = serde_json::json!({"retryAfter": AGAIN});
        RpcError::new(code::FULL, self.sentence(things)).with_data(RawJson::from(data))
    }
}

/// What is open of one kind.
pub(crate) struct Open {
    bound: Bound,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_owner: HashMap<Owner, usize>,
}

impl Open {
    pub(crate) fn new(bound: Bound) -> Arc<Self> {
        Arc::new(Self {
            bound,
            counts: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nothing panics under this lock")
    }

    /// Counts one more of this owner until the returned value is dropped.
    pub(crate) fn enter(self: &Arc<Self>, owner: &Owner) -> Result<Room, Full> {
        let mut counts = self.lock();
        let own = counts.by_owner.get(owner).copied().unwrap_or(0);
        if own >= self.bound.of_one {
            return Err(Full::Owner(self.bound.of_one));
        }
        if counts.all >= self.bound.all {
            return Err(Full::All(self.bound.all));
        }
        counts.all += 1;
        counts.by_owner.insert(owner.clone(), own + 1);
        Ok(Room {
            open: Arc::clone(self),
            owner: owner.clone(),
        })
    }
}

/// One of what is open; it is counted until this is dropped.
#[must_use = "the room is given back at once"]
pub struct Room {
    open: Arc<Open>,
    owner: Owner,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut counts = self.open.lock();
        counts.all -= 1;
        if let Some(own) = counts.by_owner.get_mut(&self.owner) {
            *own -= 1;
            if *own == 0 {
                counts.by_owner.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_and_all_together_have_a_bound() {
        let open = Open::new(Bound { all: 3, of_one: 2 });
        let [ada, bob] = ["ada", "bob"].map(Owner::new);
        let first = open.enter(&ada).unwrap();
        let second = open.enter(&ada).unwrap();
        assert_eq!(open.enter(&ada).err(), Some(Full::Owner(2)));
        let third = open.enter(&bob).unwrap();
        assert_eq!(open.enter(&bob).err(), Some(Full::All(3)));
        drop(first);
        let fourth = open.enter(&bob).unwrap();
        drop((second, third, fourth));
        assert!(open.lock().by_owner.is_empty() && open.lock().all == 0);
    }
}
