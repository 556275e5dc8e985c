//! The live list: what becomes of all tasks, for any number of watchers at the cost of one.
//!
//! One reader listens for changes while anybody watches, reads each changed record once, and gives its
//! summary to all who may see it. The summaries of the last minutes are kept in memory under places,
//! `EPOCH.NUMBER`, so that a watcher that was cut off goes on where it was. The epoch is another one
//! after a restart and after a pause without watchers; a place that is not kept any more is answered
//! with `READY` and `resumed: false`, and the watcher reads the list anew. A watcher that takes its
//! messages too slowly is let go, and can resume.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use outlast_core::{Owner, Task, TaskId};
use outlast_engine::Changes;
use outlast_mcp::Server;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use super::links::Base;
use super::task::TaskView;

/// How many messages are kept for those who come back.
const KEPT: usize = 4096;

/// How many messages a watcher may be behind.
const BEHIND: usize = 1024;

/// What changes within this time is read once.
const TOGETHER: Duration = Duration::from_millis(50);

/// How long the reader goes on without watchers: one that reconnects finds its place.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place in the live list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LivePlace {
    epoch: u64,
    number: u64,
}

impl fmt::Display for LivePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.epoch, self.number)
    }
}

impl FromStr for LivePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.split_once('.').and_then(|(epoch, number)| {
            Some(Self {
                epoch: u64::from_str_radix(epoch, 16).ok()?,
                number: number.parse().ok()?,
            })
        });
        place.ok_or_else(|| {
            format!("{text:?} is no place in the live list; give the id of a message as it came")
        })
    }
}

/// One message, for all who may see it.
#[derive(Debug)]
struct Told {
    number: u64,
    /// Whose task it is; `None` if nobody knows any more, and then it says nothing of the task and is for
    /// everybody.
    owner: Option<Owner>,
    text: String,
}

/// The live list of one server.
#[derive(Clone)]
pub(super) struct Live(Arc<Shared>);

struct Shared {
    server: Server,
    state: Mutex<State>,
}

struct State {
    epoch: u64,
    last: u64,
    kept: VecDeque<Arc<Told>>,
    /// Whose the tasks of the kept messages are, with the number of the last message of each.
    owners: HashMap<TaskId, (u64, Owner)>,
    sender: Sender<Arc<Told>>,
    reading: bool,
}

impl Live {
    pub(super) fn new(server: &Server) -> Self {
        Self(Arc::new(Shared {
            server: server.clone(),
            state: Mutex::new(State {
                epoch: 0,
                last: 0,
                kept: VecDeque::new(),
                owners: HashMap::new(),
                sender: channel(BEHIND).0,
                reading: false,
            }),
        }))
    }

