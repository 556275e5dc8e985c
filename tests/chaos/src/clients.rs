//! The clients: they create tasks until they are told to stop, and remember what they were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outlast_processes::{Client, Random};
use serde_json::{Value, json};

use crate::ledger::Ledger;

/// How long everything may take to end after the healing: far beyond what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a client waits when nobody answers.
const AGAIN: Duration = Duration::from_millis(50);

/// Tasks that a client has under way at a time, so that the work never runs out and never piles up.
const AHEAD: usize = 12;

/// All that the clients know.
pub(crate) struct Clients {
    clients: Vec<Client>,
    ledger: String,
    known: Mutex<Known>,
    repeated: AtomicUsize,
}

#[derive(Default)]
struct Known {
    /// By idempotency key.
    tasks: BTreeMap<String, Told>,
    faults: Vec<String>,
}

/// What was said about a task.
#[derive(Clone)]
struct Told {
    id: String,
    steps: u64,
    /// The answer in which it had ended, as it was read first.
    end: Option<String>,
}

impl Clients {
    pub(crate) fn new(ports: Vec<u16>, ledger: &Ledger) -> Self {
        Self {
            clients: ports.into_iter().map(Client::new).collect(),
            ledger: ledger.path().to_owned(),
            known: Mutex::default(),
            repeated: AtomicUsize::new(0),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics under this lock")
    }

    /// Tasks by id, and how many steps each has.
    pub(crate) fn expected(&self) -> BTreeMap<String, u64> {
        let known = self.known();
        let tasks = known.tasks.values();
        tasks.map(|told| (told.id.clone(), told.steps)).collect()
    }

    /// How many creations had to be repeated.
    pub(crate) fn repeated(&self) -> usize {
        self.repeated.load(Ordering::Relaxed)
    }

    /// Creates tasks and looks at them until it is over. Every creation that was begun is acknowledged
    /// by then.
    pub(crate) fn create_until(&self, over: &AtomicBool, number: usize, mut random: Random) {
        let mut open: Vec<String> = Vec::new();
        let mut made = 0;
        while !over.load(Ordering::SeqCst) {
            if open.len() < AHEAD {
                let key = format!("client {number} task {made}");
                made += 1;
                self.create(&key, 2 + random.below(6), random.below(40), &mut random);
                open.push(key);
            } else {
                std::thread::sleep(AGAIN);
            }
            let client = self.any(&mut random);
            open.retain(|key| !self.look(client, key));
        }
    }

    fn any(&self, random: &mut Random) -> &Client {
        let index = random.below(self.clients.len() as u64);
        &self.clients[usize::try_from(index).expect("an index")]
    }

    /// Creates a task, asking one server after the other until it is acknowledged.
    fn create(&self, key: &str, steps: u64, step_ms: u64, random: &mut Random) {
        let params = json!({"name": "steps", "arguments":
            {"count": steps, "step_ms": step_ms, "ledger": self.ledger}});
        let begun = Instant::now();
        loop {
            let meta = json!({"outlast/idempotencyKey": key});
            let answer = self
                .any(random)
                .modern_with("tools/call", params.clone(), meta);
            let id = answer.ok().and_then(|answer| {
                let id = answer.message.get("result")?.get("taskId")?.as_str()?;
                Some(id.to_owned())
            });
            if let Some(id) = id {
                let told = Told {
                    id,
                    steps,
                    end: None,
                };
                self.known().tasks.insert(key.to_owned(), told);
                return;
            }
            if begun.elapsed() > PATIENCE {
                let fault = format!("nobody acknowledged {key:?} for {PATIENCE:?}");
                self.known().faults.push(fault);
                return;
            }
            self.repeated.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(AGAIN);
        }
    }

    /// Reads a task; `true` if it has ended. What it says then must be what was read before.
    fn look(&self, client: &Client, key: &str) -> bool {
        let Some(told) = self.known().tasks.get(key).cloned() else {
            return true;
        };
        let answer = client.modern("tasks/get", json!({"taskId": told.id}));
        let Ok(answer) = answer else { return false };
        let Some(task) = answer.message.get("result") else {
            let message = answer.message["error"]["message"]
                .as_str()
                .unwrap_or_default();
            if message.contains("not found") || message.contains("no task") {
                let fault = format!("{} was acknowledged and is gone: {message}", told.id);
                self.known().faults.push(fault);
                return true;
            }
            return false;
        };
        if task["status"] == "working" {
            return false;
        }
        let whole: Vec<u64> = (1..=told.steps).collect();
        let mut faults = Vec::new();
        if task["status"] != "completed" {
            faults.push(format!("{} did not complete: {}", told.id, answer.body));
        } else if task["result"]["structuredContent"]["result"] != json!(whole) {
            faults.push(format!("{} has another result: {}", told.id, answer.body));
        }
        let result = task["result"].to_string();
        let mut known = self.known();
        let told = known.tasks.get_mut(key).expect("never removed");
        if told.end.get_or_insert_with(|| result.clone()) != &result {
            faults.push(format!("{} had another result before: {result}", told.id));
        }
        known.faults.extend(faults);
        true
    }

    /// Waits until every task has ended, asks every server for each, and repeats every creation. Returns
    /// what is wrong.
    pub(crate) fn check_all(&self) -> Vec<String> {
        let keys: Vec<String> = self.known().tasks.keys().cloned().collect();
        let begun = Instant::now();
        for key in &keys {
            for client in &self.clients {
                while !self.look(client, key) {
                    if begun.elapsed() > PATIENCE {
                        let id = self.known().tasks[key].id.clone();
                        let seen = client.get_json(&format!("/tasks/{id}"));
                        let mut known = self.known();
                        known.faults.push(format!("{id} never ended: {seen:?}"));
                        return std::mem::take(&mut known.faults);
                    }
                    std::thread::sleep(AGAIN);
                }
            }
        }
        self.check_keys(&keys);
        std::mem::take(&mut self.known().faults)
    }

    /// How often a run of this task ended before the task did: with its process, with its lease, or because its
    /// process was stopped.
    pub(crate) fn runs_that_ended_early(&self, task: &str) -> usize {
        let client = self.clients.first().expect("a server");
        let path = format!("/tasks/{task}/events");
        let events = client.get(&path, "text/event-stream");
        let events = events.expect("it answers");
        let told = |kind: &str| {
            let messages = events
                .lines()
                .filter_map(|line| line.strip_prefix("data: "));
            messages
                .filter_map(|message| serde_json::from_str::<Value>(message).ok())
                .filter(|message| message["type"] == kind)
                .count()
        };
        told("TASK_RESCUED") + told("TASK_RELEASED")
    }

    /// A key must still mean the one task that it was acknowledged with.
    fn check_keys(&self, keys: &[String]) {
        let client = self.clients.first().expect("a server");
        let mut ids: Vec<String> = Vec::new();
        let mut cursor = Value::Null;
        let told = self.expected();
        loop {
            let path = match cursor.as_str() {
                Some(cursor) => format!("/tasks?limit=100&cursor={cursor}"),
                None => "/tasks?limit=100".to_owned(),
            };
            let page = client.get_json(&path).expect("it answers");
            let tasks = page["tasks"].as_array().cloned().unwrap_or_default();
            ids.extend(
                tasks
                    .iter()
                    .filter_map(|task| Some(task["taskId"].as_str()?.to_owned())),
            );
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        let mut known = self.known();
        if ids.len() != keys.len() {
            let fault = format!("{} keys have {} tasks", keys.len(), ids.len());
            known.faults.push(fault);
        }
        for id in ids.iter().filter(|id| !told.contains_key(*id)) {
            known
                .faults
                .push(format!("{id} is in the store, and nobody was told of it"));
        }
    }
}
