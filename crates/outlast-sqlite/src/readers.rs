//! A few threads that read the file, so that no caller's thread ever waits for the disk.
//!
//! Each opens its connection at its first job. Every read runs in a snapshot of its own that begins
//! after the read was asked for, so it sees all that was acknowledged before.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use outlast_core::{Error, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::failure::{self, Failure};
use crate::schema::open_reader;

const THREADS: usize = 2;

type Job = Box<dyn FnOnce(Result<&Connection, &rusqlite::Error>) + Send>;

/// The reading side of a store.
#[derive(Debug)]
pub(crate) struct Readers {
    path: Arc<Path>,
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    /// Starts the threads.
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::new();
        for _ in 0..THREADS {
            let (queue, path) = (Arc::clone(&queue), path.to_path_buf());
            let thread = std::thread::Builder::new()
                .name("outlast-reader".into())
                .spawn(move || serve(&path, &queue))
                .map_err(|error| Error::unavailable("cannot start a thread", error))?;
            threads.push(thread);
        }
        Ok(Self {
            path: Arc::from(path),
            jobs: Mutex::new(Some(jobs)),
            threads: Mutex::new(threads),
        })
    }

    /// Runs `read` on one of the threads.
    ///
    /// # Errors
    /// Those of `read`; the store is closed or cannot be opened.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let path = Arc::clone(&self.path);
        let job: Job = Box::new(move |conn| {
            let result = match conn {
                Ok(conn) => read(conn).map_err(|failure| failure.into_error(&path)),
                Err(error) => Err(Error::broken(format!(
                    "the task store {} cannot be read: {error}",
                    path.display()
                ))),
            };
            // A caller that has gone needs no answer.
            let _ = reply.send(result);
        });
        self.submit(job)?;
        answer.await.map_err(|_| failure::closed())?
    }

    fn submit(&self, job: Job) -> Result<()> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or_else(failure::closed)?;
        jobs.send(job).map_err(|_| failure::closed())
    }

    /// Ends the threads after the reads that were asked for.
    pub(crate) fn stop(&self) {
        drop(
            self.jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A reader that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

fn serve(path: &Path, queue: &Mutex<Receiver<Job>>) {
    let mut conn: Option<Connection> = None;
    loop {
        let job = {
            let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.recv()
        };
        let Ok(job) = job else { return };
        if conn.is_none() {
            match open_reader(path) {
                Ok(opened) => conn = Some(opened),
                Err(error) => {
                    job(Err(&error));
                    continue;
                }
            }
        }
        let run = || job(Ok(conn.as_ref().expect("opened above")));
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            // The job's caller sees a closed store; the next one gets a fresh connection.
            conn = None;
        }
    }
}
