//! What holds for every task of every store at every moment.

use std::collections::BTreeSet;

use crate::event::EventKind;
use crate::status::{Era, Phase};
use crate::store::{Filter, Store};
use crate::task::Task;
use crate::undo::Cleanup;
use crate::webhook::MAX_DELIVERIES;

/// Checks every task that can be listed: its record, its events and its journal.
///
/// # Panics
/// If an invariant is broken; the message names the task.
pub async fn check_invariants(store: &dyn Store) {
    let mut before = None;
    loop {
        let page = store
            .list(&Filter::default(), before, 100)
            .await
            .expect("a list of all tasks");
        for task in &page.tasks {
            check_record(task);
            check_events(store, task).await;
            check_journal(store, task).await;
        }
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
}

/// Checks what a record says of itself.
///
/// # Panics
/// If an invariant is broken; the message names the task.
pub(in crate::testing) fn check_record(task: &Task) {
    let (id, state) = (task.id(), &task.state);
    assert_eq!(
        task.outcome.is_some(),
        state.phase == Phase::Finished || state.cleanup.is_open(),
        "{id}: an outcome exactly at the end, and while it is undone"
    );
    assert!(
        state.undos == 0 || !task.is_finished() || state.cleanup != Cleanup::Done,
        "{id}: every undo has run before the clean-up is done"
    );
    assert_eq!(
        state.held.is_some(),
        state.phase == Phase::Running,
        "{id}: a lease exactly while it runs (I1)"
    );
    assert_eq!(
        state.expire_at.is_some(),
        task.is_finished(),
        "{id}: an expiry exactly at the end"
    );
    assert_eq!(state.finished_at.is_some(), state.expire_at.is_some());
    assert_eq!(
        state.awaiting.is_some(),
        state.phase == Phase::Suspended,
        "{id}: it awaits exactly while it is suspended"
    );
    assert!(
        match state.phase {
            Phase::Blocked => !state.blocked.is_empty(),
            Phase::Scheduled => true,
            _ => state.blocked.is_empty(),
        },
        "{id}: it is blocked for a reason, and {:?} because of {:?}",
        state.phase,
        state.blocked
    );
    assert!(
        task.due_at()
            <= state
                .created_at
                .max(task.spec.run_at.unwrap_or(state.created_at))
                + task.spec.max_age
            || task.is_finished(),
        "{id}: something will happen to it (I7)"
    );
    assert!(
        state.ready_since.is_none()
            || (state.phase == Phase::Queued && state.started_at.is_none() && !task.is_finished()),
        "{id}: it stands ready only while it is queued for its first start"
    );
    assert!(
        state.held_over.is_none() || (task.is_finished() && state.phase != Phase::Running),
        "{id}: keys are held over the end, and by whoever runs it"
    );
    assert!(state.updated_at >= state.created_at, "{id}: times");
    assert!(state.deliveries.len() <= MAX_DELIVERIES, "{id}: room");
    assert!(
        state
            .deliveries
            .is_sorted_by_key(|one| (one.number, one.webhook)),
        "{id}: deliveries stand in the order of events"
    );
    let keys: BTreeSet<_> = state
        .inputs
        .iter()
        .map(|input| &input.request.key)
        .collect();
    assert_eq!(
        keys.len(),
        state.inputs.len(),
        "{id}: keys are used once (I9)"
    );
}

async fn check_events(store: &dyn Store, task: &Task) {
    let id = task.id();
    let events = store
        .events(id, 0, usize::MAX)
        .await
        .expect("events of a listed task");
    let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
    let expected: Vec<u64> = (1..=task.state.version).collect();
    assert_eq!(numbers, expected, "{id}: one event for each version (I6)");
    assert!(events.iter().all(|event| event.task == id));
    assert!(events.is_sorted_by_key(|event| event.at), "{id}: in order");
    assert!(matches!(events[0].kind, EventKind::Created));
    let ends: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Finished { status } => Some((event.number, *status)),
            _ => None,
        })
        .collect();
    if task.is_finished() {
        let after = events
            .iter()
            .rev()
            .take_while(|event| !matches!(event.kind, EventKind::Finished { .. }));
        let after = after.inspect(|event| {
            assert!(
                is_of_cleanup(&event.kind),
                "{id}: nothing but undos after the end (I2): {event:?}"
            );
        });
        let end = task.state.version - after.count() as u64;
        assert_eq!(
            ends,
            [(end, task.status(Era::Modern))],
            "{id}: one end (I2)"
        );
        if task.state.cleanup == Cleanup::None {
            assert_eq!(end, task.state.version, "{id}: the end is the last event");
        }
    } else {
        assert_eq!(ends, [], "{id}: no end before the end");
    }
}

/// Whether an event may follow the end of a task.
fn is_of_cleanup(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::CleaningUp
            | EventKind::Undone { .. }
            | EventKind::CleanedUp { .. }
            | EventKind::Queued
            | EventKind::Rescued { .. }
            | EventKind::Released
            | EventKind::Retrying { .. }
    )
}

async fn check_journal(store: &dyn Store, task: &Task) {
    let entries = store
        .journal(task.id())
        .await
        .expect("the journal of a listed task");
    let keys: BTreeSet<_> = entries
        .iter()
        .map(|entry| (entry.kind, &entry.name))
        .collect();
    assert_eq!(
        keys.len(),
        entries.len(),
        "{}: written once (I8)",
        task.id()
    );
}
