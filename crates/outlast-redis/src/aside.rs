//! Records that cannot be read: damaged on the disk or by hand, or written by a newer release.
//!
//! Decision: a record that cannot be read must hold up nobody else. Whoever comes to one to change it (the
//! clock, the end of what it waits for, a cancel, a deletion, a worker that had it) lets it fail first: it
//! stays the same task as far as its call can be read, its undos run, its children are stopped, and what
//! depends on it is told. What stood there is kept as a small record for a while, for whoever wants to look
//! at it. If not even its fields can be read, it is no task any more. Lists leave out what cannot be read.
//!
//! Two that cannot be read may need each other. While one is being set aside, the other takes it for what
//! can be made of it.

use std::time::Duration;

use outlast_core::status::Phase;
use outlast_core::{JournalKind, Result, TaskId};
use redis::Value;

use crate::executor::Executor;
use crate::record::record_name;
use crate::row::{self, Known};
use crate::script::Script;
use crate::seen::{Relation, Seen};

/// The space of the small records with what stood there.
const SPACE: &str = "set aside";

/// How long what belongs to a record that was set aside is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Executor {
    /// Lets a task fail whose record, or what belongs to it, cannot be read; `seen` is what an operation
    /// has read that came to it.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub(crate) async fn set_aside(&self, id: TaskId, seen: &Seen) -> Result<()> {
        let loaded = self.raw(id).await?;
        self.keep_what_stood(id, &loaded).await?;
        if let Some((known, has_call)) = self.salvaged(id, loaded).await?
            && known.task.state.phase != Phase::Finished
        {
            let call = row::encode("call", &*known.task.spec)?;
            let mut own = Seen::default();
            own.setting_aside.clone_from(&seen.setting_aside);
            own.setting_aside.insert(id);
            own.records.insert(id, Some(known));
            let give_up = self.run_seen(
                own,
                |unit| {
                    unit.give_up(id)?;
                    if !has_call {
                        unit.call(&["HSET", &format!("d:{id}"), "spec", &call]);
                    }
                    Ok(())
                },
                |_| None,
            );
            // It may come to further ones.
            match Box::pin(give_up).await {
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => tracing::error!(%error, task = %id, "it cannot even fail"),
                Ok(_) => return Ok(()),
            }
        }
        let kept = KEPT.as_millis().to_string();
        let aside = self.link.script(Script::Forget, [id.to_string(), kept]);
        aside.await.map(|_| ())
    }

    /// What can be made of a record that is being set aside.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub(crate) async fn salvage(&self, id: TaskId) -> Result<Option<Known>> {
        let loaded = self.raw(id).await?;
        Ok(self.salvaged(id, loaded).await?.map(|(known, _)| known))
    }

    async fn raw(&self, id: TaskId) -> Result<Value> {
        let loaded = self.link.script(Script::Load, [id.to_string()]).await?;
        Ok(row::array(loaded).pop().unwrap_or(Value::Nil))
    }

    async fn salvaged(&self, id: TaskId, loaded: Value) -> Result<Option<(Known, bool)>> {
        let Some((mut known, has_call)) = row::salvage(id, loaded, self.clock.now()) else {
            return Ok(None);
        };
        let children = redis::cmd("ZCARD")
            .arg(self.link.key(&Relation::Children.key(id)))
            .take();
        let children = row::int(&self.link.command(&children).await?);
        let undos = self.undos_left(id).await?;
        let state = &mut std::sync::Arc::make_mut(&mut known.task).state;
        // They are followed by their ids: that there are some is what counts.
        state.children.spawned = children;
        state.undos = undos;
        Ok(Some((known, has_call)))
    }

    /// How many undos have not run, if the journal can be read.
    async fn undos_left(&self, id: TaskId) -> Result<u32> {
        let journal = match self.journal(id).await {
            Ok(journal) => journal,
            Err(error) if error.is_retryable() => return Err(error),
            Err(_) => return Ok(0),
        };
        let count = |kind| journal.iter().filter(|entry| entry.kind == kind).count();
        let left = count(JournalKind::Undo).saturating_sub(count(JournalKind::Undone));
        Ok(u32::try_from(left).unwrap_or(u32::MAX))
    }

    async fn keep_what_stood(&self, id: TaskId, loaded: &Value) -> Result<()> {
        let parts = row::array(loaded.clone());
        let texts = |index: usize| -> Vec<String> {
            let part = row::array(parts.get(index).cloned().unwrap_or(Value::Nil));
            part.iter().map(row::text).collect()
        };
        let stood = serde_json::json!({ "fields": texts(0), "long": texts(1) }).to_string();
        let name = record_name(SPACE, &id.to_string());
        let until = Some(self.clock.now() + KEPT);
        match self.record_put(&name, stood.as_bytes(), until, None).await {
            Err(error) if error.is_retryable() => Err(error),
            // It is too long to be kept once more.
            Err(_) | Ok(_) => Ok(()),
        }
    }

    /// Takes what is no task any more out of the indexes.
    pub(crate) async fn forget_task(&self, id: TaskId) -> Result<()> {
        self.link
            .script(Script::Forget, [id.to_string(), String::new()])
            .await
            .map(|_| ())
    }
}
