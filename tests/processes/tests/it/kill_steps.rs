//! A task of sixty steps whose server is killed again and again.
//!
//! Each step appends its number to a ledger outside the store before it returns. Afterwards every
//! step must be there, and the ledger may hold at most one surplus line for each kill: a step that
//! was killed between its effect and its record.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use outlast_processes::{Random, Server, binary, eventually};
use serde_json::json;

const STEPS: usize = 60;
/// A third of the lease: whatever waits for one to expire cannot be this quick.
const LONG_BEFORE_THE_LEASE: Duration = Duration::from_secs(10);

fn seeds() -> Vec<u64> {
    if let Ok(seed) = std::env::var("OUTLAST_SEED") {
        return vec![seed.parse().expect("OUTLAST_SEED is a number")];
    }
    let count = std::env::var("OUTLAST_KILL_SEEDS").map_or(50, |count| {
        count.parse().expect("OUTLAST_KILL_SEEDS is a number")
    });
    (1..=count).collect()
}

fn ledger_lines(ledger: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(ledger).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn sixty_steps_survive_being_killed_again_and_again() {
    let mut slowest = Duration::ZERO;
    for seed in seeds() {
        println!("seed {seed} (replay with OUTLAST_SEED={seed})");
        slowest = slowest.max(one_run(seed));
    }
    println!("slowest restart to the next step: {slowest:?}");
}

fn one_run(seed: u64) -> Duration {
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger");
    let store = format!("sqlite:{}", folder.path().join("outlast.db").display());
    let mut server = Server::new(
        &binary("conformance-server"),
        &["--listen", "127.0.0.1:{port}", "--store", &store],
        folder.path(),
    );
    server.start();
    let created = server
        .client()
        .modern(
            "tools/call",
            json!({"name": "steps", "arguments":
                {"count": STEPS, "step_ms": 5, "ledger": ledger.to_str().expect("UTF-8")}}),
        )
        .expect("the server answers");
    let id = created.result()["taskId"]
        .as_str()
        .expect("a task")
        .to_owned();

    let kills = 2 + random.below(3);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        let seen = ledger_lines(&ledger).len();
        if seen >= STEPS {
            break;
        }
        let target = (seen + 1 + random.below(20) as usize).min(STEPS);
        eventually("the next steps", || {
            (ledger_lines(&ledger).len() >= target).then_some(())
        });
        // Anywhere inside a step, its record or the next one's beginning.
        std::thread::sleep(Duration::from_micros(random.below(8_000)));
        server.kill();
        let before = ledger_lines(&ledger).len();
        let restarted = Instant::now();
        server.start();
        if before < STEPS {
            eventually("a step after the restart", || {
                (ledger_lines(&ledger).len() > before).then_some(())
            });
            slowest = slowest.max(restarted.elapsed());
        }
    }
    assert!(
        slowest < LONG_BEFORE_THE_LEASE,
        "the next step came only after {slowest:?}: something waited for a lease"
    );

    let get = |client: &outlast_processes::Client| {
        client
            .modern("tasks/get", json!({"taskId": id}))
            .expect("the server answers")
    };
    let client = server.client();
    let done = eventually("the end of the task", || {
        Some(get(&client)).filter(|answer| answer.result()["status"] != "working")
    });
    assert_eq!(done.result()["status"], "completed", "{}", done.body);
    assert_eq!(
        done.body,
        get(&client).body,
        "reading twice gives the same bytes"
    );
    let values = &done.result()["result"]["structuredContent"]["result"];
    let expected: Vec<usize> = (1..=STEPS).collect();
    assert_eq!(*values, json!(expected), "the result is complete");

    let mut executions: HashMap<String, u64> = HashMap::new();
    for line in ledger_lines(&ledger) {
        *executions.entry(line).or_default() += 1;
    }
    assert_eq!(executions.len(), STEPS, "every step is in the ledger");
    let surplus: u64 = executions.values().map(|count| count - 1).sum();
    assert!(
        surplus <= kills,
        "{surplus} surplus executions after {kills} kills"
    );
    slowest
}
