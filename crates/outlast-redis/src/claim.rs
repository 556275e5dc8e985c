//! How tasks come to a worker: create and recover. Claiming itself is a script, for there workers
//! meet: `lua/ready.lua`.

use std::sync::Arc;

use outlast_core::Task;
use outlast_core::machine::{Meant, Rescue};
use outlast_core::status::Phase;
use outlast_core::store::{ClaimNow, Created};
use outlast_core::task::{Lease, NewTask};

use crate::failure::Failure;
use crate::unit::{Creation, Unit};

impl Unit<'_> {
    /// Creates a task. Whether it is claimed in the same unit, the commit says.
    pub(crate) fn create(
        &mut self,
        spec: NewTask,
        claim: Option<&ClaimNow>,
    ) -> Result<Created, Failure> {
        let (id, now) = (spec.id, self.now);
        let again = |task| Ok(Created::again(task, claim));
        let named = spec.idempotency.is_some() || spec.same.is_some();
        if named || !spec.after.is_empty() {
            // What it comes after, and what it means, was looked up the first time, and may be gone.
            self.need_all([id])?;
        }
        if let Some(there) = self.find_new(id)? {
            return again(there);
        }
        let meant = if named {
            self.meant(&spec)?
        } else {
            Meant::New
        };
        let replaced = match meant {
            Meant::Task(task) => return Ok(Created::joined(task)),
            Meant::Replace(old) => Some(old),
            Meant::New => None,
        };
        self.need_all(spec.after.iter().map(|edge| edge.task))?;
        let replaces = replaced.as_ref().map(|old| old.id());
        let ended = spec.ended_dependencies(replaces, now, |id| self.find(id))?;
        let (mut task, created) = Task::create(Arc::new(spec), 0, now);
        let mut events = vec![created];
        for (dependency, status) in ended {
            events.extend(task.dependency_ended(dependency, status, now));
        }
        // A task that takes another's place in the queue needs no further one.
        let placed = replaced
            .as_ref()
            .is_some_and(|old| old.quota_keys() == task.quota_keys());
        if let Some(old) = replaced {
            self.replace(old.id(), id)?;
        }
        let task = Arc::new(task);
        let creation = Creation {
            claim: claim.cloned(),
            checked: !placed,
        };
        self.insert(&task, events, creation)?;
        self.remember(&task.spec, &task)?;
        Ok(Created {
            task,
            lease: None,
            joined: false,
        })
    }

    /// Takes a task back from a worker that cannot be alive, unless it has got away in the meantime.
    /// Says whether it is ready again, or has ended by that.
    pub(crate) fn rescue(
        &mut self,
        lease: &Lease,
        rescue: Rescue,
    ) -> Result<Option<bool>, Failure> {
        let now = self.now;
        let Some(task) = self.find(lease.task)?.filter(|task| task.holds(lease)) else {
            return Ok(None);
        };
        let (_, task) =
            self.change_found(&task, |task| Ok(((), vec![task.rescue(rescue, now)])))?;
        Ok(Some(task.state.phase != Phase::Finished))
    }
}
