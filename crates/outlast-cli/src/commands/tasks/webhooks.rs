//! `outlast tasks webhooks`.

use clap::Args;
use outlast_mcp::client::Client;
use serde_json::{Value, json};

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;

/// Show what webhooks were told of a task, and tell them again
#[derive(Debug, Args)]
pub(super) struct Webhooks {
    /// The task
    id: String,

    /// Send this message again, by its id as the list shows it; `failed` for all that were given up
    #[arg(long, value_name = "DELIVERY")]
    resend: Option<String>,
}

impl Webhooks {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        // An unknown task has an exit code of its own.
        client.task(&self.id).status().await?;
        let mut said = self.ask(client, "outlast/webhooks", None).await?;
        let wanted = match self.resend.as_deref() {
            None => Vec::new(),
            Some("failed") => {
                let all = said["deliveries"].as_array().into_iter().flatten();
                let failed = all.filter(|one| one["state"] == "failed");
                failed
                    .filter_map(|one| Some(one["id"].as_str()?.to_owned()))
                    .collect()
            }
            Some(one) => vec![one.to_owned()],
        };
        for delivery in &wanted {
            said = self.ask(client, "outlast/resend", Some(delivery)).await?;
        }
        if as_json {
            out::json(&json!({"deliveries": said["deliveries"], "resent": wanted}));
            return Ok(Exit::Ok);
        }
        let all = said["deliveries"].as_array().map_or(&[][..], Vec::as_slice);
        if all.is_empty() {
            out::complain("nothing was or is to be told");
        }
        all.iter().for_each(show);
        if self.resend.is_some() {
            out::complain(&match wanted.len() {
                0 => "none was given up".to_owned(),
                1 => "1 is sent again".to_owned(),
                more => format!("{more} are sent again"),
            });
        }
        Ok(Exit::Ok)
    }

    async fn ask(
        &self,
        client: &Client,
        method: &str,
        delivery: Option<&str>,
    ) -> Result<Value, Trouble> {
        let mut params = json!({"taskId": self.id});
        if let Some(delivery) = delivery {
            params["delivery"] = delivery.into();
        }
        Ok(client.request(method, &params).await?.to_value())
    }
}

fn show(delivery: &Value) {
    let text = |name: &str| delivery[name].as_str().unwrap_or_default();
    let colour = match text("state") {
        "delivered" => 32,
        "failed" => 31,
        _ => 33,
    };
    let state = out::coloured(&format!("{:9}", text("state")), colour);
    let attempts = delivery["attempts"].as_u64().unwrap_or_default();
    let next = match text("nextAttemptAt") {
        "" => String::new(),
        next => format!("  next at {next}"),
    };
    let rest = format!(
        "{}  {}  {}  attempts {attempts}{next}  {}",
        text("id"),
        text("to"),
        text("event"),
        text("error")
    );
    out::styled_line(&state, &rest);
}
