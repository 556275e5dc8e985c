//! Windows of load: so many connections, each sending its next request as soon
//! as the last one is answered.
//!
//! Every answer is checked. One wrong answer ends the run with that answer,
//! because a rate in which errors are counted as work is no rate.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Result,
    http::{Connection, Response, find},
    wire::{Request, task_id},
};

/// What each connection does over and over.
#[derive(Clone)]
pub(crate) enum Work {
    /// One request; the answer contains `expect`.
    Call {
        request: Request,
        expect: &'static [u8],
    },
    /// `tasks/get` of one of `tasks`, at random; the answer says `completed`.
    Polls {
        request: Request,
        tasks: Arc<Vec<String>>,
    },
    /// Create a task, then poll it until it has completed.
    Lifecycles {
        create: Request,
        host: String,
        /// A line for the head of each poll.
        header: Option<String>,
        pace: Pace,
    },
}

/// How a client polls while its task is working.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Again as soon as the answer is there.
    Hot,
    /// After a pause that begins at 20 ms and doubles up to a second.
    Ramp,
}

/// What one window measured.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Requests answered.
    pub(crate) requests: u64,
    /// Units of work done: requests, or whole lifecycles.
    pub(crate) done: u64,
    pub(crate) elapsed: Duration,
    /// Microseconds a unit, unsorted.
    pub(crate) latencies: Vec<u32>,
    /// Tasks brought to their end, where the work was that.
    pub(crate) tasks: Vec<String>,
}

impl Window {
    /// Units of work a second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }
}

/// When a window is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Elapsed(Duration),
    /// At least so many units on all connections together.
    Done(u64),
}

/// Open connections to one server, kept over all windows.
pub(crate) struct Pool {
    connections: Vec<Connection>,
    seed: u64,
}

impl Pool {
    /// Opens `count` connections.
    ///
    /// # Errors
    /// Those of `connect`.
    pub(crate) async fn open(address: SocketAddr, count: usize) -> Result<Self> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(address).await?);
        }
        Ok(Pool {
            connections,
            seed: 0x9E37_79B9_7F4A_7C15,
        })
    }

    /// Loads the server with `work` on every connection.
    ///
    /// # Errors
    /// The first wrong answer or broken connection.
    pub(crate) async fn run(&mut self, work: &Work, until: Until) -> Result<Window> {
        let began = Instant::now();
        let count = self.connections.len();
        let mut running = Vec::with_capacity(count);
        for (number, connection) in self.connections.drain(..).enumerate() {
            // Each connection draws its own sequence, and another one in every window.
            self.seed = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let end = match until {
                Until::Elapsed(length) => Until::Elapsed(length),
                Until::Done(units) => Until::Done(units.div_ceil(count as u64)),
            };
            let client = Client {
                connection,
                number,
                random: self.seed | 1,
                began,
                end,
            };
            running.push(tokio::spawn(client.run(work.clone())));
        }
        let mut window = Window::default();
        for client in running {
            let (connection, part) = client.await??;
            self.connections.push(connection);
            window.requests += part.requests;
            window.done += part.done;
            window.latencies.extend(part.latencies);
            window.tasks.extend(part.tasks);
        }
        window.elapsed = began.elapsed();
        Ok(window)
    }
}

struct Client {
    connection: Connection,
    number: usize,
    random: u64,
    began: Instant,
    end: Until,
}

impl Client {
    async fn run(mut self, work: Work) -> Result<(Connection, Window)> {
        let mut window = Window::default();
        match work {
            Work::Call {
                mut request,
                expect,
            } => {
                request.number_from(self.number);
                let mut started = Instant::now();
                while !self.over(started, window.done) {
                    let response = self.connection.send(request.next()).await?;
                    if response.status != 200 || find(response.body, expect).is_none() {
                        return Err(wrong("a tools/call", &response));
                    }
                    started = window.note(started);
                }
            }
            Work::Polls { mut request, tasks } => {
                request.number_from(self.number);
                let mut started = Instant::now();
                while !self.over(started, window.done) {
                    let pick = self.random() as usize % tasks.len();
                    request.set_task(&tasks[pick]);
                    let response = self.connection.send(request.next()).await?;
                    if state(&response) != State::Completed {
                        return Err(wrong("tasks/get of a finished task", &response));
                    }
                    started = window.note(started);
                }
            }
            Work::Lifecycles {
                mut create,
                host,
                header,
                pace,
            } => {
                create.number_from(self.number);
                let mut get: Option<Request> = None;
                let mut started = Instant::now();
                while !self.over(started, window.done) {
                    let response = self.connection.send(create.next()).await?;
                    window.requests += 1;
                    let Some(task) = task_id(response.body).map(str::to_owned) else {
                        return Err(wrong("a tools/call that asks for a task", &response));
                    };
                    let number = self.number;
                    let get = get.get_or_insert_with(|| {
                        let mut get = Request::get(&host, &task);
                        if let Some(header) = &header {
                            get = get.with_header(header);
                        }
                        get.number_from(number);
                        get
                    });
                    get.set_task(&task);
                    let mut pause = Duration::from_millis(20);
                    loop {
                        if pace == Pace::Ramp {
                            tokio::time::sleep(pause).await;
                            pause = (pause * 2).min(Duration::from_secs(1));
                        }
                        let response = self.connection.send(get.next()).await?;
                        match state(&response) {
                            State::Completed => break,
                            State::Working => window.requests += 1,
                            State::Other => {
                                return Err(wrong("tasks/get of a running task", &response));
                            }
                        }
                    }
                    started = window.note(started);
                    window.tasks.push(task);
                }
            }
        }
        Ok((self.connection, window))
    }

    fn over(&self, now: Instant, done: u64) -> bool {
        match self.end {
            Until::Elapsed(length) => now.duration_since(self.began) >= length,
            Until::Done(units) => done >= units,
        }
    }

    /// The next number of an xorshift: drawing an id must cost nothing.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }
}

impl Window {
    fn note(&mut self, started: Instant) -> Instant {
        let now = Instant::now();
        self.requests += 1;
        self.done += 1;
        let micros = now.duration_since(started).as_micros();
        self.latencies
            .push(u32::try_from(micros).unwrap_or(u32::MAX));
        now
    }
}

#[derive(Debug, PartialEq)]
enum State {
    Working,
    Completed,
    Other,
}

/// The status in a `tasks/get` answer. Servers write the member with or without
/// a space after its colon, and nowhere else does the text occur in these answers.
fn state(response: &Response<'_>) -> State {
    let has = |text: &[u8]| find(response.body, text).is_some();
    if response.status != 200 {
        State::Other
    } else if has(br#""status":"completed""#) {
        State::Completed
    } else if has(br#""status":"working""#) {
        State::Working
    } else {
        State::Other
    }
}

fn wrong(what: &str, response: &Response<'_>) -> Box<dyn std::error::Error + Send + Sync> {
    format!(
        "{what} was answered with status {} and {:.600}",
        response.status,
        String::from_utf8_lossy(response.body)
    )
    .into()
}
