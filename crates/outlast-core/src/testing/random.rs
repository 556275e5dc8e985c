//! A small generator of pseudo-random numbers: the same seed, the same numbers, on every machine.
//!
//! Tests print their seed; a failure is repeated by giving it back. Nothing here is fit for secrets.

/// The generator (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator that begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below zero");
        self.bits() % bound
    }

    /// An index into something of this length.
    ///
    /// # Panics
    /// If `length` is zero.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }

    /// One of `items`.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The seed in `OUTLAST_SEED`, or one that differs from run to run.
///
/// # Panics
/// If the variable is set and is no number.
pub fn seed() -> u64 {
    match std::env::var("OUTLAST_SEED") {
        Ok(text) => text.parse().expect("OUTLAST_SEED must be a number"),
        Err(_) => {
            let id = crate::TaskId::random();
            u64::from_le_bytes(*id.as_bytes().first_chunk().expect("sixteen bytes")) >> 16
        }
    }
}

/// The number in the variable `name`, or `default`.
///
/// # Panics
/// If the variable is set and is no number.
pub fn count(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}
