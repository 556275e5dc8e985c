//! The pure state machine under chance: whatever is done to a record, the invariants hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outlast_core::event::{EventKind, RescueReason};
use outlast_core::id::WorkerId;
use outlast_core::input::{Answer, InputRequest};
use outlast_core::journal::{JournalSize, MAX_ENTRIES, MAX_ENTRY_BYTES};
use outlast_core::machine::{
    AttemptEnd, CancelMode, Cancelled, Consequence, Dependency, Due, JournalRefused, Rescue,
    Suspended,
};
use outlast_core::same::{Same, Then};
use outlast_core::status::Phase;
use outlast_core::task::{Awaiting, Lease, MAX_RETENTION};
use outlast_core::testing::{Random, count, seed};
use outlast_core::webhook::{DeliveryEnd, Receiver, Tried, Webhook, WebhookEvent};
use outlast_core::{
    Cleanup, Event, FailureReason, JournalEntry, JournalKind, Outcome, Progress, RawJson, Recorded,
    Task, TaskId, TaskSpec, TaskStatus, Timestamp, ToolResult,
};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// A record, everything that ever happened to it, and every lease ever given on it.
struct World {
    task: Task,
    now: Timestamp,
    events: Vec<Event>,
    leases: Vec<Lease>,
    asked: BTreeSet<String>,
    answers: BTreeMap<String, Answer>,
    nonce: u64,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let mut spec = TaskSpec::new("tool", RawJson::empty_object());
        spec.run_at = random.one_in(4).then(|| now + moment(random));
        spec.ttl = random.one_in(3).then(|| moment(random));
        spec.retention = if random.one_in(9) {
            Duration::MAX
        } else {
            moment(random)
        };
        spec.max_age = if random.one_in(4) {
            moment(random)
        } else {
            Duration::from_secs(1 << 40)
        };
        spec.queue_timeout = random.one_in(4).then(|| moment(random));
        if random.one_in(3) {
            spec.webhooks.push(Webhook {
                to: Receiver::Server("hook".into()),
                events: WebhookEvent::ALL.into(),
            });
        }
        spec.repeatable = !random.one_in(4);
        spec.max_crashes = match u32::try_from(random.below(5)).expect("small") {
            4 => u32::MAX,
            crashes => crashes,
        };
        for number in 0..random.below(3) {
            let task = task_id(u8::try_from(number).expect("small"));
            spec.after.push(match random.one_in(2) {
                true => Dependency::success(task),
                false => Dependency::any_end(task),
            });
        }
        let (task, event) = Task::create(Arc::new(spec), 1, now);
        Self {
            task,
            now,
            events: vec![event],
            leases: Vec::new(),
            asked: BTreeSet::new(),
            answers: BTreeMap::new(),
            nonce: 0,
        }
    }

    /// A lease: often the present one, else an old or a made-up one.
    fn lease(&self, random: &mut Random) -> Lease {
        match (self.task.lease(), random.below(6)) {
            (Some(lease), 0..4) => lease,
            (_, 4) if !self.leases.is_empty() => random.pick(&self.leases),
            _ => Lease {
                task: self.task.id(),
                epoch: random.below(5),
                nonce: random.below(3),
            },
        }
    }

    /// One random verb. Returns its events.
    fn step(&mut self, random: &mut Random) -> Vec<Event> {
        let now = self.now;
        let before = self.task.clone();
        let lease = self.lease(random);
        let held = before.lease() == Some(lease);
        let verb = random.below(17);
        let mut refused = false;
        let mut fenced = |result: Result<Vec<Event>, _>| match result {
            Ok(events) => {
                assert!(held, "I1: only under the present lease");
                events
            }
            Err(outlast_core::machine::LeaseLost) => {
                assert!(
                    !held || before.is_finished(),
                    "the present lease is never refused, but for an attempt that is over"
                );
                refused = true;
                Vec::new()
            }
        };
        let task = &mut self.task;
        let events = match verb {
            0 | 1 => {
                self.nonce += 1;
                let claimed = task.claim(WorkerId::random(), self.nonce, moment(random), now);
                assert_eq!(claimed.is_some(), before.state.phase == Phase::Queued);
                claimed
                    .map(|(lease, event)| {
                        assert!(task.holds(&lease));
                        assert!(!self.leases.contains(&lease));
                        self.leases.push(lease);
                        event
                    })
                    .into_iter()
                    .collect()
            }
            2 => fenced(task.renew(&lease, moment(random), now).map(|_| Vec::new())),
            3 => {
                let progress = Progress {
                    done: random.pick(&[0.0, 1.0, 2.5, -1.0, f64::NAN, f64::INFINITY]),
                    total: random.one_in(2).then_some(random.pick(&[4.0, f64::NAN])),
                    message: random.one_in(2).then(|| "m".to_owned()),
                    ..Progress::default()
                };
                fenced(task.report(&lease, progress, now).map(Vec::from_iter))
            }
            4 => {
                let entry = entry(random, now);
                match task.journaled(&lease, &entry, now) {
                    Err(JournalRefused::Full(sentence) | JournalRefused::Invalid(sentence)) => {
                        panic!("{sentence}")
                    }
                    Err(JournalRefused::LeaseLost) => fenced(Err(outlast_core::machine::LeaseLost)),
                    Ok(event) => fenced(Ok(Vec::from_iter(event))),
                }
            }
            5 => {
                let questions: Vec<_> = (0..random.below(3))
                    .map(|_| {
                        let key = random.pick(&KEYS);
                        let expires_at = random.one_in(2).then(|| now + moment(random));
                        InputRequest {
                            expires_at,
                            ..InputRequest::new(key, "elicitation/create", RawJson::empty_object())
                        }
                    })
                    .collect();
                fenced(task.ask(&lease, questions, now).map(Vec::from_iter))
            }
            6 => {
                let awaiting = Awaiting {
                    inputs: (0..random.below(3))
                        .map(|_| random.pick(&KEYS).to_owned())
                        .collect(),
                    children: (0..random.below(2)).map(|_| task_id(7)).collect(),
                    signals: (0..random.below(2))
                        .map(|read| (random.pick(&KEYS).to_owned(), read))
                        .collect(),
                    until: random.one_in(2).then(|| now + moment(random)),
                };
                let suspended = task.suspend(&lease, awaiting, false, now);
                fenced(suspended.map(|suspended| match suspended {
                    Suspended::Resolved => Vec::new(),
                    Suspended::Waiting(event) => vec![event],
                }))
            }
            7 => {
                let end = match random.below(6) {
                    0 => AttemptEnd::Release,
                    1 => AttemptEnd::Retry {
                        message: "again".into(),
                        at: now + moment(random),
                    },
                    2 => AttemptEnd::CleanedUp,
                    3 => AttemptEnd::Done(Outcome::Completed(ToolResult::error("x"))),
                    _ => AttemptEnd::Done(Outcome::Completed(ToolResult::text("x"))),
                };
                match task.finish(&lease, end, now) {
                    // The end may be reported again under the lease that ended it.
                    Ok(None) => {
                        assert!(before.is_finished() && before.state.ended_by == Some(lease.nonce));
                        Vec::new()
                    }
                    other => fenced(other.map(Vec::from_iter)),
                }
            }
            8 => {
                let answers: BTreeMap<_, _> = (0..random.below(3))
                    .map(|_| {
                        let given = RawJson::of(&random.below(9)).expect("JSON");
                        (random.pick(&KEYS).to_owned(), Answer::Given(given))
                    })
                    .collect();
                let answered = task.answer(answers.clone(), now);
                for key in &answered.accepted {
                    assert!(self.asked.contains(key), "never asked");
                    assert!(!self.answers.contains_key(key), "the first answer wins");
                    self.answers.insert(key.clone(), answers[key].clone());
                }
                assert_eq!(
                    answered.accepted.len() + answered.ignored.len(),
                    answers.len()
                );
                answered.events
            }
            9 => {
                let mode = match random.below(3) {
                    0 => CancelMode::Force,
                    1 => CancelMode::Stopped,
                    _ => CancelMode::Ask(moment(random)),
                };
                match task.cancel(Some("r".into()), mode, now) {
                    Cancelled::AlreadyFinished => {
                        assert!(before.is_finished());
                        Vec::new()
                    }
                    Cancelled::Now(event) => vec![event],
                    Cancelled::Requested(None) if mode == CancelMode::Stopped => {
                        assert!(!before.is_stopping());
                        assert_eq!(*task, before);
                        Vec::new()
                    }
                    Cancelled::Requested(event) => {
                        let runs = task.state.phase == Phase::Running;
                        assert!(runs || task.state.begun && task.is_stopping());
                        event.into_iter().collect()
                    }
                }
            }
            14 => {
                let mut child = TaskSpec::new("tool", RawJson::empty_object());
                let detached = random.one_in(3);
                let entry = JournalEntry::child("c", None, child.id, now);
                let spawned = task
                    .adopt(&lease, &mut child, detached)
                    .and_then(|()| task.spawn(&lease, &child, &entry, now));
                match spawned {
                    Ok(events) => {
                        assert!(held && !before.is_finished(), "I1");
                        assert_eq!(child.attached_to().is_none(), detached);
                        events
                    }
                    Err(_) => {
                        assert!(!held || before.is_finished());
                        assert_eq!(*task, before, "a refusal changes nothing");
                        Vec::new()
                    }
                }
            }
            15 if before.state.children.attached() > before.state.children.ended => {
                let waited = before.state.awaiting.as_ref();
                let waited = waited.is_some_and(|waited| waited.children.contains(&task_id(7)));
                let events = task.child_ended(task_id(7), TaskStatus::Completed, now);
                if waited {
                    assert_eq!(task.state.phase, Phase::Queued, "its end wakes the parent");
                }
                events
            }
            16 => {
                let ended = random.one_in(2);
                let parent = task_id(8);
                let stopped = Consequence::ParentStopped { parent, ended };
                let events = task.follow(&stopped, now);
                if before.is_finished() {
                    // The retention of a child begins to count with the end of its parent.
                    assert!(task.state.expire_at <= before.state.expire_at);
                    task.state.expire_at = before.state.expire_at;
                }
                events
            }
            13 => match task.signal(random.pick(&KEYS), now) {
                Ok((number, events)) => {
                    let total = |task: &Task| task.state.signals.values().sum::<u64>();
                    assert_eq!(total(task), total(&before) + 1);
                    assert!(number >= 1);
                    assert_ne!(task.state.phase, Phase::Finished);
                    events
                }
                Err(_) => {
                    assert_eq!(*task, before, "a refusal changes nothing");
                    Vec::new()
                }
            },
            12 if before.state.phase != Phase::Running => {
                let dependency = task_id(random.pick(&[0, 1, 2]));
                let ends = [
                    TaskStatus::Completed,
                    TaskStatus::Failed,
                    TaskStatus::Cancelled,
                ];
                let status = random.pick(&ends);
                let events = task.dependency_ended(dependency, status, now);
                if task.state.blocked == before.state.blocked {
                    assert!(events.is_empty(), "no edge, no change");
                }
                if task.is_finished() && !before.is_finished() {
                    assert!(status != TaskStatus::Completed);
                }
                events
            }
            10 if before.state.phase == Phase::Running => {
                let reason = random.pick(&[
                    RescueReason::Crash,
                    RescueReason::Reboot,
                    RescueReason::LeaseExpired,
                ]);
                let rescue = Rescue {
                    reason,
                    to_blame: random.one_in(2),
                };
                let event = task.rescue(rescue, now);
                let crashed = reason == RescueReason::Crash && rescue.to_blame;
                let counted = task.state.crashes > before.state.crashes;
                assert!(
                    !counted || crashed,
                    "only a crash it is to blame for counts"
                );
                vec![event]
            }
            _ => {
                let due = task.due(now);
                if before.due_at() > now {
                    assert_eq!(due, Due::Nothing);
                }
                match due {
                    Due::Nothing => Vec::new(),
                    Due::Changed(events) => {
                        assert!(!events.is_empty(), "I7: what is due is done");
                        events
                    }
                    Due::Deliver(taken) => {
                        assert_eq!(task.state.version, before.state.version);
                        for one in taken {
                            let ended = task.delivery_ended(one, delivered(random), now);
                            // What is pending for one that wants no more has been given up.
                            assert!(ended || task.state.gone_webhooks.contains(&one.webhook));
                        }
                        Vec::new()
                    }
                    Due::Delete => {
                        assert!(before.state.expire_at.is_some_and(|at| at <= now));
                        Vec::new()
                    }
                }
            }
        };
        if refused {
            assert_eq!(self.task, before, "a refusal changes nothing");
        }
        if before.is_finished() {
            let (now, then) = (&self.task, &before);
            assert_eq!(now.outcome, then.outcome, "I2: finished is final");
            assert_eq!(now.state.expire_at, then.state.expire_at);
            assert_eq!(now.state.progress, then.state.progress);
            assert_eq!(now.state.attempt, then.state.attempt);
            let mut told = self.task.clone();
            told.state.deliveries.clone_from(&before.state.deliveries);
            told.state
                .gone_webhooks
                .clone_from(&before.state.gone_webhooks);
            assert!(before.is_cleaning_up() || told == before);
        }
        self.check(&before, &events);
        events
    }

    fn check(&mut self, before: &Task, events: &[Event]) {
        let (task, state) = (&self.task, &self.task.state);
        for event in events {
            assert_eq!(event.number, self.events.len() as u64 + 1, "I6: no gap");
            assert_eq!((event.task, event.at), (task.id(), self.now));
            if let EventKind::InputRequired { keys } = &event.kind {
                for key in keys {
                    assert!(self.asked.insert(key.clone()), "I9: a key is used once");
                }
            }
            self.events.push(event.clone());
        }
        assert_eq!(
            state.version,
            self.events.len() as u64,
            "I6: one event a version"
        );
        assert_eq!(
            task.is_finished(),
            state.phase == Phase::Finished || task.is_cleaning_up()
        );
        assert_eq!(state.held.is_some(), state.phase == Phase::Running);
        assert_eq!(state.awaiting.is_some(), state.phase == Phase::Suspended);
        assert_eq!(state.expire_at.is_some(), task.is_finished());
        if state.cleanup == Cleanup::Done {
            assert!(state.undos == 0 && !state.undo_failed, "done means all");
        }
        assert!(state.phase != Phase::Scheduled || state.run_at.is_some());
        assert!(match state.phase {
            Phase::Blocked => !state.blocked.is_empty(),
            Phase::Scheduled => true,
            _ => state.blocked.is_empty(),
        });
        assert!(state.epoch >= before.state.epoch, "epochs only grow");
        assert!(state.attempt >= before.state.attempt);
        assert!(state.progress.done >= before.state.progress.done);
        assert!(state.progress.done.is_finite());
        assert_eq!(state.sequence, 1, "I4: the place is kept");
        assert_eq!(*task.spec, *before.spec);
        if let Some(expire_at) = state.expire_at {
            let ended = state.finished_at.expect("it has ended");
            assert!(expire_at >= ended + task.spec.retention.min(MAX_RETENTION));
            assert!(expire_at <= ended + MAX_RETENTION);
        }
        for input in &state.inputs {
            let key = &input.request.key;
            if let (Some(Answer::Given(_)), Some(answer)) = (&input.answer, self.answers.get(key)) {
                assert_eq!(input.answer.as_ref(), Some(answer), "answers never change");
            }
        }
        // What is stored and read again is the same record.
        let text = serde_json::to_string(state).expect("JSON");
        let again: outlast_core::task::TaskState =
            serde_json::from_str(&text).expect("its own text");
        assert_eq!(&again, state, "{text}");
    }
}

