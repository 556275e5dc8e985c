//! The server in figures: one list, for whatever form they are told in.
//!
//! Gauges of tasks are the store's counts; everything else counts from the start of this process. Labels are
//! names of tools, words of ours and methods of the protocol, never what a stranger sent. `/metrics` writes the
//! list for Prometheus; whoever pushes figures elsewhere takes the same one.

use std::collections::BTreeMap;

use outlast_core::limit::Queue;
use outlast_core::status::Era;
use outlast_core::store::Stats;
use outlast_core::{Phase, Timestamp};
use outlast_engine::{Figures, Histogram, ToolFigures};
use outlast_mcp::Server;

/// All figures of a server at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// Since when counters count.
    pub since: Timestamp,
    /// Now.
    pub at: Timestamp,
    /// The figures.
    pub families: Vec<Family>,
}

/// Figures of one name.
#[derive(Clone, PartialEq, Debug)]
pub struct Family {
    /// The name, as Prometheus has it: counters end with `_total`, times with `_seconds`.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// What may be done with it.
    pub kind: Kind,
    /// One for each set of labels.
    pub samples: Vec<Sample>,
}

/// What may be done with a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution of times, in seconds.
    Histogram,
}

/// One figure.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Names and values of its labels.
    pub labels: Vec<(&'static str, String)>,
    /// What it is.
    pub value: Value,
}

/// The value of a figure.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Times(Histogram),
}

impl Snapshot {
    /// Takes the figures of a server.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn of(server: &Server) -> outlast_core::Result<Self> {
        let handle = server.handle();
        let stats = handle.stats().await?;
        let controls = handle.controls().await?;
        let figures = handle.figures();
        let config = server.config();
        let mut list = List::default();
        list.family(
            "outlast_info",
            Kind::Gauge,
            "The server, its version and its store.",
        );
        let labels = [
            ("name", config.name.as_str()),
            ("version", config.version.as_str()),
            ("store", handle.store_info().kind),
        ];
        list.number(&labels, 1.0);
        list.family(
            "outlast_start_time_seconds",
            Kind::Gauge,
            "When this process began, in seconds since 1970.",
        );
        list.number(&[], figures.since.as_millis() as f64 / 1000.0);
        add_tasks(&mut list, &stats);
        list.family(
            "outlast_no_worker",
            Kind::Gauge,
            "1 for each tool version of which tasks stand ready and that no living worker runs.",
        );
        for one in handle.unserved().await? {
            let labels = [
                ("tool", one.tool.as_str()),
                ("version", one.version.as_str()),
            ];
            list.number(&labels, 1.0);
        }
        list.family(
            "outlast_paused",
            Kind::Gauge,
            "1 for each tool whose tasks are paused; for all of them the tool is *.",
        );
        for queue in &controls.paused {
            let tool = match queue {
                Queue::All => "*",
                Queue::Tool(tool) => tool,
            };
            list.number(&[("tool", tool)], 1.0);
        }
        add_figures(&mut list, &figures);
        list.family(
            "outlast_mcp_requests_total",
            Kind::Counter,
            "Requests of the protocol, by era and method.",
        );
        for (era, method, count) in server.requests() {
            let era = match era {
                Era::Legacy => "2025-11-25",
                Era::Modern => "2026-07-28",
            };
            list.number(&[("era", era), ("method", method)], count as f64);
        }
        Ok(Self {
            since: figures.since,
            at: handle.now(),
            families: list.0,
        })
    }
}

fn add_tasks(list: &mut List, stats: &Stats) {
    // Owners are people: they are no label.
    let mut tasks = BTreeMap::new();
    let mut waiting = BTreeMap::new();
    for (kind, count) in &stats.counts {
        let key = (
            kind.tool.as_str(),
            kind.phase.as_str(),
            kind.standing.status(Era::Modern).as_str(),
        );
        *tasks.entry(key).or_default() += count;
        let queued = if kind.phase == Phase::Queued {
            *count
        } else {
            0
        };
        *waiting.entry(kind.tool.as_str()).or_default() += queued;
    }
    list.family(
        "outlast_tasks",
        Kind::Gauge,
        "Tasks in the store, by tool, phase and status.",
    );
    for ((tool, phase, status), count) in tasks {
        let count: u64 = count;
        let labels = [("tool", tool), ("phase", phase), ("status", status)];
        list.number(&labels, count as f64);
    }
    list.family(
        "outlast_queue_depth",
        Kind::Gauge,
        "Tasks that are ready and wait for a worker or for room under a limit, by tool.",
    );
    for (tool, count) in waiting {
        let count: u64 = count;
        list.number(&[("tool", tool)], count as f64);
    }
}

