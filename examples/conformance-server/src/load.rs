//! Tools that only the load program calls: each does one thing of the engine, over and over.

use std::time::Duration;

use outlast::prelude::*;
use serde_json::json;

/// How long a nap is: the shortest the store's clock can tell.
const NAP: Duration = Duration::from_millis(1);

/// Longer than anything that is to be cut off.
const FOREVER: Duration = Duration::from_secs(3600);

pub(crate) fn tools() -> [Tool; 9] {
    [
        record(),
        nap(),
        rest(),
        fan_out(),
        late_attempt(),
        late_idle(),
        late_queue(),
        late_step(),
        late_task(),
    ]
}

/// Records steps that do nothing.
#[tool(task)]
async fn record(
    /// How many.
    count: u32,
    cx: Cx,
) -> Result<u32> {
    for i in 0..count {
        cx.step(format!("step {i}"), || async move { Ok(i) })
            .await?;
    }
    Ok(count)
}

/// Waits for a millisecond, again and again. What may not be interrupted waits in the store and
/// nowhere else, so each wait is a suspension.
#[tool(task, repeatable = false)]
async fn nap(
    /// How often.
    count: u32,
    cx: Cx,
) -> Result<u32> {
    for i in 0..count {
        cx.sleep(format!("nap {i}"), NAP).await?;
    }
    Ok(count)
}

/// Waits, and keeps its worker meanwhile.
#[tool(task)]
async fn rest(
    /// For how long.
    ms: u64,
) -> u64 {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    ms
}

/// Starts children of `add` and waits for them.
#[tool(task)]
async fn fan_out(
    /// How many.
    children: u32,
    /// How many at a time.
    limit: usize,
    cx: Cx,
) -> Result<u32> {
    let all = (0..children).map(|i| json!({"a": i, "b": 1}));
    let mut ended = 0;
    for result in cx.fan_out("add", all).limit(limit).await? {
        result?;
        ended += 1;
    }
    Ok(ended)
}

/// Takes longer than an attempt may: a second.
#[tool(task, timeout = "1s")]
async fn late_attempt() {
    tokio::time::sleep(FOREVER).await;
}

/// Says nothing for longer than it may: a second.
#[tool(task, idle_timeout = "1s")]
async fn late_idle() {
    tokio::time::sleep(FOREVER).await;
}

/// Runs for three seconds, one at a time; those that wait may wait for a second.
#[tool(task, queue_timeout = "1s", max_running = 1)]
async fn late_queue() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// Has a step that takes longer than it may: a second.
#[tool(task)]
async fn late_step(cx: Cx) -> Result<()> {
    let endless = cx.step("endless", || async {
        tokio::time::sleep(FOREVER).await;
        Ok(())
    });
    endless.timeout(Duration::from_secs(1)).await
}

/// Grows older than a task may: a second.
#[tool(task, max_age = "1s")]
async fn late_task() {
    tokio::time::sleep(FOREVER).await;
}
