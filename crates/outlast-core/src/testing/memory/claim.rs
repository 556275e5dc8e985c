//! Giving tasks to workers.

use std::sync::Arc;

use super::Inner;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::TaskId;
use crate::status::Phase;
use crate::store::{ClaimBy, ClaimNow, Claimed, Notice, ToolVersion};
use crate::task::Task;

impl Inner {
    /// The first ready task that this worker may take now; suspects only if `suspects`.
    pub(super) fn first(&self, by: &ClaimBy, suspects: bool, now: Timestamp) -> Option<Arc<Task>> {
        self.tasks
            .values()
            .map(|kept| &kept.task)
            .filter(|task| task.state.phase == Phase::Queued && knows(by, task))
            .filter(|task| suspects || !task.state.suspect)
            .filter(|task| self.ledger.lets_in(task, now))
            .min_by_key(|task| place(task))
            .cloned()
    }

    pub(super) fn claim(
        &mut self,
        by: &ClaimBy,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claimed>> {
        let mut claimed = Vec::new();
        // Of several suspects only the first may run.
        let mut suspects = by.suspects;
        while claimed.len() < limit
            && let Some(task) = self.first(by, suspects, now)
        {
            suspects &= !task.state.suspect;
            claimed.push(self.claim_one(task.id(), by, now)?);
        }
        if claimed.len() == limit && self.first(by, suspects, now).is_some() {
            self.notices.push(Notice::Ready);
        }
        Ok(claimed)
    }

    /// Whether a task that is about to be written may be claimed with it.
    pub(super) fn fuses<'a>(
        &self,
        task: &Task,
        claim: Option<&'a ClaimNow>,
        now: Timestamp,
    ) -> Option<&'a ClaimBy> {
        let ready = task.state.phase == Phase::Queued;
        match claim? {
            _ if !ready => None,
            ClaimNow::Running(by) => self.ledger.has_room(task, now).then_some(by),
            ClaimNow::IfNext(by) => {
                let first = self.first(by, by.suspects, now);
                let next = first.is_none_or(|first| place(task) < place(&first));
                (next && knows(by, task) && self.ledger.lets_in(task, now)).then_some(by)
            }
        }
    }

    pub(super) fn claim_one(
        &mut self,
        id: TaskId,
        by: &ClaimBy,
        now: Timestamp,
    ) -> Result<Claimed> {
        self.nonce += 1;
        let nonce = self.nonce;
        if !self.ledger.start(&self.tasks[&id].task, now).is_empty() {
            let opening = self.ledger.next_opening(now);
            self.notices.extend(opening.map(Notice::Due));
        }
        let (lease, task) = self.change(id, |task| {
            let claimed = task.claim(by.worker, nonce, by.lease, now);
            let (lease, event) = claimed.expect("only queued tasks are ready");
            Ok((lease, vec![event]))
        })?;
        let journal = self.tasks[&id].journal.clone();
        Ok(Claimed {
            task,
            lease,
            journal,
        })
    }
}

/// The order of claiming: larger priorities first, then the order of creation.
fn place(task: &Task) -> (std::cmp::Reverse<i16>, u64) {
    (std::cmp::Reverse(task.spec.priority), task.state.sequence)
}

fn knows(by: &ClaimBy, task: &Task) -> bool {
    by.tools.contains(&ToolVersion {
        tool: task.spec.tool.clone(),
        version: task.spec.tool_version.clone(),
    })
}
