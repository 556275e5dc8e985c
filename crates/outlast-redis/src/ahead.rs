//! Reading ahead: what an operation that spreads from task to task will ask for next.
//!
//! The end of a task may end those that come after it, and those behind them, and a cancel goes down a
//! tree. An operation asks for one step of that at a time, and is decided from the start each time; a
//! chain of thousands would take thousands of round trips and as many decisions, each longer than the one
//! before. So the first step is read alone, which is all that most ends need, and from the second on one
//! script looks behind everything that was read so far, for as many records as one load takes.
//!
//! Nothing that was read before is read anew: the set of a task's dependants must never be older than
//! the record whose revision guards it.

use std::collections::hash_map::Entry;

use outlast_core::{Result, TaskId};
use redis::Value;

use crate::executor::Executor;
use crate::row;
use crate::script::Script;
use crate::seen::{Relation, Seen};

/// How many records are read at a time.
pub(crate) const PAGE: usize = 256;

impl Executor {
    /// Reads the tasks in a sorted set that belongs to another, and more if this is not the first one.
    pub(crate) async fn read_related(
        &self,
        seen: &mut Seen,
        relation: Relation,
        id: TaskId,
    ) -> Result<()> {
        if !seen.related.is_empty() {
            self.read_ahead(seen, id).await?;
        }
        if let Entry::Vacant(place) = seen.related.entry((relation, id)) {
            let key = self.link.key(&relation.key(id));
            let range = redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).take();
            place.insert(row::ids(self.link.command(&range).await?));
        }
        Ok(())
    }

    /// Reads what stands behind `asked` and behind every unfinished record that was read.
    async fn read_ahead(&self, seen: &mut Seen, asked: TaskId) -> Result<()> {
        let unfinished = seen.records.iter().filter_map(|(id, known)| {
            let known = known.as_ref().filter(|known| !known.task.is_finished());
            known.map(|_| *id)
        });
        let begin = unfinished.filter(|id| {
            let is_known = |relation| seen.related.contains_key(&(relation, *id));
            *id != asked && !(is_known(Relation::Dependants) && is_known(Relation::Children))
        });
        let begin = std::iter::once(asked).chain(begin);
        let mut arguments = vec![PAGE.to_string()];
        arguments.extend(begin.take(PAGE).map(|id| id.to_string()));
        let reply = self.link.script(Script::Ahead, arguments).await?;
        let mut parts = row::array(reply).into_iter();
        let mut part = || row::array(parts.next().unwrap_or(Value::Nil));
        for family in part() {
            let mut family = row::array(family).into_iter();
            let mut part = || family.next().unwrap_or(Value::Nil);
            let Ok(id) = row::text(&part()).parse() else {
                continue;
            };
            for relation in [Relation::Dependants, Relation::Children] {
                let ids = part();
                let known = seen.related.entry((relation, id));
                known.or_insert_with(|| row::ids(ids));
            }
        }
        for record in part() {
            let mut record = row::array(record);
            if record.is_empty() {
                continue;
            }
            let Ok(id) = row::text(&record.remove(0)).parse() else {
                continue;
            };
            // Whoever needs one that cannot be read is told when it is asked for.
            if let Ok(known) = row::decode_record(Value::Array(record)) {
                seen.records.entry(id).or_insert(known);
            }
        }
        Ok(())
    }
}
