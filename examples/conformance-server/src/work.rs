//! Tools that work: quick, slow, in steps, and in every way that goes wrong.

use std::io::Write;
use std::time::Duration;

use outlast::prelude::*;

pub(crate) fn tools() -> [Tool; 14] {
    [
        add(),
        add_inline(),
        block(),
        failing_job(),
        family(),
        greet(),
        long_report(),
        noisy(),
        panic_job(),
        protocol_error_job(),
        slow_compute(),
        slow_progress(),
        steps(),
        test_tool_with_progress(),
    ]
}

/// Adds two whole numbers.
#[tool(task, idempotent)]
async fn add(a: i64, b: i64) -> Result<i64> {
    sum(a, b)
}

/// Adds two whole numbers, never as a task.
#[tool(task = "forbidden", idempotent)]
async fn add_inline(a: i64, b: i64) -> Result<i64> {
    sum(a, b)
}

fn sum(a: i64, b: i64) -> Result<i64> {
    a.checked_add(b)
        .ok_or_else(|| Error::tool("the sum does not fit into 64 bits"))
}

/// Greets somebody.
#[tool(task = "forbidden", read_only)]
async fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

/// Reports after some seconds. A caller that would wait gets the id of the task after one.
#[tool(task, detach_after = "1s")]
async fn long_report(
    /// How long it takes.
    #[schemars(range(min = 0, max = 86_400))]
    seconds: f64,
    cx: Cx,
) -> Result<String> {
    cx.sleep("report", Duration::from_secs_f64(seconds)).await?;
    Ok(format!("reported after {seconds} s"))
}

/// Computes for some seconds.
#[tool(task)]
async fn slow_compute(
    /// How long it takes.
    #[schemars(range(min = 0, max = 86_400))]
    seconds: f64,
    /// Comes back in the result.
    label: String,
    cx: Cx,
) -> Result<String> {
    if seconds > 0.0 {
        cx.sleep("compute", Duration::from_secs_f64(seconds))
            .await?;
    }
    Ok(format!("{label}: computed for {seconds} s"))
}

/// Works for a second and then fails as a tool.
#[tool(task = "required")]
async fn failing_job(cx: Cx) -> Result<String> {
    cx.sleep("work", Duration::from_secs(1)).await?;
    Err(Error::tool("the job failed, as it always does"))
}

/// Works for a moment and then fails as a protocol error.
#[tool(task)]
async fn protocol_error_job(cx: Cx) -> Result<String> {
    cx.sleep("work", Duration::from_millis(300)).await?;
    Err(Error::protocol(-32000, "the job could not be run, as ever"))
}

/// Blocks its thread and looks at nothing.
#[tool(task)]
fn block(
    /// For how long.
    ms: u64,
) -> &'static str {
    std::thread::sleep(Duration::from_millis(ms));
    "unblocked"
}

/// Prints to standard output and error, where a protocol may live.
#[tool(task)]
async fn noisy() -> &'static str {
    println!("printed by a handler");
    eprintln!("printed by a handler, as an error");
    "printed"
}

/// Panics.
#[tool(task)]
async fn panic_job() {
    panic!("the job panicked, as it always does");
}

/// Reports progress, step by step.
#[tool(task)]
async fn slow_progress(
    /// How many steps.
    steps: u32,
    /// How long each takes.
    step_ms: u64,
    cx: Cx,
) -> Result<String> {
    cx.progress().total(steps);
    for i in 1..=steps {
        tokio::time::sleep(Duration::from_millis(step_ms)).await;
        cx.progress().done(i).message(format!("step {i}/{steps}"));
    }
    Ok(format!("{steps} steps done"))
}

/// Appends a line to a ledger in each of its steps. A step that was recorded is not done again, so
/// the ledger counts how often each really ran.
#[tool(task)]
async fn steps(
    /// How many steps.
    count: u32,
    /// How long each takes.
    step_ms: u64,
    /// The file that gets a line `<task id> <step>` for each step that runs.
    ledger: String,
    cx: Cx,
) -> Result<Vec<u32>> {
    let mut values = Vec::new();
    for i in cx.progress().over(1..=count) {
        let value = cx.step(format!("step {i}"), || {
            let (line, ledger) = (format!("{} {i}\n", cx.task_id()), ledger.clone());
            async move {
                tokio::task::spawn_blocking(move || append(&ledger, &line)).await??;
                tokio::time::sleep(Duration::from_millis(step_ms)).await;
                Ok(i)
            }
        });
        values.push(value.await?);
    }
    Ok(values)
}

/// Starts one child of `steps` after the other, four at a time, and counts the steps they did.
#[tool(task)]
async fn family(
    /// How many children.
    children: u32,
    /// How many steps each has.
    count: u32,
    /// How long each step takes.
    step_ms: u64,
    /// See `steps`.
    ledger: String,
    cx: Cx,
) -> Result<usize> {
    let one = serde_json::json!({"count": count, "step_ms": step_ms, "ledger": ledger});
    let all = (0..children).map(|_| one.clone());
    let mut done = 0;
    for result in cx.fan_out("steps", all).limit(4).await? {
        let structured = result?.structured.map(|steps| steps.to_value());
        let steps = structured
            .as_ref()
            .and_then(|steps| steps["result"].as_array());
        done += steps.map_or(0, Vec::len);
    }
    Ok(done)
}

fn append(ledger: &str, line: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(ledger)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

/// Reports 0, 50 and 100 of 100.
#[tool]
async fn test_tool_with_progress(cx: Cx) -> &'static str {
    let progress = cx.progress();
    progress.total(100);
    for (done, message) in [(0, "begun"), (50, "half way"), (100, "done")] {
        progress.done(done).message(message);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    "done"
}
