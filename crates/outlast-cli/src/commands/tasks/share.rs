//! `outlast tasks share`.

use clap::Args;
use outlast_core::RawJson;
use outlast_engine::{Grantee, Right};
use outlast_mcp::client::Client;
use serde_json::json;

use super::super::client::exit::{Exit, Trouble};
use super::super::client::out;

/// Let somebody else see a task, or act on it
///
/// Works with Outlast's servers only.
#[derive(Debug, Args)]
pub(super) struct Share {
    /// The task
    id: String,

    /// With whom: an owner, or group:NAME
    #[arg(long, value_name = "WHOM")]
    with: Grantee,

    /// What they may do: read (see it, its log and its result) or run (answer its questions and cancel
    /// it, too)
    #[arg(long, value_name = "RIGHT", default_value = "read")]
    may: Right,

    /// Take it back
    #[arg(long, conflicts_with = "may")]
    revoke: bool,
}

impl Share {
    pub(super) async fn on(self, client: &Client, as_json: bool) -> Result<Exit, Trouble> {
        let may = (!self.revoke).then_some(self.may.as_str());
        let params = json!({"taskId": self.id, "with": self.with.to_string(), "may": may});
        client
            .request("outlast/share", &RawJson::from(params))
            .await?;
        if as_json {
            let with = self.with.to_string();
            out::json(&json!({"taskId": self.id, "with": with, "may": may}));
            return Ok(Exit::Ok);
        }
        out::line(&match may {
            Some(may) => format!("{}  {} may {may}", self.id, self.with),
            None => format!("{}  no longer shared with {}", self.id, self.with),
        });
        Ok(Exit::Ok)
    }
}
