//! The suite every store passes.

use std::sync::Arc;

use outlast_core::testing::{block_on, conformance, count, model, seed};

use crate::lasting;
use crate::server::{Server, Stores};

#[test]
fn passes_the_conformance_suite() {
    let server = Arc::new(Server::volatile());
    block_on(conformance(Stores(Arc::clone(&server))));
    lasting::check(&server);
}

/// `OUTLAST_REDIS_MODEL_CASES` sets how many random sequences are compared; CI runs 400.
#[test]
fn behaves_as_the_model() {
    let (first, cases) = (seed(), count("OUTLAST_REDIS_MODEL_CASES", 60));
    // Most of the time goes by waiting for the server, so two run side by side.
    let threads = cases.clamp(1, 2);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let at = |part| first + cases * part / threads;
            let seeds = at(thread)..at(thread + 1);
            scope.spawn(move || {
                let server = Arc::new(Server::volatile());
                block_on(model(Stores(Arc::clone(&server)), seeds));
                lasting::check(&server);
            });
        }
    });
}
