//! Schedules stand in the shard of their owner, for a firing writes the schedule and its task in one unit.
//!
//! Names are unique over all shards all the same: whoever makes a schedule looks behind it whether another
//! shard has one of that name by now, and takes its own back then. Of two at once both may do that, and both
//! are told that somebody was faster; never do both stay. What somebody leaves behind who dies in between is
//! shown as one with the other, and goes with it. A schedule does not go over to an owner in another shard.

use outlast_core::store::{Reads, SchedulePut, Store};
use outlast_core::task::NewTask;
use outlast_core::{Error, Result, Schedule};

use super::{Sharded, merge};

impl Sharded {
    pub(super) async fn put_schedule(
        &self,
        expected: Option<u64>,
        schedule: Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut> {
        let (name, owner) = (schedule.spec.name.clone(), schedule.spec.owner.clone());
        let shard = self.of_owner(&owner);
        if expected.is_none() {
            let there = self.all_schedules().await?;
            if let Some(there) = there.iter().find(|there| there.spec.name == name) {
                return Ok(SchedulePut::Stale(Some(there.clone())));
            }
            Schedule::check_number(there.len())?;
        }
        let put = self.shards[shard].schedule_put(expected, schedule, task);
        match put.await? {
            SchedulePut::Stale(None) => match self.find_schedule(&name).await? {
                Some((_, there)) if Some(there.state.version) == expected => {
                    Err(Error::Invalid(format!(
                        "the schedule {name:?} is kept with the tasks of {}, in another shard than those \
                         of {owner}: remove it, and make one for {owner} then",
                        there.spec.owner
                    )))
                }
                found => Ok(SchedulePut::Stale(found.map(|(_, there)| there))),
            },
            SchedulePut::Done { schedule, created } => {
                if let Some(created) = &created {
                    self.note(created.task.id(), shard);
                }
                if expected.is_none() {
                    let others = self.shards_with(&name).await?;
                    if let Some((_, other)) = others.into_iter().find(|(at, _)| *at != shard) {
                        self.shards[shard].schedule_delete(&name).await?;
                        return Ok(SchedulePut::Stale(Some(other)));
                    }
                }
                Ok(SchedulePut::Done { schedule, created })
            }
            stale @ SchedulePut::Stale(Some(_)) => Ok(stale),
        }
    }

    pub(super) async fn delete_schedule(&self, name: &str) -> Result<bool> {
        let deleted = self.all(|shard| shard.schedule_delete(name)).await?;
        Ok(deleted.contains(&true))
    }

    pub(super) async fn find_schedule(&self, name: &str) -> Result<Option<(usize, Schedule)>> {
        let there = self.shards_with(name).await?.into_iter();
        Ok(there.reduce(|one, other| {
            let is_later = other.1.state.version > one.1.state.version;
            if is_later { other } else { one }
        }))
    }

    /// The shards that have a schedule of this name: one, unless somebody is just finding out.
    async fn shards_with(&self, name: &str) -> Result<Vec<(usize, Schedule)>> {
        let there = self.all(|shard| shard.schedule_get(name)).await?;
        let there = there.into_iter().enumerate();
        Ok(there
            .filter_map(|(shard, found)| Some((shard, found?)))
            .collect())
    }

    pub(super) async fn all_schedules(&self) -> Result<Vec<Schedule>> {
        let all = self.all(Reads::schedules).await?;
        Ok(merge::schedules(all))
    }
}
