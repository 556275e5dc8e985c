//! What a task costs in writing, counted in the log that SQLite writes ahead: commits, each of which
//! waits for the disk, and pages, which are what the disk has to take.
//!
//! No clock is looked at. The budgets are what the store needs now, and a little room for where the
//! trees happen to split; whoever needs more of them makes every user's disk work more.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::machine::AttemptEnd;
use outlast_core::store::{ClaimBy, ClaimNow, Store, ToolVersion};
use outlast_core::task::Lease;
use outlast_core::testing::{ManualClock, block_on, join_all};
use outlast_core::{JournalKind, Outcome, RawJson, Recorded, TaskSpec, ToolResult};
use outlast_sqlite::SqliteStore;

use crate::support::{Files, open};

/// How many operations of a kind are counted: enough that splits of pages even out.
const EACH: u64 = 50;

/// Tasks that are there before, the second time.
const MANY: usize = 2_000;

/// What has been written to the log of a store since it was begun anew.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    commits: u64,
    pages: u64,
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
}

impl Counted {
    fn open(path: &Path) -> Self {
        let tool = ToolVersion {
            tool: "tool".into(),
            version: "1".into(),
        };
        Self {
            store: open(path, Arc::new(ManualClock::default())),
            path: path.to_owned(),
            by: ClaimBy {
                worker: WorkerId::random(),
                tools: Arc::new([tool].into()),
                lease: Duration::from_secs(30),
                suspects: true,
            },
        }
    }

    async fn create(&self) -> Lease {
        let arguments = RawJson::parse(r#"{"a":2,"b":3}"#).unwrap();
        let claim = Some(ClaimNow::IfNext(self.by.clone()));
        let created = self.store.create(TaskSpec::new("tool", arguments), claim);
        created
            .await
            .unwrap()
            .lease
            .expect("nothing stands before it")
    }

    async fn step(&self, lease: &Lease, number: u64) {
        let name = format!("step {number}");
        let value = Recorded::Value(RawJson::of(&number).unwrap());
        let put = self
            .store
            .journal_put(lease, JournalKind::Step, &name, None, value, None);
        put.await.unwrap();
    }

    async fn finish(&self, lease: &Lease) {
        let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text("5")));
        self.store.finish(lease, end, Some(&self.by)).await.unwrap();
    }

    /// Counts what `EACH` awaited operations write.
    async fn count<F: Future<Output = ()>>(&self, operation: impl Fn(u64) -> F) -> Written {
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
    block_on(async {
        for filled in [0, MANY] {
            let one = Counted::open(&path);
            let fill = (0..filled).map(|_| async {
                let lease = one.create().await;
                one.finish(&lease).await;
            });
            join_all(fill).await;
            // Into the file with it: the log must not be begun anew while it is counted.
            one.store.close().await.unwrap();
            drop(one);
            let one = Counted::open(&path);
            let leases = std::sync::Mutex::new(Vec::new());
            let create = one
                .count(|_| async {
                    let lease = one.create().await;
                    leases.lock().unwrap().push(lease);
                })
                .await;
            let leases = leases.into_inner().unwrap();
            let step = one.count(|number| one.step(&leases[0], number)).await;
            let finish = one
                .count(|number| one.finish(&leases[number as usize]))
                .await;
            for (what, written, budget) in [
                ("create", create, 9),
                ("step", step, 5),
                ("finish", finish, 6),
            ] {
                println!("{what} with {filled} tasks before: {written:?} for {EACH}");
                assert_eq!(written.commits, EACH, "{what}");
                assert!(written.pages <= budget * EACH, "{what}: {written:?}");
            }
            one.store.close().await.unwrap();
        }
    });
}
