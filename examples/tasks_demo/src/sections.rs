//! The sections of the transcript. What a section claims is checked in it: an error ends the
//! demonstration.

use std::time::Duration;

use outlast::client::{CallResult, Client, ClientError, TaskHandle};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::Outcome;
use crate::tools::{Calculation, Stage};

/// The three calculations that every section uses.
const WORK: [(&str, u64); 3] = [("A", 3), ("B", 2), ("C", 1)];

/// How often a comparison of times is made before it counts as wrong: another program may have had
/// the machine for a moment.
const ATTEMPTS: usize = 3;

pub(crate) struct Demo {
    pub(crate) client: Client,
    pub(crate) stage: Stage,
    pub(crate) scale: f64,
}

impl Demo {
    /// One after the other, side by side in the client, and as tasks.
    pub(crate) async fn three_approaches(&self) -> Outcome<()> {
        for attempt in 1.. {
            title("0. THREE APPROACHES: sequential, client-side concurrency, tasks");
            let sequential = self.sequentially().await?;
            let together = self.side_by_side().await?;
            let tasks = self.as_tasks().await?;
            println!("\n  Sequential:              {sequential:.2}s");
            println!(
                "  Client-side concurrency: {together:.2}s ({:.2}x)",
                sequential / together
            );
            println!(
                "  Tasks:                   {tasks:.2}s ({:.2}x)",
                sequential / tasks
            );
            println!(
                "  Speed-up: {:.2}x, {:.2}s saved",
                sequential / tasks,
                sequential - tasks
            );
            if sequential / together >= 1.6 && sequential / tasks >= 1.6 {
                return Ok(());
            }
            if attempt == ATTEMPTS {
                return Err("concurrency did not make it at least 1.6 times as fast".into());
            }
            println!("  The machine was busy with something else; once more.");
        }
        Ok(())
    }

    async fn sequentially(&self) -> Outcome<f64> {
        heading("Sequential: each call waits for the one before");
        let begun = Instant::now();
        for (name, duration) in WORK {
            result_of(
                &self
                    .client
                    .call("slow_calculation", arguments(name, duration))
                    .await?,
            )?;
        }
        self.took(begun, "sequential calls", "3+2+1 = ~6 seconds", 1)
    }

    async fn side_by_side(&self) -> Outcome<f64> {
        heading("Client-side concurrency: three calls at once; the client must stay");
        let begun = Instant::now();
        let [a, b, c] = WORK.map(|(name, duration)| {
            self.client
                .call("slow_calculation", arguments(name, duration))
                .into_future()
        });
        let (a, b, c) = tokio::join!(a, b, c);
        for result in [a?, b?, c?] {
            result_of(&result)?;
        }
        self.took(begun, "concurrent calls", "max(3,2,1) = ~3 seconds", 3)
    }

    async fn as_tasks(&self) -> Outcome<f64> {
        heading("Tasks: submitted at once, run by the server; the client may leave");
        let begun = Instant::now();
        let tasks = self.submit().await?;
        println!("  [CLIENT] all submitted after {:.2}s", self.seconds(begun));
        for task in tasks {
            result_of(&task.await?)?;
        }
        self.took(begun, "tasks", "max(3,2,1) = ~3 seconds", 3)
    }

    /// Status on the way, which a plain call cannot give.
    pub(crate) async fn polling_while_working(&self) -> Outcome<()> {
        title("1. POLLING WHILE WORKING (impossible with plain calls)");
        let task = self
            .client
            .call_task("fetch_data", json!({"source": "archive", "delay": 3}))
            .await?;
        println!("  [CLIENT] task {} submitted", task.id());
        let mut polls = 0;
        loop {
            let status = task.status().await?;
            println!("  [CLIENT] status: {}", status.status.as_str());
            if status.status.is_terminal() {
                break;
            }
            polls += 1;
            println!("  [CLIENT] ... doing something else ...");
            sleep(Duration::from_millis(750).mul_f64(self.scale)).await;
        }
        println!("  [CLIENT] result: {}", task.data::<String>().await?);
        claim(polls >= 1, "the task was seen while it worked")
    }

