//! Where a handler begins work that outlives it, such as a process on this machine.
//!
//! When the task is claimed anew elsewhere, that work cannot be found there, and whether it has been begun
//! cannot be told from not finding it. So the place is recorded before the work begins.
//!
//! Decision: a run that has no record yet gets none for this, for most of them end before they need one. It
//! keeps the place, which then comes into the record together with everything else of it, in one write. So
//! there is no moment in which the record is there and the place is not.

use outlast_core::{JournalKind, RawJson, Recorded};

use crate::context::Cx;
use crate::error::{Error, Result};
use crate::run::Run;
use crate::step;

/// The name of the journal entry.
const NAME: &str = "begun at";

impl Cx {
    /// Records, once in the life of the task, that the handler begins at `here` what outlives it, and
    /// returns where it was begun first: `here`, or what an earlier run of the handler recorded. When this
    /// returns, no later run is told another place, whatever becomes of this one.
    ///
    /// A task that has begun something and is cancelled while nobody runs it stays `working`, and keeps its
    /// limit keys, until the store is told that this was stopped
    /// ([`CancelMode::Stopped`](outlast_core::machine::CancelMode::Stopped)), or until the cancel's patience
    /// is over.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Error, Result};
    /// # async fn handler(cx: Cx, machine: String) -> Result<()> {
    /// let begun = cx.begin_at(&machine).await?;
    /// if begun != machine {
    ///     return Err(Error::tool(format!("it was begun on {begun}, which must be asked")));
    /// }
    /// // Look here for what an earlier run began, and begin it only if there is nothing.
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Cx::step`]; it may be called once in a run of the handler.
    ///
    /// # Cancel safety
    /// A dropped call has recorded the place or has not; nothing may have been begun.
    pub async fn begin_at(&self, here: &str) -> Result<String> {
        step::outside_step("begin_at")?;
        let run = &self.run;
        if let Some(before) = &run.spec.begun_at {
            return Ok(before.clone());
        }
        if run.begins_unrecorded_at(here).await {
            return Ok(here.to_owned());
        }
        let kind = JournalKind::Begun;
        let entry = match run.take_name(kind, NAME)? {
            Some(entry) => entry,
            None => {
                let place = RawJson::of(here).map_err(Error::from)?;
                step::record(run, kind, NAME, None, Recorded::Value(place)).await?
            }
        };
        step::recorded_value(NAME, &entry)
    }
}

impl Run {
    /// Keeps the place for the record that the run may get later; `false` if it has one already.
    async fn begins_unrecorded_at(&self, here: &str) -> bool {
        // Nobody writes the record meanwhile.
        let _writing = self.writing.lock().await;
        // A creation whose reply was lost may have written the record without the place.
        if self.lease().is_some() || self.is_doubtful() {
            return false;
        }
        let _ = self.begun_at.set(here.to_owned());
        true
    }
}
