//! Answers of other servers about tokens, remembered for a while by the tokens' digests.
//!
//! What was good and what was bad are kept apart and bounded apart, so that a guesser cannot push
//! out what is known to be good.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use outlast_core::Principal;

/// How many answers of each kind are kept.
const MOST: usize = 10_000;
/// How long a token that was bad is not asked about again.
const BAD_FOR: Duration = Duration::from_secs(10);

type Digest = [u8; 32];

/// Remembered answers.
#[derive(Default)]
pub(super) struct Known {
    good: Mutex<HashMap<Digest, (Principal, Instant)>>,
    bad: Mutex<HashMap<Digest, Instant>>,
}

impl Known {
    /// What is known: `Some(Some(…))` whose it is, `Some(None)` that it is bad.
    pub(super) fn get(&self, digest: &Digest) -> Option<Option<Principal>> {
        let now = Instant::now();
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((principal, until)) = good.get(digest)
            && *until > now
        {
            return Some(Some(principal.clone()));
        }
        drop(good);
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        bad.get(digest).filter(|until| **until > now).map(|_| None)
    }

    /// Whether it is known, or was until a while ago, that this token is good: asking again whether it still
    /// is is no guess.
    pub(super) fn was_good(&self, digest: &Digest) -> bool {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.contains_key(digest)
    }

    pub(super) fn is_good(&self, digest: Digest, principal: Principal, lasts: Duration) {
        let now = Instant::now();
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut good, |(_, until)| *until > now);
        good.insert(digest, (principal, now + lasts));
    }

    pub(super) fn is_bad(&self, digest: Digest) {
        let now = Instant::now();
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.remove(&digest);
        drop(good);
        let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut bad, |until| *until > now);
        bad.insert(digest, now + BAD_FOR);
    }
}

fn make_room<V>(map: &mut HashMap<Digest, V>, keep: impl Fn(&V) -> bool) {
    if map.len() >= MOST {
        map.retain(|_, value| keep(value));
    }
    if map.len() >= MOST {
        // Asking again is all that forgetting costs.
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use outlast_core::Owner;

    use super::*;

    #[test]
    fn answers_are_bounded_in_number_and_time() {
        let known = Known::default();
        let alice = Principal::new(Owner::new("alice"));
        known.is_good([1; 32], alice.clone(), Duration::from_secs(60));
        known.is_good([2; 32], alice.clone(), Duration::ZERO);
        assert_eq!(known.get(&[1; 32]), Some(Some(alice)));
        assert_eq!(known.get(&[2; 32]), None);
        for number in 0..(MOST as u64 * 2 + 10) {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            known.is_bad(digest);
        }
        assert!(known.bad.lock().unwrap().len() <= MOST);
        assert!(known.get(&[1; 32]).is_some(), "what is good is still known");
        assert!(known.was_good(&[2; 32]), "its time is up, and it was good");
        known.is_bad([2; 32]);
        assert!(!known.was_good(&[2; 32]));
    }
}
