//! Who may be claimed: the limits, rates and quotas over all tasks of a store.
//!
//! What a task holds and what it needs are functions of its record alone; the [`Ledger`] adds them up.
//! A store feeds it every change of a record and asks it before each claim, in the same atomic unit.
//! It can be built again from the records at any time (I3), which is what a store does at its start.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::limit::{Arrival, Controls, Key, Rule};
use crate::status::Phase;
use crate::task::Task;

/// What is known of when there is room in a full queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Nothing: no task has started yet.
    Unknown,
    /// The queue is paused.
    Paused,
    /// Probably after this time.
    After(Duration),
}

/// When whoever is refused is told to come back: in whole seconds, at least one, at most an hour.
pub fn come_back(room: Room) -> Duration {
    let wait = match room {
        Room::Paused => return COME_BACK_TO_PAUSE,
        Room::Unknown => COME_BACK,
        Room::After(wait) => wait,
    };
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Duration::from_secs(seconds.max(1)).min(LONGEST_ABSENCE)
}

/// When to come back to a full queue of which nothing is known: nothing has started yet.
const COME_BACK: Duration = Duration::from_secs(5);

/// When to come back to a queue that is paused: nobody knows for how long.
const COME_BACK_TO_PAUSE: Duration = Duration::from_secs(60);

/// The longest time that anybody is told to stay away.
const LONGEST_ABSENCE: Duration = Duration::from_secs(60 * 60);

/// How fast the tasks of a quota leave the queue.
#[derive(Clone, Copy, Debug)]
struct Pace {
    last: Timestamp,
    /// The usual time from one to the next; not known before the second.
    interval: Option<Duration>,
}

impl Pace {
    /// The pace after another task has left. The last few count most.
    fn after(this: Option<Self>, now: Timestamp) -> Self {
        let interval = this.map(|pace| {
            let latest = now.since(pace.last);
            pace.interval
                .map_or(latest, |usual| (usual * 3 + latest) / 4)
        });
        Self {
            last: now,
            interval,
        }
    }

    /// When the next one is to be expected, from `now` on.
    fn next(self, now: Timestamp) -> Option<Duration> {
        let waited = now.since(self.last);
        Some(self.interval?.saturating_sub(waited))
    }
}

/// Something that must be open before a task can be claimed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The limit of this key must have room.
    Limit(Key),
    /// The rate of this key must allow a start.
    Rate(Key),
}

impl Task {
    /// The limit keys it holds at present: all while it runs, may still be run by a worker from which it
    /// was taken, or [is being stopped](Task::is_stopping); some while it is suspended and until it is claimed again.
    pub fn held_keys(&self) -> impl Iterator<Item = &Key> {
        let limits = self.spec.keys.limits.iter();
        let held = limits.filter(|limit| {
            self.state.phase == Phase::Running || self.keeps(limit.while_suspended)
        });
        held.map(|limit| &limit.key)
    }

    /// Whether it holds a limit key although it does not run.
    fn keeps(&self, while_suspended: bool) -> bool {
        self.state.held_over.is_some()
            || self.is_stopping()
            || (self.state.keeps_keys && while_suspended)
    }

    /// Whether any limit applies to it.
    pub(super) fn has_limits(&self) -> bool {
        !self.spec.keys.limits.is_empty()
    }

    /// What must be open before it can be claimed. An attempt that goes on has started before, and so
    /// has a task that is to be undone, so no rate holds them up.
    pub fn gates(&self) -> impl Iterator<Item = Gate> {
        let keys = &self.spec.keys;
        let limits = keys
            .limits
            .iter()
            .filter(|limit| !self.keeps(limit.while_suspended))
            .map(|limit| Gate::Limit(limit.key.clone()));
        let rates = keys
            .rates
            .iter()
            .filter(|_| !self.state.resuming && !self.is_finished())
            .map(|key| Gate::Rate(key.clone()));
        limits.chain(rates)
    }

    /// Whether it holds and waits under the same keys as `other`, another state of the same task, and
    /// needs the same gates open: nothing that a store keeps for its keys differs.
    pub fn counts_as(&self, other: &Self) -> bool {
        let standing = |task: &Self| {
            let state = &task.state;
            let held_over = state.held_over.is_some() || task.is_stopping();
            let kept = (state.keeps_keys, held_over);
            (state.phase, state.resuming, kept, task.is_finished())
        };
        let keys_are_equal =
            Arc::ptr_eq(&self.spec, &other.spec) || self.spec.keys == other.spec.keys;
        standing(self) == standing(other) && keys_are_equal
    }

    /// The quota keys it counts for: those of a task that waits to be started.
    pub fn quota_keys(&self) -> &[Key] {
        if self.is_finished() {
            return &[];
        }
        match self.state.phase {
            Phase::Scheduled | Phase::Queued | Phase::Blocked => &self.spec.keys.quotas,
            Phase::Running | Phase::Suspended | Phase::Finished => &[],
        }
    }
}

