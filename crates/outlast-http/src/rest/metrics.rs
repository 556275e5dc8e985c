//! `GET /metrics`: the server in figures, in the text format of Prometheus (version 0.0.4).
//!
//! Written by hand: the format is a line a figure, and what is counted is kept elsewhere. Gauges of tasks
//! are the store's counts; everything else counts from the start of this process. Labels are names of
//! tools, words of ours and methods of the protocol, never what a stranger sent.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use outlast_core::Phase;
use outlast_core::limit::Queue;
use outlast_core::status::Era;
use outlast_core::store::Stats;
use outlast_engine::{Figures, Histogram, ToolFigures};

use super::Api;
use super::extract::Reader;
use super::problem::Problem;

const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The server in figures, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses(
        (status = 200, description = "The figures, in the text format of Prometheus.", content_type = "text/plain", body = String),
        (status = 503, description = "The store cannot answer at present.", body = Problem),
    )
)]
pub(super) async fn metrics(
    State(api): State<Api>,
    Reader(_): Reader,
) -> Result<Response, Problem> {
    let handle = api.handle();
    let stats = handle.stats().await?;
    let controls = handle.controls().await?;
    let figures = handle.figures();
    let mut text = Text::default();
    let options = api.options();
    text.family(
        "outlast_info",
        "gauge",
        "The server, its version and its store.",
    );
    let labels = [
        ("name", options.title.as_str()),
        ("version", options.version.as_str()),
        ("store", handle.store_info().kind),
    ];
    text.line("outlast_info", &labels, 1.0);
    text.family(
        "outlast_start_time_seconds",
        "gauge",
        "When this process began, in seconds since 1970.",
    );
    let since = figures.since.as_millis() as f64 / 1000.0;
    text.line("outlast_start_time_seconds", &[], since);
    write_tasks(&mut text, &stats);
    text.family(
        "outlast_paused",
        "gauge",
        "1 for each tool whose tasks are paused; for all of them the tool is *.",
    );
    for queue in &controls.paused {
        let tool = match queue {
            Queue::All => "*",
            Queue::Tool(tool) => tool,
        };
        text.line("outlast_paused", &[("tool", tool)], 1.0);
    }
    write_figures(&mut text, &figures);
    text.family(
        "outlast_mcp_requests_total",
        "counter",
        "Requests of the protocol, by era and method.",
    );
    for (era, method, count) in api.server().requests() {
        let era = match era {
            Era::Legacy => "2025-11-25",
            Era::Modern => "2026-07-28",
        };
        text.line(
            "outlast_mcp_requests_total",
            &[("era", era), ("method", method)],
            count as f64,
        );
    }
    Ok(([(header::CONTENT_TYPE, TYPE)], text.0).into_response())
}

fn write_tasks(text: &mut Text, stats: &Stats) {
    // Owners are people: they are no label.
    let mut tasks = std::collections::BTreeMap::new();
    let mut waiting = std::collections::BTreeMap::new();
    for (kind, count) in &stats.counts {
        let key = (
            kind.tool.as_str(),
            kind.phase.as_str(),
            kind.status.as_str(),
        );
        *tasks.entry(key).or_default() += count;
        let queued = if kind.phase == Phase::Queued {
            *count
        } else {
            0
        };
        *waiting.entry(kind.tool.as_str()).or_default() += queued;
    }
    text.family(
        "outlast_tasks",
        "gauge",
        "Tasks in the store, by tool, phase and status.",
    );
    for ((tool, phase, status), count) in tasks {
        let count: u64 = count;
        let labels = [("tool", tool), ("phase", phase), ("status", status)];
        text.line("outlast_tasks", &labels, count as f64);
    }
    text.family(
        "outlast_queue_depth",
        "gauge",
        "Tasks that are ready and wait for a worker or for room under a limit, by tool.",
    );
    for (tool, count) in waiting {
        let count: u64 = count;
        text.line("outlast_queue_depth", &[("tool", tool)], count as f64);
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

fn write_figures(text: &mut Text, figures: &Figures) {
    for (name, help, of) in COUNTERS {
        text.family(name, "counter", help);
        for (tool, all) in &figures.tools {
            text.line(name, &[("tool", tool)], of(all) as f64);
        }
    }
    text.family(
        "outlast_tasks_ended_total",
        "counter",
        "Tasks that ended in this process, by outcome; error is a tool's own.",
    );
    for (tool, all) in &figures.tools {
        for (outcome, count) in &all.ended {
            let labels = [("tool", tool.as_str()), ("outcome", outcome)];
            text.line("outlast_tasks_ended_total", &labels, *count as f64);
        }
    }
    for (name, help, of) in TIMES {
        text.family(name, "histogram", help);
        for (tool, all) in &figures.tools {
            text.histogram(name, ("tool", tool), of(all));
        }
    }
    text.family(
        "outlast_leases_lost_total",
        "counter",
        "Runs that were taken from this process.",
    );
    text.line("outlast_leases_lost_total", &[], figures.leases_lost as f64);
    text.family(
        "outlast_webhook_attempts_total",
        "counter",
        "Attempts to deliver webhooks, by what came of them; gone is a receiver that wants no more.",
    );
    for (result, count) in &figures.webhooks {
        text.line(
            "outlast_webhook_attempts_total",
            &[("result", result)],
            *count as f64,
        );
    }
    text.family(
        "outlast_slots",
        "gauge",
        "How many tasks this process runs at a time.",
    );
    text.line("outlast_slots", &[], figures.slots as f64);
    text.family(
        "outlast_slots_taken",
        "gauge",
        "How many of these are taken.",
    );
    text.line("outlast_slots_taken", &[], figures.slots_taken as f64);
    text.family(
        "outlast_store_call_seconds",
        "histogram",
        "How long the store took for a call, with the wait for its turn.",
    );
    for (call, times) in &figures.store {
        text.histogram("outlast_store_call_seconds", ("call", call), times);
    }
}

/// The page as it is written.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn histogram(&mut self, name: &str, label: (&str, &str), times: &Histogram) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in times.buckets() {
            let bound = bound.to_string();
            self.line(&bucket, &[label, ("le", &bound)], count as f64);
        }
        let count = times.count() as f64;
        self.line(&bucket, &[label, ("le", "+Inf")], count);
        self.line(&format!("{name}_sum"), &[label], times.sum());
        self.line(&format!("{name}_count"), &[label], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_label() {
        let mut text = Text::default();
        text.line("x", &[("a", "q\"\\\n")], 2.5);
        text.line("y", &[], 1e9);
        assert_eq!(text.0, "x{a=\"q\\\"\\\\\\n\"} 2.5\ny 1000000000\n");
    }
}
