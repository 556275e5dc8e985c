//! The store that fails on demand does exactly that.

use std::sync::Arc;

use outlast_core::store::{Reads, Store};
use outlast_core::testing::{
    Fault, FaultyStore, ManualClock, MemoryStore, block_on, join_all, poll_once,
};
use outlast_core::{RawJson, TaskSpec};

fn faulty() -> FaultyStore {
    let clock = Arc::new(ManualClock::default());
    FaultyStore::new(Arc::new(MemoryStore::new(clock)))
}

fn spec() -> TaskSpec {
    TaskSpec::new("tool", RawJson::empty_object())
}

#[test]
fn fails_the_call_it_was_told_to() {
    block_on(async {
        let store = faulty();
        store.on_call(2, Fault::Fail);
        store.create(spec(), None).await.unwrap();
        let lost = spec();
        let error = store.create(lost.clone(), None).await.unwrap_err();
        assert!(error.is_retryable());
        assert!(
            store.get(lost.id).await.unwrap().is_none(),
            "it did nothing"
        );
        store.create(lost.clone(), None).await.unwrap();
        assert!(store.get(lost.id).await.unwrap().is_some());
        assert_eq!(store.calls(), 5);
    });
}

#[test]
fn loses_a_reply_and_not_the_deed() {
    block_on(async {
        let store = faulty();
        store.on_next("create", Fault::LoseReply);
        let asked = spec();
        let gone = store.get(asked.id).await.unwrap();
        assert!(gone.is_none(), "other methods are left alone");
        assert!(store.create(asked.clone(), None).await.is_err());
        assert!(store.get(asked.id).await.unwrap().is_some());
    });
}

#[test]
fn delays_until_it_is_released() {
    block_on(async {
        let store = faulty();
        store.on_call(1, Fault::Delay);
        let asked = spec();
        let delayed = poll_once(store.create(asked.clone(), None)).await;
        assert!(delayed.is_none());
        assert!(store.get(asked.id).await.unwrap().is_none());
        store.on_next("create", Fault::Delay);
        let release = async {
            store.release();
            Ok(None)
        };
        let create = async { store.create(asked.clone(), None).await.map(Some) };
        let both: [std::pin::Pin<Box<dyn Future<Output = _>>>; 2] =
            [Box::pin(create), Box::pin(release)];
        let results = join_all(both).await;
        assert!(results.into_iter().all(|result| result.is_ok()));
        assert!(store.get(asked.id).await.unwrap().is_some());
    });
}
