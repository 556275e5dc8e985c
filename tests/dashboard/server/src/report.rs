//! A tool that shows everything a task can show: phases, steps, a log, partial results, files, children.

use std::time::Duration;

use outlast::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

pub(crate) fn tools() -> [Tool; 2] {
    [release_report(), measure()]
}

const SECTIONS: [&str; 5] = [
    "Commits",
    "Benchmarks",
    "Coverage",
    "Dependencies",
    "Summary",
];

/// Collects what changed in a release, measures it, and writes the report.
///
/// Every section is a recorded step, so a report that was interrupted goes on where it was.
#[tool(task)]
async fn release_report(
    /// The release to report on.
    version: String,
    /// How long the work of a section takes.
    #[schemars(range(max = 60_000))]
    section_ms: Option<u64>,
    cx: Cx,
) -> Result<Report> {
    let section_ms = section_ms.unwrap_or(5);
    cx.info(format!("reporting on {version}"));
    let writing = cx.phase("Writing", 0.0..0.7, SECTIONS.len());
    for (at, section) in SECTIONS.iter().enumerate() {
        writing.message(format!("Section {}", section.to_lowercase()));
        let words = cx
            .step(format!("write {}", section.to_lowercase()), || async move {
                // The later sections take longer, as they do.
                tokio::time::sleep(Duration::from_millis(section_ms * (1 + at as u64 / 2))).await;
                Ok(120 + 35 * at)
            })
            .await?;
        cx.info(format!("{section}: {words} words"));
        if *section == "Coverage" {
            cx.warning("coverage of crates/legacy fell from 81.2 % to 79.9 %");
        }
        cx.partial(json!({"section": section, "words": words}))
            .await?;
        writing.inc(1);
    }
    cx.artifact("report.md", "text/markdown", text(&version))
        .await?;
    cx.artifact("charts/throughput.svg", "image/svg+xml", DRAWING)
        .await?;
    let suites = ["parser", "store", "wire"].map(|suite| json!({"suite": suite, "ms": section_ms}));
    let measuring = cx.phase("Measuring", 0.7..1.0, suites.len());
    measuring.message("Three suites, two at a time");
    let measured = cx.fan_out("measure", suites).limit(2).await?;
    for result in measured {
        result?;
        measuring.inc(1);
    }
    cx.info("the report is complete");
    Ok(Report {
        version,
        sections: SECTIONS.map(str::to_owned).to_vec(),
        // More than a browser's numbers can tell apart.
        build: 9_007_199_254_740_993,
        ratio: 1.0,
    })
}

/// What the report is about.
#[derive(Serialize, JsonSchema)]
struct Report {
    version: String,
    sections: Vec<String>,
    build: u64,
    ratio: f64,
}

/// Runs one suite of benchmarks.
#[tool(task, max_running = 2)]
async fn measure(suite: String, ms: u64, cx: Cx) -> Result<String> {
    cx.step("measure", || async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok(())
    })
    .await?;
    Ok(format!("{suite}: 1.04 times as fast"))
}

fn text(version: &str) -> String {
    format!("# Release {version}\n\nEverything that changed, measured.\n")
}

const DRAWING: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 80"><rect width="120" height="80" fill="#eef4f5"/><path d="M8 66 30 50 52 56 74 30 96 34 114 12" fill="none" stroke="#0f5c6e" stroke-width="4"/></svg>"##;
