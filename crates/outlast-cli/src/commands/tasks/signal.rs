//! `outlast tasks signal`.

use clap::Args;
use outlast_mcp::client::Client;
use serde_json::{Value, json};

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;

/// Send a signal into a task
///
/// It is stored with the task and waits until the tool reads it.
#[derive(Debug, Args)]
pub(super) struct Signal {
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
}

fn message(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("not JSON: {error}; write a text as \'\"text\"\'"))
}

impl Signal {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        // An unknown task has an exit code of its own.
        client.task(&self.id).status().await?;
        let mut params = json!({"taskId": self.id, "name": self.name, "payload": self.payload});
        if let Some(key) = &self.idempotency_key {
            params["id"] = json!(key);
        }
        let reply = client.request("outlast/signal", &params).await?.to_value();
        let (number, repeated) = (&reply["number"], reply["repeated"] == true);
        if as_json {
            out::json(&json!({"number": number, "repeated": repeated}));
        } else if repeated {
            out::line(&format!("had come before, as number {number}"));
        } else {
            out::line(&format!("number {number}"));
        }
        Ok(Exit::Ok)
    }
}
