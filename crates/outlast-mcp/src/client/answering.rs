//! Answers the questions that stand in the state of a task (2026-07-28 `inputRequests`).
//!
//! Each key is asked once, however often the state is read, and the person who is asked is left
//! alone as soon as somebody else has answered. Waiting goes on meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use tokio::task::AbortHandle;

use super::Client;
use super::question::Request;

/// The questions that are being answered: by task and key.
#[derive(Default)]
pub(super) struct Answering {
    asked: Mutex<HashMap<(String, String), AbortHandle>>,
}

impl Answering {
    /// Brings what is being asked in line with what is open.
    pub(super) fn settle(&self, client: &Client, task_id: &str, open: &BTreeMap<String, Request>) {
        if !client.answerers().are_there() {
            return;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|(task, key), asking| {
            let settled = task == task_id && !open.contains_key(key);
            if settled {
                asking.abort();
            }
            !settled
        });
        for (key, request) in open {
            let place = (task_id.to_owned(), key.clone());
            if asked.contains_key(&place) {
                continue;
            }
            let (client, request) = (client.clone(), request.clone());
            let (task_id, key) = place.clone();
            let asking = tokio::spawn(async move {
                let answer = client.answerers().answer(&request, Some(&task_id)).await;
                let sent = match answer {
                    Ok(answer) => client.update(&task_id, &key, answer).await,
                    // A request this client never said it would take. Somebody else may.
                    Err(error) => {
                        tracing::debug!(%error, task_id, key, "a question is left to others");
                        return;
                    }
                };
                if let Err(error) = sent {
                    // The server did not take it: it is asked again with the next look.
                    tracing::warn!(%error, task_id, key, "an answer was not taken");
                    client.answering().forget(task_id, key);
                }
            });
            asked.insert(place, asking.abort_handle());
        }
    }

    fn forget(&self, task_id: String, key: String) {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(task_id, key));
    }
}