fn task_id(number: u8) -> TaskId {
    TaskId::from_bytes([number; 16])
}

/// A journal entry with a name of its own.
fn entry(random: &mut Random, at: Timestamp) -> JournalEntry {
    JournalEntry {
        kind: random.pick(&[JournalKind::Step, JournalKind::Undo, JournalKind::Undone]),
        name: random.below(1 << 40).to_string(),
        input_hash: None,
        recorded: if random.one_in(5) {
            Recorded::Error(RawJson::empty_object())
        } else {
            Recorded::Value(RawJson::empty_object())
        },
        at,
        took: None,
    }
}

/// What comes of telling; never a long wait.
fn delivered(random: &mut Random) -> DeliveryEnd {
    let after = Duration::from_secs(24 * 60 * 60 / 4);
    match random.below(4) {
        0 => DeliveryEnd::Delivered(Tried::default()),
        1 => DeliveryEnd::Gone(Tried::default()),
        2 => DeliveryEnd::Later { after },
        _ => DeliveryEnd::Retry {
            tried: Tried::default(),
            after,
        },
    }
}

fn moment(random: &mut Random) -> Duration {
    let millis = [0, 1, 999, 1000, 30_000, 3_600_000];
    Duration::from_millis(random.pick(&millis))
}

#[test]
fn invariants_hold_under_any_sequence_of_verbs() {
    let first = seed();
    let cases = count("OUTLAST_MACHINE_CASES", 3000);
    println!("OUTLAST_SEED={first}, {cases} cases");
    for seed in first..first + cases {
        let mut random = Random::new(seed);
        let run = || {
            let mut world = World::new(&mut random);
            for _ in 0..80 {
                world.step(&mut random);
                if random.one_in(3) {
                    world.now = world.now + moment(&mut random);
                }
            }
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        assert!(result.is_ok(), "failed with OUTLAST_SEED={seed}");
    }
}

/// I7: left alone, every record ends and is deleted, whatever happened to it before.
#[test]
fn everything_ends_when_it_is_left_alone() {
    let first = seed();
    println!("OUTLAST_SEED={first}");
    for seed in first..first + 500 {
        let mut random = Random::new(seed);
        let mut world = World::new(&mut random);
        for _ in 0..random.below(60) {
            world.step(&mut random);
            world.now = world.now + moment(&mut random);
        }
        let mut looks = 0;
        loop {
            looks += 1;
            assert!(
                looks < 50,
                "no end with OUTLAST_SEED={seed}: {:?}",
                world.task
            );
            world.now = world.now.max(world.task.due_at());
            match world.task.due(world.now) {
                Due::Delete => break,
                Due::Nothing => panic!("its moment has come (OUTLAST_SEED={seed})"),
                Due::Changed(events) => world.events.extend(events),
                Due::Deliver(taken) => {
                    for one in taken {
                        let end = delivered(&mut random);
                        world.task.delivery_ended(one, end, world.now);
                    }
                }
            }
        }
        assert!(world.task.is_finished());
    }
}

#[test]
fn crashes_in_a_row_end_a_task_and_a_journal_entry_forgives_them() {
    let now = Timestamp::from_millis(0);
    let mut spec = TaskSpec::new("tool", RawJson::empty_object());
    spec.max_crashes = 2;
    let (mut task, _) = Task::create(Arc::new(spec), 1, now);
    let crash = |task: &mut Task| {
        let claimed = task.claim(WorkerId::random(), 1, Duration::from_secs(30), now);
        let (lease, _) = claimed.expect("it is queued");
        let rescue = Rescue::after_death(RescueReason::Crash, [&*task])(task);
        (lease, rescue)
    };
    for _ in 0..5 {
        let (_, rescue) = crash(&mut task);
        task.rescue(rescue, now);
        let (lease, rescue) = crash(&mut task);
        task.journaled(&lease, &step(1), now).unwrap();
        task.rescue(rescue, now);
        assert_eq!(task.state.crashes, 1);
        let (lease, rescue) = crash(&mut task);
        task.journaled(&lease, &step(2), now).unwrap();
        task.rescue(
            Rescue {
                to_blame: false,
                ..rescue
            },
            now,
        );
        assert_eq!(task.state.crashes, 0);
    }
    for _ in 0..2 {
        let (_, rescue) = crash(&mut task);
        task.rescue(rescue, now);
    }
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("it failed");
    };
    assert_eq!(failure.reason, FailureReason::Crashed);
}

