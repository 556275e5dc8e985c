//! Requests that are being served, so that `notifications/cancelled` can end them and a second one
//! with the same id is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

use crate::jsonrpc::RequestId;

/// How many requests one connection or session may have under way.
pub(crate) const MOST: usize = 1000;

/// Why a request cannot be served now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Busy {
    /// One with this id is in flight.
    SameId,
    /// [`MOST`] are.
    TooMany,
}

/// The requests of one connection or session.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Mutex<HashMap<RequestId, Ends>>>);

/// The two ways in which a request ends without a response.
#[derive(Clone)]
struct Ends {
    /// Its client has cancelled it, and with it what it asked for.
    cancelled: CancellationToken,
    /// Nobody waits for its response. A child of the other: who cancels does not wait.
    ended: CancellationToken,
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Ends>> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// Notes a request until the returned value is dropped.
    pub(crate) fn begin(&self, id: RequestId) -> Result<Flight, Busy> {
        let cancelled = CancellationToken::new();
        let ends = Ends {
            ended: cancelled.child_token(),
            cancelled,
        };
        let mut requests = self.lock();
        if requests.contains_key(&id) {
            return Err(Busy::SameId);
        }
        if requests.len() >= MOST {
            return Err(Busy::TooMany);
        }
        requests.insert(id.clone(), ends.clone());
        Ok(Flight {
            requests: self.clone(),
            id,
            ends,
        })
    }

    /// Cancels a request. Unknown ids are none of our business: the response may have crossed the
    /// notification. `false` if it is none of these.
    pub(crate) fn cancel(&self, id: &RequestId) -> bool {
        let requests = self.lock();
        let ends = requests.get(id);
        if let Some(ends) = ends {
            ends.cancelled.cancel();
        }
        ends.is_some()
    }

    /// The ids of all of them.
    pub(crate) fn ids(&self) -> Vec<RequestId> {
        self.lock().keys().cloned().collect()
    }

    /// Ends all of them, because their client has left. To leave is not to cancel: what they asked for is
    /// up to the rules of their era and their tools.
    pub(crate) fn end_all(&self) {
        for ends in self.lock().values() {
            ends.ended.cancel();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// A request in flight.
pub(crate) struct Flight {
    requests: InFlight,
    id: RequestId,
    ends: Ends,
}

impl Flight {
    /// Whether its client has cancelled the request.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.ends.cancelled.is_cancelled()
    }

    /// Ends the request without a response. To end it is not to cancel what it asked for.
    pub(crate) fn end(&self) {
        self.ends.ended.cancel();
    }

    /// Resolves when the request is to end without a response, for either reason.
    pub(crate) async fn ended(&self) {
        self.ends.ended.cancelled().await;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.requests.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_id_is_taken_until_its_request_ends() {
        let requests = InFlight::default();
        let first = requests.begin(RequestId::number(1)).unwrap();
        assert_eq!(
            requests.begin(RequestId::number(1)).err(),
            Some(Busy::SameId)
        );
        assert!(requests.begin(RequestId::string("1")).is_ok());
        assert!(requests.cancel(&RequestId::number(1)));
        assert!(!requests.cancel(&RequestId::number(2)));
        first.ended().await;
        drop(first);
        assert!(requests.begin(RequestId::number(1)).is_ok());
        assert!(requests.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_leaves_cancels_nothing() {
        let requests = InFlight::default();
        let left = requests.begin(RequestId::number(1)).unwrap();
        requests.end_all();
        left.ended().await;
        assert!(!left.is_cancelled());
        let cancelled = requests.begin(RequestId::number(2)).unwrap();
        requests.cancel(&RequestId::number(2));
        cancelled.ended().await;
        assert!(cancelled.is_cancelled());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let requests = InFlight::default();
        let begin = |id: usize| requests.begin(RequestId::string(&id.to_string()));
        let mut flights: Vec<Flight> = (0..MOST).map(|id| begin(id).unwrap()).collect();
        assert_eq!(begin(MOST).err(), Some(Busy::TooMany));
        flights.pop();
        assert!(begin(MOST).is_ok());
    }
}
