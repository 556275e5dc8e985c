//! The suite every store passes.

use outlast_core::testing::{block_on, conformance, count, model, seed};

use crate::support::Files;

#[test]
fn passes_the_conformance_suite() {
    block_on(conformance(Files::new()));
}

/// `OUTLAST_MODEL_CASES` sets how many random sequences are compared; CI runs at least 10,000.
#[test]
fn behaves_as_the_model() {
    let (first, cases) = (seed(), count("OUTLAST_MODEL_CASES", 300));
    // Most of the time goes by waiting for the store's threads, so several run side by side.
    let threads = cases.clamp(1, 4);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let at = |part| first + cases * part / threads;
            let seeds = at(thread)..at(thread + 1);
            scope.spawn(move || block_on(model(Files::in_memory(), seeds)));
        }
    });
}
