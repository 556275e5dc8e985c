//! A limit on failed look-ups, for each sender: whoever guesses tokens soon waits.
//!
//! Each address has a few failures in stock and gets them back with time. Only failures cost, and what
//! is limited are further look-ups: a token that is known to be good passes, so that a guesser behind
//! the same proxy locks nobody out. A whole IPv6 network of a customer (/64) counts as one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Denied;

/// How many failures an address may have at once.
const STOCK: f64 = 20.0;
/// How many it gets back in a second.
const REFILL: f64 = 1.0;
/// How many addresses are kept apart; the rest share one stock.
const MOST: usize = 10_000;

/// Counts failures by address.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<Option<IpAddr>, Stock>>);

struct Stock {
    left: f64,
    at: Instant,
}

impl Stock {
    fn at(&self, now: Instant) -> f64 {
        let back = now.saturating_duration_since(self.at).as_secs_f64() * REFILL;
        (self.left + back).min(STOCK)
    }
}

impl Failures {
    /// Whether a further look-up is allowed.
    ///
    /// # Errors
    /// [`Denied::TooMany`] with the time after which one is.
    pub fn check(&self, peer: Option<IpAddr>) -> Result<(), Denied> {
        self.check_at(peer, Instant::now())
    }

    /// A look-up failed.
    pub fn note(&self, peer: Option<IpAddr>) {
        self.note_at(peer, Instant::now());
    }

    fn check_at(&self, peer: Option<IpAddr>, now: Instant) -> Result<(), Denied> {
        let stocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(peer);
        let stock = stocks.get(&key).or_else(|| {
            let full = stocks.len() >= MOST;
            full.then(|| stocks.get(&None)).flatten()
        });
        let left = stock.map_or(STOCK, |stock| stock.at(now));
        if left >= 1.0 {
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - left) / REFILL);
        Err(Denied::TooMany(wait.max(Duration::from_secs(1))))
    }

    fn note_at(&self, peer: Option<IpAddr>, now: Instant) {
        let mut stocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = key(peer);
        if stocks.len() >= MOST && !stocks.contains_key(&key) {
            stocks.retain(|_, stock| stock.at(now) < STOCK);
            if stocks.len() >= MOST {
                key = None;
            }
        }
        let left = stocks.get(&key).map_or(STOCK, |stock| stock.at(now));
        let left = (left - 1.0).max(0.0);
        stocks.insert(key, Stock { left, at: now });
    }
}

fn key(peer: Option<IpAddr>) -> Option<IpAddr> {
    peer.map(|address| match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_guesser_waits_and_nobody_else() {
        let failures = Failures::default();
        let now = Instant::now();
        let guesser = address("fd00::1");
        for _ in 0..20 {
            assert_eq!(failures.check_at(guesser, now), Ok(()));
            failures.note_at(guesser, now);
        }
        assert!(failures.check_at(guesser, now).is_err());
        assert!(
            failures.check_at(address("fd00::2"), now).is_err(),
            "same network"
        );
        assert_eq!(failures.check_at(address("fd00:0:0:1::2"), now), Ok(()));
        assert_eq!(failures.check_at(address("10.0.0.1"), now), Ok(()));
        let later = now + Duration::from_secs(2);
        assert_eq!(failures.check_at(guesser, later), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let failures = Failures::default();
        let now = Instant::now();
        for number in 0..(MOST as u32 + 500) {
            failures.note_at(Some(IpAddr::V4(number.into())), now);
        }
        assert!(failures.0.lock().unwrap().len() <= MOST + 1);
        // What does not fit shares a stock, which is used up.
        assert!(failures.check_at(address("200.0.0.1"), now).is_err());
    }
}
