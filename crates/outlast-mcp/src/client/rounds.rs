//! Requests that a server answers only after it has asked for more (2026-07-28, "Multi Round-Trip
//! Requests"): `tools/call`, `prompts/get` and `resources/read`.
//!
//! The request is sent again, the same but for the answers and the server's own state, until there is a
//! result. The server has done nothing in between, as far as the client may know.

use std::collections::BTreeMap;

use outlast_core::RawJson;
use serde::Deserialize;

use super::error::ClientError;
use super::params::Params;
use super::peer::Client;
use super::question::Request;
use super::session::Ask;

/// How often a server may ask for more before the request counts as going round in circles.
const MAX_ROUNDS: usize = 100;

/// The rounds of one request.
pub(super) struct Rounds {
    /// What is the same in all of them.
    params: Params,
    left: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asking {
    #[serde(default)]
    result_type: Option<String>,
    #[serde(default)]
    input_requests: BTreeMap<String, Request>,
    #[serde(default)]
    request_state: Option<String>,
}

impl Rounds {
    pub(super) fn new(params: Params) -> Self {
        Self {
            params,
            left: MAX_ROUNDS,
        }
    }

    /// The parameters of the next round, with answers to what `answer` asks for. `None` if it is the
    /// result.
    ///
    /// # Errors
    /// The server asks for what this client did not offer, or without an end.
    pub(super) async fn next(
        &mut self,
        client: &Client,
        method: &str,
        answer: &RawJson,
    ) -> Result<Option<Params>, ClientError> {
        // What is no such object is read, and complained about, as the result.
        let Ok(asking) = answer.to::<Asking>() else {
            return Ok(None);
        };
        if asking.result_type.as_deref() != Some("input_required") {
            return Ok(None);
        }
        if self.left == 0 {
            return Err(client.not_protocol(method, "the server asks for more without an end"));
        }
        self.left -= 1;
        let mut responses = BTreeMap::new();
        for (key, request) in asking.input_requests {
            let answer = client.answerers().answer(&request, None).await;
            let answer = answer.map_err(|error| {
                let reason = format!("it asks for what this client did not offer: {error}");
                client.not_protocol(method, &reason)
            })?;
            responses.insert(key, answer);
        }
        let mut params = self.params.clone();
        if !responses.is_empty() {
            params = params.with("inputResponses", &responses);
        }
        if let Some(state) = asking.request_state {
            params = params.with("requestState", &state);
        }
        Ok(Some(params))
    }
}

impl Client {
    /// Sends a request until it has a result. Only the first round is repeated over lost connections: a
    /// server may take its state once.
    ///
    /// # Errors
    /// As for every request, and those of [`Rounds::next`].
    pub(super) async fn ask_in_rounds(&self, mut ask: Ask) -> Result<RawJson, ClientError> {
        let mut rounds = Rounds::new(ask.params.clone());
        loop {
            let answer = self.ask(&ask).await?;
            match rounds.next(self, &ask.method, &answer).await? {
                None => return Ok(answer),
                Some(params) => {
                    ask.params = params;
                    ask.repeat = false;
                }
            }
        }
    }
}
