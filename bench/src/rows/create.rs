//! One durable create beside one bare commit.
//!
//! A single connection creates a task and then polls it to its end before it
//! creates the next, so that no create shares the disk with the finish of the
//! task before it. Only the create is timed: the request leaves, the task is on
//! the disk, the answer is there. Creates and bare commits alternate in blocks of
//! a few milliseconds, because a disk that others use too changes its pace faster
//! than a window is long.

use std::time::Instant;

use serde_json::json;

use crate::{
    Result,
    bench::Bench,
    disk::Bare,
    http::Connection,
    http::find,
    process::Server,
    report::Row,
    stats::{Spread, percentile},
    wire::{Request, task_id},
};

/// Operations of one kind before it is the other kind's turn.
pub(crate) const BLOCK: usize = 10;

/// The row of a create.
///
/// # Errors
/// The first wrong answer.
pub(crate) async fn create(bench: &mut Bench) -> Result<()> {
    let folder = bench.folder("create")?;
    let server = bench.outlast(&folder)?;
    let bare = Bare::open(&folder)?;
    let mut creator = Creator::open(&server).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=bench.pairs {
        let (mut creates, mut commits) = (Vec::new(), Vec::new());
        let began = Instant::now();
        while began.elapsed() < bench.window {
            for _ in 0..BLOCK {
                creates.push(creator.create().await?);
            }
            commits.extend(bare.commit(BLOCK)?);
        }
        // The first round warms both up.
        if round > 0 {
            ours.push(f64::from(percentile(&mut creates, 0.5)));
            theirs.push(f64::from(percentile(&mut commits, 0.5)));
        }
    }
    let ratio = Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs));
    let (ours, theirs) = (Spread::of(ours), Spread::of(theirs));
    let mut row = Row::new("create of a task, one connection, p50");
    row.outlast = format!("{} µs", ours.show(0));
    row.beside = format!("bare FULL commit {} µs", theirs.show(0));
    row.ratio = format!("{} ×", ratio.show(2));
    row.reach = "≤ 2 ×".to_owned();
    row.figures = json!({"micros": [ours, theirs], "ratio": ratio});
    bench.row(row);
    Ok(())
}

/// One connection that creates tasks one at a time.
pub(crate) struct Creator {
    connection: Connection,
    create: Request,
    get: Option<Request>,
    host: String,
}

impl Creator {
    /// Connects.
    ///
    /// # Errors
    /// Those of `connect`.
    pub(crate) async fn open(server: &Server) -> Result<Self> {
        Ok(Creator {
            connection: Connection::open(server.address).await?,
            create: Request::call(&server.host(), "add", json!({"a": 2, "b": 3}), true),
            get: None,
            host: server.host(),
        })
    }

    /// Creates a task, waits for its end, and returns the microseconds that the
    /// create alone took.
    ///
    /// # Errors
    /// The first wrong answer.
    pub(crate) async fn create(&mut self) -> Result<u32> {
        let began = Instant::now();
        let response = self.connection.send(self.create.next()).await?;
        let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        let Some(task) = task_id(response.body).map(str::to_owned) else {
            return Err(format!("a create was answered with {}", response.message()?).into());
        };
        let get = self
            .get
            .get_or_insert_with(|| Request::get(&self.host, &task));
        get.set_task(&task);
        loop {
            let response = self.connection.send(get.next()).await?;
            if find(response.body, br#""status":"completed""#).is_some() {
                return Ok(micros);
            }
            if find(response.body, br#""status":"working""#).is_none() {
                return Err(format!("a poll was answered with {}", response.message()?).into());
            }
        }
    }
}
