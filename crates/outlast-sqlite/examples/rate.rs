//! Measures the store alone: `cargo run --release -p outlast-sqlite --example rate -- --help`.
//!
//! Every figure stands beside the rate of bare commits of the same disk, because that is what decides
//! most of them: a lifecycle is a task that is created and claimed in one unit and finished in
//! another, each acknowledged only after the disk has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outlast_core::id::WorkerId;
use outlast_core::machine::AttemptEnd;
use outlast_core::store::{ClaimBy, ClaimNow, ToolVersion};
use outlast_core::task::TaskSpec;
use outlast_core::{Outcome, RawJson, Reads, Store, TaskId, ToolResult};
use outlast_sqlite::{Options, SqliteStore, Synchronous};
use rusqlite::Connection;

const HELP: &str = "\
usage: rate [--store FILE] [--normal] [--seconds N] [--preload N] [--foreign N]

  --store FILE   where to put the store (default: a temporary folder)
  --normal       synchronous = NORMAL instead of FULL
  --seconds N    how long each figure is measured (default 3)
  --preload N    finished tasks put into the store first (default 0)
  --foreign N    ready tasks of a tool no worker knows, put in first (default 0)
";

struct Arguments {
    store: Option<PathBuf>,
    synchronous: Synchronous,
    time: Duration,
    preload: usize,
    foreign: usize,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        store: None,
        synchronous: Synchronous::Full,
        time: Duration::from_secs(3),
        preload: 0,
        foreign: 0,
    };
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let mut value = || given.next().ok_or(format!("{flag} needs a value"));
        let number = |text: String| -> Result<usize, String> {
            text.parse().map_err(|_| format!("{text:?} is no number"))
        };
        match flag.as_str() {
            "--store" => parsed.store = Some(value()?.into()),
            "--normal" => parsed.synchronous = Synchronous::Normal,
            "--seconds" => parsed.time = Duration::from_secs(number(value()?)? as u64),
            "--preload" => parsed.preload = number(value()?)?,
            "--foreign" => parsed.foreign = number(value()?)?,
            _ => return Err(HELP.into()),
        }
    }
    Ok(parsed)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(2);
        }
    };
    let folder = tempfile::tempdir()?;
    let path = arguments
        .store
        .clone()
        .unwrap_or_else(|| folder.path().join("rate.db"));
    let bare = bare_commits(&path.with_extension("bare"), &arguments)?;
    println!(
        "bare commits                  {:>10.0} /s   p50 {}",
        bare.rate,
        micros(bare.middle)
    );

    let begun = Instant::now();
    let store = Arc::new(SqliteStore::open(Options {
        synchronous: arguments.synchronous,
        ..Options::new(&path, "rate")
    })?);
    println!("open                          {}", micros(begun.elapsed()));
    let begun = Instant::now();
    let counts = store.stats().await?.phases();
    println!(
        "first count of all tasks      {}   {counts:?}",
        micros(begun.elapsed())
    );
    let worker = Worker::new(store);
    if arguments.preload > 0 {
        let begun = Instant::now();
        worker.preload(arguments.preload).await?;
        println!(
            "{} finished tasks put in  {:>10.1} s",
            arguments.preload,
            begun.elapsed().as_secs_f64()
        );
    }
    if arguments.foreign > 0 {
        worker.foreign(arguments.foreign).await?;
    }
    for (fused, callers) in [(true, 1), (true, 16), (true, 64), (false, 1), (false, 16)] {
        let figures = worker.lifecycles(fused, callers, arguments.time).await?;
        let how = if fused { "fused " } else { "queued" };
        println!(
            "lifecycles {how} {callers:>2} callers  {:>10.0} /s   create p50 {} ({:.1} x bare), p99 {}   cpu {:.1} µs each",
            figures.rate,
            micros(figures.middle),
            figures.middle.as_secs_f64() / bare.middle.as_secs_f64(),
            micros(figures.slow),
            figures.cpu.as_secs_f64() * 1e6,
        );
    }
    worker.reads(arguments.time).await?;
    worker.store.close().await?;
    Ok(())
}

/// Rates and times of one operation.
struct Figures {
    rate: f64,
    middle: Duration,
    slow: Duration,
    /// Processor time of the whole process for each.
    cpu: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>, count: usize, took: Duration, cpu: Duration) -> Self {
        times.sort_unstable();
        let count = u32::try_from(count).expect("fits").max(1);
        Self {
            rate: f64::from(count) / took.as_secs_f64(),
            middle: times[times.len() / 2],
            slow: times[times.len() * 99 / 100],
            cpu: cpu / count,
        }
    }
}

