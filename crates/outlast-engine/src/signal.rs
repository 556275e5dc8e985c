//! Signals: unasked messages into a run, read in the order in which they came.
//!
//! Decision: waiting for the next signal needs no journal entry, because signals are stored with the
//! task and never consumed: the n-th of a name is the same one in every run of the handler. Only a look
//! that does not wait depends on when it was made, so each is recorded, also when it found nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use outlast_core::{JournalKind, RawJson, Recorded, Signal};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::run::Run;
use crate::step;
use crate::wait::For;

/// How many signals are read from the store at a time.
const PAGE: usize = 64;

/// The signals of one name, from the first on. Made by [`crate::Cx::signals`].
pub struct Signals<T> {
    run: Arc<Run>,
    name: String,
    /// How many were returned.
    read: u64,
    /// How many looks did not wait.
    looks: u64,
    /// Fetched and not yet returned.
    fetched: VecDeque<Signal>,
    reads: std::marker::PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Signals<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals")
            .field("name", &self.name)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Signals<T> {
    pub(crate) fn new(run: &Arc<Run>, name: String) -> Self {
        Self {
            run: Arc::clone(run),
            name,
            read: 0,
            looks: 0,
            fetched: VecDeque::new(),
            reads: std::marker::PhantomData,
        }
    }

    /// Waits for the next signal. A long wait gives up the worker; the task goes on when the signal
    /// comes. One that came before the handler looked is returned at once.
    ///
    /// # Errors
    /// The payload does not fit `T`: then it counts as read, and the next call goes on behind it. Or
    /// the task is being cancelled; a call inside a step; a run that is not a task; a lost lease; a
    /// store that failed.
    ///
    /// # Cancel safety
    /// A dropped wait has read nothing.
    pub async fn next(&mut self) -> Result<T> {
        step::outside_step("signals")?;
        self.run.must_persist("signals").await?;
        if self.fetched.is_empty() {
            // Waiting is announced before the store is read: what comes in between is told.
            let run = Arc::clone(&self.run);
            let _waiting = run.waits.register(For::Signal {
                name: self.name.clone(),
                read: self.read,
            });
            run.poke.notify_one();
            loop {
                let filled = run.waits.filled.notified();
                if run.cancel.is_cancelled() {
                    return Err(Error::new(crate::ErrorKind::Cancelled));
                }
                if run.lost.is_cancelled() {
                    return Err(Error::new(crate::ErrorKind::LeaseLost));
                }
                self.fetch(PAGE).await?;
                if !self.fetched.is_empty() {
                    break;
                }
                filled.await;
            }
        }
        self.take()
    }

    /// The next signal if it has come. What this returned is recorded, so that a later run of the
    /// handler sees the same; each call writes to the store.
    ///
    /// # Errors
    /// As [`Signals::next`].
    ///
    /// # Cancel safety
    /// A dropped call has read nothing.
    pub async fn try_next(&mut self) -> Result<Option<T>> {
        step::outside_step("signals")?;
        self.run.must_persist("signals").await?;
        let name = format!("{} {}", self.name, self.looks);
        let entry = match self.run.take_name(JournalKind::Signal, &name)? {
            Some(entry) => entry,
            None => {
                if self.fetched.is_empty() {
                    self.fetch(PAGE).await?;
                }
                let number = self.fetched.front().map(|signal| signal.number);
                let found = RawJson::of(&number).map_err(Error::from)?;
                let found = Recorded::Value(found);
                step::record(&self.run, JournalKind::Signal, &name, None, found).await?
            }
        };
        self.looks += 1;
        if step::recorded_value::<Option<u64>>(&name, &entry)?.is_none() {
            return Ok(None);
        }
        if self.fetched.is_empty() {
            self.fetch(PAGE).await?;
        }
        self.take().map(Some)
    }

    async fn fetch(&mut self, limit: usize) -> Result<()> {
        let run = &self.run;
        let signals = || {
            let store = run.store();
            store.signals(run.spec.id, &self.name, self.read, limit)
        };
        self.fetched = run.insist(signals).await?.into();
        Ok(())
    }

    fn take(&mut self) -> Result<T> {
        let signal = self.fetched.pop_front();
        let signal = signal.ok_or_else(|| {
            Error::new(crate::ErrorKind::Journal(format!(
                "a signal {:?} that was read before is gone",
                self.name
            )))
        })?;
        self.read = signal.number;
        signal.payload.to().map_err(|error| {
            Error::tool(format!(
                "signal {:?} number {} does not have the expected form: {error}",
                self.name, signal.number
            ))
        })
    }
}
