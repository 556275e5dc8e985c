//! What can be done to a store, drawn at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::shape::{Shape, then};
use super::world::{
    KEYS, LEASE, RULES, TASKS, TOOLS, WORKERS, keys, label, moment, task_id, value, worker_id,
};
use crate::clock::Timestamp;
use crate::id::Owner;
use crate::input::{Answer, InputRequest};
use crate::journal::{JournalKind, Recorded};
use crate::json::RawJson;
use crate::limit::{Control, Queue, Rule};
use crate::log::{Level, LogLine};
use crate::machine::{AttemptEnd, CancelMode};
use crate::no_worker::Missing;
use crate::outcome::{Failure, FailureReason, Outcome, ToolResult};
use crate::progress::Progress;
use crate::same::Same;
use crate::status::{Phase, Standing};
use crate::store::{ClaimBy, Filter, ToolVersion};
use crate::task::Awaiting;
use crate::testing::Random;
use crate::webhook::{DeliveryEnd, GIVE_UP_AFTER, Tried};

/// One command. Numbers stand for tasks and for recent leases.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Create {
        task: u64,
        shape: Box<Shape>,
        claim: Option<(bool, By)>,
    },
    Claim {
        by: By,
        limit: usize,
    },
    Heartbeat {
        leases: Vec<u64>,
        length: Duration,
    },
    Report {
        lease: u64,
        progress: Progress,
    },
    JournalPut {
        lease: u64,
        kind: JournalKind,
        name: &'static str,
        hash: Option<u64>,
        recorded: Recorded,
    },
    Ask {
        lease: u64,
        questions: Vec<(&'static str, Option<Duration>)>,
    },
    Suspend {
        lease: u64,
        inputs: Vec<&'static str>,
        signals: Vec<(&'static str, u64)>,
        children: Vec<u64>,
        until: Option<Duration>,
    },
    Spawn {
        lease: u64,
        name: &'static str,
        hash: Option<u64>,
        task: u64,
        shape: Box<Shape>,
        detached: bool,
    },
    Signal {
        task: u64,
        name: &'static str,
        id: Option<&'static str>,
        payload: RawJson,
    },
    Signals {
        task: u64,
        name: &'static str,
        after: u64,
        limit: usize,
    },
    Finish {
        lease: u64,
        end: End,
        next: Option<By>,
    },
    Answer {
        task: u64,
        answers: BTreeMap<String, Answer>,
    },
    /// Somebody has seen who is alive.
    NoWorker {
        tasks: Vec<u64>,
        missing: Option<Missing>,
    },
    Cancel {
        task: u64,
        reason: Option<String>,
        mode: CancelMode,
    },
    Delete {
        task: u64,
    },
    Control {
        changes: Vec<Control>,
    },
    Tick {
        alive: Vec<u64>,
        budget: usize,
    },
    /// What came of a delivery that a tick handed out.
    Delivered {
        taken: u64,
        end: DeliveryEnd,
    },
    Recover {
        worker: u64,
    },
    LogAppend {
        lease: u64,
        lines: Vec<LogLine>,
    },
    LogRead {
        task: u64,
        offset: u64,
        limit: usize,
    },
    Events {
        task: u64,
        after: u64,
        limit: usize,
    },
    List {
        filter: Filter,
        before: Option<u64>,
        limit: usize,
    },
    RecordPut {
        key: &'static str,
        value: u8,
        expires: Option<Duration>,
    },
    RecordInit {
        key: &'static str,
        value: u8,
    },
    RecordGet {
        key: &'static str,
    },
    Advance {
        by: Duration,
    },
    Reopen,
}

/// Who claims.
#[derive(Clone, Debug)]
pub(super) struct By {
    worker: u64,
    tools: u64,
    suspects: bool,
}

/// The end of an attempt; times count from the moment of the command.
#[derive(Clone, Debug)]
pub(super) enum End {
    Done(Outcome),
    Retry(Duration),
    Release,
    CleanedUp,
}

impl By {
    pub(super) fn claim_by(&self) -> ClaimBy {
        let known = [("a", "1"), ("a", "2"), ("b", "1")];
        let tools = known
            .iter()
            .enumerate()
            .filter(|(index, _)| self.tools & (1 << index) != 0)
            .map(|(_, (tool, version))| ToolVersion {
                tool: (*tool).into(),
                version: (*version).into(),
            });
        ClaimBy {
            worker: worker_id(self.worker),
            tools: Arc::new(tools.collect()),
            lease: LEASE,
            suspects: self.suspects,
        }
    }

    fn draw(random: &mut Random) -> Self {
        Self {
            worker: random.below(WORKERS),
            tools: random.pick(&[7, 7, 7, 1, 4, 6, 0]),
            suspects: !random.one_in(3),
        }
    }
}

impl End {
    pub(super) fn at(&self, now: Timestamp) -> AttemptEnd {
        match self {
            Self::Done(outcome) => AttemptEnd::Done(outcome.clone()),
            Self::Retry(wait) => AttemptEnd::Retry {
                message: "once more".into(),
                at: now + *wait,
            },
            Self::Release => AttemptEnd::Release,
            Self::CleanedUp => AttemptEnd::CleanedUp,
        }
    }

    fn draw(random: &mut Random) -> Self {
        match random.below(9) {
            0 => Self::Release,
            8 => Self::CleanedUp,
            1 => Self::Retry(moment(random)),
            2 => Self::Done(Outcome::Failed(Failure::internal(
                FailureReason::Error,
                "no",
            ))),
            3 => Self::Done(Outcome::Cancelled { reason: None }),
            4 => Self::Done(Outcome::Completed(ToolResult::error("no"))),
            _ => Self::Done(Outcome::Completed(ToolResult::text("yes"))),
        }
    }
}

fn delivery_end(random: &mut Random) -> DeliveryEnd {
    let tried = Tried {
        took: moment(random),
        status: random.one_in(2).then_some(503),
        error: random.one_in(2).then(|| "no".into()),
    };
    let after = match random.below(6) {
        0 => GIVE_UP_AFTER,
        _ => moment(random),
    };
    match random.below(7) {
        0 | 1 => DeliveryEnd::Delivered(tried),
        2 => DeliveryEnd::Gone(tried),
        3 => DeliveryEnd::Later { after },
        4 => DeliveryEnd::Resend,
        _ => DeliveryEnd::Retry { tried, after },
    }
}

fn missing(random: &mut Random) -> Missing {
    Missing {
        requires: keys(random, 1).into_iter().map(str::to_owned).collect(),
        timeout: random.one_in(4).then(|| moment(random)),
    }
}

fn control(random: &mut Random) -> Control {
    let queue = random.pick(&["a", "b", ""]);
    let queue = match queue {
        "" => Queue::All,
        tool => Queue::Tool(tool.into()),
    };
    match random.below(8) {
        0 => Control::Pause(queue),
        1 => Control::Resume(queue),
        2 => Control::Rule(random.pick(&RULES).into(), None),
        _ => {
            let rule = match random.below(3) {
                0 => Rule::Rate(
                    random
                        .pick(&["1/s", "2/min", "3/h burst 1"])
                        .parse()
                        .expect("a rate"),
                ),
                1 => Rule::Queued(random.below(4)),
                _ => Rule::Running(1 + random.pick(&[0, 0, 1, 2])),
            };
            Control::Rule(random.pick(&RULES).into(), Some(rule))
        }
    }
}

impl Command {
    /// Random rules, most of them limits.
    pub(super) fn draw_rules(random: &mut Random) -> Self {
        let limit = |name: &&str| Control::Rule((*name).into(), Some(Rule::Running(1)));
        let mut changes: Vec<_> = RULES[..2].iter().map(limit).collect();
        changes.extend((0..3).map(|_| control(random)));
        Self::Control { changes }
    }

    /// A random command of a world in which all calls mean the same work.
    pub(super) fn draw_alike(random: &mut Random) -> Self {
        let mut command = Self::draw(random);
        if let Self::Create { shape, .. } = &mut command {
            let key = KEYS[0].into();
            shape.same = Some(Same {
                key,
                then: then(random),
            });
            (shape.tool, shape.version, shape.owner) = (TOOLS[0], "1", "local");
            shape.after.truncate(1);
        }
        command
    }

    /// A random command.
    pub(super) fn draw(random: &mut Random) -> Self {
        let task = random.below(TASKS);
        let lease = random.below(4);
        match random.below(100) {
            0..18 => Self::Create {
                task,
                shape: Box::new(Shape::draw(random)),
                claim: (!random.one_in(3)).then(|| (random.one_in(6), By::draw(random))),
            },
            18..20 => Self::NoWorker {
                tasks: (0..random.below(TASKS))
                    .map(|_| random.below(TASKS))
                    .collect(),
                missing: (!random.one_in(3)).then(|| missing(random)),
            },
            20..32 => Self::Claim {
                by: By::draw(random),
                limit: random.pick(&[1, 1, 1, 2, 5, 0]),
            },
            32..35 => Self::Heartbeat {
                leases: (0..random.below(4)).map(|_| random.below(6)).collect(),
                length: moment(random),
            },
            35..39 => Self::Report {
                lease,
                progress: Progress {
                    done: f64::from(u32::try_from(random.below(5)).expect("small")) / 3.0,
                    total: random.one_in(2).then_some(0.1),
                    message: random.one_in(3).then(|| "at work".into()),
                    ..Progress::default()
                },
            },
            39..41 => Self::Spawn {
                lease,
                name: random.pick(&KEYS),
                hash: random.one_in(4).then(|| random.below(2)),
                task,
                shape: Box::new(Shape::draw(random)),
                detached: random.one_in(4),
            },
            41..44 => {
                let kind = random.pick(&[
                    JournalKind::Step,
                    JournalKind::Value,
                    JournalKind::Undo,
                    JournalKind::Undone,
                    JournalKind::Label,
                    JournalKind::Begun,
                ]);
                Self::JournalPut {
                    lease,
                    kind,
                    name: random.pick(&KEYS),
                    hash: random.one_in(4).then(|| random.below(2)),
                    recorded: match kind {
                        JournalKind::Label if !random.one_in(8) => Recorded::Value(label(random)),
                        _ if random.one_in(4) => Recorded::Error(value(random)),
                        _ => Recorded::Value(value(random)),
                    },
                }
            }
            44..48 => Self::Ask {
                lease,
                questions: keys(random, 3)
                    .into_iter()
                    .map(|key| (key, random.one_in(2).then(|| moment(random))))
                    .collect(),
            },
            48..53 => Self::Suspend {
                lease,
                inputs: keys(random, 2),
                signals: keys(random, 1)
                    .into_iter()
                    .map(|name| (name, random.below(2)))
                    .collect(),
                children: (0..random.below(3)).map(|_| random.below(TASKS)).collect(),
                until: random.one_in(3).then(|| moment(random)),
            },
            53..62 => Self::Finish {
                lease,
                end: End::draw(random),
                next: random.one_in(2).then(|| By::draw(random)),
            },
            62..64 => Self::Signal {
                task,
                name: random.pick(&KEYS[..2]),
                id: random.one_in(2).then(|| random.pick(&KEYS[..3])),
                payload: value(random),
            },
            64..67 => Self::Answer {
                task,
                answers: keys(random, 3)
                    .into_iter()
                    .map(|key| (key.to_owned(), Answer::Given(value(random))))
                    .collect(),
            },
            67..71 => Self::Cancel {
                task,
                reason: random.one_in(2).then(|| "enough".into()),
                mode: match random.below(4) {
                    0 => CancelMode::Force,
                    1 => CancelMode::Stopped,
                    _ => CancelMode::Ask(moment(random)),
                },
            },
            71 => Self::Delete { task },
            72 => Self::Control {
                changes: (0..=random.below(2)).map(|_| control(random)).collect(),
            },
            73 => Self::Delivered {
                taken: random.below(3),
                end: delivery_end(random),
            },
            74..79 => Self::Tick {
                alive: (0..random.below(3)).map(|_| random.below(4)).collect(),
                budget: random.pick(&[1, 2, 100]),
            },
            79..81 => Self::Recover {
                worker: random.below(WORKERS + 1),
            },
            81..85 => Self::LogAppend {
                lease,
                lines: (0..random.below(3))
                    .map(|_| LogLine {
                        level: random.pick(&Level::ALL),
                        logger: random.pick(&["", "stdout"]).into(),
                        text: vec![b'.'; random.index(9)],
                        mark: random.one_in(2).then(|| random.below(9)),
                    })
                    .collect(),
            },
            85..87 => Self::LogRead {
                task,
                offset: random.below(20),
                limit: random.index(12),
            },
            87 if random.one_in(2) => Self::Signals {
                task,
                name: random.pick(&KEYS[..2]),
                after: random.below(3),
                limit: random.index(4),
            },
            87 => Self::Events {
                task,
                after: random.below(6),
                limit: random.index(6),
            },
            88..91 => Self::List {
                filter: filter(random),
                before: random.one_in(3).then(|| random.below(12)),
                limit: random.index(6),
            },
            91..92 => Self::RecordPut {
                key: random.pick(&KEYS[..2]),
                value: u8::try_from(random.below(9)).expect("small"),
                expires: random.one_in(2).then(|| moment(random)),
            },
            92..93 => Self::RecordInit {
                key: random.pick(&KEYS[..2]),
                value: u8::try_from(random.below(9)).expect("small"),
            },
            93..94 => Self::RecordGet {
                key: random.pick(&KEYS[..2]),
            },
            94..99 => Self::Advance { by: moment(random) },
            _ => Self::Reopen,
        }
    }
}

fn filter(random: &mut Random) -> Filter {
    let phases = [
        Phase::Scheduled,
        Phase::Queued,
        Phase::Blocked,
        Phase::Running,
        Phase::Suspended,
        Phase::Finished,
    ];
    Filter {
        owner: random
            .one_in(3)
            .then(|| Owner::new(random.pick(&["ann", "local"]))),
        parent: random.one_in(4).then(|| task_id(random.below(TASKS))),
        tool: random.one_in(3).then(|| random.pick(&TOOLS).to_owned()),
        phases: (0..random.below(3)).map(|_| random.pick(&phases)).collect(),
        standings: (0..random.below(3))
            .map(|_| random.pick(&Standing::ALL))
            .collect(),
        text: random
            .one_in(8)
            .then(|| random.pick(&["ann", "TOOL", "1"]).to_owned()),
        oldest_first: random.one_in(4),
        ..Filter::default()
    }
}

/// The questions of an `Ask` at the time `now`.
pub(super) fn questions(
    keys: &[(&'static str, Option<Duration>)],
    now: Timestamp,
) -> Vec<InputRequest> {
    keys.iter()
        .map(|(key, wait)| InputRequest {
            expires_at: wait.map(|wait| now + wait),
            ..InputRequest::new(*key, "elicitation/create", RawJson::empty_object())
        })
        .collect()
}

/// The wish of a `Suspend` at the time `now`.
pub(super) fn awaiting(
    inputs: &[&'static str],
    signals: &[(&'static str, u64)],
    children: &[u64],
    until: Option<Duration>,
    now: Timestamp,
) -> Awaiting {
    let signals = signals
        .iter()
        .map(|(name, read)| ((*name).to_owned(), *read));
    Awaiting {
        signals: signals.collect(),
        children: children.iter().copied().map(task_id).collect(),
        inputs: inputs.iter().map(|key| (*key).to_owned()).collect(),
        until: until.map(|wait| now + wait),
    }
}
