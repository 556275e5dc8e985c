//! How soon a WebSocket hears: of a change, dated by the event itself, which is written by this
//! machine's clock before the commit; and of a start, from the moment at which the create was sent.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Result, bench::Bench, client::Client, report::Row, socket::Socket, stats::percentile};

/// Between two changes of the watched task.
const STEP_MS: u64 = 50;
/// After this long a socket will not hear of the end.
const DEADLINE: Duration = Duration::from_secs(120);

/// The rows of sockets on one task: one, and a hundred.
///
/// # Errors
/// A socket misses a change.
pub(crate) async fn sockets(bench: &mut Bench) -> Result<()> {
    let folder = bench.folder("sockets")?;
    let server = bench.outlast(&folder)?;
    let steps: u64 = if bench.quick { 20 } else { 100 };
    for (count, reach) in [(1, "≤ 500 ms"), (100, "p99 ≤ 100 ms")] {
        let mut client = Client::open(&server).await?;
        let arguments = json!({"steps": steps, "step_ms": STEP_MS});
        let task = client.create("slow_progress", arguments).await?;
        let mut listening = Vec::new();
        for _ in 0..count {
            let socket = Socket::open(&server, &task).await?;
            listening.push(tokio::spawn(tokio::time::timeout(DEADLINE, hear(socket))));
        }
        let (mut waits, mut events) = (Vec::new(), Vec::new());
        for one in listening {
            let heard = one
                .await?
                .map_err(|_| format!("a socket heard no end within {DEADLINE:?}"))??;
            events.push(heard.events);
            waits.extend(heard.waits);
        }
        if events.iter().any(|number| *number != events[0]) {
            return Err(format!("sockets on one task heard {events:?} events").into());
        }
        let arrivals = waits.len();
        let [p50, p99, worst] =
            [0.5, 0.99, 1.0].map(|share| f64::from(percentile(&mut waits, share)) / 1e3);
        let plural = if count == 1 { "" } else { "s" };
        let mut row = Row::new(format!(
            "{count} socket{plural} on one task, arrival of an event"
        ));
        row.outlast =
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms, worst {worst:.1} ms ({arrivals} arrivals)");
        row.reach = reach.to_owned();
        row.figures = json!({
            "sockets": count, "arrivals": arrivals,
            "p50Millis": p50, "p99Millis": p99, "worstMillis": worst,
        });
        bench.row(row);
    }
    let mut starts = Vec::new();
    let mut client = Client::open(&server).await?;
    for _ in 0..if bench.quick { 10 } else { 100 } {
        let began = Instant::now();
        let arguments = json!({"steps": 1, "step_ms": 1});
        let task = client.create("slow_progress", arguments).await?;
        let mut socket = Socket::open(&server, &task).await?;
        while let Some(message) = socket.next().await? {
            if message["type"] == "ATTEMPT_STARTED" {
                break;
            }
        }
        let micros = began.elapsed().as_micros();
        starts.push(u32::try_from(micros).unwrap_or(u32::MAX));
    }
    let [p50, worst] = [0.5, 1.0].map(|share| f64::from(percentile(&mut starts, share)) / 1e3);
    let mut row = Row::new("from the create's request until a socket has said that it runs");
    row.outlast = format!("p50 {p50:.1} ms, worst {worst:.1} ms");
    row.reach = "≤ 2 s".to_owned();
    row.figures = json!({"p50Millis": p50, "worstMillis": worst});
    bench.row(row);
    server.kill()
}

/// What one socket heard.
struct Heard {
    events: u64,
    /// Microseconds from the date of each event that came while the socket was open.
    waits: Vec<u32>,
}

async fn hear(mut socket: Socket) -> Result<Heard> {
    let opened = jiff::Timestamp::now();
    let mut heard = Heard {
        events: 0,
        waits: Vec::new(),
    };
    while let Some(message) = socket.next().await? {
        let Some(number) = message["seq"].as_u64() else {
            continue;
        };
        let arrived = jiff::Timestamp::now();
        heard.events += 1;
        if number != heard.events {
            return Err(format!("event {} came as number {number}", heard.events).into());
        }
        let at: jiff::Timestamp = message["at"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .map_err(|_| "an event without a date")?;
        if at > opened {
            let wait = arrived.duration_since(at).as_micros().max(0);
            heard.waits.push(u32::try_from(wait).unwrap_or(u32::MAX));
        }
    }
    Ok(heard)
}
