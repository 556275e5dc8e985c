//! Lists, filters and counts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rig::{Rig, of, spec};
use crate::clock::Clock;
use crate::filter::{Kind, Span};
use crate::id::{Owner, TaskId};
use crate::json::RawJson;
use crate::machine::{AttemptEnd, CancelMode};
use crate::outcome::{Failure, FailureReason, Outcome, ToolResult};
use crate::status::{Phase, Standing};
use crate::store::{Filter, Page, Stats};
use crate::task::{DEFAULT_RETENTION, TaskSpec};

fn ids(page: &Page) -> Vec<TaskId> {
    page.tasks.iter().map(|task| task.id()).collect()
}

async fn list(rig: &Rig, filter: &Filter, before: Option<u64>, limit: usize) -> Page {
    rig.store.list(filter, before, limit).await.expect("a list")
}

pub(super) async fn the_latest_comes_first(rig: Rig) -> Rig {
    let mut created = Vec::new();
    for _ in 0..5 {
        created.insert(0, rig.create().await);
    }
    let page = list(&rig, &Filter::default(), None, 100).await;
    assert_eq!(ids(&page), created);
    assert_eq!(page.next, None);
    for task in &page.tasks {
        assert_eq!(*task, rig.task(task.id()).await, "whole records");
    }
    let page = list(&rig, &Filter::default(), None, 5).await;
    assert_eq!(page.next, None, "nothing is left");
    rig
}

