//! Labels that a handler gives its own task, so that people find it by what it turned out to be.
//!
//! Decision: a label is a journal entry, one for each call. A handler that runs again from its top passes its
//! earlier words without saying them anew, so nobody who lists tasks sees a label jump back.

use outlast_core::label::{RecordedLabel, check_one};
use outlast_core::{JournalKind, RawJson, Recorded};

use crate::context::Cx;
use crate::error::{Error, Result, from_store};
use crate::step;

impl Cx {
    /// Gives the task a label, in the place of one with the same key. When this returns, every list finds
    /// the task by it; children that are started later inherit it.
    ///
    /// In a call that is never a task it does nothing.
    ///
    /// ```
    /// # use outlast_engine::{Cx, Result};
    /// # async fn handler(cx: Cx, archive: String) -> Result<()> {
    /// let customer = cx.step("read the header", || async { Ok(archive.clone()) }).await?;
    /// cx.label("customer", customer).await?;
    /// cx.label("stage", "unpacking").await?;
    /// // …
    /// cx.label("stage", "indexing").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The label exceeds a limit of [`outlast_core::label`], or the task has as many as it may: a tool
    /// error that names it and the rule. Otherwise as [`Cx::step`].
    ///
    /// # Cancel safety
    /// A dropped call has given the label or has not.
    pub async fn label(&self, key: impl Into<String>, value: impl Into<String>) -> Result<()> {
        step::outside_step("label")?;
        let run = &self.run;
        // Labels stand in lists, so what is secret is hidden in them for good.
        let label = RecordedLabel {
            key: run.mask().text(&key.into()).into_owned(),
            value: run.mask().text(&value.into()).into_owned(),
        };
        let wrong = |problem: String| Error::tool(format!("cannot label the task: {problem}"));
        check_one(&label.key, &label.value).map_err(wrong)?;
        if !run.is_storable() {
            return Ok(());
        }
        let (name, recorded) = run.take_next_name(JournalKind::Label, &label.key);
        if recorded.is_none() {
            let lease = run.must_persist("label").await?;
            let json = RawJson::of(&label).map_err(Error::from)?;
            let recorded = Recorded::Value(json);
            let kind = JournalKind::Label;
            let store = run.store();
            let put = || store.journal_put(&lease, kind, &name, None, recorded.clone(), None);
            let entry = run.insist_raw(put).await.map_err(|refused| match refused {
                outlast_core::Error::Invalid(problem) => wrong(problem),
                other => from_store(other),
            })?;
            run.sign_of_life();
            run.remember(entry);
        }
        run.labelled(label.key, label.value);
        Ok(())
    }
}
