//! The moment from which a session knows a task.
//!
//! A client files what a task says under the id that a response told it. A question that comes before
//! that response belongs to nothing the client knows, and is refused. So the courier of a new task is
//! called when this is dropped, which is after the response was sent; where the response and the
//! question travel on two connections even that is no promise, and the courier asks again.

use std::sync::Arc;

use outlast_core::TaskId;

use super::live::Session;
use crate::server::Inner;

/// Calls the courier of a new task when it is dropped, also where the response was lost: somebody
/// else may wait for what the task says.
pub(crate) struct Introduction {
    server: Arc<Inner>,
    session: Arc<Session>,
    task: TaskId,
}

impl Introduction {
    pub(crate) fn new(server: &Arc<Inner>, session: &Arc<Session>, task: TaskId) -> Self {
        Self {
            server: Arc::clone(server),
            session: Arc::clone(session),
            task,
        }
    }
}

impl Drop for Introduction {
    fn drop(&mut self) {
        self.server
            .couriers
            .created(&self.server, &self.session, self.task);
    }
}
