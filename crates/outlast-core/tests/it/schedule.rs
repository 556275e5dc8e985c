//! Schedules: the calendar, the policies, and chance with a clock that goes any way.

use std::collections::BTreeSet;
use std::time::Duration;

use outlast_core::schedule::{
    CatchUp, MAX_CATCH_UP, MAX_OPEN, NewSchedule, ON_TIME, Overlap, Schedule,
};
use outlast_core::testing::{Random, count, seed};
use outlast_core::{RawJson, TaskId, Timestamp};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn at(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().expect("RFC 3339");
    Timestamp::from_millis(time.as_millisecond())
}

fn cron(pattern: &str) -> NewSchedule {
    NewSchedule::cron(pattern).call("tool", &RawJson::empty_object())
}

fn berlin(pattern: &str) -> NewSchedule {
    cron(pattern).time_zone("Europe/Berlin")
}

fn every(interval: Duration) -> NewSchedule {
    NewSchedule::every(interval).call("tool", &RawJson::empty_object())
}

fn created(spec: NewSchedule, now: &str) -> Schedule {
    assert_eq!(spec.check(), Ok(()));
    Schedule::create(spec, at(now))
}

fn next(spec: NewSchedule, now: &str, times: usize) -> Vec<String> {
    let upcoming = created(spec, now).upcoming(times);
    upcoming.iter().map(Timestamp::to_string).collect()
}

/// Fires as long as it is due, and ends each task at once.
fn fire_all(schedule: &mut Schedule, now: Timestamp) -> Vec<Timestamp> {
    let mut fired = Vec::new();
    while schedule.due_at().is_some_and(|due_at| due_at <= now) {
        if let Some(fire_at) = schedule.fire(Vec::new(), now) {
            schedule.started(fire_at, TaskId::random());
            fired.push(fire_at);
        }
    }
    fired
}

#[test]
fn a_zone_says_what_a_time_of_day_is() {
    // Winter and summer: the same time of day, another moment.
    assert_eq!(
        next(berlin("0 7 * * *"), "2026-03-28T00:00:00Z", 3),
        [
            "2026-03-28T06:00:00.000Z",
            "2026-03-29T05:00:00.000Z",
            "2026-03-30T05:00:00.000Z"
        ]
    );
    assert_eq!(
        next(cron("0 7 * * MON-FRI"), "2026-11-20T12:00:00Z", 1),
        ["2026-11-23T07:00:00.000Z"]
    );
}

