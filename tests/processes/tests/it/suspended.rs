//! Tasks that wait cost no worker and little memory, and all of them survive `kill -9`.
//!
//! `OUTLAST_SUSPENDED=10000` repeats it with as many tasks; the memory is printed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn process(folder: &std::path::Path, role: &str, count: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_suspended"));
    command.arg(folder).args([role, &count.to_string()]);
    command
}

#[test]
fn every_suspended_task_finishes_in_the_next_process() {
    let count = std::env::var("OUTLAST_SUSPENDED").map_or(1000, |count| {
        count.parse().expect("OUTLAST_SUSPENDED is a number")
    });
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = process(folder.path(), "wait", count)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(first.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("it says when all are suspended");
    first.kill().expect("it can be killed");
    first.wait().expect("it can be waited for");
    let memory: Vec<u64> = line
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    let [before, after] = memory[..] else {
        panic!("it ended early: {line:?}");
    };
    println!("{count} suspended tasks: {before} KiB before, {after} KiB after");
    let second = process(folder.path(), "answer", count)
        .output()
        .expect("it starts");
    let completed = String::from_utf8(second.stdout).expect("text");
    assert_eq!(completed.trim(), count.to_string());
}
