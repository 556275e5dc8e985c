//! `outlast signal`: sends a message into a task.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::client::address::{Address, Need};
use super::client::bar::Bar;
use super::client::exit::{self, Exit, Trouble};
use super::client::out;

/// Send a signal into a task
///
/// It is stored with the task and waits until the tool reads it.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(crate) struct Signal {
    /// The task
    id: String,

    /// What the tool reads it by
    name: String,

    /// The message, JSON
    #[arg(value_name = "JSON", default_value = "null", value_parser = message)]
    payload: Value,

    /// A name for this signal: a repeated one with the same name arrives once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    #[command(flatten)]
    address: Address,
}

fn message(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("not JSON: {error}; write a text as \'\"text\"\'"))
}

impl Signal {
    pub(super) fn run(self) -> ExitCode {
        super::client::run(self.send())
    }

    async fn send(self) -> Result<Exit, Trouble> {
        let client = self.address.connect(Need::Any, &Bar::new(true)).await?;
        // An unknown task has an exit code of its own.
        let known = client.task(&self.id).status().await;
        if let Err(error) = known {
            client.close().await;
            return Err(error.into());
        }
        let mut params = json!({"taskId": self.id, "name": self.name, "payload": self.payload});
        if let Some(key) = &self.idempotency_key {
            params["id"] = json!(key);
        }
        let reply = client.request("outlast/signal", &params).await;
        client.close().await;
        let reply = reply?.to_value();
        let (number, repeated) = (&reply["number"], reply["repeated"] == true);
        if self.address.json {
            out::json(&json!({"number": number, "repeated": repeated}));
        } else if repeated {
            out::line(&format!("had come before, as number {number}"));
        } else {
            out::line(&format!("number {number}"));
        }
        Ok(Exit::Ok)
    }
}