#[test]
fn a_time_in_the_gap_fires_once_at_its_end() {
    // On 2026-03-29 there is no 02:30 in Berlin: 02:00 is 03:00.
    assert_eq!(
        next(berlin("30 2 * * *"), "2026-03-28T12:00:00Z", 2),
        ["2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]
    );
}

#[test]
fn a_time_that_comes_twice_fires_once() {
    // On 2026-10-25 there are two 02:30 in Berlin.
    assert_eq!(
        next(berlin("30 2 * * *"), "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]
    );
}

#[test]
fn a_step_goes_on_through_gap_and_overlap() {
    for from in ["2026-03-28T23:10:00Z", "2026-10-24T23:10:00Z"] {
        let times = created(berlin("*/30 * * * *"), from).upcoming(8);
        for pair in times.windows(2) {
            assert_eq!(pair[1].since(pair[0]), 30 * MINUTE, "{from}");
        }
    }
}

#[test]
fn what_is_after_and_what_is_before_agree() {
    let patterns = [
        "30 2 * * *",
        "*/17 * * * *",
        "0 0 1 * *",
        "0 */2 * * *",
        "15 1-3 * * SUN",
    ];
    for pattern in patterns {
        for (from, until) in [
            ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
            ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
        ] {
            let spec = berlin(pattern);
            let upcoming = created(spec.clone(), from).upcoming(500);
            let within: Vec<_> = upcoming
                .into_iter()
                .filter(|time| *time <= at(until))
                .collect();
            // A schedule that makes up for one alone fires the latest.
            for time in &within {
                let mut late = created(spec.clone().catch_up(CatchUp::One), from);
                assert_eq!(fire_all(&mut late, *time), [*time], "{pattern}");
            }
        }
    }
}

#[test]
fn an_interval_does_not_drift() {
    let mut schedule = created(every(HOUR), "2026-01-01T00:00:00Z");
    let start = at("2026-01-01T00:00:00Z");
    assert_eq!(schedule.due_at(), Some(start + HOUR));
    assert_eq!(
        fire_all(&mut schedule, start + HOUR + 7 * SECOND),
        [start + HOUR]
    );
    assert_eq!(schedule.due_at(), Some(start + 2 * HOUR));
}

#[test]
fn start_and_end_are_kept() {
    let (start, end) = (at("2026-01-02T00:00:00Z"), at("2026-01-02T02:00:00Z"));
    for spec in [every(HOUR), cron("0 * * * *")] {
        let spec = spec.start(start).end(end);
        assert_eq!(
            next(spec.clone(), "2026-01-01T00:00:00Z", 9),
            [
                "2026-01-02T00:00:00.000Z",
                "2026-01-02T01:00:00.000Z",
                "2026-01-02T02:00:00.000Z"
            ]
        );
        let mut schedule = created(spec.catch_up(CatchUp::One), "2026-01-01T00:00:00Z");
        assert_eq!(fire_all(&mut schedule, end + DAY), [end]);
        assert_eq!(schedule.due_at(), None, "it has ended");
    }
}

#[test]
fn what_was_missed_is_made_up_for_as_the_policy_says() {
    let start = at("2026-01-01T00:00:00Z");
    let missed = |catch_up, late| {
        let spec = every(HOUR).overlap(Overlap::Allow).catch_up(catch_up);
        let mut schedule = created(spec, "2026-01-01T00:00:00Z");
        let fired = fire_all(&mut schedule, start + late);
        assert!(schedule.due_at() > Some(start + late));
        (fired, schedule.state.note)
    };
    let (fired, note) = missed(CatchUp::Skip, 3 * HOUR + ON_TIME);
    assert_eq!(fired, [start + 3 * HOUR], "a minute late is on time");
    assert!(note.unwrap().contains("missed"));
    let (fired, note) = missed(CatchUp::Skip, 3 * HOUR + ON_TIME + SECOND);
    assert!(fired.is_empty());
    assert!(note.unwrap().contains("2026-01-01T01:00:00.000Z"));
    let (fired, _) = missed(CatchUp::One, 3 * HOUR + 30 * MINUTE);
    assert_eq!(fired, [start + 3 * HOUR]);
    let (fired, note) = missed(CatchUp::All, 3 * HOUR + 30 * MINUTE);
    assert_eq!(fired, [1, 2, 3].map(|hours| start + hours * HOUR));
    assert_eq!(note, None);
    let (fired, _) = missed(CatchUp::All, 1000 * HOUR);
    assert_eq!(fired.len(), MAX_CATCH_UP);
    assert_eq!(fired.first(), Some(&(start + 901 * HOUR)));
    assert_eq!(fired.last(), Some(&(start + 1000 * HOUR)));
}

#[test]
fn what_is_on_time_fires_however_short_the_interval_is() {
    let start = at("2026-01-01T00:00:00Z");
    let spec = every(5 * SECOND).overlap(Overlap::Allow);
    let mut schedule = created(spec.clone(), "2026-01-01T00:00:00Z");
    let fired = fire_all(&mut schedule, start + 12 * SECOND);
    assert_eq!(fired, [start + 5 * SECOND, start + 10 * SECOND]);
    assert_eq!(schedule.state.note, None);
    assert_eq!(schedule.due_at(), Some(start + 15 * SECOND));

    let mut schedule = created(spec, "2026-01-01T00:00:00Z");
    let now = start + HOUR + 2 * SECOND;
    let first = schedule.fire(Vec::new(), now);
    assert_eq!(first, Some(start + HOUR - 55 * SECOND));
    let note = schedule.state.note.clone().unwrap();
    assert!(
        note.contains("00:00:05") && note.contains("00:59:00"),
        "{note}"
    );
    assert_eq!(fire_all(&mut schedule, now).len(), 11, "to the hour");
}

#[test]
fn a_leap_of_a_century_costs_little() {
    let spec = every(SECOND).overlap(Overlap::Allow).catch_up(CatchUp::All);
    let mut schedule = created(spec, "2026-01-01T00:00:00Z");
    let fired = fire_all(&mut schedule, at("2126-01-01T00:00:00Z"));
    assert_eq!(fired.len(), MAX_CATCH_UP);
}

#[test]
fn a_run_that_goes_on_is_in_the_way_or_not() {
    let start = at("2026-01-01T00:00:00Z");
    let running = TaskId::random();
    let fire = |overlap, open: Vec<TaskId>| {
        let mut schedule = created(every(HOUR).overlap(overlap), "2026-01-01T00:00:00Z");
        let fired = schedule.fire(open, start + HOUR);
        (fired.is_some(), schedule.state)
    };
    let (fired, state) = fire(Overlap::Skip, vec![running]);
    assert!(!fired && state.open == [running]);
    assert!(state.note.unwrap().contains(&running.to_string()));
    assert!(fire(Overlap::Skip, vec![]).0);
    let (fired, state) = fire(Overlap::Queue, vec![running]);
    assert!(fired && state.open == [running]);
    let (fired, state) = fire(Overlap::Queue, vec![running; MAX_OPEN]);
    assert!(!fired && state.note.unwrap().contains("100"));
    let (fired, state) = fire(Overlap::Allow, vec![running; MAX_OPEN + 1]);
    assert!(fired && state.open.is_empty());
}

#[test]
fn a_schedule_that_goes_on_makes_up_for_nothing() {
    let mut schedule = created(every(HOUR).catch_up(CatchUp::One), "2026-01-01T00:00:00Z");
    let start = at("2026-01-01T00:00:00Z");
    assert!(schedule.pause(true, start) && !schedule.pause(true, start));
    assert_eq!(schedule.due_at(), None);
    assert!(schedule.pause(false, start + 90 * MINUTE));
    assert_eq!(schedule.due_at(), Some(start + 2 * HOUR));
}

#[test]
fn a_held_fire_time_is_on_time_later() {
    let mut schedule = created(every(HOUR), "2026-01-01T00:00:00Z");
    let first = at("2026-01-01T01:00:00Z");
    schedule.hold(first + 10 * MINUTE, "the queue is full".into(), first);
    assert_eq!(schedule.due_at(), Some(first + 10 * MINUTE));
    assert_eq!(fire_all(&mut schedule, first + 10 * MINUTE), [first]);
    assert_eq!(schedule.due_at(), Some(first + HOUR));
}

#[test]
fn other_times_are_found_anew_and_the_history_stays() {
    let mut schedule = created(every(HOUR), "2026-01-01T00:00:00Z");
    let now = at("2026-01-01T01:00:00Z");
    fire_all(&mut schedule, now);
    assert!(!schedule.update(every(HOUR), now));
    let before = schedule.state.clone();
    assert!(schedule.update(every(HOUR).priority(3), now));
    assert_eq!(schedule.state.next_at, before.next_at);
    assert!(schedule.update(every(MINUTE), now));
    assert_eq!(schedule.due_at(), Some(now + MINUTE));
    assert_eq!(schedule.state.last_task, before.last_task);
    assert!(schedule.state.version > before.version);
}

#[test]
fn what_cannot_hold_is_refused_in_a_sentence() {
    let wrong = [
        (cron("61 * * * *"), "61"),
        (cron("* * *"), "minute hour"),
        (cron("0 0 30 2 *"), "never"),
        (cron("0 0 1 1 * 2030"), "0 0 1 1 * 2030"),
        (berlin("0 7 * * *").time_zone("Europe/Bonn"), "Europe/Bonn"),
        (every(Duration::from_millis(999)), "999ms"),
        (every(HOUR).named("a b"), "\"a b\""),
        (every(HOUR).named(""), "\"\""),
        (
            every(HOUR)
                .start(at("2026-01-02T00:00:00Z"))
                .end(at("2026-01-01T00:00:00Z")),
            "before",
        ),
        (every(HOUR).catch_up(CatchUp::All), "overlap"),
        (every(HOUR).label("schedule", "x"), "\"schedule\""),
        (every(HOUR).label("", "x"), "label key"),
        (every(HOUR).call("tool", &[1]), "no JSON object"),
    ];
    for (spec, part) in wrong {
        let refused = spec.check().unwrap_err();
        assert!(refused.contains(part), "{refused}");
    }
}

/// Whatever the clock does and whoever runs: no fire time is fired twice, the rule named each, and the
/// schedule always moves on.
#[test]
fn nothing_fires_twice_whatever_the_clock_does() {
    let seed = seed();
    println!("OUTLAST_SEED={seed}");
    let mut random = Random::new(seed);
    for _ in 0..count("OUTLAST_SCHEDULES", 60) {
        let spec = match random.below(4) {
            0 => every(Duration::from_secs(1 + random.below(10_000))),
            1 => berlin("30 2 * * *"),
            2 => berlin("*/20 * * * *"),
            _ => cron("0 0 * * MON").time_zone("America/New_York"),
        };
        let overlap = random.pick(&[Overlap::Skip, Overlap::Queue, Overlap::Allow]);
        let catch_up = match overlap {
            Overlap::Skip => random.pick(&[CatchUp::Skip, CatchUp::One]),
            _ => random.pick(&[CatchUp::Skip, CatchUp::One, CatchUp::All]),
        };
        let spec = spec.overlap(overlap).catch_up(catch_up);
        // Two days before clocks are moved in Berlin.
        let mut now = at("2026-10-23T00:00:00Z");
        let mut schedule = Schedule::create(spec, now);
        let mut fired = BTreeSet::new();
        for _ in 0..60 {
            now = match random.below(8) {
                0 => now - Duration::from_secs(random.below(100_000)),
                1 => now + Duration::from_secs(random.below(1_000_000)),
                2 => schedule.due_at().unwrap_or(now),
                _ => now + Duration::from_secs(random.below(3_000)),
            };
            let version = schedule.state.version;
            match random.below(10) {
                0 => schedule.hold(now + MINUTE, "full".into(), now),
                1 => schedule.give_up("refused".into(), now),
                _ => {
                    let open = match random.below(3) {
                        0 => vec![TaskId::random()],
                        _ => Vec::new(),
                    };
                    let first = schedule.state.next_at;
                    let due = schedule.due_at().is_some_and(|due_at| due_at <= now);
                    let fire_at = schedule.fire(open, now);
                    assert!(due || fire_at.is_none());
                    if let Some(fire_at) = fire_at {
                        assert!(fire_at <= now && Some(fire_at) >= first);
                        assert!(fired.insert(fire_at), "{fire_at} fired twice");
                        assert!(schedule.state.next_at > Some(fire_at));
                        schedule.started(fire_at, TaskId::random());
                    }
                    if due {
                        assert!(schedule.state.next_at > first, "it moves on");
                        assert!(schedule.state.version > version);
                    }
                }
            }
        }
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
    }
}
