//! The process dies at every call of its store, before and after the commit.
//!
//! One task with steps, undos, a timer, a child, an artifact and a question is carried through by as many processes as it
//! takes; the first of them dies at a planned call of the store. Afterwards a ledger outside the store
//! must hold every effect, and at most one line too many: an effect whose record was lost. A task that
//! fails must have been undone, from the last change to the first.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// More calls than any run makes.
const LAST: u64 = 400;

/// One process; `None` if it was killed.
fn process(folder: &Path, end: &str, call: u64, side: &str) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_crash-scenario"))
        .arg(folder)
        .args([end, &call.to_string(), side])
        .output()
        .expect("it starts");
    if output.status.success() {
        return Some(String::from_utf8(output.stdout).expect("text"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "call {call} {side} of {end}: {said}");
    None
}

/// Every effect, in the order of its first line, and how many lines there were too many.
fn effects(folder: &Path) -> (Vec<String>, usize) {
    let text = std::fs::read_to_string(folder.join("ledger")).expect("a ledger");
    let mut effects: Vec<String> = Vec::new();
    for line in text.lines() {
        if !effects.iter().any(|effect| effect == line) {
            effects.push(line.to_owned());
        }
    }
    let surplus = text.lines().count() - effects.len();
    (effects, surplus)
}

/// Kills at call `call`; `false` if the run was over before it.
fn one_run(end: &str, call: u64, side: &str) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let killed = process(folder, end, call, side).is_none();
    if killed {
        let again = process(folder, end, 0, side).expect("nobody kills the second one");
        let status = again.split_whitespace().next();
        let expected = if end == "fail" { "failed" } else { "completed" };
        assert_eq!(status, Some(expected), "call {call} {side}");
    }
    let (effects, surplus) = effects(folder);
    let mut expected = vec!["one", "two", "child", "three"];
    if end == "fail" {
        expected.extend(["undo three", "undo two", "undo one"]);
    }
    assert_eq!(effects, expected, "call {call} {side} of {end}");
    assert!(
        surplus <= usize::from(killed),
        "call {call} {side} of {end}: {surplus} surplus effects"
    );
    killed
}

/// Kills at every call until a run has fewer; says how many were covered.
fn every_call(end: &str, side: &str) -> u64 {
    let next = AtomicU64::new(1);
    let covered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let call = next.fetch_add(1, Ordering::Relaxed);
                    assert!(call < LAST, "a run without an end");
                    if !one_run(end, call, side) {
                        break;
                    }
                    covered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    covered.into_inner()
}

#[test]
fn no_call_of_the_store_loses_or_repeats_anything() {
    for end in ["succeed", "fail"] {
        for side in ["before", "after"] {
            let covered = every_call(end, side);
            println!("a task that is to {end}: killed {side} each of {covered} calls of the store");
            assert!(covered >= 20, "only {covered} calls: the scenario is gone");
        }
    }
}