fn step(number: u64) -> JournalEntry {
    JournalEntry {
        kind: JournalKind::Step,
        name: number.to_string(),
        input_hash: None,
        recorded: Recorded::Value(RawJson::empty_object()),
        at: Timestamp::from_millis(0),
        took: None,
    }
}

/// The limits of a journal refuse an entry and leave the record as it was, so that the task goes on
/// with what it has.
#[test]
fn a_journal_has_limits() {
    let now = Timestamp::from_millis(0);
    let spec = TaskSpec::new("tool", RawJson::empty_object());
    let (mut task, _) = Task::create(Arc::new(spec), 1, now);
    let claimed = task.claim(WorkerId::random(), 1, Duration::from_secs(30), now);
    let (lease, _) = claimed.expect("it is queued");
    let sized = |bytes: usize| JournalEntry {
        recorded: Recorded::Value(RawJson::of(&"x".repeat(bytes - 3)).expect("JSON")),
        ..step(1)
    };
    let refused = |task: &mut Task, entry: &JournalEntry| {
        let before = task.clone();
        let refused = task.journaled(&lease, entry, now);
        assert_eq!(*task, before, "a refusal changes nothing");
        match refused {
            Err(JournalRefused::Full(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    };
    let sentence = refused(&mut task, &sized(MAX_ENTRY_BYTES + 1));
    assert!(
        sentence.starts_with("step \"1\" has 4194305 bytes"),
        "{sentence}"
    );
    let largest = sized(MAX_ENTRY_BYTES);
    for _ in 0..16 {
        task.journaled(&lease, &largest, now).unwrap();
    }
    let sentence = refused(&mut task, &step(1));
    assert!(sentence.contains("67108867 bytes"), "{sentence}");
    task.state.journal = JournalSize {
        entries: MAX_ENTRIES,
        bytes: 0,
    };
    let sentence = refused(&mut task, &step(1));
    assert!(sentence.contains("entry 100001"), "{sentence}");
    // What an undo did is recorded whatever there is.
    let undone = JournalEntry {
        kind: JournalKind::Undone,
        ..step(1)
    };
    task.journaled(&lease, &undone, now).unwrap();
}

/// A clock that was set back: nothing becomes due before its moment, nothing is lost, and a lease is
/// never shortened by a renewal.
#[test]
fn a_clock_that_jumps_delays_and_loses_nothing() {
    let start = Timestamp::from_millis(1_000_000_000);
    let hour = Duration::from_secs(3600);
    let back = Timestamp::from_millis(start.as_millis() - 3_600_000);
    let spec = TaskSpec::new("tool", RawJson::empty_object());
    let (mut task, _) = Task::create(Arc::new(spec), 1, start);
    let (lease, _) = task
        .claim(WorkerId::random(), 1, hour, start)
        .expect("it is queued");
    assert!(!task.renew(&lease, Duration::from_secs(30), back).unwrap());
    assert_eq!(task.due_at(), start + hour);
    assert_eq!(task.due(back), Due::Nothing);
    let awaiting = Awaiting {
        until: Some(start + hour),
        ..Awaiting::default()
    };
    assert!(matches!(
        task.suspend(&lease, awaiting, false, back),
        Ok(Suspended::Waiting(_))
    ));
    assert_eq!(task.due(back), Due::Nothing);
    // And far ahead: everything that was due in between happens, once.
    let Due::Changed(events) = task.due(start + 5 * hour) else {
        panic!("the timer")
    };
    assert!(matches!(
        events[..],
        [Event {
            kind: EventKind::Queued,
            ..
        }]
    ));
    let (lease, _) = task
        .claim(WorkerId::random(), 2, hour, start + 5 * hour)
        .expect("ready");
    let done = AttemptEnd::Done(Outcome::Completed(ToolResult::text("x")));
    task.finish(&lease, done, back).unwrap();
    assert_eq!(task.state.finished_at, Some(back));
    assert_eq!(task.due_at(), back + task.spec.retention);
}

/// A debounced call that is put off for the last time still comes after what it was to come after.
#[test]
fn what_is_postponed_to_now_waits_for_its_dependencies() {
    let now = Timestamp::from_millis(1_000_000);
    let delay = Duration::from_secs(10);
    let mut spec = TaskSpec::new("tool", RawJson::empty_object());
    spec.after = vec![Dependency::success(task_id(1))];
    spec.same = Some(Same {
        key: "k".into(),
        then: Then::Debounce {
            delay,
            at_most: Some(delay),
        },
    });
    let newest = spec.clone();
    let (mut task, _) = Task::create(Arc::new(spec), 1, now);
    assert_eq!(task.state.phase, Phase::Scheduled);
    task.join(&newest, now + delay).expect("not started");
    assert_eq!(task.state.phase, Phase::Blocked);
    task.dependency_ended(task_id(1), TaskStatus::Completed, now + delay);
    assert_eq!(task.state.phase, Phase::Queued);
}
