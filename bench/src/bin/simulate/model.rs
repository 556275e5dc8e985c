//! The model: what happens when, in simulated seconds.
//!
//! Decision: whatever does one thing at a time (Redis, a direction of its network, a core) is a line that is
//! served in order; a thing is done when its line comes to it, and everything happens in the order of time.
//! So waiting comes from chance and load alone and not from a formula.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::costs::{Cost, Costs};

/// What there is beside one Redis.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// Tasks that all workers run at a time.
    pub(crate) places: usize,
    pub(crate) server_cores: usize,
    pub(crate) worker_cores: usize,
    pub(crate) round_trip_micros: f64,
    pub(crate) megabits: f64,
}

/// What is asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    /// How long a task keeps its place.
    pub(crate) seconds: f64,
    pub(crate) steps: u32,
    /// Seconds between two polls of a task.
    pub(crate) poll_every: f64,
    /// Tasks a second.
    pub(crate) rate: f64,
}

/// Tasks a second that each part allows at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) redis: f64,
    pub(crate) network: f64,
    pub(crate) servers: f64,
    pub(crate) workers: f64,
    pub(crate) places: f64,
}

impl Limits {
    /// The lowest, and what it is.
    pub(crate) fn first(&self) -> (&'static str, f64) {
        let all = [
            ("Redis' CPU", self.redis),
            ("the network", self.network),
            ("the servers' cores", self.servers),
            ("the workers' cores", self.workers),
            ("the workers' places", self.places),
        ];
        let lowest = all.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
        lowest.expect("there are five")
    }
}

impl Fleet {
    /// What each part allows if tasks never wait.
    pub(crate) fn limits(&self, costs: &Costs, work: &Work) -> Limits {
        let polls = (work.seconds / work.poll_every).floor();
        let steps = f64::from(work.steps);
        let sum = |of: fn(&Cost) -> f64| {
            of(&costs.create) + of(&costs.run) + steps * of(&costs.step) + polls * of(&costs.poll)
        };
        let bytes = sum(|cost| cost.bytes_in).max(sum(|cost| cost.bytes_out));
        let server = costs.server_create_micros + polls * costs.server_poll_micros;
        let trips = (2.0 + steps) * self.round_trip_micros / 1e6;
        Limits {
            redis: 1e6 / sum(|cost| cost.cpu_micros),
            network: self.megabits * 1e6 / 8.0 / bytes,
            servers: self.server_cores as f64 * 1e6 / server,
            workers: self.worker_cores as f64 * 1e6 / costs.worker_micros,
            places: self.places as f64 / (work.seconds + trips),
        }
    }
}

/// What a simulated run came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Tasks a second, over the middle half of the run.
    pub(crate) rate: f64,
    /// Seconds from the call until the task ran.
    pub(crate) wait_p50: f64,
    pub(crate) wait_p99: f64,
}

/// What happens next to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Called,
    Created,
    Claimed,
    Step(u32),
    Ended,
    Polled,
}

/// One line, or several that are served as one: when each is free.
#[derive(Debug)]
struct Line(BinaryHeap<Reverse<Moment>>);

impl Line {
    fn of(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| Reverse(Moment(0.0))).collect())
    }

    /// Serves for `micros` from `now` on; returns when that is done.
    fn serve(&mut self, now: f64, micros: f64) -> f64 {
        let Reverse(Moment(free)) = self.0.pop().expect("a line has somebody who serves");
        let done = free.max(now) + micros / 1e6;
        self.0.push(Reverse(Moment(done)));
        done
    }
}

/// A time, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment(f64);

impl Eq for Moment {}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Redis and the way to it.
struct Store {
    redis: Line,
    inward: Line,
    outward: Line,
    half_trip: f64,
    micros_a_byte: f64,
}

impl Store {
    /// Asks Redis at `now`; returns when the answer is there.
    fn ask(&mut self, now: f64, cost: &Cost) -> f64 {
        let arrived = self.inward.serve(now, cost.bytes_in * self.micros_a_byte);
        let done = self.redis.serve(arrived + self.half_trip, cost.cpu_micros);
        let sent = self
            .outward
            .serve(done, cost.bytes_out * self.micros_a_byte);
        sent + self.half_trip
    }
}

/// Runs `tasks` tasks through the fleet.
pub(crate) fn simulate(costs: &Costs, fleet: &Fleet, work: &Work, tasks: usize) -> Run {
    let mut store = Store {
        redis: Line::of(1),
        inward: Line::of(1),
        outward: Line::of(1),
        half_trip: fleet.round_trip_micros / 2e6,
        micros_a_byte: 8.0 / fleet.megabits,
    };
    let (mut servers, mut workers) = (Line::of(fleet.server_cores), Line::of(fleet.worker_cores));
    let half_run = Cost {
        cpu_micros: costs.run.cpu_micros / 2.0,
        bytes_in: costs.run.bytes_in / 2.0,
        bytes_out: costs.run.bytes_out / 2.0,
    };
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut agenda = BinaryHeap::new();
    let mut called = Vec::with_capacity(tasks);
    let mut at = 0.0;
    for task in 0..tasks {
        at += -random.unit().ln() / work.rate;
        called.push(at);
        agenda.push(Reverse((Moment(at), Next::Called, task)));
    }
    let mut free = fleet.places;
    let mut queue = VecDeque::new();
    let (mut waits, mut ends) = (Vec::with_capacity(tasks), Vec::with_capacity(tasks));
    let mut has_ended = vec![false; tasks];
    while let Some(Reverse((Moment(now), next, task))) = agenda.pop() {
        let mut then = |at: f64, next: Next, task: usize| {
            agenda.push(Reverse((Moment(at), next, task)));
        };
        match next {
            Next::Called => {
                let checked = servers.serve(now, costs.server_create_micros);
                then(store.ask(checked, &costs.create), Next::Created, task);
            }
            Next::Created => {
                queue.push_back(task);
                if work.poll_every.is_finite() {
                    then(now + work.poll_every, Next::Polled, task);
                }
            }
            Next::Claimed => {
                waits.push(now - called[task]);
                let first = now + work.seconds / f64::from(work.steps + 1);
                then(first, Next::Step(0), task);
            }
            Next::Step(done) if done < work.steps => {
                let recorded = store.ask(now, &costs.step);
                let pause = work.seconds / f64::from(work.steps + 1);
                then(recorded + pause, Next::Step(done + 1), task);
            }
            Next::Step(_) => then(store.ask(now, &half_run), Next::Ended, task),
            Next::Ended => {
                ends.push(now);
                has_ended[task] = true;
                free += 1;
            }
            Next::Polled if has_ended[task] => {}
            Next::Polled => {
                let asked = servers.serve(now, costs.server_poll_micros);
                let answered = store.ask(asked, &costs.poll);
                then(answered + work.poll_every, Next::Polled, task);
            }
        }
        while free > 0
            && let Some(task) = queue.pop_front()
        {
            free -= 1;
            let begun = workers.serve(now, costs.worker_micros);
            agenda.push(Reverse((
                Moment(store.ask(begun, &half_run)),
                Next::Claimed,
                task,
            )));
        }
    }
    let middle = &ends[ends.len() / 4..ends.len() * 3 / 4];
    let seconds = middle[middle.len() - 1] - middle[0];
    waits.sort_by(f64::total_cmp);
    Run {
        rate: (middle.len() - 1) as f64 / seconds,
        wait_p50: waits[waits.len() / 2],
        wait_p99: waits[waits.len() * 99 / 100],
    }
}

/// The numbers of an xorshift, the same in every run.
struct Random(u64);

impl Random {
    /// Above 0, at most 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}
