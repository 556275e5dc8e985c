//! Undo: calls that take back what a handler did, if its task does not succeed. How they are run:
//! [`crate::cleanup`].
//!
//! An undo is the call of a registered tool, recorded before the change it undoes; so any later
//! process can run it, and a process that dies right after the record has nothing to undo but
//! something that never happened.
//!
//! Decisions:
//! * Its secret arguments are sealed as those of a task are, by the fields of its own tool.
//! * Its tool may require no label of workers that the task's own tool does not: whoever may run the task
//!   may undo it, so nothing is ever left changed because the right worker does not come.

use std::sync::Arc;

use outlast_core::{JournalKind, RawJson, Recorded, UndoCall};
use serde::Serialize;

use crate::context::Cx;
use crate::error::{Error, ErrorKind, Result};
use crate::run::Run;
use crate::step::{self, fnv1a};

/// An undo that was recorded. Dropping this changes nothing: the undo stays.
#[derive(Clone)]
#[must_use = "an undo stays recorded; `discard` it if its change was taken back otherwise"]
pub struct Undo {
    run: Arc<Run>,
    name: String,
}

impl Undo {
    /// Forgets the undo, durably: the change was never made, or the handler has taken it back itself.
    /// Repeating it is harmless.
    ///
    /// # Errors
    /// The lease is lost, or the store failed; then the undo may still run.
    ///
    /// # Cancel safety
    /// A dropped call has forgotten the undo or has not.
    pub async fn discard(self) -> Result<()> {
        step::outside_step("discarding an undo")?;
        let kind = JournalKind::Undone;
        if !self.run.ask_again(kind, &self.name) {
            let discarded = Recorded::Value(RawJson::of(&()).map_err(Error::from)?);
            step::record(&self.run, kind, &self.name, None, discarded).await?;
        }
        Ok(())
    }
}

impl Cx {
    /// Records a call of `tool` that undoes what the handler is about to do. Call it **before** the
    /// change, and make the change in a [`Cx::step`] behind it.
    ///
    /// If the task fails, returns a tool error or is cancelled, its undos run from the last to the
    /// first, also after a crash and while the task was suspended; if it succeeds they are dropped.
    /// An undo runs at least once: it must do no harm when its change was never made, or when it has
    /// run before. It is tried again as its tool's retries say (three times if they say nothing); one
    /// that fails for good is noted in the record and does not keep the others from running, and no
    /// undo changes the task's outcome.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn set_mode(_: &str) -> Result<()> { Ok(()) }
    /// # async fn copy_schemas() -> Result<u32> { Ok(0) }
    /// # async fn migrate(cx: Cx) -> Result<u32> {
    /// #[derive(serde::Serialize)]
    /// struct SetMode { mode: &'static str }
    ///
    /// let restore = cx.undo("set_mode", &SetMode { mode: "READWRITE" }).await?;
    /// cx.step("import mode", || set_mode("IMPORT")).await?;
    /// let copied = cx.step("copy", || copy_schemas()).await?;
    /// cx.step("normal mode", || set_mode("READWRITE")).await?;
    /// restore.discard().await?;
    /// # Ok(copied) }
    /// ```
    ///
    /// # Errors
    /// No such tool is registered, it refuses the arguments, or it requires a label of workers that the
    /// task's tool does not; a call inside a step; the run is not a task; the journal is full; a lost lease; a store that failed. Nothing is recorded then, so the
    /// change must not be made.
    ///
    /// # Cancel safety
    /// A dropped call has recorded the undo or has not.
    pub async fn undo<A>(&self, tool: &str, arguments: &A) -> Result<Undo>
    where
        A: Serialize + ?Sized + Sync,
    {
        step::outside_step("undo")?;
        if !self.run.is_storable() {
            return Err(Error::new(ErrorKind::NotATask("undo")));
        }
        let refused = |why: String| Error::protocol(-32603, format!("undo by {tool:?}: {why}"));
        let arguments =
            RawJson::of(arguments).map_err(|error| refused(format!("no JSON form: {error}")))?;
        let known = self.run.tool_named(tool);
        let known = known.ok_or_else(|| {
            refused("the server has no such tool: register the tool that undoes the change".into())
        })?;
        known.handler.check(&arguments).map_err(refused)?;
        let (own, tools) = (&self.run.spec.tool, self.run.shared.tools());
        let required = tools.get(own).map(|own| &own.requires);
        let lacks = |label: &&String| !required.is_some_and(|own| own.contains(*label));
        if let Some(label) = known.requires.iter().find(lacks) {
            return Err(refused(format!(
                "it requires workers with the label {label:?}, and {own:?} does not, so a worker might have \
                 to undo what it cannot: let both require it"
            )));
        }
        let vault = &self.run.shared.vault;
        let secrets = tools.secrets_of(&known.name);
        let told = secrets.map(|fields| vault.keyed(&arguments, fields));
        let told = told.as_ref().unwrap_or(&arguments);
        let name = format!("{tool} {:016x}", fnv1a(told.as_str().as_bytes()));
        let (name, recorded) = self.run.take_next_name(JournalKind::Undo, &name);
        if recorded.is_none() {
            let sealed =
                secrets.and_then(|fields| vault.seal_fields(self.run.spec.id, &arguments, fields));
            let (arguments, sealed) = match sealed {
                Some((shown, sealed)) => (shown, Some(sealed)),
                None => (arguments, None),
            };
            let call = UndoCall {
                tool: known.name.clone(),
                version: known.version.clone(),
                arguments,
                sealed,
            };
            let call = Recorded::Value(RawJson::of(&call).map_err(Error::from)?);
            step::record(&self.run, JournalKind::Undo, &name, None, call).await?;
        }
        Ok(Undo {
            run: Arc::clone(&self.run),
            name,
        })
    }
}