pub(super) async fn pages_join_while_tasks_come(rig: Rig) -> Rig {
    let mut created = Vec::new();
    for _ in 0..10 {
        created.insert(0, rig.create().await);
    }
    let (mut joined, mut before) = (Vec::new(), None);
    loop {
        let page = list(&rig, &Filter::default(), before, 3).await;
        joined.extend(ids(&page));
        rig.create().await;
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    assert_eq!(joined, created, "no gap, no repeat, nothing new");
    rig
}

pub(super) async fn filters_choose(rig: Rig) -> Rig {
    let owned = |owner: &str, tool: &str| TaskSpec {
        owner: Owner::new(owner),
        ..of(tool)
    };
    let waiting = rig.suspended("q").await;
    let finished = rig.finished(spec()).await;
    let (running, _) = rig.run().await;
    let queued = rig.create().await;
    let other = rig.create_spec(of("other")).await.task.id();
    let foreign = rig.create_spec(owned("ann", "other")).await.task.id();
    let run_at = Some(rig.clock.now() + Duration::from_secs(1));
    let scheduled = rig
        .create_spec(TaskSpec {
            run_at,
            ..owned("ann", "tool")
        })
        .await
        .task
        .id();
    let local = || Some(Owner::local());
    let cases = [
        (
            Filter::default(),
            vec![
                scheduled, foreign, other, queued, running, finished, waiting,
            ],
        ),
        (
            Filter {
                owner: local(),
                ..Filter::default()
            },
            vec![other, queued, running, finished, waiting],
        ),
        (
            Filter {
                owner: Some(Owner::new("ann")),
                phases: vec![Phase::Queued],
                ..Filter::default()
            },
            vec![foreign],
        ),
        (
            Filter {
                tool: Some("other".into()),
                ..Filter::default()
            },
            vec![foreign, other],
        ),
        (
            Filter {
                phases: vec![Phase::Running, Phase::Suspended, Phase::Scheduled],
                ..Filter::default()
            },
            vec![scheduled, running, waiting],
        ),
        (
            Filter {
                phases: vec![Phase::Finished, Phase::Running],
                ..Filter::default()
            },
            vec![running, finished],
        ),
        (
            Filter {
                standings: vec![Standing::InputRequired],
                ..Filter::default()
            },
            vec![waiting],
        ),
        (
            Filter {
                owner: local(),
                tool: Some("tool".into()),
                standings: vec![Standing::Working, Standing::Completed],
                ..Filter::default()
            },
            vec![queued, running, finished],
        ),
        (
            Filter {
                owner: Some(Owner::new("nobody")),
                ..Filter::default()
            },
            vec![],
        ),
    ];
    for (filter, expected) in cases {
        let page = list(&rig, &filter, None, 100).await;
        assert_eq!(ids(&page), expected, "{filter:?}");
        let mut joined = Vec::new();
        let mut before = None;
        loop {
            let page = list(&rig, &filter, before, 1).await;
            joined.extend(ids(&page));
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        assert_eq!(joined, expected, "one at a time: {filter:?}");
    }
    rig
}

pub(super) async fn filters_by_words_and_times(rig: Rig) -> Rig {
    let labelled = |labels: &[(&str, &str)], arguments: &str| TaskSpec {
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        arguments: RawJson::parse(arguments).unwrap(),
        ..of("Paint")
    };
    let red = labelled(&[("colour", "red"), ("size", "1")], r#"{"wall":"NORTH"}"#);
    let red = rig.create_spec(red).await.task.id();
    let first = rig.clock.now();
    rig.advance(Duration::from_secs(10));
    let blue = labelled(&[("colour", "blue"), ("size", "1")], r#"{"wall":"50%_"}"#);
    let blue = rig.create_spec(blue).await.task.id();
    let second = rig.clock.now();
    rig.advance(Duration::from_secs(10));
    let plain = rig.create().await;
    let third = rig.clock.now();
    rig.store
        .cancel(red, Some("enough".into()), CancelMode::Force)
        .await
        .unwrap();
    let labels = |labels: &[(&str, &str)]| Filter {
        labels: labelled(labels, "{}").labels,
        ..Filter::default()
    };
    let text = |text: &str| Filter {
        text: Some(text.into()),
        ..Filter::default()
    };
    let span = |from, until| Span { from, until };
    let created = |created| Filter {
        created,
        ..Filter::default()
    };
    let updated = |updated| Filter {
        updated,
        ..Filter::default()
    };
    let cases = [
        (labels(&[("size", "1")]), vec![blue, red]),
        (labels(&[("size", "1"), ("colour", "red")]), vec![red]),
        (labels(&[("size", "2")]), vec![]),
        (labels(&[("red", "colour")]), vec![]),
        (
            Filter {
                standings: vec![Standing::Cancelled],
                ..labels(&[("size", "1")])
            },
            vec![red],
        ),
        (text("north"), vec![red]),
        (text("paint"), vec![blue, red]),
        (text("50%_"), vec![blue]),
        (text("%"), vec![blue]),
        (text(&blue.to_string().to_uppercase()), vec![blue]),
        (text("nothing of the kind"), vec![]),
        (created(span(None, Some(second))), vec![red]),
        (created(span(Some(second), None)), vec![plain, blue]),
        (created(span(Some(second), Some(third))), vec![blue]),
        (created(span(Some(third), Some(first))), vec![]),
        (updated(span(Some(third), None)), vec![plain, red]),
        (updated(span(None, Some(third))), vec![blue]),
        (
            Filter {
                standings: vec![Standing::Cancelled],
                owner: Some(Owner::local()),
                ..Filter::default()
            },
            vec![red],
        ),
    ];
    for (filter, mut expected) in cases {
        let page = list(&rig, &filter, None, 100).await;
        assert_eq!(ids(&page), expected, "{filter:?}");
        expected.reverse();
        let filter = Filter {
            oldest_first: true,
            ..filter
        };
        let (mut joined, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(&rig, &filter, cursor, 1).await;
            joined.extend(ids(&page));
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(joined, expected, "{filter:?}");
    }
    assert!(rig.store.delete(red).await.unwrap());
    let page = list(&rig, &labels(&[("size", "1")]), None, 100).await;
    assert_eq!(ids(&page), [blue]);
    rig
}

pub(super) async fn a_tools_own_error_is_told_apart(rig: Rig) -> Rig {
    let ended = async |outcome| {
        let (id, lease) = rig.run().await;
        let end = AttemptEnd::Done(outcome);
        rig.store.finish(&lease, end, None).await.unwrap();
        id
    };
    let failure = || Outcome::Failed(Failure::internal(FailureReason::Error, "no"));
    let well = ended(Outcome::Completed(ToolResult::text("yes"))).await;
    let error = ended(Outcome::Completed(ToolResult::error("no"))).await;
    let failed = ended(failure()).await;
    let again = ended(Outcome::Completed(ToolResult::error("no"))).await;
    let queued = rig.create().await;
    let filter = |standings: &[Standing]| Filter {
        standings: standings.to_vec(),
        ..Filter::default()
    };
    let cases = [
        (filter(&[Standing::Completed]), vec![well]),
        (filter(&[Standing::Error]), vec![again, error]),
        (filter(&[Standing::Failed]), vec![failed]),
        (
            filter(&[Standing::Failed, Standing::Error]),
            vec![again, failed, error],
        ),
        (
            filter(&[Standing::Working, Standing::Error]),
            vec![queued, again, error],
        ),
        (
            Filter {
                owner: Some(Owner::new("nobody")),
                ..filter(&[Standing::Error, Standing::Failed])
            },
            vec![],
        ),
    ];
    for (filter, mut expected) in cases {
        assert_eq!(ids(&list(&rig, &filter, None, 100).await), expected);
        expected.reverse();
        let oldest = Filter {
            oldest_first: true,
            ..filter.clone()
        };
        let (mut joined, mut cursor) = (Vec::new(), None);
        loop {
            let page = list(&rig, &oldest, cursor, 1).await;
            joined.extend(ids(&page));
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(joined, expected, "one at a time: {oldest:?}");
    }
    let stats = rig.store.stats().await.unwrap();
    let count = |standing| stats.count(|kind| kind.standing == standing);
    assert_eq!(Standing::ALL.map(count), [1, 0, 1, 2, 1, 0]);
    rig
}

pub(super) async fn a_page_of_nothing(rig: Rig) -> Rig {
    let empty = list(&rig, &Filter::default(), None, 10).await;
    assert!(empty.tasks.is_empty() && empty.next.is_none());
    rig.create().await;
    let none = list(&rig, &Filter::default(), None, 0).await;
    assert!(none.tasks.is_empty() && none.next.is_none());
    let before = list(&rig, &Filter::default(), Some(0), 10).await;
    assert!(before.tasks.is_empty());
    let all = list(&rig, &Filter::default(), Some(u64::MAX), 10).await;
    assert_eq!(all.tasks.len(), 1);
    rig
}

pub(super) async fn what_has_expired_is_not_listed(rig: Rig) -> Rig {
    let old = rig.finished(spec()).await;
    rig.advance(Duration::from_secs(1));
    let new = rig.finished(spec()).await;
    rig.advance(DEFAULT_RETENTION - Duration::from_secs(1));
    let page = list(&rig, &Filter::default(), None, 1).await;
    assert_eq!(ids(&page), [new]);
    assert_eq!(page.next, None, "{old} has expired");
    rig
}

pub(super) async fn counts_follow_every_change(rig: Rig) -> Rig {
    let counted = async |expected: &[(Phase, u64)]| {
        let phases = expected
            .iter()
            .map(|(phase, count)| (phase.as_str(), *count))
            .collect();
        let stats = rig.store.stats().await.unwrap();
        assert_eq!(stats.phases(), phases);
        let all = rig.store.list(&Filter::default(), None, 100).await.unwrap();
        let mut counts = BTreeMap::new();
        for task in &all.tasks {
            *counts.entry(Kind::of(task)).or_default() += 1;
        }
        assert_eq!(stats, Stats { counts });
    };
    counted(&[]).await;
    let (_, lease) = rig.run().await;
    rig.suspended("q").await;
    rig.create().await;
    rig.create().await;
    counted(&[
        (Phase::Running, 1),
        (Phase::Suspended, 1),
        (Phase::Queued, 2),
    ])
    .await;
    let task = rig.finish(&lease).await;
    counted(&[
        (Phase::Finished, 1),
        (Phase::Suspended, 1),
        (Phase::Queued, 2),
    ])
    .await;
    rig.store.delete(task.id()).await.unwrap();
    counted(&[(Phase::Suspended, 1), (Phase::Queued, 2)]).await;
    rig
}
