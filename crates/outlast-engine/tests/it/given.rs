//! What a task gives out while it runs: partial results and artifacts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outlast_core::event::EventKind;
use outlast_core::testing::{Fault, FaultyStore, MemoryStore};
use outlast_core::{FailureReason, Outcome, Owner, Store, TaskId};
use outlast_engine::{ArtifactSource, Cx, Engine, Handle, LARGEST_PARTIAL, Tools};

use crate::support::{builder, create, engine, eventually, finished, text, tool};

const MIB: usize = 1024 * 1024;

async fn numbers(handle: &Handle, id: TaskId, after: u64) -> Vec<(u64, String)> {
    let partials = handle.partials(&Owner::local(), id, after, 100).await;
    let partials = partials.unwrap().into_iter();
    partials
        .map(|partial| (partial.number, partial.value.as_str().to_owned()))
        .collect()
}

async fn events(handle: &Handle, id: TaskId) -> Vec<EventKind> {
    let events = handle.events(&Owner::local(), id, 0, 1000).await.unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn both_are_given_out_once_also_over_a_crash() {
    static READS: AtomicUsize = AtomicUsize::new(0);
    let store = Arc::new(MemoryStore::default());
    let work = |stops: bool| {
        tool(move |cx: Cx| async move {
            assert_eq!(cx.partial(format!("one of {}", cx.attempt())).await?, 1);
            let reader = ArtifactSource::reader(Counting(&b"hello world"[..]));
            let kept = cx.artifact("out/hello.txt", "text/plain", reader).await?;
            if stops {
                std::future::pending::<()>().await;
            }
            assert_eq!(cx.partial([2]).await?, 2);
            cx.artifact("empty", "application/octet-stream", "").await?;
            Ok(kept.sha256)
        })
    };
    struct Counting(&'static [u8]);
    impl tokio::io::AsyncRead for Counting {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            READS.fetch_add(usize::from(self.0.is_empty()), Ordering::SeqCst);
            std::pin::Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    let first = builder(&store, work(true)).start().await.unwrap();
    let handle = first.handle();
    let id = create(&handle).await;
    while handle
        .artifacts(&Owner::local(), id)
        .await
        .unwrap()
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    // Readable while the task runs.
    assert_eq!(numbers(&handle, id, 0).await, [(1, r#""one of 1""#.into())]);
    let reads = READS.load(Ordering::SeqCst);

    let next = Arc::new(store.successor());
    let second = builder(&next, work(false)).start().await.unwrap();
    let handle = second.handle();
    let task = finished(&handle, id).await;
    assert_eq!(
        text(&task),
        "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
    );
    assert_eq!(READS.load(Ordering::SeqCst), reads, "read once");
    assert_eq!(
        numbers(&handle, id, 0).await,
        [(1, r#""one of 1""#.into()), (2, "[2]".into())]
    );
    assert_eq!(numbers(&handle, id, 1).await, [(2, "[2]".into())]);
    let owner = Owner::local();
    let artifacts = handle.artifacts(&owner, id).await.unwrap();
    let told: Vec<_> = artifacts
        .iter()
        .map(|artifact| {
            (
                artifact.name.as_str(),
                artifact.mime.as_str(),
                artifact.size,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("empty", "application/octet-stream", 0),
            ("out/hello.txt", "text/plain", 11)
        ]
    );
    let part = handle.artifact(&owner, id, "out/hello.txt", 6, 3).await;
    assert_eq!(part.unwrap().unwrap().1, b"wor");
    let none = handle.artifact(&owner, id, "nothing", 0, 3).await.unwrap();
    assert!(none.is_none());
    let stranger = Owner::new("eve");
    assert!(handle.artifacts(&stranger, id).await.is_err());
    assert!(handle.partials(&stranger, id, 0, 9).await.is_err());
    let given = events(&handle, id)
        .await
        .into_iter()
        .filter(|kind| matches!(kind, EventKind::Partial { .. } | EventKind::Artifact { .. }));
    assert_eq!(given.count(), 4, "each once");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_rule() {
    let engine = engine(tool(async |cx: Cx| {
        let mut said = Vec::new();
        let big = "x".repeat(LARGEST_PARTIAL);
        said.push(cx.partial(&big).await.unwrap_err().to_string());
        for (name, mime) in [("../x", "text/plain"), ("x", "plain")] {
            let refused = cx.artifact(name, mime, "").await;
            said.push(refused.unwrap_err().to_string());
        }
        let missing = std::path::Path::new("/nonexistent/file");
        let refused = cx.artifact("y", "text/plain", missing).await;
        said.push(refused.unwrap_err().to_string());
        let folder = std::path::Path::new("/");
        let refused = cx.artifact("z", "text/plain", folder).await;
        said.push(refused.unwrap_err().to_string());
        let inside = cx.step("s", || async { cx.partial(1).await });
        said.push(inside.await.unwrap_err().to_string());
        Ok(said.join("\n"))
    }))
    .await;
    let handle = engine.handle();
    let id = create(&handle).await;
    let said = text(&*finished(&handle, id).await);
    for part in [
        "partial result 1 has 1048578 bytes; at most 1048576",
        "\"../x\" is no name for an artifact",
        "\"plain\" is no media type",
        "/nonexistent/file",
        "/ is no regular file",
        "partial was called inside a step",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    assert!(numbers(&handle, id, 0).await.is_empty());
    assert!(
        handle
            .artifacts(&Owner::local(), id)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_result_that_is_too_large_fails_and_is_not_cut() {
    let engine = engine(tool(async |_| Ok("x".repeat(65 * MIB)))).await;
    let handle = engine.handle();
    let task = finished(&handle, create(&handle).await).await;
    let Some(Outcome::Failed(failure)) = task.outcome.as_deref() else {
        panic!("it failed");
    };
    assert_eq!(failure.reason, FailureReason::ResultTooLarge);
    assert!(failure.message.contains("67108864"), "{}", failure.message);
}

#[tokio::test]
async fn an_artifact_whose_reply_was_lost_is_there_once() {
    let faulty = Arc::new(FaultyStore::new(Arc::new(MemoryStore::default())));
    let work = tool(async |cx: Cx| {
        let kept = cx.artifact("a", "text/plain", "bytes").await?;
        Ok(kept.size.to_string())
    });
    let engine = Engine::builder(Arc::clone(&faulty) as Arc<dyn Store>)
        .tools(Tools::new([work]).unwrap())
        .start()
        .await
        .unwrap();
    faulty.on_next("journal_put", Fault::LoseReply);
    let handle = engine.handle();
    let id = create(&handle).await;
    let waited = tokio::time::timeout(
        Duration::from_secs(60),
        eventually(&handle, id, |task| task.is_finished()),
    );
    assert_eq!(text(&waited.await.unwrap()), "5");
    let (_, bytes) = handle
        .artifact(&Owner::local(), id, "a", 0, 100)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bytes, b"bytes");
}
