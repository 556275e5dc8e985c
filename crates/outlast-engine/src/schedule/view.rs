//! A schedule as surfaces show it: one JSON object, the same everywhere.

use outlast_core::schedule::{CatchUp, NewSchedule, Overlap, Timing};
use outlast_core::{Schedule, Timestamp, duration};
use serde_json::{Map, Value, json};

/// How many fire times are told.
const UPCOMING: usize = 5;

/// The JSON form of a schedule: `name`, `tool`, `arguments`, `owner`, `cron` and `timeZone` or `every`,
/// `catchUp`, `overlap`, `declared`, `paused`, `fired`, `upcoming` (the next fire times; empty while it is
/// paused), and where there is one `start`, `end`, `priority`, `labels`, `nextAt`, `lastFireAt`,
/// `lastTaskId`, `note`.
pub fn view(schedule: &Schedule) -> Value {
    let Schedule { spec, state } = schedule;
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| {
        shown.insert(key.to_owned(), value);
    };
    put("name", json!(spec.name));
    put("tool", json!(spec.tool));
    put("arguments", spec.arguments.to_value());
    put("owner", json!(spec.owner.as_str()));
    match &spec.timing {
        Timing::Cron { pattern, time_zone } => {
            put("cron", json!(pattern));
            put("timeZone", json!(time_zone));
        }
        Timing::Every { interval } => put("every", json!(duration::format(*interval))),
    }
    put("catchUp", json!(catch_up(spec)));
    put("overlap", json!(overlap(spec)));
    put("declared", json!(spec.declared));
    put("paused", json!(state.paused));
    put("fired", json!(state.fired));
    let upcoming = match state.paused {
        true => Vec::new(),
        false => schedule.upcoming(UPCOMING),
    };
    let upcoming: Vec<_> = upcoming.iter().map(Timestamp::to_string).collect();
    put("upcoming", json!(upcoming));
    let times = [
        ("start", spec.start),
        ("end", spec.end),
        ("nextAt", schedule.due_at()),
        ("lastFireAt", state.last_fire_at),
    ];
    for (key, time) in times {
        if let Some(time) = time {
            put(key, json!(time.to_string()));
        }
    }
    if let Some(priority) = spec.priority {
        put("priority", json!(priority));
    }
    if !spec.labels.is_empty() {
        put("labels", json!(spec.labels));
    }
    if let Some(task) = state.last_task {
        put("lastTaskId", json!(task.to_string()));
    }
    if let Some(note) = &state.note {
        put("note", json!(note));
    }
    Value::Object(shown)
}

fn catch_up(spec: &NewSchedule) -> &'static str {
    match spec.catch_up {
        CatchUp::Skip => "skip",
        CatchUp::One => "one",
        CatchUp::All => "all",
    }
}

fn overlap(spec: &NewSchedule) -> &'static str {
    match spec.overlap {
        Overlap::Skip => "skip",
        Overlap::Queue => "queue",
        Overlap::Allow => "allow",
    }
}
