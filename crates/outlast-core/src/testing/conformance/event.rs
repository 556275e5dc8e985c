//! Events, and reading them in pages.

use super::rig::Rig;
use crate::event::Event;
use crate::id::TaskId;
use crate::progress::Progress;

async fn busy_task(rig: &Rig, reports: u32) -> (TaskId, Vec<Event>) {
    let (id, lease) = rig.run().await;
    for step in 1..=reports {
        let progress = Progress {
            done: f64::from(step),
            ..Progress::default()
        };
        rig.store
            .report(&lease, progress.into())
            .await
            .expect("it runs");
    }
    rig.finish(&lease).await;
    (id, rig.events(id).await)
}

pub(super) async fn events_are_numbered_without_gaps(rig: Rig) -> Rig {
    let (id, events) = busy_task(&rig, 20).await;
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=23).collect::<Vec<u64>>());
    assert_eq!(rig.task(id).await.state.version, 23);
    rig
}

pub(super) async fn pages_of_events_join(rig: Rig) -> Rig {
    let (id, all) = busy_task(&rig, 20).await;
    for limit in [1, 2, 7, 23, 1000] {
        let mut joined: Vec<Event> = Vec::new();
        loop {
            let after = joined.last().map_or(0, |event| event.number);
            let page = rig.store.events(id, after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            joined.extend(page);
        }
        assert_eq!(joined, all);
    }
    assert!(rig.store.events(id, 0, 0).await.unwrap().is_empty());
    assert!(rig.store.events(id, 23, 9).await.unwrap().is_empty());
    assert!(rig.store.events(id, u64::MAX, 9).await.unwrap().is_empty());
    // Creation and claim in one unit are two events that can be read apart.
    let created = rig
        .store
        .create(super::rig::spec(), rig.if_next())
        .await
        .unwrap();
    let page = rig.store.events(created.task.id(), 1, 9).await.unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!(page[0].number, 2);
    let page = rig.store.events(created.task.id(), 0, 1).await.unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!(page[0].number, 1);
    rig
}

pub(super) async fn an_unknown_task_has_no_events(rig: Rig) -> Rig {
    let id = TaskId::random();
    assert!(rig.store.events(id, 0, 9).await.unwrap().is_empty());
    assert!(rig.store.journal(id).await.unwrap().is_empty());
    assert!(rig.store.get(id).await.unwrap().is_none());
    rig
}
