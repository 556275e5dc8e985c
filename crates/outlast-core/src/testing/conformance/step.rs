//! The journal: what happened once.

use super::rig::{Forked, Rig, json, spec};
use crate::error::Error;
use crate::event::EventKind;
use crate::id::WorkerId;
use crate::journal::{JournalEntry, JournalKind, MAX_ENTRY_BYTES, Recorded};
use crate::json::RawJson;
use crate::label::{MAX_LABELS, RecordedLabel};
use crate::store::{ClaimBy, Filter};
use crate::task::{Lease, TaskSpec};

fn value(text: &str) -> Recorded {
    Recorded::Value(json(text))
}

async fn put(rig: &Rig, lease: &Lease, name: &str, text: &str) -> Recorded {
    rig.store
        .journal_put(lease, JournalKind::Step, name, None, value(text), None)
        .await
        .expect("its lease holds")
        .recorded
}

pub(super) async fn an_entry_is_written_once(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let version = rig.task(id).await.state.version;
    assert_eq!(put(&rig, &lease, "a", "1").await, value("1"));
    assert_eq!(put(&rig, &lease, "a", "2").await, value("1"), "I8");
    let failed = Recorded::Error(json(r#"{"code": -1}"#));
    let entry = rig
        .store
        .journal_put(
            &lease,
            JournalKind::Step,
            "b",
            Some(u64::MAX),
            failed.clone(),
            None,
        )
        .await
        .unwrap();
    assert_eq!(entry.recorded, failed);
    let journal = rig.store.journal(id).await.unwrap();
    assert_eq!(journal.len(), 2);
    assert_eq!(journal[0].recorded, value("1"));
    assert_eq!(journal[1], entry);
    let task = rig.finish(&lease).await;
    assert_eq!(task.state.version, version + 1, "entries are no events");
    assert_eq!(rig.store.journal(id).await.unwrap(), journal);
    rig
}

pub(super) async fn kinds_and_names_are_apart(rig: Rig) -> Rig {
    let (first, lease) = rig.run().await;
    let kinds = [
        JournalKind::Step,
        JournalKind::Sleep,
        JournalKind::Ask,
        JournalKind::Value,
    ];
    let long = "n".repeat(5000);
    for name in ["", "a", "A", "a ", "ä", "a\0b", &long] {
        for kind in kinds {
            let text = format!("[{name:?}, {:?}]", kind.as_str()).replace("\\0", "0");
            let entry = rig
                .store
                .journal_put(&lease, kind, name, None, value(&text), None)
                .await
                .unwrap();
            assert_eq!(entry.recorded, value(&text));
            assert_eq!((entry.kind, entry.name.as_str()), (kind, name));
        }
    }
    let all = rig.store.journal(first).await.unwrap();
    assert_eq!(all.len(), 28);
    for (skip, limit) in [(0, 3), (5, 1), (27, 9), (28, 1), (0, usize::MAX)] {
        let slice = rig.store.journal_slice(first, skip, limit).await.unwrap();
        assert_eq!(slice, all[skip..all.len().min(skip.saturating_add(limit))]);
    }
    let (second, lease) = rig.run().await;
    put(&rig, &lease, "a", "0").await;
    assert_eq!(rig.store.journal(second).await.unwrap().len(), 1);
    rig
}

pub(super) async fn another_input_is_a_mismatch(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let kind = JournalKind::Step;
    let put = async |hash| {
        rig.store
            .journal_put(&lease, kind, "a", hash, value("1"), None)
            .await
    };
    put(Some(1)).await.unwrap();
    for hash in [Some(2), None] {
        let error = put(hash).await.unwrap_err();
        assert!(
            matches!(&error, Error::JournalMismatch { task, name, .. } if *task == id && name == "a"),
            "{error:?}"
        );
    }
    put(Some(1)).await.unwrap();
    assert_eq!(rig.store.journal(id).await.unwrap().len(), 1);
    rig
}

pub(super) async fn entries_keep_their_order(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let (_, other) = rig.run().await;
    let names: Vec<String> = (0..60).map(|n| format!("{}", n * 7919 % 60)).collect();
    for name in &names {
        put(&rig, &lease, name, "null").await;
        put(&rig, &other, name, "null").await;
    }
    let journal = rig.store.journal(id).await.unwrap();
    let kept: Vec<_> = journal.into_iter().map(|entry| entry.name).collect();
    assert_eq!(kept, names);
    rig
}

pub(super) async fn a_new_entry_ends_the_count_of_crashes(rig: Rig) -> Rig {
    let (id, _) = rig.run().await;
    for round in 0..5 {
        // One crash more than are forgiven in a row, if they were in a row.
        for _ in 0..2 {
            rig.store.recover(WorkerId::random()).await.unwrap();
            let by = ClaimBy {
                worker: WorkerId::random(),
                ..rig.by()
            };
            rig.store.claim(&by, 1).await.unwrap();
        }
        let task = rig.task(id).await;
        assert_eq!(task.state.crashes, 2);
        let lease = task.lease().expect("it runs");
        put(&rig, &lease, &format!("step {round}"), "null").await;
        let task = rig.task(id).await;
        assert_eq!((task.state.crashes, task.state.suspect), (0, false));
        // What was recorded before is nothing new.
        rig.store.recover(WorkerId::random()).await.unwrap();
        let lease = rig.claim_one().await.lease;
        put(&rig, &lease, &format!("step {round}"), "null").await;
        assert_eq!(rig.task(id).await.state.crashes, 1);
        put(&rig, &lease, &format!("more {round}"), "null").await;
    }
    rig
}

pub(super) async fn an_entry_that_is_too_large_is_refused(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let large = value(&format!("\"{}\"", "x".repeat(MAX_ENTRY_BYTES)));
    let refused = rig
        .store
        .journal_put(&lease, JournalKind::Step, "large", None, large, None)
        .await;
    assert!(
        matches!(&refused, Err(Error::JournalFull { task, message })
            if *task == id && message.contains("large")),
        "{refused:?}"
    );
    assert!(rig.store.journal(id).await.unwrap().is_empty());
    // The task goes on with its lease, and with smaller things.
    assert_eq!(put(&rig, &lease, "large", "1").await, value("1"));
    let large = format!("\"{}\"", "x".repeat(MAX_ENTRY_BYTES));
    let there = put(&rig, &lease, "large", &large).await;
    assert_eq!(there, value("1"), "what is there needs no room");
    let size = rig.task(id).await.state.journal;
    assert_eq!((size.entries, size.bytes), (1, 6));
    rig.finish(&lease).await;
    rig
}

async fn label(
    rig: &Rig,
    lease: &Lease,
    name: &str,
    key: &str,
    value: &str,
) -> Result<JournalEntry, Error> {
    let recorded = RecordedLabel {
        key: key.into(),
        value: value.into(),
    };
    let recorded = Recorded::Value(RawJson::of(&recorded).unwrap());
    let kind = JournalKind::Label;
    rig.store
        .journal_put(lease, kind, name, None, recorded, None)
        .await
}

/// The tasks that a list finds by this label.
async fn found(rig: &Rig, key: &str, value: &str) -> usize {
    let filter = Filter {
        labels: [(key.to_owned(), value.to_owned())].into(),
        ..Filter::default()
    };
    rig.store.list(&filter, None, 10).await.unwrap().tasks.len()
}

pub(super) async fn a_label_is_found_by_and_takes_the_place_of_another(rig: Rig) -> Rig {
    let labelled = TaskSpec {
        labels: [("stage".to_owned(), "new".to_owned())].into(),
        ..spec()
    };
    let (id, lease) = rig.run_spec(labelled).await;
    let before = rig.task(id).await;
    label(&rig, &lease, "stage", "stage", "build")
        .await
        .unwrap();
    label(&rig, &lease, "size", "size", "").await.unwrap();
    assert_eq!(found(&rig, "stage", "new").await, 0);
    assert_eq!(found(&rig, "stage", "build").await, 1);
    // What is recorded under a name stays, as with every entry, and so does the label.
    let again = label(&rig, &lease, "stage", "stage", "other").await;
    assert!(again.unwrap().recorded.json().as_str().contains("build"));
    label(&rig, &lease, "stage #2", "stage", "test")
        .await
        .unwrap();
    label(&rig, &lease, "stage #3", "stage", "test")
        .await
        .unwrap();
    assert_eq!(found(&rig, "stage", "build").await, 0);
    assert_eq!(found(&rig, "stage", "test").await, 1);
    assert_eq!(found(&rig, "size", "").await, 1);
    let task = rig.task(id).await;
    assert_eq!(task.state.updated_at, before.state.updated_at);
    let told = rig.events(id).await.into_iter();
    let told: Vec<_> = told
        .filter_map(|event| match event.kind {
            EventKind::Labelled { key, value } => Some(format!("{key}={value}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["stage=build", "size=", "stage=test"]);
    let (Forked::Reopened(rig) | Forked::Same(rig)) = rig.fork().await;
    assert_eq!(found(&rig, "stage", "test").await, 1);
    assert_eq!(found(&rig, "stage", "new").await, 0);
    rig
}

pub(super) async fn labels_keep_to_their_limits(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    for number in 0..MAX_LABELS {
        let key = number.to_string();
        label(&rig, &lease, &key, &key, "x").await.unwrap();
    }
    let long = "v".repeat(300);
    for (key, value) in [("more", "x"), ("0", long.as_str()), ("", "x"), ("1", "\n")] {
        let refused = label(&rig, &lease, "refused", key, value).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let kind = JournalKind::Label;
    let nothing = rig
        .store
        .journal_put(&lease, kind, "refused", None, value("1"), None)
        .await;
    assert!(matches!(nothing, Err(Error::Invalid(_))), "{nothing:?}");
    let size = rig.task(id).await.state.journal.entries;
    assert_eq!(size as usize, MAX_LABELS, "what is refused is not recorded");
    label(&rig, &lease, "again", "0", "y").await.unwrap();
    assert_eq!(rig.task(id).await.spec.labels.len(), MAX_LABELS);
    assert_eq!(found(&rig, "0", "y").await, 1);
    rig
}
