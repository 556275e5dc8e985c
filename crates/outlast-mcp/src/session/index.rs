//! The sessions of a process by what they are looked for: id, key, owner.
//!
//! A task looks for its session by the key, and a question for its owner's sessions, whenever something
//! about it changes. With ten thousand sessions neither may be a walk through all of them.

use std::collections::HashMap;
use std::sync::Arc;

use outlast_core::Owner;

use super::live::Session;

/// The sessions, each in all of the maps or in none.
#[derive(Default)]
pub(super) struct Index {
    by_id: HashMap<Arc<str>, Arc<Session>>,
    /// Keys are random: two sessions do not share one.
    by_key: HashMap<String, Arc<str>>,
    by_owner: HashMap<Owner, HashMap<Arc<str>, Arc<Session>>>,
}

impl Index {
    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn count_of(&self, owner: &Owner) -> usize {
        self.by_owner.get(owner).map_or(0, HashMap::len)
    }

    /// Enters a session, in the place of the one with the same id.
    pub(super) fn insert(&mut self, id: &str, session: &Arc<Session>) {
        self.remove(id);
        let id: Arc<str> = id.into();
        self.by_key.insert(session.key.clone(), Arc::clone(&id));
        let of_owner = self.by_owner.entry(session.owner.clone()).or_default();
        of_owner.insert(Arc::clone(&id), Arc::clone(session));
        self.by_id.insert(id, Arc::clone(session));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Arc<Session>> {
        let session = self.by_id.remove(id)?;
        if self
            .by_key
            .get(&session.key)
            .is_some_and(|known| **known == *id)
        {
            self.by_key.remove(&session.key);
        }
        if let Some(of_owner) = self.by_owner.get_mut(&session.owner) {
            of_owner.remove(id);
            if of_owner.is_empty() {
                self.by_owner.remove(&session.owner);
            }
        }
        Some(session)
    }

    /// Removes the session with this key.
    pub(super) fn remove_key(&mut self, key: &str) {
        if let Some(id) = self.by_key.get(key).cloned() {
            self.remove(&id);
        }
    }

    /// Removes the sessions of which nothing is open: this owner's, or all.
    pub(super) fn remove_idle(&mut self, owner: Option<&Owner>) {
        let among = match owner {
            Some(owner) => self.by_owner.get(owner),
            None => Some(&self.by_id),
        };
        let idle = among.into_iter().flatten();
        let idle = idle.filter(|(_, session)| session.is_idle());
        let idle: Vec<Arc<str>> = idle.map(|(id, _)| Arc::clone(id)).collect();
        for id in idle {
            self.remove(&id);
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.by_id.get(id).cloned()
    }

    pub(super) fn by_key(&self, key: &str) -> Option<Arc<Session>> {
        self.get(self.by_key.get(key)?)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.by_id.values()
    }

    pub(super) fn of(&self, owner: &Owner) -> impl Iterator<Item = &Arc<Session>> {
        self.by_owner
            .get(owner)
            .into_iter()
            .flat_map(HashMap::values)
    }
}

#[cfg(test)]
mod tests {
    use outlast_core::Timestamp;

    use super::super::token::Identity;
    use super::*;
    use crate::protocol::{Capabilities, Version};

    fn session(owner: &str) -> Arc<Session> {
        let owner = Owner::new(owner);
        let identity = Identity::new(
            Version::V2025_11_25,
            Capabilities::default(),
            &owner,
            Timestamp::from_millis(1),
        );
        Session::new(identity, owner, None)
    }

    #[test]
    fn a_session_is_in_every_map_or_in_none() {
        let mut index = Index::default();
        let [one, two, three] = ["ada", "ada", "bob"].map(session);
        let (ada, bob) = (one.owner.clone(), three.owner.clone());
        for (id, session) in [("1", &one), ("2", &two), ("3", &three)] {
            index.insert(id, session);
        }
        assert_eq!((index.count(), index.count_of(&ada)), (3, 2));
        assert!(Arc::ptr_eq(&index.by_key(&two.key).unwrap(), &two));
        assert!(index.remove("2").is_some() && index.remove("2").is_none());
        assert!(index.by_key(&two.key).is_none() && index.get("2").is_none());
        // Another session under a known id, as when a connection says `initialize` again.
        let other = session("bob");
        index.insert("1", &other);
        assert_eq!((index.count_of(&ada), index.count_of(&bob)), (0, 2));
        assert!(index.by_key(&one.key).is_none());
        assert!(Arc::ptr_eq(&index.by_key(&other.key).unwrap(), &other));
        // Nothing of them is open.
        index.remove_idle(Some(&ada));
        assert_eq!(index.count(), 2);
        index.remove_idle(Some(&bob));
        assert_eq!((index.count(), index.of(&bob).count()), (0, 0));
        assert!(index.by_key.is_empty() && index.by_owner.is_empty());
    }
}
