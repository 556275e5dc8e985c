//! `[schedules.NAME]`: calls that make themselves.
//!
//! What a schedule says is checked here, its arguments as those of any call, so that `outlast check` and the
//! start of a server refuse the same and can say where it stands.

use std::ops::Range;

use outlast_core::schedule::{CatchUp, NewSchedule, Overlap};
use outlast_core::{Owner, Timestamp};
use outlast_engine::{TaskSupport, check_priority};
use serde_json::Value;
use toml::de::DeValue;

use super::labels;
use super::section::{Node, Section, json, kind};
use super::tool::CommandTool;
use crate::command::expand::{as_object, expand};

/// The keys of `[schedules.NAME]`.
pub(super) const KEYS: [&str; 12] = [
    "tool",
    "arguments",
    "cron",
    "time_zone",
    "every",
    "start",
    "end",
    "catch_up",
    "overlap",
    "priority",
    "labels",
    "owner",
];

/// Reads one. `None` if it says nothing that could fire. `task` is for tools that do not say whether they run
/// as tasks.
pub(super) fn read(
    parent: &Section<'_>,
    name: &str,
    span: Range<usize>,
    node: Node<'_>,
    tools: &[CommandTool],
    task: Option<TaskSupport>,
) -> Option<NewSchedule> {
    let path = format!("schedules.{name}");
    let DeValue::Table(table) = node.get_ref() else {
        let found = kind(node.get_ref());
        parent.wrong_at(span, name, format!("{found} where a table is needed"));
        return None;
    };
    let section = Section::open(path, span.clone(), table, parent.problems(), &KEYS);
    let cron = section.text("cron");
    let every = section.duration("every");
    let schedule = match (cron, every) {
        (Some(cron), None) => NewSchedule::cron(cron),
        (None, Some(every)) => NewSchedule::every(every),
        (Some(_), Some(_)) => {
            section.wrong("every", "stands beside cron, and both say when; keep one");
            return None;
        }
        (None, None) => {
            if !section.has("cron") && !section.has("every") {
                let wanted = "says nowhere when; add cron = \"0 7 * * *\" or every = \"1h\"";
                parent.wrong_at(span, name, wanted);
            }
            return None;
        }
    };
    let mut schedule = schedule.named(name);
    if let Err(wrong) = schedule.timing.check() {
        let when = if section.has("cron") { "cron" } else { "every" };
        section.wrong(when, wrong);
        return None;
    }
    if let Some(zone) = section.text("time_zone") {
        if section.has("every") {
            section.wrong("time_zone", "means nothing beside every; leave it out");
        }
        schedule = schedule.time_zone(zone);
        if let Err(wrong) = schedule.timing.check() {
            section.wrong("time_zone", wrong);
            return None;
        }
    }
    let tool = section.text("tool").unwrap_or_else(|| name.to_owned());
    let Some(called) = tools.iter().find(|known| known.name == tool) else {
        let known: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let sentence = format!(
            "{tool:?} is no tool of this file; its tools: {}",
            known.join(", ")
        );
        if section.has("tool") {
            section.wrong("tool", sentence);
        } else {
            parent.wrong_at(span.clone(), name, format!("names no tool, and {sentence}"));
        }
        return None;
    };
    let arguments = match section.get("arguments") {
        None => Some(serde_json::json!({})),
        Some(node) => json(node.get_ref()).filter(Value::is_object),
    };
    schedule = schedule.of_tool(tool);
    if called.task.or(task) == Some(TaskSupport::Forbidden) {
        let wrong = format!(
            "the tool {:?} never runs as a task; let it say task = \"optional\"",
            called.name
        );
        parent.wrong_at(span.clone(), name, wrong);
    }
    match arguments {
        Some(arguments) => {
            check_arguments(&section, called, &arguments);
            schedule = schedule.arguments(&arguments);
        }
        None => section.wrong("arguments", "no table of values that JSON has"),
    }
    schedule.start = time(&section, "start");
    schedule.end = time(&section, "end");
    let catch_up = [
        ("skip", CatchUp::Skip),
        ("one", CatchUp::One),
        ("all", CatchUp::All),
    ];
    schedule.catch_up = section.choice("catch_up", &catch_up).unwrap_or_default();
    let overlap = [
        ("skip", Overlap::Skip),
        ("queue", Overlap::Queue),
        ("allow", Overlap::Allow),
    ];
    schedule.overlap = section.choice("overlap", &overlap).unwrap_or_default();
    if let Some(number) = section.integer("priority") {
        match check_priority(number) {
            Ok(priority) => schedule.priority = Some(priority),
            Err(wrong) => section.wrong("priority", wrong),
        }
    }
    if let Some(owner) = section.text("owner") {
        schedule.owner = Owner::new(owner);
    }
    schedule.labels = labels::read(&section);
    let checked = schedule.check();
    if let Err(wrong) = checked.and_then(|()| schedule.check_labels(&called.labels)) {
        parent.wrong_at(span, name, wrong);
        return None;
    }
    Some(schedule)
}

/// Notes what keeps the tool from being called with these arguments.
fn check_arguments(section: &Section<'_>, tool: &CommandTool, arguments: &Value) {
    let mut secrets = tool.arguments.iter().filter(|argument| argument.secret);
    if let Some(secret) = secrets.find(|secret| arguments.get(&secret.name).is_some()) {
        let wrong = format!(
            "{} is secret, and a schedule keeps its arguments as they are; let the command read it from \
             its environment",
            secret.name
        );
        section.wrong("arguments", wrong);
        return;
    }
    let refused = as_object(arguments).and_then(|arguments| expand(tool, &arguments));
    if let Err(refused) = refused {
        let wrong = format!("the tool {:?} refuses them: {refused}", tool.name);
        section.wrong("arguments", wrong);
    }
}

/// A moment, as a string or as TOML's own date with an offset.
fn time(section: &Section<'_>, key: &str) -> Option<Timestamp> {
    let text = match section.get(key)?.get_ref() {
        DeValue::Datetime(time) => time.to_string(),
        _ => section.text(key)?,
    };
    let parsed = text.parse();
    if parsed.is_err() {
        let wanted = "no moment with an offset, as 2026-12-01T00:00:00Z";
        section.wrong(key, format!("{text:?} is {wanted}"));
    }
    parsed.ok()
}
