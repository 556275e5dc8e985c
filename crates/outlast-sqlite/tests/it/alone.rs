//! Who comes alone commits in his own thread: what that may change, and what it must not.

use std::fs;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::store::{ClaimBy, ClaimNow, Notice, NoticeSink, Reads, Store, ToolVersion};
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{JournalKind, RawJson, Recorded, TaskSpec};

use crate::support::{Files, open};

fn spec() -> TaskSpec {
    TaskSpec::new("tool", RawJson::empty_object())
}

/// Looks whether notices come from a thread, which is the one that commits.
struct Here {
    thread: ThreadId,
    seen: AtomicBool,
}

impl NoticeSink for Here {
    fn notice(&self, _: Notice) {
        if thread::current().id() == self.thread {
            self.seen.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn who_comes_alone_commits_in_his_own_thread() {
    let files = Files::in_memory();
    let store = open(&files.next_path(), Arc::new(ManualClock::default()));
    let here = Arc::new(Here {
        thread: thread::current().id(),
        seen: AtomicBool::new(false),
    });
    store.subscribe(here.clone());
    block_on(async {
        // As soon as enough commits in a row were quick, the next is made here.
        while !here.seen.load(Ordering::Relaxed) {
            store.create(spec(), None).await.unwrap();
        }
    });
}

/// What was submitted first is done first, even if nobody waits for it any more and whoever comes next
/// could do his own at once.
#[test]
fn nobody_is_overtaken() {
    let files = Files::in_memory();
    let store = open(&files.next_path(), Arc::new(ManualClock::default()));
    block_on(async {
        for _ in 0..300 {
            let (first, second, third) = (spec(), spec(), spec());
            let ids = [first.id, second.id, third.id];
            for one in [first, second] {
                let mut create = pin!(store.create(one, None));
                let mut context = Context::from_waker(Waker::noop());
                // Done at once, or left to itself in the queue.
                if let Poll::Ready(created) = create.as_mut().poll(&mut context) {
                    created.unwrap();
                }
            }
            store.create(third, None).await.unwrap();
            let mut sequences = Vec::new();
            for id in ids {
                sequences.push(store.get(id).await.unwrap().unwrap().state.sequence);
            }
            assert!(sequences.is_sorted(), "{sequences:?}");
        }
    });
}

/// The log is moved into the file as it grows, whoever commits.
#[test]
fn the_log_stays_short() {
    const STEP: usize = 1 << 20;
    const STEPS: usize = 48;
    let files = Files::in_memory();
    let path = files.next_path();
    let store = open(&path, Arc::new(ManualClock::default()));
    let tool = ToolVersion {
        tool: "tool".into(),
        version: "1".into(),
    };
    let by = ClaimBy {
        worker: WorkerId::random(),
        tools: Arc::new([tool].into()),
        lease: Duration::from_secs(30),
        suspects: true,
    };
    block_on(async {
        let claim = Some(ClaimNow::IfNext(by));
        let lease = store.create(spec(), claim).await.unwrap().lease.unwrap();
        let value = Recorded::Value(RawJson::of(&"x".repeat(STEP)).unwrap());
        for step in 0..STEPS {
            let (name, value) = (step.to_string(), value.clone());
            let put = store.journal_put(&lease, JournalKind::Step, &name, None, value, None);
            put.await.unwrap();
            // Small ones in between, which are made here.
            for _ in 0..4 {
                store.create(spec(), None).await.unwrap();
            }
        }
    });
    let log = fs::metadata(path.with_extension("db-wal")).unwrap().len();
    assert!(log < (STEP * STEPS / 2) as u64, "{log} bytes");
}
