//! Reads: each one call, unless it takes pages.

use outlast_core::filter::Kind;
use outlast_core::status::Phase;
use outlast_core::store::{Filter, Page, Stats, ToolVersion};
use outlast_core::{
    Event, JournalEntry, JournalKind, LogPage, Owner, Result, Signal, Standing, Task, TaskId,
};
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::executor::Executor;
use crate::row;
use crate::script::Script;
use crate::seen::Relation;

/// How many tasks one call of a list looks at.
const LOOKS: usize = 1000;

const UNFINISHED: [Phase; 5] = [
    Phase::Scheduled,
    Phase::Queued,
    Phase::Blocked,
    Phase::Running,
    Phase::Suspended,
];

impl Executor {
    pub(crate) async fn get(&self, id: TaskId) -> Result<Option<Arc<Task>>> {
        let known = self.load(&[id]).await?.pop();
        let known = known.transpose()?.flatten();
        let now = self.clock.now();
        Ok(known
            .map(|known| known.task)
            .filter(|task| !task.is_expired(now)))
    }

    /// The tasks that match, in the order of the filter.
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<Page> {
        let mut page = Page::default();
        if limit == 0 {
            return Ok(page);
        }
        let indexes = row::encode("filter", &indexes(filter))?;
        let owners: Vec<_> = filter.owner.iter().map(|owner| owner.as_str()).collect();
        let tools: Vec<_> = filter.tool.iter().collect();
        let phases: Vec<_> = filter.phases.iter().map(|phase| phase.as_str()).collect();
        let standings = filter.standings.iter();
        let standings: Vec<_> = standings.map(|standing| standing.as_str()).collect();
        let wanted = [
            row::encode("filter", &owners)?,
            row::encode("filter", &tools)?,
            row::encode("filter", &phases)?,
            row::encode("filter", &standings)?,
        ];
        let (order, end) = match filter.oldest_first {
            true => ("oldest", "-inf"),
            false => ("latest", "+inf"),
        };
        let mut beyond = cursor.map_or(end.to_owned(), |cursor| format!("({cursor}"));
        loop {
            // One more than asked for says whether there are more.
            let left = limit.saturating_sub(page.tasks.len()).saturating_add(1);
            let mut arguments = vec![
                indexes.clone(),
                beyond,
                left.min(LOOKS).to_string(),
                LOOKS.to_string(),
            ];
            arguments.extend(wanted.iter().cloned());
            arguments.push(order.to_owned());
            let found = self.link.script(Script::List, arguments).await?;
            let mut parts = row::array(found).into_iter();
            beyond = parts.next().as_ref().map(row::text).unwrap_or_default();
            let now = self.clock.now();
            for one in row::array(parts.next().unwrap_or(redis::Value::Nil)) {
                let known = match row::decode_record(one) {
                    Ok(Some(known)) => known,
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::error!(%error, "a list leaves out a task that cannot be read");
                        continue;
                    }
                };
                let matches = filter.matches(&known.task) && !known.task.is_expired(now);
                if !matches {
                    continue;
                }
                if page.tasks.len() == limit {
                    page.next = page.tasks.last().map(|task| task.state.sequence);
                    return Ok(page);
                }
                page.tasks.push(known.task);
            }
            if beyond.is_empty() {
                return Ok(page);
            }
        }
    }

    /// The tool versions of which tasks stand ready.
    pub(crate) async fn ready_versions(&self) -> Result<BTreeSet<ToolVersion>> {
        let none: [&str; 0] = [];
        let groups = row::array(self.link.script(Script::Groups, none).await?);
        let versions = groups
            .iter()
            .map(|group| row::version_of_group(&row::text(group)));
        Ok(versions.flatten().collect())
    }

    /// Some of the tasks of one version that stand ready.
    pub(crate) async fn ready_tasks(
        &self,
        version: &ToolVersion,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        let arguments = [
            row::known_name(version),
            skip.to_string(),
            limit.to_string(),
        ];
        Ok(row::ids(self.link.script(Script::Group, arguments).await?))
    }

    pub(crate) async fn events(&self, id: TaskId, after: u64, limit: usize) -> Result<Vec<Event>> {
        let Ok(first) = i64::try_from(after) else {
            return Ok(Vec::new());
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let count = i64::try_from(limit).unwrap_or(i64::MAX);
        let last = first.saturating_add(count) - 1;
        let key = self.link.key(&format!("e:{id}"));
        let range = redis::cmd("LRANGE").arg(key).arg(first).arg(last).take();
        let found = row::array(self.link.command(&range).await?);
        (after + 1..)
            .zip(&found)
            .map(|(number, text)| row::decode_event(id, number, row::bytes(text)))
            .collect()
    }

    pub(crate) async fn journal(&self, id: TaskId) -> Result<Vec<JournalEntry>> {
        let all = redis::cmd("HGETALL")
            .arg(self.link.key(&format!("j:{id}")))
            .take();
        row::decode_journal(self.link.command(&all).await?)
    }

    pub(crate) async fn journal_page(
        &self,
        id: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let arguments = [
            id.to_string(),
            row::entry_name(kind, ""),
            after.to_owned(),
            limit.to_string(),
        ];
        let found = self.link.script(Script::Journal, arguments).await?;
        let found = row::array(found).into_iter();
        found
            .map(|entry| Ok(row::decode_entry(row::bytes(&entry))?.1))
            .collect()
    }

    pub(crate) async fn signals(
        &self,
        id: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>> {
        let arguments = [
            id.to_string(),
            name.to_owned(),
            after.to_string(),
            limit.to_string(),
        ];
        let found = self.link.script(Script::Signals, arguments).await?;
        let found = row::array(found).into_iter();
        found
            .map(|signal| row::decode("signal", row::bytes(&signal)))
            .collect()
    }

    pub(crate) async fn log_read(&self, id: TaskId, offset: u64, limit: usize) -> Result<LogPage> {
        let arguments = [id.to_string(), offset.to_string(), limit.to_string()];
        let found = self.link.script(Script::Log, arguments).await?;
        crate::log::decode_page(found, offset, limit)
    }

    /// Counts by looking at all tasks, a page at a time: nothing is written for the sake of counts.
    pub(crate) async fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let none: [&str; 0] = [];
        let counts = row::array(self.link.script(Script::Stats, none).await?);
        for pair in counts.chunks_exact(2) {
            let (tool, owner, phase, standing): (String, Owner, Phase, Standing) =
                row::decode("task", row::bytes(&pair[0]))?;
            let kind = Kind {
                tool,
                owner,
                phase,
                standing,
            };
            *stats.counts.entry(kind).or_default() += row::int(&pair[1]);
        }
        Ok(stats)
    }
}

/// The smallest indexes that together have all the tasks of a list; no task stands in two of them.
fn indexes(filter: &Filter) -> Vec<String> {
    if let Some(parent) = filter.parent {
        return vec![Relation::Children.key(parent)];
    }
    match &filter.owner {
        _ if filter.is_unfinished() => {
            let wanted = |phase: &Phase| filter.phases.is_empty() || filter.phases.contains(phase);
            let unfinished = UNFINISHED.into_iter().filter(wanted);
            unfinished
                .map(|phase| format!("p:{}", phase.as_str()))
                .collect()
        }
        Some(owner) => vec![format!("own:{}", owner.as_str())],
        None => vec!["all".into()],
    }
}
