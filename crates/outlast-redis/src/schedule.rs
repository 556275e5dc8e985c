//! Schedules: small records beside the tasks, and the moments at which they are due.
//!
//! A record is a value of its own, and its version is guarded by the whole of it. The sorted set
//! `schedules` has every name with its moment; infinity for those that have none.

use outlast_core::schedule::MAX_SCHEDULES;
use outlast_core::store::{Notice, SchedulePut};
use outlast_core::task::NewTask;
use outlast_core::{Result, Schedule};
use redis::Value;

use crate::executor::Executor;
use crate::failure::Failure;
use crate::row;
use crate::unit::Unit;

fn name_of(schedule: &str) -> String {
    format!("sch:{schedule}")
}

fn decode(name: &str, text: &[u8]) -> Result<Schedule> {
    serde_json::from_slice(text).map_err(|error| Schedule::unreadable(name, &error))
}

impl Unit<'_> {
    pub(crate) fn schedule_put(
        &mut self,
        expected: Option<u64>,
        schedule: &Schedule,
        task: Option<NewTask>,
    ) -> Result<SchedulePut, Failure> {
        let name = &schedule.spec.name;
        let key = name_of(name);
        let there = self.name(&key)?.map(|text| decode(name, text.as_bytes()));
        let there = there.transpose()?;
        if there.as_ref().map(|there| there.state.version) != expected {
            return Ok(SchedulePut::Stale(there));
        }
        if there.is_none() {
            self.guard("fewer", ["schedules".to_owned(), MAX_SCHEDULES.to_string()]);
        }
        let mut schedule = schedule.clone();
        let wanted = task.as_ref().map(|task| task.id);
        let created = task.map(|task| self.create(task, None)).transpose()?;
        if let (Some(wanted), Some(created)) = (wanted, &created) {
            schedule.joined(wanted, created.task.id());
        }
        self.call(&["SET", &key, &row::encode("schedule", &schedule)?]);
        let due = schedule.due_at().map_or("+inf".to_owned(), row::millis);
        self.call(&["ZADD", "schedules", &due, name]);
        self.notices.extend(schedule.due_at().map(Notice::Due));
        Ok(SchedulePut::Done { schedule, created })
    }

    pub(crate) fn schedule_delete(&mut self, name: &str) -> Result<bool, Failure> {
        let key = name_of(name);
        if self.name(&key)?.is_none() {
            return Ok(false);
        }
        self.call(&["DEL", &key]);
        self.call(&["ZREM", "schedules", name]);
        Ok(true)
    }
}

impl Executor {
    /// The schedule of this name.
    pub(crate) async fn schedule(&self, name: &str) -> Result<Option<Schedule>> {
        let get = redis::cmd("GET").arg(self.link.key(&name_of(name))).take();
        match self.link.command(&get).await? {
            Value::Nil => Ok(None),
            text => decode(name, row::bytes(&text)).map(Some),
        }
    }

    /// All of them, by name.
    pub(crate) async fn schedules(&self) -> Result<Vec<Schedule>> {
        let range = redis::cmd("ZRANGE")
            .arg(self.link.key("schedules"))
            .arg(0)
            .arg(-1)
            .take();
        let names = row::array(self.link.command(&range).await?);
        let mut names: Vec<_> = names.iter().map(row::text).collect();
        names.sort_unstable();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("MGET");
        for name in &names {
            get.arg(self.link.key(&name_of(name)));
        }
        let records = row::array(self.link.command(&get).await?);
        Ok(readable(names.into_iter().zip(&records)))
    }
}

/// Those of some schedules, given by name and record, that can be read. One that was removed in between is
/// none; one that cannot be read holds up no other.
pub(crate) fn readable<'v>(records: impl Iterator<Item = (String, &'v Value)>) -> Vec<Schedule> {
    let there = records.filter(|(_, record)| **record != Value::Nil);
    let decoded = there.map(|(name, record)| decode(&name, row::bytes(record)));
    let note = |error: &_| tracing::error!(%error, "a schedule is left out");
    decoded
        .filter_map(|decoded| decoded.inspect_err(note).ok())
        .collect()
}
