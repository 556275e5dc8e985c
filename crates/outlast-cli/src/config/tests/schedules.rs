//! Schedules.

use std::time::Duration;

use serde_json::json;

use super::super::*;
use super::{BACKUP, message, parse};

/// The same with arguments.
const TAKES: &str = "[tools.backup]\ndescription = \"x\"\ncommand = [\"true\", \"{n}\"]\n\
    env = { WORD = \"{word}\" }\n[tools.backup.arguments]\n\
    n = { type = \"array\", items = \"integer\", required = false }\n\
    word = { type = \"string\", secret = true, required = false }\n";

#[test]
fn a_schedule_is_read_whole() {
    let text = format!(
        "{TAKES}[schedules.nightly]\ntool = \"backup\"\narguments = {{ n = [1, 2] }}\n\
         cron = \"30 2 * * *\"\ntime_zone = \"Europe/Berlin\"\nstart = 2026-12-01T00:00:00Z\n\
         end = \"2027-12-01T00:00:00+01:00\"\ncatch_up = \"all\"\noverlap = \"queue\"\n\
         priority = 7\nlabels = {{ team = \"x\" }}\nowner = \"alice\"\n[schedules.backup]\nevery = \"1h\"\n"
    );
    let config = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let wanted = NewSchedule::cron("30 2 * * *")
        .time_zone("Europe/Berlin")
        .call("backup", &json!({"n": [1, 2]}))
        .named("nightly")
        .start("2026-12-01T00:00:00Z".parse().unwrap())
        .end("2027-11-30T23:00:00Z".parse().unwrap())
        .catch_up(outlast::CatchUp::All)
        .overlap(outlast::Overlap::Queue)
        .priority(7)
        .label("team", "x")
        .owner(outlast_core::Owner::new("alice"));
    let hourly = NewSchedule::every(Duration::from_secs(3600)).call("backup", &json!({}));
    assert_eq!(config.schedules, [wanted, hourly]);
}

#[test]
fn what_a_schedule_cannot_hold_is_told_with_its_place() {
    let wrong = [
        ("every = \"1h\"\ncron = \"* * * * *\"", "keep one"),
        ("tool = \"backup\"", "says nowhere when"),
        (
            "every = \"10ms\"",
            "schedules.backup.every: the interval 10ms is too short",
        ),
        (
            "cron = \"61 * * * *\"",
            "schedules.backup.cron: the cron pattern",
        ),
        ("cron = \"0 0 30 2 *\"", "never comes true"),
        (
            "cron = \"0 7 * * *\"\ntime_zone = \"Mars\"",
            "schedules.backup.time_zone: there is no time zone \"Mars\"",
        ),
        ("every = \"1h\"\ntime_zone = \"UTC\"", "means nothing"),
        ("every = \"1h\"\ntool = \"nothing\"", "no tool of this file"),
        ("every = \"1h\"\nstart = \"tomorrow\"", "no moment"),
        ("every = \"1h\"\ncatch_up = \"all\"", "overlap"),
        (
            "every = \"1h\"\ncatch_up = \"some\"",
            "allowed: skip, one, all",
        ),
        ("every = \"1h\"\narguments = 3", "no table"),
        ("every = \"1h\"\nlabels = { schedule = \"x\" }", "label"),
        ("every = \"1h\"\nevry = 1", "evry"),
    ];
    for (lines, part) in wrong {
        let said = message(&format!("{BACKUP}[schedules.backup]\n{lines}\n"));
        assert!(
            said.contains(part) && said.contains("schedules.backup"),
            "{said}"
        );
    }
    let wrong = [
        ("{ n = [1, \"x\"] }", "refuses them: argument n item 1"),
        ("{ m = 1 }", "refuses them: argument m is unknown"),
        ("{ word = \"x\" }", "word is secret"),
    ];
    for (arguments, part) in wrong {
        let said = message(&format!(
            "{TAKES}[schedules.backup]\nevery = \"1h\"\n\
             arguments = {arguments}\n"
        ));
        let place = "schedules.backup.arguments";
        assert!(said.contains(part) && said.contains(place), "{said}");
    }
    let never = [
        format!("{BACKUP}task = \"forbidden\"\n"),
        format!("[server]\ntask = \"forbidden\"\n{BACKUP}"),
    ];
    for file in never {
        let said = message(&format!("{file}[schedules.backup]\nevery = \"1h\"\n"));
        assert!(said.contains("never runs as a task"), "{said}");
    }
}
