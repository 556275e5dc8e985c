//! Reading.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::MemoryStore;
use crate::error::Result;
use crate::event::Event;
use crate::filter::Kind;
use crate::id::TaskId;
use crate::journal::{JournalEntry, JournalKind};
use crate::limit::Controls;
use crate::log::LogPage;
use crate::schedule::Schedule;
use crate::signal::Signal;
use crate::status::Phase;
use crate::store::{Filter, Page, Reads, Stats, ToolVersion};
use crate::task::Task;

#[async_trait]
impl Reads for MemoryStore {
    async fn get(&self, task: TaskId) -> Result<Option<Arc<Task>>> {
        self.unit(|inner, now| {
            let kept = inner.tasks.get(&task);
            Ok(kept
                .map(|kept| Arc::clone(&kept.task))
                .filter(|task| !task.is_expired(now)))
        })
    }

    async fn list(&self, filter: &Filter, cursor: Option<u64>, limit: usize) -> Result<Page> {
        self.unit(|inner, now| {
            let mut tasks: Vec<_> = inner
                .tasks
                .values()
                .map(|kept| &kept.task)
                .filter(|task| filter.matches(task))
                .filter(|task| {
                    cursor.is_none_or(|cursor| match filter.oldest_first {
                        true => task.state.sequence > cursor,
                        false => task.state.sequence < cursor,
                    })
                })
                .filter(|task| !task.is_expired(now))
                .cloned()
                .collect();
            tasks.sort_unstable_by_key(|task| task.state.sequence);
            if !filter.oldest_first {
                tasks.reverse();
            }
            let more = tasks.len() > limit;
            tasks.truncate(limit);
            let next = tasks
                .last()
                .map(|task| task.state.sequence)
                .filter(|_| more);
            Ok(Page { tasks, next })
        })
    }

    async fn ready_versions(&self) -> Result<BTreeSet<ToolVersion>> {
        self.unit(|inner, _| {
            let tasks = inner.tasks.values().map(|kept| &kept.task);
            let ready = tasks.filter(|task| task.state.phase == Phase::Queued);
            Ok(ready.map(|task| ToolVersion::of(&task.spec)).collect())
        })
    }

    async fn ready_tasks(
        &self,
        version: &ToolVersion,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<TaskId>> {
        self.unit(|inner, _| {
            let tasks = inner.tasks.values().map(|kept| &kept.task);
            let is_ready = |task: &&Arc<Task>| {
                task.state.phase == Phase::Queued && ToolVersion::of(&task.spec) == *version
            };
            let ready = tasks.filter(is_ready);
            let mut ready: Vec<_> = ready.map(|task| (task.state.sequence, task.id())).collect();
            ready.sort_unstable();
            let page = ready.into_iter().skip(skip).take(limit);
            Ok(page.map(|(_, id)| id).collect())
        })
    }

    async fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.unit(|inner, _| {
            let events = inner.tasks.get(&task).map(|kept| kept.events.as_slice());
            let later = events
                .unwrap_or_default()
                .iter()
                .filter(|event| event.number > after);
            Ok(later.take(limit).cloned().collect())
        })
    }

    async fn journal(&self, task: TaskId) -> Result<Vec<JournalEntry>> {
        self.unit(|inner, _| {
            Ok(inner
                .tasks
                .get(&task)
                .map(|kept| kept.journal.clone())
                .unwrap_or_default())
        })
    }

    async fn journal_page(
        &self,
        task: TaskId,
        kind: JournalKind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let mut entries = self.journal(task).await?;
        entries.retain(|entry| entry.kind == kind && entry.name.as_str() > after);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.truncate(limit);
        Ok(entries)
    }

    async fn journal_get(
        &self,
        task: TaskId,
        kind: JournalKind,
        name: &str,
    ) -> Result<Option<JournalEntry>> {
        let entries = self.journal(task).await?;
        let mut entries = entries.into_iter();
        Ok(entries.find(|entry| entry.kind == kind && entry.name == name))
    }

    async fn signals(
        &self,
        task: TaskId,
        name: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Signal>> {
        self.unit(|inner, _| {
            let signals = inner.tasks.get(&task).map(|kept| kept.signals.as_slice());
            let later = signals
                .unwrap_or_default()
                .iter()
                .filter(|signal| signal.name == name && signal.number > after);
            Ok(later.take(limit).cloned().collect())
        })
    }

    async fn log_read(&self, task: TaskId, offset: u64, limit: usize) -> Result<LogPage> {
        self.unit(|inner, _| {
            let Some(kept) = inner.tasks.get(&task) else {
                return Ok(LogPage::default());
            };
            let mut page = LogPage {
                next: offset,
                end: kept.log_end,
                mark: kept.mark,
                ..LogPage::default()
            };
            let mut bytes = 0;
            for chunk in kept.log.iter().filter(|chunk| chunk.end() > offset) {
                if bytes >= limit && !page.chunks.is_empty() {
                    break;
                }
                let mut chunk = chunk.clone();
                if chunk.offset < offset {
                    let skipped = usize::try_from(offset - chunk.offset).expect("within the chunk");
                    chunk.text.drain(..skipped);
                    chunk.offset = offset;
                }
                bytes += chunk.text.len();
                page.next = chunk.end();
                page.chunks.push(chunk);
            }
            Ok(page)
        })
    }

    async fn controls(&self) -> Result<Controls> {
        self.unit(|inner, _| Ok(inner.ledger.controls().clone()))
    }

    async fn schedule_get(&self, name: &str) -> Result<Option<Schedule>> {
        self.unit(|inner, _| Ok(inner.schedules.get(name).cloned()))
    }

    async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.unit(|inner, _| Ok(inner.schedules.values().cloned().collect()))
    }

    async fn stats(&self) -> Result<Stats> {
        self.unit(|inner, _| {
            let mut stats = Stats::default();
            for kept in inner.tasks.values() {
                *stats.counts.entry(Kind::of(&kept.task)).or_default() += 1;
            }
            Ok(stats)
        })
    }
}
