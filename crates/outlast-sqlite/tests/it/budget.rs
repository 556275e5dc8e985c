//! What a task costs in writing, counted in the log that SQLite writes ahead: commits, each of which
//! waits for the disk, and pages, which are what the disk has to take.
//!
//! No clock is looked at. The budgets are what the store needs now, and a little room for where the
//! trees happen to split; whoever needs more of them makes every user's disk work more.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::machine::AttemptEnd;
use outlast_core::store::{ClaimBy, ClaimNow, Store, ToolVersion};
use outlast_core::task::Lease;
use outlast_core::testing::{ManualClock, block_on, join_all};
use outlast_core::{JournalKind, Outcome, RawJson, Recorded, TaskSpec, ToolResult};
use outlast_sqlite::SqliteStore;

use crate::support::{Files, open};

/// How many operations of a kind are counted between two openings: few enough for one log.
const EACH: u64 = 50;

/// How often that is done. Ids are random, so the leaves of their trees fill evenly and split at nearly the
/// same time; one count could meet all of the splits, or none.
const ROUNDS: u64 = 10;

/// Tasks that are there before, the second time.
const MANY: usize = 2_000;

/// Tasks that wait in the long queue; `OUTLAST_QUEUED=100000` tries as many.
const QUEUED: usize = 2_000;

/// What has been written to the log of a store since it was begun anew.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    commits: u64,
    pages: u64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, more: Self) {
        self.commits += more.commits;
        self.pages += more.pages;
    }
}

impl Written {
    /// Reads the log (SQLite file format, section 4.1): a header of 32 bytes, then frames of a header of
    /// 24 and a page. A frame with another salt is left over from before; one that says how large the
    /// database is ends a commit.
    fn read(path: &Path) -> Self {
        let log = fs::read(path.with_extension("db-wal")).unwrap_or_default();
        if log.len() < 32 {
            return Self::default();
        }
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
        let page = usize::try_from(number(&log[8..])).unwrap();
        let salts = &log[16..24];
        let frames = log[32..].chunks_exact(24 + page);
        let own = frames.take_while(|frame| &frame[8..16] == salts);
        own.fold(Self::default(), |so_far, frame| Self {
            pages: so_far.pages + 1,
            commits: so_far.commits + u64::from(number(&frame[4..]) != 0),
        })
    }
}

struct Counted {
    store: SqliteStore,
    path: std::path::PathBuf,
    by: ClaimBy,
    clock: Arc<ManualClock>,
}

impl Counted {
    fn open(path: &Path, clock: &Arc<ManualClock>) -> Self {
        let tool = ToolVersion {
            tool: "tool".into(),
            version: "1".into(),
        };
        Self {
            store: open(path, clock.clone()),
            clock: Arc::clone(clock),
            path: path.to_owned(),
            by: ClaimBy {
                worker: WorkerId::random(),
                tools: Arc::new([tool].into()),
                lease: Duration::from_secs(30),
                suspects: true,
            },
        }
    }

