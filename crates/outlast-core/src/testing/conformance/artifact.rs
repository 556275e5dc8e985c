//! Blobs and the journal entries that name them.

use super::rig::{Forked, Rig, json, spec};
use crate::blob::RecordedArtifact;
use crate::event::EventKind;
use crate::id::TaskId;
use crate::journal::{JournalEntry, JournalKind, Recorded, partial_name};
use crate::json::RawJson;
use crate::task::Lease;
use crate::testing::wait::eventually;

async fn blob(rig: &Rig, task: TaskId, pieces: &[&[u8]]) -> String {
    let mut writer = rig.store.blob_create(task).await.expect("a blob");
    for piece in pieces {
        writer.write(piece.to_vec()).await.expect("room");
    }
    writer.finish().await.expect("an end")
}

async fn read(rig: &Rig, task: TaskId, blob: &str, offset: u64, limit: usize) -> Option<Vec<u8>> {
    let read = rig.store.blob_read(task, blob, offset, limit);
    read.await.expect("a read")
}

/// Names `blob` in the journal as the artifact `name`.
async fn name(rig: &Rig, lease: &Lease, name: &str, blob: &str) -> JournalEntry {
    let artifact = RecordedArtifact {
        mime: "text/plain".into(),
        size: 1,
        sha256: "00".into(),
        blob: blob.to_owned(),
    };
    let value = Recorded::Value(RawJson::of(&artifact).expect("JSON"));
    let kind = JournalKind::Artifact;
    let put = rig.store.journal_put(lease, kind, name, None, value, None);
    put.await.expect("it runs")
}

pub(super) async fn ranges_of_a_blob_join(rig: Rig) -> Rig {
    let (id, _) = rig.run().await;
    let name = blob(&rig, id, &[b"hello ", b"", b"world"]).await;
    for limit in 1..=12 {
        let (mut joined, mut offset) = (Vec::new(), 0);
        loop {
            let bytes = read(&rig, id, &name, offset, limit)
                .await
                .expect("it is there");
            if bytes.is_empty() {
                break;
            }
            offset += bytes.len() as u64;
            joined.extend(bytes);
        }
        assert_eq!(joined, b"hello world");
    }
    assert_eq!(read(&rig, id, &name, 99, 1).await, Some(vec![]));
    assert_eq!(read(&rig, id, "../../x", 0, 1).await, None);
    assert_eq!(read(&rig, TaskId::random(), &name, 0, 1).await, None);
    let empty = blob(&rig, id, &[]).await;
    assert_eq!(read(&rig, id, &empty, 0, 9).await, Some(vec![]));
    rig
}

pub(super) async fn a_blob_can_be_taken_back(rig: Rig) -> Rig {
    let (id, _) = rig.run().await;
    let name = blob(&rig, id, &[b"x"]).await;
    rig.store.blob_remove(id, &name).await.expect("a removal");
    rig.store.blob_remove(id, &name).await.expect("again");
    assert_eq!(read(&rig, id, &name, 0, 1).await, None);
    drop(rig.store.blob_create(id).await.expect("a blob"));
    rig
}

pub(super) async fn what_is_given_out_has_an_event_each(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    for number in [1, 2] {
        let kind = JournalKind::Partial;
        let value = || Recorded::Value(json("7"));
        for _ in 0..2 {
            let name = partial_name(number);
            let put = rig
                .store
                .journal_put(&lease, kind, &name, None, value(), None);
            put.await.expect("it runs");
        }
    }
    name(&rig, &lease, "a/b.txt", "blob").await;
    let kinds: Vec<_> = rig
        .events(id)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds[2..],
        [
            EventKind::Partial { number: 1 },
            EventKind::Partial { number: 2 },
            EventKind::Artifact {
                name: "a/b.txt".into()
            }
        ]
    );
    rig
}

pub(super) async fn entries_are_read_by_kind_and_name(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    for (kind, name) in [
        (JournalKind::Step, "00000002"),
        (JournalKind::Partial, "00000003"),
        (JournalKind::Partial, "00000001"),
        (JournalKind::Partial, "00000002"),
    ] {
        let value = Recorded::Value(json("1"));
        let put = rig.store.journal_put(&lease, kind, name, None, value, None);
        put.await.expect("it runs");
    }
    let page = async |after: &str, limit| {
        let page = rig
            .store
            .journal_page(id, JournalKind::Partial, after, limit);
        let names = page
            .await
            .expect("a read")
            .into_iter()
            .map(|entry| entry.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(page("", 9).await, ["00000001", "00000002", "00000003"]);
    assert_eq!(page("00000001", 1).await, ["00000002"]);
    assert!(page("00000003", 9).await.is_empty());
    let get = async |kind, name| {
        let got = rig.store.journal_get(id, kind, name);
        got.await
            .expect("a read")
            .map(|entry| (entry.kind, entry.name))
    };
    let found = get(JournalKind::Partial, "00000002").await;
    assert_eq!(found, Some((JournalKind::Partial, "00000002".into())));
    assert_eq!(get(JournalKind::Step, "00000003").await, None);
    rig
}

pub(super) async fn blobs_go_with_their_task(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let kept = blob(&rig, id, &[b"x"]).await;
    name(&rig, &lease, "a", &kept).await;
    rig.finish(&lease).await;
    assert_eq!(read(&rig, id, &kept, 0, 9).await, Some(b"x".to_vec()));
    assert!(rig.store.delete(id).await.expect("a deletion"));
    eventually("the blob is gone", async || {
        read(&rig, id, &kept, 0, 9).await.is_none().then_some(())
    })
    .await;
    rig
}

pub(super) async fn what_no_entry_names_is_swept_up_at_a_start(rig: Rig) -> Rig {
    let (id, lease) = rig.run_spec(spec()).await;
    let kept = blob(&rig, id, &[b"kept"]).await;
    name(&rig, &lease, "a", &kept).await;
    let orphan = blob(&rig, id, &[b"orphan"]).await;
    let rig = match rig.fork().await {
        Forked::Reopened(rig) => rig,
        // A store that ends with its process has no next start.
        Forked::Same(rig) => return rig,
    };
    eventually("the orphan is gone", async || {
        read(&rig, id, &orphan, 0, 9).await.is_none().then_some(())
    })
    .await;
    assert_eq!(read(&rig, id, &kept, 0, 9).await, Some(b"kept".to_vec()));
    rig
}
