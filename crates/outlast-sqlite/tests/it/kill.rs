//! `kill -9` at random moments: what was acknowledged is there.
//!
//! A child process works on the store and prints each acknowledgement the moment it has it; the
//! parent kills it without warning, opens the store and holds it to every printed line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use outlast_core::id::WorkerId;
use outlast_core::machine::AttemptEnd;
use outlast_core::store::{ClaimBy, ClaimNow, Reads, Store, ToolVersion};
use outlast_core::testing::conformance::check_invariants;
use outlast_core::testing::{Random, block_on, count, seed};
use outlast_core::{
    JournalKind, Level, LogLine, Outcome, Phase, Progress, RawJson, Recorded, SystemClock, TaskId,
    TaskSpec, ToolResult,
};

use crate::support::{Files, open};

const STORE: &str = "OUTLAST_TEST_STORE";

/// The child's work, when this binary is started as one.
#[test]
fn child() {
    let Some(path) = std::env::var_os(STORE) else {
        return;
    };
    let store = Arc::new(open(path.as_ref(), Arc::new(SystemClock::new())));
    block_on(store.recover(WorkerId::random())).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || block_on(work(&*store)))
        })
        .collect();
    for thread in threads {
        thread.join().expect("it works until it is killed");
    }
}

async fn work(store: &dyn Store) {
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
    loop {
        let spec = TaskSpec::new("tool", RawJson::empty_object());
        let id = spec.id;
        let claim = Some(ClaimNow::Running(by.clone()));
        let created = store.create(spec, claim).await.unwrap();
        say(&format!("created {id}"));
        let lease = created.lease.expect("claimed in any case");
        for number in 0..3 {
            let value = Recorded::Value(RawJson::of(&number).unwrap());
            let name = number.to_string();
            store
                .journal_put(&lease, JournalKind::Step, &name, None, value, None)
                .await
                .unwrap();
            say(&format!("journaled {id} {number}"));
            let line = LogLine {
                level: Level::Info,
                logger: String::new(),
                text: b"0123456789".to_vec(),
                mark: None,
            };
            let end = store.log_append(&lease, vec![line]).await.unwrap();
            say(&format!("logged {id} {end}"));
        }
        let progress = Progress {
            done: 3.0,
            ..Progress::default()
        };
        store.report(&lease, progress.into()).await.unwrap();
        say(&format!("reported {id} 3"));
        let outcome = Outcome::Completed(ToolResult::text(id.to_string()));
        let end = AttemptEnd::Done(outcome);
        store.finish(&lease, end, None).await.unwrap();
        say(&format!("finished {id}"));
    }
}

/// One whole line at once, so that a line which arrives was acknowledged.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("> {line}\n").as_bytes());
    let _ = out.flush();
}

/// What a child has acknowledged for one task.
#[derive(Default)]
struct Told {
    journaled: usize,
    logged: u64,
    reported: bool,
    finished: bool,
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let kills = count("OUTLAST_KILLS", 12);
    let first = seed();
    println!("OUTLAST_SEED={first}, {kills} kills");
    let files = Files::new();
    let path = files.next_path();
    let mut told: BTreeMap<TaskId, Told> = BTreeMap::new();
    for seed in first..first + kills {
        let mut random = Random::new(seed);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut heard = 0;
        let enough = 1 + random.below(600);
        let mut killed = false;
        loop {
            let mut line = String::new();
            // After the kill: what it had still said.
            if lines.read_line(&mut line).unwrap() == 0 {
                break;
            }
            let Some(text) = line
                .strip_suffix('\n')
                .and_then(|line| line.split("> ").nth(1))
            else {
                continue;
            };
            heard += 1;
            hear(&mut told, text);
            if heard >= enough && !killed {
                std::thread::sleep(Duration::from_micros(random.below(2000)));
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself");
        verify(&path, &told, seed);
    }
    assert!(told.values().any(|told| told.finished));
}

fn hear(told: &mut BTreeMap<TaskId, Told>, text: &str) {
    let mut words = text.split(' ');
    let what = words.next().unwrap();
    let id: TaskId = words.next().unwrap().parse().unwrap();
    let number = words.next().and_then(|word| word.parse::<u64>().ok());
    let task = told.entry(id).or_default();
    match what {
        "created" => {}
        "journaled" => task.journaled = usize::try_from(number.unwrap()).unwrap() + 1,
        "logged" => task.logged = number.unwrap(),
        "reported" => task.reported = true,
        "finished" => task.finished = true,
        other => panic!("{other:?}"),
    }
}

fn verify(path: &std::path::Path, told: &BTreeMap<TaskId, Told>, seed: u64) {
    let store = open(path, Arc::new(SystemClock::new()));
    block_on(async {
        for (id, told) in told {
            let task = store.get(*id).await.unwrap();
            let task = task.unwrap_or_else(|| panic!("{id} was lost (OUTLAST_SEED={seed})"));
            let journal = store.journal(*id).await.unwrap();
            assert!(journal.len() >= told.journaled, "OUTLAST_SEED={seed}");
            let log = store.log_read(*id, 0, usize::MAX).await.unwrap();
            assert!(log.end >= told.logged, "OUTLAST_SEED={seed}");
            let bytes: u64 = log.chunks.iter().map(|chunk| chunk.text.len() as u64).sum();
            assert_eq!(bytes, log.end, "OUTLAST_SEED={seed}");
            assert!(!told.reported || task.state.progress.done == 3.0);
            if told.finished {
                let expected = Outcome::Completed(ToolResult::text(id.to_string()));
                assert_eq!(task.outcome.as_deref(), Some(&expected));
            }
        }
        check_invariants(&store).await;
        let running = store
            .stats()
            .await
            .unwrap()
            .phases()
            .get("running")
            .copied();
        let recovered = store.recover(WorkerId::random()).await.unwrap();
        let rescued = recovered.rescued + recovered.failed;
        assert_eq!(rescued as u64, running.unwrap_or(0), "OUTLAST_SEED={seed}");
        assert!(
            !store
                .stats()
                .await
                .unwrap()
                .phases()
                .contains_key(Phase::Running.as_str())
        );
    });
}