/// What a commit costs that does nothing but put one small row down.
fn bare_commits(path: &Path, arguments: &Arguments) -> rusqlite::Result<Figures> {
    let conn = Connection::open(path)?;
    let level = match arguments.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {level};
         CREATE TABLE IF NOT EXISTS row (n INTEGER PRIMARY KEY, text TEXT);"
    ))?;
    let mut insert = conn.prepare("INSERT INTO row (text) VALUES ('a row of some length')")?;
    let (mut times, begun, cpu) = (Vec::new(), Instant::now(), cpu());
    while begun.elapsed() < arguments.time {
        let start = Instant::now();
        insert.execute([])?;
        times.push(start.elapsed());
    }
    let count = times.len();
    Ok(Figures::of(
        times,
        count,
        begun.elapsed(),
        self::cpu() - cpu,
    ))
}

struct Worker {
    store: Arc<SqliteStore>,
    by: ClaimBy,
}

impl Worker {
    fn new(store: Arc<SqliteStore>) -> Self {
        let tool = ToolVersion {
            tool: "count".into(),
            version: "1".into(),
        };
        let by = ClaimBy {
            worker: WorkerId::random(),
            tools: Arc::new([tool].into()),
            lease: Duration::from_secs(30),
            suspects: true,
        };
        Self { store, by }
    }

    async fn lifecycle(
        store: &SqliteStore,
        by: &ClaimBy,
        fused: bool,
    ) -> outlast_core::Result<(TaskId, Duration)> {
        let arguments = RawJson::parse(r#"{"n": 7, "package": "outlast-core"}"#).expect("JSON");
        let spec = TaskSpec::new("count", arguments);
        let start = Instant::now();
        let claim = fused.then(|| ClaimNow::IfNext(by.clone()));
        let created = store.create(spec, claim).await?;
        let took = start.elapsed();
        let lease = match created.lease {
            Some(lease) => lease,
            None => loop {
                // Whoever created more than it claimed left one for us.
                if let Some(claimed) = store.claim(by, 1).await?.pop() {
                    break claimed.lease;
                }
            },
        };
        let end = AttemptEnd::Done(Outcome::Completed(ToolResult::text("counted to 7")));
        store.finish(&lease, end, None).await?;
        Ok((lease.task, took))
    }

    async fn preload(&self, tasks: usize) -> Result<(), Box<dyn std::error::Error>> {
        let callers = 256;
        let mut running = Vec::new();
        for caller in 0..callers {
            let (store, by) = (Arc::clone(&self.store), self.by.clone());
            let share = tasks / callers + usize::from(caller < tasks % callers);
            running.push(tokio::spawn(async move {
                for _ in 0..share {
                    Self::lifecycle(&store, &by, true).await?;
                }
                Ok::<(), outlast_core::Error>(())
            }));
        }
        for one in running {
            one.await??;
        }
        Ok(())
    }

    /// Ready tasks that this worker does not know.
    async fn foreign(&self, tasks: usize) -> Result<(), Box<dyn std::error::Error>> {
        let callers = 256;
        let mut running = Vec::new();
        for _ in 0..callers {
            let store = Arc::clone(&self.store);
            running.push(tokio::spawn(async move {
                for _ in 0..tasks.div_ceil(callers) {
                    let mut spec = TaskSpec::new("foreign", RawJson::empty_object());
                    spec.priority = 1;
                    store.create(spec, None).await?;
                }
                Ok::<(), outlast_core::Error>(())
            }));
        }
        for one in running {
            one.await??;
        }
        Ok(())
    }

    async fn lifecycles(
        &self,
        fused: bool,
        callers: usize,
        time: Duration,
    ) -> Result<Figures, Box<dyn std::error::Error>> {
        let (begun, cpu) = (Instant::now(), cpu());
        let mut running = Vec::new();
        for _ in 0..callers {
            let (store, by) = (Arc::clone(&self.store), self.by.clone());
            running.push(tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < time {
                    times.push(Self::lifecycle(&store, &by, fused).await?.1);
                }
                Ok::<_, outlast_core::Error>(times)
            }));
        }
        let mut times = Vec::new();
        for one in running {
            times.extend(one.await??);
        }
        let count = times.len();
        Ok(Figures::of(
            times,
            count,
            begun.elapsed(),
            self::cpu() - cpu,
        ))
    }

    /// Polls of finished tasks: one that is in memory, and those that are not.
    async fn reads(&self, time: Duration) -> Result<(), Box<dyn std::error::Error>> {
        let (id, _) = Self::lifecycle(&self.store, &self.by, true).await?;
        let (begun, mut count) = (Instant::now(), 0_u32);
        while begun.elapsed() < time {
            for _ in 0..1000 {
                let task = self.store.get(id).await?;
                assert!(task.is_some_and(|task| task.is_finished()));
            }
            count += 1000;
        }
        let each = begun.elapsed() / count;
        println!("get, in memory                {:>10} ns", each.as_nanos());
        let unknown = TaskId::random();
        let (begun, mut count) = (Instant::now(), 0_u32);
        while begun.elapsed() < time {
            assert!(self.store.get(unknown).await?.is_none());
            count += 1;
        }
        let each = begun.elapsed() / count;
        println!("get, from the file            {}", micros(each));
        Ok(())
    }
}

fn micros(time: Duration) -> String {
    format!("{:>7.1} µs", time.as_secs_f64() * 1e6)
}

/// Processor time this process has used.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
