//! `GET /metrics`: the server in figures, in the text format of Prometheus (version 0.0.4).
//!
//! Written by hand: the format is a line a figure, and what is counted is kept elsewhere ([`crate::figures`]).

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use outlast_engine::Histogram;
use outlast_mcp::Server;

use super::Api;
use super::extract::Reader;
use super::problem::Problem;
use crate::figures::{Family, Kind, Snapshot, Value};

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
    Ok(page(api.server()).await?.into_response())
}

/// The figures of a server as a page of its own.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn page(server: &Server) -> outlast_core::Result<impl IntoResponse> {
    let snapshot = Snapshot::of(server).await?;
    let mut text = Text::default();
    for family in &snapshot.families {
        text.family(family);
    }
    Ok(([(header::CONTENT_TYPE, TYPE)], text.0))
}

/// The page as it is written.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, family: &Family) {
        let Family { name, help, .. } = family;
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in &family.samples {
            let labels: Vec<(&str, &str)> = sample
                .labels
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            match &sample.value {
                Value::Number(value) => self.line(name, &labels, *value),
                Value::Times(times) => self.histogram(name, &labels, times),
            }
        }
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

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], times: &Histogram) {
        let bucket = format!("{name}_bucket");
        let with = |bound: &str, text: &mut Self, count: f64| {
            let labels = [labels, &[("le", bound)]].concat();
            text.line(&bucket, &labels, count);
        };
        for (bound, count) in times.buckets() {
            with(&bound.to_string(), self, count as f64);
        }
        let count = times.count() as f64;
        with("+Inf", self, count);
        self.line(&format!("{name}_sum"), labels, times.sum());
        self.line(&format!("{name}_count"), labels, count);
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