    /// A millisecond after the one before it, so that each is the last in its trees: where many that were
    /// created in one moment go is drawn, and the splits with it.
    async fn create(&self) -> Lease {
        self.clock.advance(Duration::from_millis(1));
        let arguments = RawJson::parse(r#"{"a":2,"b":3}"#).unwrap();
        let claim = Some(ClaimNow::IfNext(self.by.clone()));
        let created = self.store.create(TaskSpec::new("tool", arguments), claim);
        created
            .await
            .unwrap()
            .lease
            .expect("nothing stands before it")
    }

    /// A task that waits for whoever claims it.
    async fn enqueue(&self) {
        self.clock.advance(Duration::from_millis(1));
        let spec = TaskSpec::new("tool", RawJson::parse(r#"{"a":2,"b":3}"#).unwrap());
        assert!(self.store.create(spec, None).await.unwrap().lease.is_none());
    }

    async fn step(&self, lease: &Lease, number: u64) {
        let name = format!("step {number}");
        let value = Recorded::Value(RawJson::of(&number).unwrap());
        let put = self
            .store
            .journal_put(lease, JournalKind::Step, &name, None, value, None);
        put.await.unwrap();
    }

    /// Ends a task, and claims the next in the same unit.
    async fn finish(&self, lease: &Lease) -> Option<Lease> {
        let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text("5")));
        let reply = self.store.finish(lease, end, Some(&self.by)).await;
        reply.unwrap().next.map(|next| next.lease)
    }

    /// Counts what `EACH` awaited operations write.
    async fn count(&self, operation: impl AsyncFn(u64)) -> Written {
        let before = Written::read(&self.path);
        for number in 0..EACH {
            operation(number).await;
        }
        let after = Written::read(&self.path);
        Written {
            commits: after.commits - before.commits,
            pages: after.pages - before.pages,
        }
    }
}

/// Each operation is one commit of a few pages, and no more of them when the store is full.
#[test]
fn each_operation_is_one_commit_of_few_pages() {
    let files = Files::new();
    let path = files.next_path();
    let clock = Arc::new(ManualClock::default());
    block_on(async {
        for filled in [0, MANY] {
            let one = Counted::open(&path, &clock);
            let fill = (0..filled).map(|_| async {
                let lease = one.create().await;
                one.finish(&lease).await;
            });
            join_all(fill).await;
            one.store.close().await.unwrap();
            drop(one);
            let [mut create, mut step, mut finish] = [Written::default(); 3];
            for _ in 0..ROUNDS {
                // Opened anew: what was written before is in the file, and the log is not begun anew
                // while it is counted.
                let one = Counted::open(&path, &clock);
                let leases = Mutex::new(Vec::new());
                create += one
                    .count(async |_| {
                        let lease = one.create().await;
                        leases.lock().unwrap().push(lease);
                    })
                    .await;
                let leases = leases.into_inner().unwrap();
                step += one
                    .count(async |number| one.step(&leases[0], number).await)
                    .await;
                finish += one
                    .count(async |number| {
                        one.finish(&leases[number as usize]).await;
                    })
                    .await;
                one.store.close().await.unwrap();
            }
            for (what, written, budget) in [
                ("create", create, 9),
                ("step", step, 5),
                ("finish", finish, 6),
            ] {
                let counted = ROUNDS * EACH;
                println!("{what} with {filled} tasks before: {written:?} for {counted}");
                assert_eq!(written.commits, counted, "{what}");
                assert!(written.pages <= budget * counted, "{what}: {written:?}");
            }
        }
    });
}

/// A claim writes hardly more pages however many tasks wait, reads no more rows (`nothing_scans_or_sorts`),
/// and all that waited come to their end.
#[test]
fn a_long_queue_makes_no_claim_dearer() {
    let files = Files::new();
    let clock = Arc::new(ManualClock::default());
    let long = std::env::var("OUTLAST_QUEUED").map_or(QUEUED, |queued| {
        queued.parse().expect("OUTLAST_QUEUED is a number")
    });
    block_on(async {
        for queued in [100, long] {
            let path = files.next_path();
            let one = Counted::open(&path, &clock);
            join_all((0..queued).map(|_| one.enqueue())).await;
            one.store.close().await.unwrap();
            drop(one);
            let one = Counted::open(&path, &clock);
            let first = one.store.claim(&one.by, 1).await.unwrap().pop();
            let held = Mutex::new(first.map(|first| first.lease));
            let next = async || {
                let lease = held.lock().unwrap().take();
                let next = one.finish(&lease.expect("more wait")).await;
                *held.lock().unwrap() = next;
            };
            let begun = std::time::Instant::now();
            let written = one.count(async |_| next().await).await;
            println!(
                "{queued} queued: {written:?} for {EACH} ends with a claim, {:?}",
                begun.elapsed()
            );
            assert_eq!(written.commits, EACH);
            assert!(written.pages <= 12 * EACH, "{written:?}");
            let mut ended = EACH as usize;
            while held.lock().unwrap().is_some() {
                next().await;
                ended += 1;
            }
            assert_eq!(ended, queued);
            one.store.close().await.unwrap();
        }
    });
}
