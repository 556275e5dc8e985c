//! The memory store passes the suite that it is the model of.

use std::sync::Arc;

use async_trait::async_trait;
use outlast_core::Store;
use outlast_core::testing::{
    Fixture, ManualClock, MemoryStore, Reopened, block_on, conformance, count, model, seed,
};

struct Memory;

#[async_trait]
impl Fixture for Memory {
    async fn fresh(&self, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(clock))
    }

    async fn reopen(&self, store: Arc<dyn Store>, _: Arc<ManualClock>) -> Reopened {
        Reopened::Never(store)
    }
}

#[test]
fn passes_the_conformance_suite() {
    block_on(conformance(Memory));
}

/// The model against itself: what is looked at are the rules that it must keep whatever it is compared
/// with.
#[test]
fn keeps_the_rules_of_the_model() {
    let (first, cases) = (seed(), count("OUTLAST_MODEL_CASES", 500));
    block_on(model(Memory, first..first + cases));
}