    /// Begins to watch: from `after` on if that is still known, else from now on. `owner` is whose tasks
    /// to tell of, `None` for everybody's.
    pub(super) fn watch(&self, owner: Option<Owner>, after: Option<LivePlace>) -> Watcher {
        let mut state = self.0.lock();
        if !state.reading {
            state.begin();
            // Listening before anybody is told that it has begun: nothing falls between.
            let changes = self.0.server.handle().changes();
            tokio::spawn(read(Arc::clone(&self.0), changes));
        }
        let first = state
            .kept
            .front()
            .map_or(state.last, |first| first.number - 1);
        let known = after.filter(|after| {
            after.epoch == state.epoch && (first..=state.last).contains(&after.number)
        });
        let from = known.map_or(state.last, |place| place.number);
        let missed = state.kept.iter().filter(|told| told.number > from);
        Watcher {
            ready: Some(known.is_some()),
            place: LivePlace {
                epoch: state.epoch,
                number: from,
            },
            missed: missed.cloned().collect(),
            receiver: state.sender.subscribe(),
            owner,
            server: self.0.server.clone(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl State {
    fn begin(&mut self) {
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch).expect("the operating system gives random bytes");
        self.epoch = u64::from_le_bytes(epoch);
        self.last = 0;
        self.kept.clear();
        self.owners.clear();
        self.reading = true;
    }

    /// Tells of a task that has reached `version`, or is gone.
    fn tell(&mut self, id: TaskId, version: u64, task: Option<&Task>) {
        self.last += 1;
        let place = LivePlace {
            epoch: self.epoch,
            number: self.last,
        }
        .to_string();
        let (owner, message) = match task {
            Some(task) => {
                let kind = match () {
                    () if task.is_finished() => "TASK_ENDED",
                    () if version == 1 => "TASK_CREATED",
                    () => "TASK_CHANGED",
                };
                let view = TaskView::short(task, &Base::relative());
                let owner = task.spec.owner.clone();
                self.owners.insert(id, (self.last, owner.clone()));
                (
                    Some(owner),
                    json!({"type": kind, "id": place, "task": view}),
                )
            }
            None => {
                let mut message = json!({"type": "TASK_DELETED", "id": place});
                let owner = self.owners.remove(&id).map(|(_, owner)| owner);
                if owner.is_some() {
                    message["taskId"] = id.to_string().into();
                }
                (owner, message)
            }
        };
        let told = Arc::new(Told {
            number: self.last,
            owner,
            text: message.to_string(),
        });
        self.kept.push_back(Arc::clone(&told));
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        if self.owners.len() > 2 * KEPT {
            let oldest = self.last - KEPT as u64;
            self.owners.retain(|_, (number, _)| *number > oldest);
        }
        // Nobody may be watching at the moment.
        let _ = self.sender.send(told);
    }
}

/// Reads what changes until nobody has watched for a while, or the server stops.
async fn read(shared: Arc<Shared>, mut changes: Changes) {
    let store = shared.server.handle().side();
    let mut watched = Instant::now();
    while shared.is_watched(&mut watched) {
        let mut changed = tokio::select! {
            changed = changes.next() => changed,
            () = tokio::time::sleep(PATIENCE) => continue,
            () = shared.server.stopping() => return,
        };
        for (id, version) in changed.tasks {
            match store.get(id).await {
                Ok(task) => shared.lock().tell(id, version, task.as_deref()),
                // It may have been its last change.
                Err(_) => changed.missed = true,
            }
        }
        if changed.missed {
            // Everybody has to read the list anew, as after a restart.
            let mut state = shared.lock();
            state.begin();
            state.sender = channel(BEHIND).0;
        }
        tokio::time::sleep(TOGETHER).await;
    }
}

impl Shared {
    /// Whether to read on. Once this was denied, the next watcher begins anew.
    fn is_watched(&self, last: &mut Instant) -> bool {
        let mut state = self.lock();
        if state.sender.receiver_count() > 0 {
            *last = Instant::now();
        } else if last.elapsed() >= PATIENCE {
            state.reading = false;
        }
        state.reading
    }
}

/// Why a watcher is told nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LiveEnd {
    /// It was too slow, or too much happened at once.
    Behind,
    /// The server stops.
    Stopping,
}

/// One who watches.
pub(super) struct Watcher {
    /// Whether it goes on where it was, until that was told.
    ready: Option<bool>,
    place: LivePlace,
    missed: VecDeque<Arc<Told>>,
    receiver: Receiver<Arc<Told>>,
    owner: Option<Owner>,
    server: Server,
}

impl Watcher {
    /// The next message and the place after it.
    ///
    /// # Cancel safety
    /// A dropped wait loses nothing.
    pub(super) async fn next(&mut self) -> Result<(LivePlace, String), LiveEnd> {
        if let Some(resumed) = self.ready.take() {
            let place = self.place.to_string();
            let ready = json!({"type": "READY", "id": place, "resumed": resumed});
            return Ok((self.place, ready.to_string()));
        }
        loop {
            let told = match self.missed.pop_front() {
                Some(told) => told,
                None => tokio::select! {
                    told = self.receiver.recv() => match told {
                        Ok(told) => told,
                        Err(RecvError::Lagged(_) | RecvError::Closed) => return Err(LiveEnd::Behind),
                    },
                    () = self.server.stopping() => return Err(LiveEnd::Stopping),
                },
            };
            self.place.number = told.number;
            let mine = self.owner.is_none() || told.owner.is_none() || told.owner == self.owner;
            if mine {
                return Ok((self.place, told.text.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_were_written() {
        let place = LivePlace {
            epoch: u64::MAX,
            number: 7,
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        for wrong in ["", "7", "x.y", "1.2.3", "1.-1"] {
            assert!(wrong.parse::<LivePlace>().is_err(), "{wrong}");
        }
    }
}