/// The state of all keys of a store.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    controls: Controls,
    held: HashMap<Key, u32>,
    waiting: HashMap<Key, u64>,
    /// Of quota keys under which something waits.
    paces: HashMap<Key, Pace>,
    arrivals: HashMap<Key, Arrival>,
    /// When closed rate gates open: each key once.
    opening: BTreeSet<(Timestamp, Key)>,
}

impl Ledger {
    /// The ledger of a store without tasks.
    pub fn new(controls: Controls) -> Self {
        Self {
            controls,
            ..Self::default()
        }
    }

    /// The rules and pauses.
    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    /// Replaces the rules and pauses; they hold for tasks that wait already.
    pub fn set_controls(&mut self, controls: Controls, now: Timestamp) {
        self.controls = controls;
        self.opening.clear();
        let arrivals: Vec<_> = self.arrivals.keys().cloned().collect();
        for key in arrivals {
            self.note_opening(&key, now);
        }
    }

    /// Counts a change of a record; `None` is a record that is not there. Says which limits have got
    /// room by it.
    pub fn changed(
        &mut self,
        before: Option<&Task>,
        after: Option<&Task>,
        now: Timestamp,
    ) -> Vec<Key> {
        let limited = |task: Option<&Task>| task.is_some_and(|task| !task.spec.keys.is_empty());
        if !limited(before) && !limited(after) {
            return Vec::new();
        }
        if let (Some(before), Some(after)) = (before, after)
            && before.counts_as(after)
        {
            return Vec::new();
        }
        if let Some(task) = after {
            task.held_keys().for_each(|key| self.hold(key, 1));
            for key in task.quota_keys() {
                self.wait(key, 1);
            }
        }
        let mut freed = Vec::new();
        if let Some(task) = before {
            for key in task.held_keys() {
                let held = self.held.get_mut(key).expect("it was counted before");
                *held -= 1;
                let left = *held;
                if left == 0 {
                    self.held.remove(key);
                }
                let let_go = !after.is_some_and(|task| task.held_keys().any(|kept| kept == key));
                if let_go && self.maximum(key).is_some_and(|max| left < max) {
                    freed.push(key.clone());
                }
            }
            for key in task.quota_keys() {
                let waiting = self.waiting.get_mut(key).expect("it was counted before");
                *waiting -= 1;
                if *waiting == 0 {
                    self.waiting.remove(key);
                    self.paces.remove(key);
                } else if !after.is_some_and(|task| task.quota_keys().contains(key)) {
                    let pace = self.paces.get(key).copied();
                    self.paces.insert(key.clone(), Pace::after(pace, now));
                }
            }
        }
        freed
    }

    /// Counts `tasks` more that hold `key`, when the ledger is built again.
    pub fn hold(&mut self, key: &Key, tasks: u32) {
        *self.held.entry(key.clone()).or_default() += tasks;
    }

    /// Counts `tasks` more that wait under `key`, when the ledger is built again.
    pub fn wait(&mut self, key: &Key, tasks: u64) {
        *self.waiting.entry(key.clone()).or_default() += tasks;
    }

    /// Sets where a rate key stands, when the ledger is built again.
    pub fn set_arrival(&mut self, key: Key, arrival: Arrival, now: Timestamp) {
        self.arrivals.insert(key.clone(), arrival);
        self.note_opening(&key, now);
    }

    fn maximum(&self, key: &Key) -> Option<u32> {
        match self.controls.rules.get(&key.rule) {
            Some(Rule::Running(max)) => Some(*max),
            _ => None,
        }
    }

    fn opens_at(&self, key: &Key) -> Option<Timestamp> {
        let Some(Rule::Rate(rate)) = self.controls.rules.get(&key.rule) else {
            return None;
        };
        self.arrivals
            .get(key)
            .map(|arrival| arrival.opens_at(*rate))
    }

    fn note_opening(&mut self, key: &Key, now: Timestamp) {
        if let Some(opens_at) = self.opens_at(key).filter(|opens_at| *opens_at > now) {
            self.opening.insert((opens_at, key.clone()));
        }
    }

    /// How many tasks hold `key`.
    pub fn held(&self, key: &Key) -> u32 {
        self.held.get(key).copied().unwrap_or(0)
    }

    /// Whether a task that needs `gate` could pass it at `now`.
    pub fn is_open(&self, gate: &Gate, now: Timestamp) -> bool {
        match gate {
            Gate::Limit(key) => self.maximum(key).is_none_or(|max| self.held(key) < max),
            Gate::Rate(key) => self.opens_at(key).is_none_or(|opens_at| opens_at <= now),
        }
    }

    /// Whether the limits and rates of a ready task have room at `now`.
    pub fn has_room(&self, task: &Task, now: Timestamp) -> bool {
        task.spec.keys.is_empty() || task.gates().all(|gate| self.is_open(&gate, now))
    }

    /// Whether a ready task may be claimed at `now`: it has room, and its queue is not paused.
    pub fn lets_in(&self, task: &Task, now: Timestamp) -> bool {
        !self.controls.is_paused(&task.spec.tool) && self.has_room(task, now)
    }

