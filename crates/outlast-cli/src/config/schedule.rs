//! `[schedules.NAME]`: calls that make themselves.
//!
//! What a schedule says is checked here as far as the file tells; its arguments are checked against the
//! tool when the server starts, as those of any call.

use std::ops::Range;

use outlast_core::schedule::{CatchUp, NewSchedule, Overlap};
use outlast_core::{Owner, Timestamp};
use outlast_engine::check_priority;
use toml::de::DeValue;

use super::section::{Node, Section, json, kind};
use super::tool::CommandTool;

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

/// Reads one. `None` if it says nothing that could fire.
pub(super) fn read(
    parent: &Section<'_>,
    name: &str,
    span: Range<usize>,
    node: Node<'_>,
    tools: &[CommandTool],
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
    if let Some(zone) = section.text("time_zone") {
        if section.has("every") {
            section.wrong("time_zone", "means nothing beside every; leave it out");
        }
        schedule = schedule.time_zone(zone);
    }
    let tool = section.text("tool").unwrap_or_else(|| name.to_owned());
    if !tools.iter().any(|known| known.name == tool) {
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
    }
    let arguments = match section.get("arguments") {
        None => Some(serde_json::json!({})),
        Some(node) => json(node.get_ref()).filter(serde_json::Value::is_object),
    };
    match arguments {
        Some(arguments) => schedule = schedule.call(tool, &arguments).named(name),
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
    if let Some((span, table)) = section.table("labels") {
        let path = format!("schedules.{name}.labels");
        let labels = Section::free(path, span, table, section.problems());
        for (key, ..) in labels.entries() {
            if let Some(value) = labels.string(key) {
                schedule.labels.insert(key.to_owned(), value);
            }
        }
    }
    if let Err(wrong) = schedule.check() {
        parent.wrong_at(span, name, wrong);
        return None;
    }
    Some(schedule)
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
