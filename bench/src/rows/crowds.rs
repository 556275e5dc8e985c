//! What a crowd costs that only waits: open streams of the newer era, and sessions of the older one.
//! Memory is read before and after, each once the server has come to rest; calls are measured with
//! the crowd there and beside the same server before it came.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    Result,
    bench::Bench,
    client::Client,
    http::{Connection, EventStream, header},
    load::{Pool, Until, Work},
    process::Server,
    report::Row,
    stats::{per_second, thousands},
    wire::{Request, legacy},
};

/// What a burst leaves to be done is not what the crowd costs.
const REST: Duration = Duration::from_secs(1);

/// The row of open `subscriptions/listen` streams.
///
/// # Errors
/// A stream does not open.
pub(crate) async fn streams(bench: &mut Bench) -> Result<()> {
    let count = if bench.quick { 100 } else { 1_000 };
    let folder = bench.folder("streams")?;
    let server = bench.outlast(&folder)?;
    let mut client = Client::open(&server).await?;
    let forever = json!({"seconds": 86_400.0, "label": "watched"});
    let task = client.create("slow_compute", forever).await?;
    let before = Before::measure(bench, &server).await?;
    let began = Instant::now();
    let mut open: Vec<EventStream> = Vec::with_capacity(count);
    for _ in 0..count {
        let connection = Connection::open(server.address).await?;
        let mut listen = Request::listen(&server.host(), &task);
        let mut stream = connection.open_stream(listen.next()).await?;
        // Only with its first message does the stream listen.
        while !stream.line().await?.starts_with("data:") {}
        open.push(stream);
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let what = format!("{count} open `subscriptions/listen` streams");
    before.compare(bench, &server, what, count, rate).await?;
    drop(open);
    server.kill()
}

/// The row of sessions that set a log level and subscribed to a resource.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn sessions(bench: &mut Bench) -> Result<()> {
    let count = if bench.quick { 300 } else { 10_000 };
    let folder = bench.folder("sessions")?;
    let server = bench.outlast(&folder)?;
    let before = Before::measure(bench, &server).await?;
    let began = Instant::now();
    let mut opening = Vec::new();
    for part in 0..bench.connections {
        // The remainder goes to the first ones.
        let own = count / bench.connections + usize::from(part < count % bench.connections);
        let connection = Connection::open(server.address).await?;
        opening.push(tokio::spawn(open_sessions(connection, server.host(), own)));
    }
    for part in opening {
        part.await??;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let what = format!(
        "{} sessions of 2025-11-25 with a log level and a subscription",
        thousands(count as f64)
    );
    before.compare(bench, &server, what, count, rate).await?;
    server.kill()
}

async fn open_sessions(mut connection: Connection, host: String, count: usize) -> Result<()> {
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "clientInfo": {"name": "outlast-bench", "version": env!("CARGO_PKG_VERSION")},
        "capabilities": {},
    }});
    let first = legacy(&host, None, &initialize);
    let messages = [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "logging/setLevel",
            "params": {"level": "warning"}}),
        json!({"jsonrpc": "2.0", "id": 3, "method": "resources/subscribe",
            "params": {"uri": "test://watched-resource"}}),
    ];
    for _ in 0..count {
        let response = connection.send(&first).await?;
        let session = header(response.head, b"mcp-session-id")
            .ok_or("initialize was answered without a session")?;
        let session = String::from_utf8(session.to_vec())?;
        for message in &messages {
            let response = connection
                .send(&legacy(&host, Some(&session), message))
                .await?;
            let empty = response.body.is_empty();
            if response.status >= 300 || !(empty || response.message()?["result"].is_object()) {
                return Err(format!(
                    "{message} was answered with status {} and {:.400}",
                    response.status,
                    String::from_utf8_lossy(response.body)
                )
                .into());
            }
        }
    }
    Ok(())
}

/// A server before the crowd came.
struct Before {
    memory_mb: f64,
    rate: f64,
}

impl Before {
    async fn measure(bench: &Bench, server: &Server) -> Result<Self> {
        let rate = call_rate(bench, server).await?;
        tokio::time::sleep(REST).await;
        Ok(Before {
            memory_mb: server.memory_mb()?,
            rate,
        })
    }

    /// Measures again, and adds the row; the crowd came at `rate` a second.
    async fn compare(
        self,
        bench: &mut Bench,
        server: &Server,
        what: String,
        count: usize,
        came: f64,
    ) -> Result<()> {
        tokio::time::sleep(REST).await;
        let memory = server.memory_mb()?;
        let rate = call_rate(bench, server).await?;
        let each = (memory - self.memory_mb) * 1e3 / count as f64;
        let mut row = Row::new(what);
        row.outlast = format!(
            "{} opened; {memory:.1} MB, {each:.1} KB each; calls {}",
            per_second(came),
            per_second(rate)
        );
        row.beside = format!(
            "before them {:.1} MB, calls {}",
            self.memory_mb,
            per_second(self.rate)
        );
        row.ratio = format!("{:.2} of the calls", rate / self.rate);
        row.figures = json!({
            "openedPerSecond": came, "residentMb": [memory, self.memory_mb], "kilobytesEach": each,
            "callsPerSecond": [rate, self.rate],
        });
        bench.row(row);
        Ok(())
    }
}

async fn call_rate(bench: &Bench, server: &Server) -> Result<f64> {
    let mut pool = Pool::open(server.address, bench.connections).await?;
    let request = Request::call(&server.host(), "add_inline", json!({"a": 2, "b": 3}), false);
    let expect = br#""text":"5""#.as_slice();
    let work = Work::Call { request, expect };
    pool.run(&work, Until::Elapsed(bench.window / 5)).await?;
    Ok(pool.run(&work, Until::Elapsed(bench.window)).await?.rate())
}
