//! A disk that is full, and then is not.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::store::{ClaimBy, Filter, Reads, Store, ToolVersion};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{ManualClock, block_on};
use outlast_core::{RawJson, TaskSpec};

use crate::support::open;

/// A small file system of its own.
struct Mounted {
    folder: tempfile::TempDir,
}

impl Mounted {
    /// `None` where this user may not mount.
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status();
        matches!(mounted, Ok(status) if status.success()).then_some(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

fn fill(path: &Path, bytes: usize) {
    std::fs::write(path, vec![1; bytes]).expect("room for the ballast");
}

fn by() -> ClaimBy {
    let tool = ToolVersion {
        tool: "tool".into(),
        version: "1".into(),
    };
    ClaimBy {
        worker: WorkerId::random(),
        tools: Arc::new([tool].into()),
        lease: Duration::from_secs(30),
        suspects: true,
    }
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    let Some(disk) = Mounted::new("4m") else {
        println!("SKIPPED: mounting a small file system needs root");
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount");
        return;
    };
    let ballast = disk.path("ballast");
    fill(&ballast, 1024 * 1024);
    let path = disk.path("tasks.db");
    let store = open(&path, Arc::new(ManualClock::default()));
    let arguments = RawJson::of(&"x".repeat(40_000)).unwrap();
    let spec = || TaskSpec {
        arguments: arguments.clone(),
        ..TaskSpec::new("tool", RawJson::empty_object())
    };
    assert!(block_on(store.stats()).unwrap().phases().is_empty());
    let mut kept = Vec::new();
    let (lost, error) = loop {
        let one = spec();
        let id = one.id;
        match block_on(store.create(one, None)) {
            Ok(_) => kept.push(id),
            Err(error) => break (id, error),
        }
        assert!(kept.len() < 1000, "4 MiB hold no 40 MB");
    };
    assert!(kept.len() > 10, "it held {} tasks", kept.len());
    assert!(error.is_retryable(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("is full") && text.contains("free some space"),
        "{text}"
    );

    // It goes on reading, says the same again, and shows nothing of what failed.
    assert!(block_on(store.get(lost)).unwrap().is_none());
    assert!(
        block_on(store.create(spec(), None))
            .unwrap_err()
            .is_retryable()
    );
    let page = block_on(store.list(&Filter::default(), None, 1000)).unwrap();
    assert_eq!(page.tasks.len(), kept.len());
    let queued = block_on(store.stats()).unwrap().phases()["queued"];
    assert_eq!(queued, kept.len() as u64);

    // There is room again: it goes on by itself.
    std::fs::remove_file(&ballast).unwrap();
    for _ in 0..5 {
        kept.push(block_on(store.create(spec(), None)).unwrap().task.id());
    }
    block_on(check_invariants(&store));
    let queued = block_on(store.stats()).unwrap().phases()["queued"];
    assert_eq!(queued, kept.len() as u64);
    // What failed left no trace in the order of claiming either.
    let claimed = block_on(store.claim(&by(), 1000)).unwrap();
    let ids: Vec<_> = claimed.iter().map(|one| one.task.id()).collect();
    assert_eq!(ids, kept);
    drop(store);
    let store = open(&path, Arc::new(ManualClock::default()));
    for id in &kept {
        let task = block_on(store.get(*id)).unwrap().expect("acknowledged");
        assert_eq!(task.spec.arguments, arguments);
    }
    let page = block_on(store.list(&Filter::default(), None, 1000)).unwrap();
    assert_eq!(page.tasks.len(), kept.len());
    drop(store);
}