/// Name, help and value of each counter of a tool.
type Counter = (&'static str, &'static str, fn(&ToolFigures) -> u64);

const COUNTERS: [Counter; 3] = [
    (
        "outlast_tasks_created_total",
        "Tasks created by callers of this process, without children and what schedules create.",
        |tool| tool.created,
    ),
    (
        "outlast_attempts_total",
        "Attempts begun by this process, each entry after a wait too.",
        |tool| tool.attempts,
    ),
    (
        "outlast_attempts_retried_total",
        "Attempts that failed and are followed by another.",
        |tool| tool.retries,
    ),
];

/// Name, help and value of each distribution of a tool.
type Times = (&'static str, &'static str, fn(&ToolFigures) -> &Histogram);

const TIMES: [Times; 2] = [
    (
        "outlast_task_waiting_seconds",
        "From when a task could run to its first start.",
        |tool| &tool.waiting,
    ),
    (
        "outlast_task_running_seconds",
        "From the first start of a task to its end, with what it waited in between.",
        |tool| &tool.running,
    ),
];

fn add_figures(list: &mut List, figures: &Figures) {
    for (name, help, of) in COUNTERS {
        list.family(name, Kind::Counter, help);
        for (tool, all) in &figures.tools {
            list.number(&[("tool", tool)], of(all) as f64);
        }
    }
    list.family(
        "outlast_tasks_ended_total",
        Kind::Counter,
        "Tasks that ended in this process, by outcome; error is a tool's own.",
    );
    for (tool, all) in &figures.tools {
        for (outcome, count) in &all.ended {
            let labels = [("tool", tool.as_str()), ("outcome", outcome)];
            list.number(&labels, *count as f64);
        }
    }
    for (name, help, of) in TIMES {
        list.family(name, Kind::Histogram, help);
        for (tool, all) in &figures.tools {
            list.times(("tool", tool), of(all));
        }
    }
    list.family(
        "outlast_leases_lost_total",
        Kind::Counter,
        "Runs that were taken from this process.",
    );
    list.number(&[], figures.leases_lost as f64);
    list.family(
        "outlast_webhook_attempts_total",
        Kind::Counter,
        "Attempts to deliver webhooks, by what came of them; gone is a receiver that wants no more.",
    );
    for (result, count) in &figures.webhooks {
        list.number(&[("result", result)], *count as f64);
    }
    list.family(
        "outlast_slots",
        Kind::Gauge,
        "How many tasks this process runs at a time.",
    );
    list.number(&[], figures.slots as f64);
    list.family(
        "outlast_slots_taken",
        Kind::Gauge,
        "How many of these are taken.",
    );
    list.number(&[], figures.slots_taken as f64);
    list.family(
        "outlast_store_call_seconds",
        Kind::Histogram,
        "How long the store took for a call, with the wait for its turn.",
    );
    for (call, times) in &figures.store {
        list.times(("call", call), times);
    }
}

/// The list as it grows: figures belong to the family that was begun last.
#[derive(Default)]
struct List(Vec<Family>);

impl List {
    fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) {
        let samples = Vec::new();
        self.0.push(Family {
            name,
            help,
            kind,
            samples,
        });
    }

    fn number(&mut self, labels: &[(&'static str, &str)], value: f64) {
        self.add(labels, Value::Number(value));
    }

    fn times(&mut self, label: (&'static str, &str), times: &Histogram) {
        self.add(&[label], Value::Times(times.clone()));
    }

    fn add(&mut self, labels: &[(&'static str, &str)], value: Value) {
        let labels = labels
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let labels = labels.collect();
        let family = self.0.last_mut().expect("a family was begun");
        family.samples.push(Sample { labels, value });
    }
}
