//! What was measured: the rows that `bench --json` wrote.

use std::{error::Error, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

/// What something costs Redis, for each time it is done.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cost {
    /// Microseconds of its CPU, of which it has one.
    pub(crate) cpu_micros: f64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
}

/// A median and what it is the median of.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
}

/// A row of workers for a tool that waits.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workers {
    pub(crate) workers: usize,
    pub(crate) slots: usize,
    pub(crate) rest_millis: f64,
    pub(crate) rate_per_second: Spread,
}

/// All costs.
#[derive(Debug, Clone)]
pub(crate) struct Costs {
    /// Of a creation by a server that runs nothing.
    pub(crate) create: Cost,
    /// Of the claim and the end together, by a worker.
    pub(crate) run: Cost,
    pub(crate) poll: Cost,
    pub(crate) step: Cost,
    /// Microseconds of a server's CPU for a creation, and for a poll.
    pub(crate) server_create_micros: f64,
    pub(crate) server_poll_micros: f64,
    /// Microseconds of a worker's CPU for a claim and an end together.
    pub(crate) worker_micros: f64,
    /// Tasks a second that one worker took from a long queue.
    pub(crate) drained_per_second: f64,
    pub(crate) workers: Vec<Workers>,
}

impl Costs {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let report: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        let rows = report["rows"].as_array().ok_or("it has no rows")?;
        let figures: Vec<_> = rows.iter().map(|row| &row["figures"]).collect();
        let find = |key: &str| {
            let found = figures.iter().find(|figures| figures[key].is_object());
            found.copied().ok_or(format!("no row tells of {key:?}"))
        };
        let cost = |key: &str| -> Result<Cost, Box<dyn Error>> {
            Ok(serde_json::from_value(find(key)?[key].clone())?)
        };
        let number = |key: &str, figure: &str| -> Result<f64, String> {
            let value = &find(key)?[figure];
            value
                .as_f64()
                .or(value["median"].as_f64())
                .ok_or(format!("{figure:?} is no number"))
        };
        let workers = figures.iter().filter(|figures| figures["workers"].is_u64());
        Ok(Self {
            create: cost("create")?,
            run: cost("run")?,
            poll: cost("poll")?,
            step: cost("step")?,
            server_create_micros: number("create", "cpuMicros")?,
            server_poll_micros: number("poll", "pollServerCpuMicros")?,
            worker_micros: number("run", "cpuMicros")?,
            drained_per_second: number("run", "ratePerSecond")?,
            workers: workers
                .map(|figures| serde_json::from_value((*figures).clone()))
                .collect::<Result<_, _>>()?,
        })
    }
}
