//! Requests of this process to a client of the older era that wait for its response in memory.
//!
//! Questions of tasks are not among them: those wait in the task. Here wait questions of a call that
//! has not become anything yet, and that is forgotten if the process ends.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use outlast_core::RawJson;
use tokio::sync::oneshot;

use crate::jsonrpc::{RequestId, Response, RpcError};
use crate::seal::random;

/// How the ids of these requests begin.
const MARK: &str = "call-";

/// Whether this may be the id of such a request, of this process or another.
pub(crate) fn is_pending_id(id: &str) -> bool {
    let number = id.strip_prefix(MARK);
    number.is_some_and(|number| {
        number.len() == 32 && number.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The requests of one session.
#[derive(Default)]
pub(crate) struct Pending(Mutex<HashMap<String, oneshot::Sender<Result<RawJson, RpcError>>>>);

/// A response to come.
pub(crate) struct Awaited<'p> {
    pending: &'p Pending,
    id: String,
    response: oneshot::Receiver<Result<RawJson, RpcError>>,
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Result<RawJson, RpcError>>>> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// A new id, and the response to the request that will carry it.
    pub(crate) fn expect(&self) -> (RequestId, Awaited<'_>) {
        let id = format!("{MARK}{:032x}", u128::from_be_bytes(random()));
        let (sender, response) = oneshot::channel();
        self.lock().insert(id.clone(), sender);
        (
            RequestId::string(&id),
            Awaited {
                pending: self,
                id,
                response,
            },
        )
    }

    /// Takes a response. `false` if nobody waits for it.
    pub(crate) fn resolve(&self, id: &str, response: &Response<'_>) -> bool {
        let Some(waiting) = self.lock().remove(id) else {
            return false;
        };
        let _ = waiting.send(response.owned());
        true
    }
}

impl Awaited<'_> {
    /// The id that the response will have.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The response. `None` if it can no longer come.
    pub(crate) async fn response(&mut self) -> Option<Result<RawJson, RpcError>> {
        (&mut self.response).await.ok()
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.id);
    }
}
