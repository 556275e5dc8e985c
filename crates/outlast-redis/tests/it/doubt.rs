//! Calls whose replies never came: what they have changed all the same, this process hears of.

use std::sync::{Arc, Mutex};

use outlast_core::store::{Notice, NoticeSink, Reads, Store};
use outlast_core::testing::{ManualClock, block_on, eventually};
use outlast_core::{Clock, Phase};
use outlast_redis::RedisStore;

use crate::cost::{by, done, spec};
use crate::outage::reaches;
use crate::proxy::{Lines, Proxy};
use crate::server::{Server, open};

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Ear(Mutex<Vec<Notice>>);

impl NoticeSink for Ear {
    fn notice(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice);
    }
}

impl Ear {
    pub(crate) fn of(store: &RedisStore) -> Arc<Self> {
        let ear = Arc::new(Self::default());
        store.subscribe(Arc::clone(&ear) as Arc<dyn NoticeSink>);
        ear
    }

    /// Whether it was told something of this kind.
    pub(crate) fn has(&self, fits: impl Fn(&Notice) -> bool) -> bool {
        self.0.lock().unwrap().iter().any(fits)
    }

    pub(crate) async fn hears(&self, what: &str, fits: impl Fn(&Notice) -> bool) {
        eventually(what, || std::future::ready(self.has(&fits).then_some(()))).await;
    }

    fn forget(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// A server, a store beside it, and one behind a proxy.
fn two(prefix: &str) -> (Server, RedisStore, Proxy, RedisStore) {
    let server = Server::volatile();
    let proxy = Proxy::new(&server.socket());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let near = open(&server.address(prefix), Arc::clone(&clock));
    let far = open(&proxy.address(prefix), clock);
    (server, near, proxy, far)
}

#[test]
fn a_change_whose_reply_got_lost_is_told_to_its_own_process() {
    let (_server, near, proxy, far) = two("untold");
    let ear = Ear::of(&far);
    block_on(async {
        let id = near.create(spec(), None).await.unwrap().task.id();
        let lease = far.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
        proxy.mute(Lines::Calls);
        let finish = far.finish(&lease, done(), None);
        let (finished, ()) = futures_util::future::join(finish, async {
            reaches(&near, id, Phase::Finished).await;
            ear.forget();
            proxy.cut(Lines::Calls);
        })
        .await;
        finished.expect_err("the reply is lost");
        // The channel has stayed whole: whoever waits for the task here has no other way to hear of it.
        let ended = near.get(id).await.unwrap().unwrap().state.version;
        ear.hears("the end, or that something was missed", |notice| {
            let changed = Notice::Changed {
                task: id,
                version: ended,
            };
            *notice == Notice::Missed || *notice == changed
        })
        .await;
    });
}

#[test]
fn a_change_that_was_given_up_and_carried_out_late_is_told_to_its_own_process() {
    let (_server, near, proxy, far) = two("late");
    let ear = Ear::of(&far);
    block_on(async {
        let id = near.create(spec(), None).await.unwrap().task.id();
        let lease = far.claim(&by(), 1).await.unwrap().pop().unwrap().lease;
        proxy.hold(Lines::Calls);
        let finish = far.finish(&lease, done(), None);
        let (finished, ()) = futures_util::future::join(finish, async {
            eventually("it is on its way", || {
                std::future::ready(proxy.holds(&id.to_string()).then_some(()))
            })
            .await;
            proxy.cut(Lines::Calls);
        })
        .await;
        finished.expect_err("the reply is lost");
        ear.hears("that something may be missed", |notice| {
            *notice == Notice::Missed
        })
        .await;
        // Whoever has looked by now has found nothing.
        let task = far.get(id).await.unwrap().unwrap();
        assert_eq!(task.state.phase, Phase::Running);
        proxy.release();
        reaches(&near, id, Phase::Finished).await;
        ear.forget();
        ear.hears("that something may be missed", |notice| {
            *notice == Notice::Missed
        })
        .await;
        assert!(far.get(id).await.unwrap().unwrap().is_finished());
    });
}

#[test]
fn who_opens_the_channel_late_looks_for_what_it_has_missed() {
    let server = Server::volatile();
    let proxy = Proxy::new(&server.socket());
    proxy.hold(Lines::Channels);
    let clock = Arc::new(ManualClock::default());
    let far = open(&proxy.address("deaf"), clock);
    let ear = Ear::of(&far);
    proxy.release();
    block_on(ear.hears("that something was missed", |notice| {
        *notice == Notice::Missed
    }));
}
