//! One answer made of those of several shards.

use outlast_core::store::{Page, Recovered, Stats, Ticked};
use outlast_core::{Schedule, Task};
use std::sync::Arc;

/// The page of a list over all shards, of pages that begin at the same place.
///
/// A shard that has looked at so many tasks and no more knows nothing of what lies behind the last of them, so
/// the page ends at the first such place.
pub(super) fn pages(pages: Vec<Page>, limit: usize, oldest_first: bool) -> Page {
    let nearer = |one: u64, other: u64| match oldest_first {
        true => one.min(other),
        false => one.max(other),
    };
    let end = pages.iter().filter_map(|page| page.next).reduce(nearer);
    let is_known = |place: u64| end.is_none_or(|end| nearer(place, end) == place);
    let all = pages.into_iter().flat_map(|page| page.tasks);
    let mut tasks: Vec<Arc<Task>> = all.filter(|task| is_known(task.state.sequence)).collect();
    tasks.sort_by_key(|task| task.state.sequence);
    if !oldest_first {
        tasks.reverse();
    }
    let is_cut = tasks.len() > limit;
    tasks.truncate(limit);
    let last = tasks.last().map(|task| task.state.sequence);
    Page {
        next: if is_cut { last } else { end },
        tasks,
    }
}

pub(super) fn stats(all: impl IntoIterator<Item = Stats>) -> Stats {
    let mut sum = Stats::default();
    for (kind, count) in all.into_iter().flat_map(|one| one.counts) {
        *sum.counts.entry(kind).or_default() += count;
    }
    sum
}

pub(super) fn recovered(all: impl IntoIterator<Item = Recovered>) -> Recovered {
    let sum = |sum: Recovered, one: Recovered| Recovered {
        rescued: sum.rescued + one.rescued,
        failed: sum.failed + one.failed,
    };
    all.into_iter().fold(Recovered::default(), sum)
}

/// What ticks have done, without their schedules.
pub(super) fn ticked(all: Vec<Ticked>) -> Ticked {
    let mut sum = Ticked::default();
    for one in all {
        sum.now = sum.now.max(one.now);
        sum.changed += one.changed;
        sum.deleted += one.deleted;
        sum.deliveries.extend(one.deliveries);
        sum.next = sum.next.into_iter().chain(one.next).min();
    }
    sum
}

/// The schedules of all shards by name; of two with one name the one of the later version.
pub(super) fn schedules(all: Vec<Vec<Schedule>>) -> Vec<Schedule> {
    let mut all: Vec<_> = all.into_iter().flatten().collect();
    all.sort_by(|one, other| {
        let names = one.spec.name.cmp(&other.spec.name);
        names.then(other.state.version.cmp(&one.state.version))
    });
    all.dedup_by(|later, first| later.spec.name == first.spec.name);
    all
}

#[cfg(test)]
mod tests {
    use outlast_core::schedule::NewSchedule;
    use outlast_core::{RawJson, TaskSpec, Timestamp};

    use super::*;

    fn page(places: &[u64], next: Option<u64>) -> Page {
        let task = |place: &u64| {
            let spec = Arc::new(TaskSpec::new("tool", RawJson::empty_object()));
            Arc::new(Task::create(spec, *place, Timestamp::from_millis(0)).0)
        };
        Page {
            tasks: places.iter().map(task).collect(),
            next,
        }
    }

    fn places(page: &Page) -> Vec<u64> {
        page.tasks.iter().map(|task| task.state.sequence).collect()
    }

    #[test]
    fn a_page_ends_where_a_shard_has_looked_no_further() {
        let all = || {
            vec![
                page(&[9, 5, 1], None),
                page(&[8, 6], Some(6)),
                page(&[], Some(4)),
            ]
        };
        let merged = pages(all(), 10, false);
        assert_eq!((places(&merged), merged.next), (vec![9, 8, 6], Some(6)));
        let merged = pages(all(), 2, false);
        assert_eq!((places(&merged), merged.next), (vec![9, 8], Some(8)));
        let merged = pages(vec![page(&[1, 7], None), page(&[2, 3], Some(3))], 10, true);
        assert_eq!((places(&merged), merged.next), (vec![1, 2, 3], Some(3)));
        let merged = pages(vec![page(&[2], None), page(&[3, 1], None)], 3, false);
        assert_eq!((places(&merged), merged.next), (vec![3, 2, 1], None));
    }

    #[test]
    fn of_two_schedules_of_one_name_the_later_version_stays() {
        let schedule = |name: &str, version| {
            let spec = NewSchedule::cron("* * * * *").call(name, &());
            let mut schedule = Schedule::create(spec, Timestamp::from_millis(0));
            schedule.state.version = version;
            schedule
        };
        let all = vec![
            vec![schedule("b", 1), schedule("c", 3)],
            vec![schedule("b", 2), schedule("c", 3), schedule("a", 1)],
        ];
        let kept = schedules(all);
        let short = |one: &Schedule| (one.spec.name.clone(), one.state.version);
        let kept: Vec<_> = kept.iter().map(short).collect();
        assert_eq!(kept, [("a".into(), 1), ("b".into(), 2), ("c".into(), 3)]);
    }
}
