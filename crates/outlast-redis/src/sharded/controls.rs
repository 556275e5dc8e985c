//! Rules and pauses: the same in every shard, with the first for the truth.

use std::time::Instant;

use outlast_core::limit::{Control, Controls};
use outlast_core::store::{Reads, Store};
use outlast_core::{Error, Result};

use super::{SETTLE, Sharded};

impl Sharded {
    pub(super) async fn control_all(&self, changes: Vec<Control>) -> Result<Controls> {
        let controls = self.shards[0].control(changes).await?;
        self.settle().await?;
        Ok(controls)
    }

    /// What holds: in the first shard, and while that does not answer in any that does.
    pub(super) async fn controls_of_any(&self) -> Result<Controls> {
        let mut failed = None;
        for shard in self.answering(0) {
            match self.shards[shard].controls().await {
                Ok(controls) => return Ok(controls),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.expect("there are shards"))
    }

    /// [`Sharded::settle`], if that is long ago and all answer.
    pub(super) async fn settle_sometimes(&self) {
        let settled = *self.settled();
        let is_fresh = settled.is_some_and(|at| at.elapsed() < SETTLE);
        if is_fresh || self.answering(0).len() < self.shards.len() {
            return;
        }
        if let Err(error) = self.settle().await {
            tracing::debug!(%error, "rules and pauses are not the same in all shards yet");
        }
    }

    /// Brings the rules and pauses of all shards to those of the first.
    ///
    /// # Errors
    /// A shard cannot be reached: those that can have them.
    pub(super) async fn settle(&self) -> Result<()> {
        let mut wanted = self.shards[0].controls().await?;
        loop {
            let mut failed: Option<Error> = None;
            for shard in &self.shards[1..] {
                let brought = async {
                    let changes = changes(&shard.controls().await?, &wanted);
                    if !changes.is_empty() {
                        shard.control(changes).await?;
                    }
                    Ok::<(), Error>(())
                };
                failed = brought.await.err().or(failed);
            }
            // Somebody may have changed them meanwhile, and been overtaken here.
            let now = self.shards[0].controls().await?;
            if now == wanted {
                if let Some(error) = failed {
                    return Err(error);
                }
                *self.settled() = Some(Instant::now());
                return Ok(());
            }
            wanted = now;
        }
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.settled.lock().expect("nothing panics under this lock")
    }
}

/// What leads from some controls to others.
fn changes(there: &Controls, wanted: &Controls) -> Vec<Control> {
    let gone = there.rules.keys();
    let gone = gone.filter(|name| !wanted.rules.contains_key(*name));
    let gone = gone.map(|name| Control::Rule(name.clone(), None));
    let new = wanted.rules.iter();
    let new = new.filter(|(name, rule)| there.rules.get(*name) != Some(rule));
    let new = new.map(|(name, rule)| Control::Rule(name.clone(), Some(*rule)));
    let over = there.paused.difference(&wanted.paused).cloned();
    let paused = wanted.paused.difference(&there.paused).cloned();
    gone.chain(new)
        .chain(over.map(Control::Resume))
        .chain(paused.map(Control::Pause))
        .collect()
}

#[cfg(test)]
mod tests {
    use outlast_core::limit::{Queue, Rule};

    use super::*;

    #[test]
    fn changes_lead_from_one_to_the_other() {
        let controls = |rules: &[(&str, u32)], paused: &[&str]| Controls {
            rules: rules
                .iter()
                .map(|(name, max)| ((*name).to_owned(), Rule::Running(*max)))
                .collect(),
            paused: paused
                .iter()
                .map(|tool| Queue::Tool((*tool).to_owned()))
                .collect(),
        };
        let mut there = controls(&[("a", 1), ("b", 2), ("c", 3)], &["x", "y"]);
        let wanted = controls(&[("b", 2), ("c", 4), ("d", 5)], &["y", "z"]);
        let changes = changes(&there, &wanted);
        assert_eq!(changes.len(), 5);
        for change in changes {
            assert!(there.apply(change));
        }
        assert_eq!(there, wanted);
    }
}
