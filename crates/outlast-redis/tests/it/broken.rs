//! Records that somebody has damaged: they fail or are set aside, and the others go on.

use std::sync::Arc;
use std::time::Duration;

use outlast_core::store::{Reads, Store};
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{Clock, Outcome};

use crate::cost::{by, done, spec};
use crate::server::{Server, open};

#[test]
fn a_record_that_cannot_be_read_fails_and_the_others_go_on() {
    let server = Server::volatile();
    let clock = Arc::new(ManualClock::default());
    let store = open(
        &server.address("torn"),
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    block_on(async {
        let by = by();
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(store.create(spec(), None).await.unwrap().task.id());
        }
        let [state, call, field, whole] = ids[..] else {
            panic!("four")
        };
        let key = |kind: &str, id| format!("{{torn}}:{kind}:{id}");
        server.call(&["HSET", &key("d", state), "state", "{"]);
        server.call(&["HSET", &key("d", call), "spec", "none of ours"]);
        server.call(&["HSET", &key("t", field), "attempt", "many"]);
        // A claim gives out those that can be read, one way or another.
        let mut ended = 0;
        for _ in 0..4 {
            for claimed in store.claim(&by, 4).await.unwrap_or_default() {
                store.finish(&claimed.lease, done(), None).await.unwrap();
                ended += 1;
            }
        }
        assert_eq!(ended, 1, "the whole one");
        assert!(store.get(whole).await.unwrap().unwrap().is_finished());
        // What was claimed and cannot be read comes back when its lease has run out.
        clock.advance(Duration::from_secs(40 * 24 * 60 * 60));
        let mut next = None;
        for _ in 0..3 {
            let ticked = store.tick(&[], by.lease, 100).await.unwrap();
            next = ticked.next;
        }
        assert!(
            next.is_none_or(|next| next > clock.now()),
            "nothing is left that would be looked at for ever: {next:?}"
        );
        let failed = store.get(state).await.unwrap().expect("its call is whole");
        match failed.outcome.as_deref() {
            Some(Outcome::Failed(failure)) => {
                assert!(failure.message.contains("could not be read"), "{failure:?}");
            }
            other => panic!("{other:?}"),
        }
        let error = store.get(call).await.expect_err("nothing is left of it");
        assert!(error.to_string().contains("cannot be read"), "{error}");
        assert!(store.get(field).await.is_err());
        assert_eq!(
            store
                .list(&Default::default(), None, 10)
                .await
                .unwrap()
                .tasks
                .len(),
            1
        );
    });
}
