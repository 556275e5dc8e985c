//! One client of the newer era that reads what it is told: for rows that are not about the cost of a
//! request.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Result, http::Connection, process::Server, wire::Request};

/// How long a client waits before it polls again.
const PAUSE: Duration = Duration::from_millis(10);
/// After this long a task is not going to end at all.
const DEADLINE: Duration = Duration::from_secs(600);

/// A connection, and whom it is to.
pub(crate) struct Client {
    connection: Connection,
    host: String,
}

/// A task as its record tells of it.
pub(crate) struct Ended {
    pub(crate) created: jiff::Timestamp,
    /// The last change.
    pub(crate) updated: jiff::Timestamp,
    pub(crate) status: String,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Those of `connect`.
    pub(crate) async fn open(server: &Server) -> Result<Self> {
        Ok(Client {
            connection: Connection::open(server.address).await?,
            host: server.host(),
        })
    }

    /// Sends a request; returns its result.
    ///
    /// # Errors
    /// Those of the socket; an answer that is none.
    pub(crate) async fn result(&mut self, mut request: Request) -> Result<Value> {
        let response = self.connection.send(request.next()).await?;
        let mut message = response.message()?;
        match message.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(format!("a request was answered with {message}").into()),
        }
    }

    /// Creates a task; returns its id.
    ///
    /// # Errors
    /// The tool did not become a task.
    pub(crate) async fn create(&mut self, tool: &str, arguments: Value) -> Result<String> {
        let result = self
            .result(Request::call(&self.host, tool, arguments, true))
            .await?;
        match result["taskId"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => Err(format!("`{tool}` did not become a task: {result}").into()),
        }
    }

    /// Polls a task at leisure until it has ended.
    ///
    /// # Errors
    /// It does not end.
    pub(crate) async fn ended(&mut self, task: &str) -> Result<Ended> {
        let waiting = async {
            loop {
                let result = self.result(Request::get(&self.host, task)).await?;
                let status = result["status"].as_str().unwrap_or_default();
                if status != "working" {
                    return Ok(Ended {
                        created: date(&result, "createdAt")?,
                        updated: date(&result, "lastUpdatedAt")?,
                        status: status.to_owned(),
                    });
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting)
            .await
            .map_err(|_| format!("task {task} has not ended after {DEADLINE:?}"))?
    }

    /// Starts `count` tasks at once and waits for their ends; returns the seconds from the first
    /// creation to the last end, by the server's own dates.
    ///
    /// # Errors
    /// One of them did not complete.
    pub(crate) async fn run(&mut self, tool: &str, arguments: Value, count: usize) -> Result<f64> {
        let mut tasks = Vec::with_capacity(count);
        for _ in 0..count {
            tasks.push(self.create(tool, arguments.clone()).await?);
        }
        let mut ended = Vec::with_capacity(count);
        for task in &tasks {
            let one = self.ended(task).await?;
            if one.status != "completed" {
                return Err(format!("a task of `{tool}` ended as {}", one.status).into());
            }
            ended.push(one);
        }
        let first = ended.iter().map(|one| one.created).min();
        let last = ended.iter().map(|one| one.updated).max();
        let (first, last) = first.zip(last).ok_or("no tasks were asked for")?;
        // A millisecond is the finest that the dates tell.
        Ok((last.duration_since(first).as_secs_f64()).max(0.001))
    }
}

fn date(result: &Value, member: &str) -> Result<jiff::Timestamp> {
    let text = result[member].as_str().unwrap_or_default();
    text.parse()
        .map_err(|_| format!("{member} is {}, which is no time", json!(text)).into())
}
