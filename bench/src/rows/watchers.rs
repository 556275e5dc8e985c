//! A thousand watchers of one task, each on a `subscriptions/listen` stream.
//!
//! An event is dated by the task's own `lastUpdatedAt`, which the server writes
//! from this machine's clock, and by the moment the loader read it; the difference
//! is what a watcher waited, the store's commit included. The first notification
//! of a stream is the state at that moment, however old, and is not counted.
//! Every watcher must see the task move forward only, and see its end. A notification
//! is the task as it stands (tasks extension, `notifications/tasks`), so a change that
//! came before the one before it was sent is in the next: how often two became one
//! for a watcher is printed, and is no loss. The streams of REST and the sockets,
//! which number events, leave none out.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use crate::{
    Result,
    bench::Bench,
    http::{Connection, EventStream},
    report::Row,
    stats::percentile,
    wire::{Request, task_id},
};

/// Steps of the watched task, and the pause between two: each is more than one
/// per cent of it, so that its progress is an event.
const STEPS: u64 = 50;
const STEP_MS: u64 = 200;
/// How long a watcher waits for the end of the task.
const DEADLINE: Duration = Duration::from_secs(180);

/// One notification as a watcher saw it: the task's date and the arrival, in
/// microseconds since 1970.
type Arrival = (String, u64);

/// The row of watchers.
///
/// # Errors
/// If a watcher misses the end or sees the task go backwards.
pub(crate) async fn watchers(bench: &mut Bench) -> Result<()> {
    let count: u64 = if bench.quick { 50 } else { 1_000 };
    let folder = bench.folder("watchers")?;
    let server = bench.outlast(&folder)?;
    let mut connection = Connection::open(server.address).await?;
    let steps = if bench.quick { STEPS / 5 } else { STEPS };
    let arguments = json!({"count": steps, "step_ms": STEP_MS, "ledger": folder.join("ledger")});
    let mut request = Request::call(&server.host(), "steps", arguments, true);
    let response = connection.send(request.next()).await?;
    let Some(task) = task_id(response.body).map(str::to_owned) else {
        return Err(format!("`steps` did not become a task: {}", response.message()?).into());
    };
    let mut running = Vec::new();
    for _ in 0..count {
        let listen = Request::listen(&server.host(), &task);
        let connection = Connection::open(server.address).await?;
        running.push(tokio::spawn(tokio::time::timeout(
            DEADLINE,
            watch(connection, listen),
        )));
    }
    let mut dates: HashMap<String, u64> = HashMap::new();
    let (mut waits, mut seen) = (Vec::new(), Vec::new());
    for watcher in running {
        let arrivals = watcher
            .await?
            .map_err(|_| format!("a watcher saw no end of the task within {DEADLINE:?}"))??;
        let counted = arrivals.get(1..).unwrap_or_default();
        let mut moments = Vec::with_capacity(counted.len());
        let mut last = 0;
        for (date, arrived) in counted {
            let dated = match dates.get(date) {
                Some(dated) => *dated,
                None => {
                    let at: jiff::Timestamp = date.parse()?;
                    let micros = u64::try_from(at.as_microsecond())?;
                    dates.insert(date.clone(), micros);
                    micros
                }
            };
            if dated < last {
                return Err(format!("a watcher saw the task of {date} after a later one").into());
            }
            last = dated;
            moments.push(dated);
            waits.push(u32::try_from(arrived.saturating_sub(dated)).unwrap_or(u32::MAX));
        }
        seen.push(moments);
    }
    let merged = merged(&seen);
    if waits.is_empty() {
        return Err("no watcher saw a change".into());
    }
    let [p50, p99, worst] =
        [0.5, 0.99, 1.0].map(|share| f64::from(percentile(&mut waits, share)) / 1e3);
    let mut row = Row::new(format!("{count} watchers of one task, arrival of an event"));
    row.outlast = format!(
        "p50 {p50:.1} ms, p99 {p99:.1} ms, worst {worst:.1} ms ({} arrivals, {merged} merged with the next)",
        waits.len()
    );
    row.reach = "p99 ≤ 100 ms".to_owned();
    row.figures = json!({
        "watchers": count, "arrivals": waits.len(), "merged": merged,
        "p50Millis": p50, "p99Millis": p99, "worstMillis": worst,
    });
    bench.row(row);
    Ok(())
}

/// How many changes, of those that any watcher saw, came to watchers who were there
/// already as part of a later one.
fn merged(seen: &[Vec<u64>]) -> usize {
    let all: BTreeSet<u64> = seen.iter().flatten().copied().collect();
    seen.iter()
        .filter_map(|moments| {
            let own: BTreeSet<u64> = moments.iter().copied().collect();
            Some(all.range(own.first()?..).count() - own.len())
        })
        .sum()
}

/// Reads one stream until the task has completed.
async fn watch(connection: Connection, mut listen: Request) -> Result<Vec<Arrival>> {
    let mut stream: EventStream = connection.open_stream(listen.next()).await?;
    let mut arrivals = Vec::new();
    loop {
        let line = stream.line().await?;
        let Some(data) = line.strip_prefix("data:") else {
            continue;
        };
        if !data.contains(r#""notifications/tasks""#) {
            if data.contains(r#""error""#) {
                return Err(format!("subscriptions/listen was answered with {data}").into());
            }
            continue;
        }
        let arrived = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let date = after(data, r#""lastUpdatedAt":""#).ok_or("a notification without a date")?;
        arrivals.push((date.to_owned(), u64::try_from(arrived)?));
        match after(data, r#""status":""#) {
            Some("completed") => return Ok(arrivals),
            Some("working") => {}
            other => return Err(format!("a watcher saw the task {other:?}").into()),
        }
    }
}

/// The string that follows `key`, up to its closing quote.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_as_merged_only_for_who_was_there() {
        let all = vec![1, 2, 3, 4];
        let late = vec![3, 4];
        let blind = vec![1, 4];
        assert_eq!(merged(&[all.clone(), late]), 0);
        assert_eq!(merged(&[all, blind, vec![]]), 2);
    }
}
