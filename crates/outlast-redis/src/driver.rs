//! The thread that operations run on.
//!
//! The thread has a small runtime. Every operation runs there to its end, whatever becomes of the one
//! who asked for it, so that a dropped call happens as a whole or not at all, and leases are renewed
//! while handlers block every thread of the application.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use outlast_core::{Error, Result};
use tokio::sync::{Notify, oneshot};

use crate::failure::{self, closed};

/// The thread that operations run on.
pub(crate) struct Driver {
    handle: tokio::runtime::Handle,
    running: Arc<Running>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What runs on the thread.
#[derive(Default)]
struct Running {
    closed: AtomicBool,
    operations: AtomicUsize,
    /// The last operation of a closed store has ended.
    idle: Notify,
    stop: Notify,
}

impl Driver {
    pub(crate) fn start() -> Result<Self> {
        let cannot = |error| Error::unavailable("cannot start the thread of the task store", error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(cannot)?;
        let handle = runtime.handle().clone();
        let running = Arc::new(Running::default());
        let runs = Arc::clone(&running);
        let thread = std::thread::Builder::new()
            .name("outlast-redis".into())
            .spawn(move || runtime.block_on(runs.stop.notified()))
            .map_err(cannot)?;
        Ok(Self {
            handle,
            running,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.running.closed.load(Ordering::SeqCst)
    }

    /// Runs something beside the operations until the store ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }

    /// Runs an operation to its end and hands over what came of it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.running.operations.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket(Arc::clone(&self.running));
        if self.is_closed() {
            return Err(closed());
        }
        let (reply, answer) = oneshot::channel();
        self.handle.spawn(async move {
            let _ticket = ticket;
            // A caller who has gone leaves what came of it here, and it is dropped.
            let _ = reply.send(operation.await);
        });
        answer.await.map_err(|_| closed())?
    }

    /// Runs an operation on this thread's time: for opening and dropping a store.
    pub(crate) fn block_on<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = std::sync::mpsc::channel();
        self.handle.spawn(async move {
            let _ = reply.send(operation.await);
        });
        answer.recv().map_err(|_| failure::closed())?
    }

    /// Takes no more operations and waits for those that run.
    pub(crate) async fn close(&self) {
        self.running.closed.store(true, Ordering::SeqCst);
        loop {
            let idle = self.running.idle.notified();
            if self.running.operations.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Ends the thread; what runs on it is dropped.
    pub(crate) fn stop(&self) {
        self.running.closed.store(true, Ordering::SeqCst);
        self.running.stop.notify_one();
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

/// One running operation.
struct Ticket(Arc<Running>);

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.operations.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