    /// A task handle is a future of the result.
    pub(crate) async fn direct_await(&self) -> Outcome<()> {
        title("2. DIRECT AWAIT");
        let items = ["alpha", "beta", "gamma"];
        let batch = self
            .client
            .call_task("process_batch", json!({"items": items}))
            .await?;
        let mut progress = batch.progress();
        while let Some(now) = progress.next().await {
            println!("  [CLIENT] progress: {}", now?.line().unwrap_or_default());
        }
        let processed: Vec<String> = batch.await?.data()?;
        println!("  [CLIENT] processed: {}", processed.join(", "));
        claim(
            processed == ["ALPHA", "BETA", "GAMMA"],
            "every item was processed",
        )
    }

    /// Three tasks, their states as they change, and the order in which they end.
    pub(crate) async fn three_at_once(&self) -> Outcome<()> {
        title("3. THREE TASKS AT ONCE, their states and the order in which they end");
        let begun = Instant::now();
        let tasks = self.submit().await?;
        let mut seen = [""; 3];
        let mut order = Vec::new();
        while order.len() < tasks.len() {
            for (index, task) in tasks.iter().enumerate() {
                let status = task.status().await?.status;
                if seen[index] == status.as_str() {
                    continue;
                }
                seen[index] = status.as_str();
                let name = WORK[index].0;
                println!(
                    "  [CLIENT] {:.2}s  {name}: {}",
                    self.seconds(begun),
                    seen[index]
                );
                if status.is_terminal() {
                    order.push(name);
                }
            }
            sleep(Duration::from_millis(50).mul_f64(self.scale)).await;
        }
        println!("  [CLIENT] completion order: {}", order.join(", "));
        claim(order == ["C", "B", "A"], "the shortest ended first")?;
        claim(
            self.stage.most_at_a_time() == 3,
            "all three ran at the same time",
        )
    }

    /// A tool that is no task, for comparison.
    pub(crate) async fn instant_tool(&self) -> Outcome<()> {
        title("4. AN INSTANT TOOL (no task)");
        let begun = Instant::now();
        let said: String = self
            .client
            .call("quick_task", json!({"message": "hello"}))
            .await?
            .data()?;
        println!(
            "  [CLIENT] {said:?} after {:.1} ms",
            begun.elapsed().as_secs_f64() * 1000.0
        );
        let refused = self
            .client
            .call_task("quick_task", json!({"message": "hello"}))
            .await;
        // The newer era runs it at once and says so; nothing pretends to be a task.
        claim(
            matches!(refused, Err(ClientError::AnsweredAtOnce(_))),
            "it is never a task",
        )
    }

    /// The same result for another client, over another transport, twice.
    pub(crate) async fn fetched_again(&self, other: Client) -> Outcome<()> {
        title("5. FETCHED AGAIN, by another client within the process");
        let task = self
            .client
            .call_task("slow_calculation", arguments("D", 1))
            .await?;
        let first = task.result().await?;
        let second = other.task(task.id()).await?;
        let third = other.task(task.id()).await?;
        println!("  [CLIENT] {}", second.text());
        other.close().await;
        claim(
            first.raw() == second.raw() && second.raw() == third.raw(),
            "the same bytes each time",
        )
    }

    async fn submit(&self) -> Outcome<Vec<TaskHandle>> {
        let mut tasks = Vec::new();
        for (name, duration) in WORK {
            tasks.push(
                self.client
                    .call_task("slow_calculation", arguments(name, duration))
                    .await?,
            );
        }
        Ok(tasks)
    }

    /// Prints what an approach took, and checks how many tools ran at a time.
    fn took(&self, begun: Instant, what: &str, expected: &str, at_a_time: usize) -> Outcome<f64> {
        let seconds = self.seconds(begun);
        println!("  [CLIENT] {what} took: {seconds:.2}s (Expected: {expected})");
        let most = self.stage.most_at_a_time();
        claim(
            most == at_a_time,
            &format!("{at_a_time} at a time, not {most}"),
        )?;
        Ok(seconds)
    }

    /// Seconds of the demonstration since then.
    fn seconds(&self, begun: Instant) -> f64 {
        begun.elapsed().as_secs_f64() / self.scale
    }
}

fn arguments(name: &str, duration: u64) -> serde_json::Value {
    json!({"name": name, "duration": duration})
}

fn result_of(result: &CallResult) -> Outcome<()> {
    let Calculation { name, result } = result.data()?;
    println!("  [CLIENT] {name} = {result}");
    Ok(())
}

fn title(text: &str) {
    println!("\n=== {text}");
}

fn heading(text: &str) {
    println!("\n  -- {text}");
}

fn claim(holds: bool, what: &str) -> Outcome<()> {
    if holds {
        Ok(())
    } else {
        Err(format!("does not hold: {what}").into())
    }
}