    /// Takes a start from each rate of a task that is being claimed; `ready` is the record before the
    /// claim, which for a new task makes no difference. Returns where these keys stand then; whoever calls it announces [`Ledger::next_opening`].
    pub fn start(&mut self, ready: &Task, now: Timestamp) -> Vec<(Key, Arrival)> {
        let mut moved = Vec::new();
        for gate in ready.gates() {
            let Gate::Rate(key) = gate else { continue };
            let Some(Rule::Rate(rate)) = self.controls.rules.get(&key.rule) else {
                continue;
            };
            let arrival = self.arrivals.entry(key.clone()).or_default();
            self.opening.remove(&(arrival.opens_at(*rate), key.clone()));
            *arrival = arrival.after_start(*rate, now);
            moved.push((key.clone(), *arrival));
            self.note_opening(&key, now);
        }
        moved
    }

    /// The keys of rates that have opened since this was asked last.
    pub fn opened(&mut self, now: Timestamp) -> Vec<Key> {
        let mut opened = Vec::new();
        while let Some((opens_at, _)) = self.opening.first()
            && *opens_at <= now
        {
            let (_, key) = self.opening.pop_first().expect("looked at above");
            opened.push(key);
        }
        opened
    }

    /// When the next closed rate opens.
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        let mut later = self.opening.iter().map(|(opens_at, _)| *opens_at);
        later.find(|opens_at| *opens_at > now)
    }

    /// Forgets rates that stand as if they had never been used; says whether there were any.
    pub fn forget_past(&mut self, now: Timestamp) -> bool {
        let before = self.arrivals.len();
        self.arrivals.retain(|_, arrival| !arrival.is_past(now));
        self.arrivals.len() < before
    }

    /// Refuses the creation of a task that would have to wait in a full queue at `now`, and says when
    /// there may be room: not before the task's rates allow a start, and when the next task is to leave
    /// the queue, going by those that left it last. In whole seconds, at least one.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub fn check_quotas(&self, task: &Task, now: Timestamp) -> Result<(), Error> {
        for key in task.quota_keys() {
            let Some(Rule::Queued(max)) = self.controls.rules.get(&key.rule) else {
                continue;
            };
            if self.waiting.get(key).copied().unwrap_or(0) >= *max {
                return Err(Error::QueueFull {
                    key: key.clone(),
                    max: *max,
                    retry_after: self.room_after(task, key, now),
                });
            }
        }
        Ok(())
    }

    fn room_after(&self, task: &Task, quota: &Key, now: Timestamp) -> Duration {
        if self.controls.is_paused(&task.spec.tool) {
            return come_back(Room::Paused);
        }
        let rates = task.spec.keys.rates.iter();
        let opening = rates.filter_map(|key| self.opens_at(key)).max();
        let opening = opening.map_or(Duration::ZERO, |at| at.since(now));
        let pace = self.paces.get(quota).and_then(|pace| pace.next(now));
        let known = pace.or((!opening.is_zero()).then_some(opening));
        come_back(known.map_or(Room::Unknown, |wait| Room::After(wait.max(opening))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawJson;
    use crate::limit::Rate;
    use crate::task::TaskSpec;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn waiting(rate: bool) -> Task {
        let mut spec = TaskSpec::new("t", RawJson::empty_object());
        spec.keys.quotas.push(Key::new("q", ""));
        if rate {
            spec.keys.rates.push(Key::new("r", ""));
        }
        Task::create(Arc::new(spec), 1, at(0)).0
    }

    fn room_after(ledger: &Ledger, task: &Task, now: Timestamp) -> u64 {
        match ledger.check_quotas(task, now) {
            Err(Error::QueueFull { retry_after, .. }) => retry_after.as_secs(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_is_refused_learns_when_to_come_back() {
        let mut controls = Controls::default();
        let rate: Rate = "1/min".parse().expect("a rate");
        let rules = [("q", Rule::Queued(2)), ("r", Rule::Rate(rate))];
        controls
            .rules
            .extend(rules.map(|(name, rule)| (name.into(), rule)));
        let mut ledger = Ledger::new(controls.clone());
        let task = waiting(false);
        for _ in 0..5 {
            ledger.changed(None, Some(&task), at(0));
        }
        assert_eq!(room_after(&ledger, &task, at(0)), 5, "nothing is known");
        // One left, which says nothing about the next; then another, twelve seconds later.
        ledger.changed(Some(&task), None, at(10));
        assert_eq!(room_after(&ledger, &task, at(10)), 5);
        ledger.changed(Some(&task), None, at(22));
        assert_eq!(room_after(&ledger, &task, at(22)), 12);
        assert_eq!(room_after(&ledger, &task, at(30)), 4);
        assert_eq!(room_after(&ledger, &task, at(99)), 1, "any moment");
        // A rate is known exactly.
        let rated = waiting(true);
        ledger.start(&rated, at(100));
        assert_eq!(room_after(&ledger, &rated, at(101)), 59);
        controls.paused.insert(crate::limit::Queue::All);
        ledger.set_controls(controls, at(102));
        assert_eq!(room_after(&ledger, &rated, at(102)), 60);
    }
}
