//! The tools of the demonstration. Each says on the terminal when it begins and when it ends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use outlast::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// How long a second of the demonstration takes, and which runs overlapped.
#[derive(Clone)]
pub(crate) struct Stage {
    second: Duration,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    now: usize,
    most: usize,
}

impl Stage {
    pub(crate) fn new(scale: f64) -> Self {
        Self {
            second: Duration::from_secs(1).mul_f64(scale),
            running: Arc::default(),
        }
    }

    /// How many tools ran at a time at most since this was last asked.
    pub(crate) fn most_at_a_time(&self) -> usize {
        let mut running = self
            .running
            .lock()
            .expect("nothing panics while it holds this");
        std::mem::replace(&mut running.most, 0)
    }

    /// Runs `work`, with the lines of the transcript around it.
    async fn play<T>(&self, name: &str, seconds: f64, work: impl Future<Output = T>) -> T {
        println!("  [SERVER] Task '{name}' starting, will run for {seconds}s");
        {
            let mut running = self
                .running
                .lock()
                .expect("nothing panics while it holds this");
            running.now += 1;
            running.most = running.most.max(running.now);
        }
        let begun = Instant::now();
        let done = work.await;
        self.running
            .lock()
            .expect("nothing panics while it holds this")
            .now -= 1;
        let took = begun.elapsed().as_secs_f64() / self.second.as_secs_f64();
        println!("  [SERVER] Task '{name}' completed after {took:.2}s");
        done
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Calculation {
    pub(crate) name: String,
    pub(crate) result: u64,
}

/// Calculates something for a number of seconds and reports how far it is.
#[tool(task)]
pub(crate) async fn slow_calculation(
    duration: f64,
    name: String,
    stage: State<Stage>,
    cx: Cx,
) -> Calculation {
    let quarter = stage.second.mul_f64(duration / 4.0);
    let work = async {
        let progress = cx.progress();
        progress.total(4);
        for part in 1..=4 {
            sleep(quarter).await;
            progress.inc(1);
            progress.message(format!("part {part} of 4"));
        }
    };
    stage.play(&name, duration, work).await;
    // The sum of the squares up to a thousand times the duration.
    let result = (1..=(duration * 1000.0) as u64).map(|n| n * n).sum();
    Calculation { name, result }
}

/// Fetches data from a slow place.
#[tool(task)]
pub(crate) async fn fetch_data(
    source: String,
    #[default = 3.0] delay: f64,
    stage: State<Stage>,
) -> String {
    stage
        .play(
            &format!("fetch {source}"),
            delay,
            sleep(stage.second.mul_f64(delay)),
        )
        .await;
    format!("data of {source}")
}

/// Processes items one after the other, half a second each. An item that was processed before a
/// crash is not processed again.
#[tool(task)]
pub(crate) async fn process_batch(
    items: Vec<String>,
    stage: State<Stage>,
    cx: Cx,
) -> Result<Vec<String>> {
    let half = stage.second / 2;
    let seconds = items.len() as f64 / 2.0;
    let work = async {
        let mut processed = Vec::new();
        for item in cx.progress().over(items) {
            let done = cx
                .step(format!("process {item}"), || async {
                    sleep(half).await;
                    Ok(item.to_uppercase())
                })
                .await?;
            processed.push(done);
        }
        Ok(processed)
    };
    stage.play("batch", seconds, work).await
}

/// Returns at once; there is nothing to be gained by a task.
#[tool]
pub(crate) async fn quick_task(message: String) -> String {
    format!("quick: {message}")
}
