//! `outlast tasks logs`.

use std::time::Duration;

use base64::Engine as _;
use clap::Args;
use outlast_core::RawJson;
use outlast_mcp::client::{Client, ClientError};
use outlast_mcp::jsonrpc::code;
use serde::Deserialize;
use serde_json::json;

use super::super::client::exit::{Exit, Trouble};
use super::super::client::{out, unless_interrupted};

/// How often the log is looked at when it is followed.
const LOOK: Duration = Duration::from_millis(300);

/// Print the log of a task: what a command wrote, what a handler logged
///
/// Of a log of more than 64 MiB the middle is not kept, which is said on standard error. The protocol has no
/// logs that outlive a call, so this works with Outlast's servers only.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The task
    id: String,

    /// Go on until the task ends
    #[arg(long, short)]
    follow: bool,

    /// Begin at this byte
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    offset: u64,
}

#[derive(Deserialize)]
struct Page {
    chunks: Vec<RawJson>,
    next: u64,
    end: u64,
}

#[derive(Deserialize)]
struct Chunk {
    /// Where it begins.
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
}

impl Logs {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        match unless_interrupted(self.print(client, as_json)).await {
            Some(printed) => printed.map(|()| Exit::Ok),
            None => Ok(Exit::Interrupted),
        }
    }

    async fn print(self, client: &Client, as_json: bool) -> Result<(), Trouble> {
        let task = client.task(&self.id);
        let mut offset = self.offset;
        // How far it has been printed: what begins later has a gap before it.
        let mut reached = offset;
        let mut written = out::Stream::new();
        // A task that is not there is said in its own words, whatever the server makes of the rest.
        task.status().await?;
        loop {
            // Looked at before the log: what was written before the end is then read for certain.
            let ended = !self.follow || task.status().await?.status.is_terminal();
            loop {
                let page = self.page(client, offset).await?;
                for raw in &page.chunks {
                    if as_json {
                        out::json_line(&raw.to_value());
                        continue;
                    }
                    let chunk: Chunk = raw.to().map_err(strange)?;
                    if chunk.offset > reached {
                        let gone = chunk.offset - reached;
                        out::complain(&format!("[{gone} bytes of the log are not kept]"));
                    }
                    let (begins, bytes) = (chunk.offset, bytes(chunk)?);
                    reached = begins + bytes.len() as u64;
                    written.push(&bytes);
                }
                offset = page.next;
                if page.next >= page.end || page.chunks.is_empty() {
                    break;
                }
            }
            if ended {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn page(&self, client: &Client, offset: u64) -> Result<Page, Trouble> {
        page(client, &self.id, offset, 256 * 1024).await
    }
}

/// The end of a task's log as text.
///
/// # Errors
/// The server has no logs, or cannot be asked.
pub(crate) async fn tail(client: &Client, id: &str) -> Result<String, Trouble> {
    const ENOUGH: u64 = 16 * 1024;
    let end = page(client, id, 0, 1).await?.end;
    let (mut offset, mut text) = (end.saturating_sub(ENOUGH), Vec::new());
    while offset < end {
        let page = page(client, id, offset, 2 * ENOUGH).await?;
        for raw in &page.chunks {
            text.extend(bytes(raw.to().map_err(strange)?)?);
        }
        if page.next <= offset {
            break;
        }
        offset = page.next;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn page(client: &Client, id: &str, offset: u64, limit: u64) -> Result<Page, Trouble> {
    let params = json!({"taskId": id, "offset": offset, "limit": limit});
    match client.request("outlast/logs", &params).await {
        Ok(raw) => raw.to().map_err(strange),
        // Servers do not agree on what to say to a method they do not know.
        Err(ClientError::Refused { error, .. })
            if matches!(error.code, code::METHOD_NOT_FOUND | code::INVALID_PARAMS) =>
        {
            Err(Trouble::new(
                Exit::Failed,
                "this server does not offer logs",
            ))
        }
        Err(error) => Err(error.into()),
    }
}

fn bytes(chunk: Chunk) -> Result<Vec<u8>, Trouble> {
    match chunk.base64 {
        Some(text) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(strange),
        None => Ok(chunk.text.unwrap_or_default().into_bytes()),
    }
}

fn strange(error: impl std::fmt::Display) -> Trouble {
    Trouble::new(
        Exit::Failed,
        format!("the server's log cannot be read: {error}"),
    )
}
