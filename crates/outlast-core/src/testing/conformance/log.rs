//! Logs: one stream of bytes per task.

use std::time::Duration;

use super::rig::Rig;
use crate::clock::Clock;
use crate::id::TaskId;
use crate::log::{LOG_LIMIT, LOG_PIECE, Level, LogLine, LogPage};
use crate::progress::Progress;
use crate::store::Report;
use crate::task::Lease;
use crate::testing::Random;
use crate::usage::{AttemptUsage, Usage};

fn line(text: &[u8]) -> LogLine {
    LogLine {
        level: Level::Info,
        logger: "stdout".into(),
        text: text.to_vec(),
        mark: None,
    }
}

async fn append(rig: &Rig, lease: &Lease, text: &[u8]) -> u64 {
    let lines = vec![line(text)];
    rig.store.log_append(lease, lines).await.expect("it runs")
}

async fn read(rig: &Rig, id: TaskId, offset: u64, limit: usize) -> LogPage {
    rig.store.log_read(id, offset, limit).await.expect("a read")
}

pub(super) async fn offsets_count_bytes(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let empty = read(&rig, id, 0, 100).await;
    assert_eq!(empty, LogPage::default());
    let version = rig.task(id).await.state.version;
    assert_eq!(append(&rig, &lease, b"one\n").await, 4);
    let lines = vec![
        LogLine {
            level: Level::Error,
            logger: "stderr".into(),
            ..line(b"\xff\x00two")
        },
        line(b""),
        LogLine {
            logger: String::new(),
            ..line(b"!\n")
        },
    ];
    let end = rig.store.log_append(&lease, lines).await.unwrap();
    assert_eq!(end, 11);
    let page = read(&rig, id, 0, 100).await;
    assert_eq!((page.next, page.end, page.mark), (11, 11, None));
    let kept: Vec<_> = page
        .chunks
        .iter()
        .map(|chunk| {
            assert_eq!(chunk.at, rig.clock.now());
            (
                chunk.offset,
                chunk.level,
                chunk.logger.as_str(),
                chunk.text.as_slice(),
            )
        })
        .collect();
    let expected: [(u64, Level, &str, &[u8]); 3] = [
        (0, Level::Info, "stdout", b"one\n"),
        (4, Level::Error, "stderr", b"\xff\x00two"),
        (9, Level::Info, "", b"!\n"),
    ];
    assert_eq!(kept, expected);
    assert_eq!(rig.task(id).await.state.version, version, "no event");
    rig.finish(&lease).await;
    assert_eq!(read(&rig, id, 0, 100).await, page, "kept after the end");
    rig
}

pub(super) async fn pages_join_without_gap_or_repeat(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let mut random = Random::new(5);
    let mut all = Vec::new();
    for _ in 0..60 {
        let text: Vec<u8> = (0..random.below(50))
            .map(|_| random.bits().to_le_bytes()[0])
            .collect();
        append(&rig, &lease, &text).await;
        all.extend(text);
    }
    for limit in [0, 1, 10, 100, 10_000] {
        let (mut joined, mut next) = (Vec::<u8>::new(), 0);
        loop {
            let page = read(&rig, id, next, limit).await;
            assert_eq!(page.end, all.len() as u64);
            for chunk in &page.chunks {
                assert_eq!(chunk.offset, joined.len() as u64);
                joined.extend(&chunk.text);
            }
            assert_eq!(page.next, joined.len() as u64);
            if page.next == page.end {
                break;
            }
            assert!(page.next > next, "a page brings something");
            next = page.next;
        }
        assert_eq!(joined, all);
    }
    for offset in 0..=all.len() + 2 {
        let page = read(&rig, id, offset as u64, usize::MAX).await;
        let text: Vec<u8> = page
            .chunks
            .iter()
            .flat_map(|chunk| chunk.text.clone())
            .collect();
        assert_eq!(text, all.get(offset..).unwrap_or_default(), "from {offset}");
        assert!(page.chunks.iter().all(|chunk| !chunk.text.is_empty()));
    }
    rig
}

pub(super) async fn the_last_mark_is_kept(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let marked = |mark| LogLine { mark, ..line(b"x") };
    let lines = vec![
        marked(Some(10)),
        marked(None),
        marked(Some(30)),
        marked(None),
    ];
    rig.store.log_append(&lease, lines).await.unwrap();
    assert_eq!(read(&rig, id, 0, 100).await.mark, Some(30));
    append(&rig, &lease, b"y").await;
    assert_eq!(read(&rig, id, 5, 0).await.mark, Some(30));
    let only = LogLine {
        mark: Some(40),
        ..line(b"")
    };
    let end = rig.store.log_append(&lease, vec![only]).await.unwrap();
    assert_eq!(end, 5);
    let page = read(&rig, id, 99, 9).await;
    assert_eq!((page.mark, page.next, page.end), (Some(40), 99, 5));
    rig
}

pub(super) async fn a_report_is_stored_as_a_whole(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let usage = |busy| Usage {
        lines_dropped: 3,
        busy: Duration::from_millis(busy),
        cpu: Some(Duration::from_micros(7)),
        peak_memory: Some(u64::MAX / 4),
    };
    let report = |done, busy| Report {
        progress: Some(Progress {
            done,
            eta: Some(rig.clock.now()),
            milestone: 25,
            ..Progress::default()
        }),
        lines: vec![line(b"said\n")],
        usage: Some(usage(busy)),
    };
    rig.store.report(&lease, report(1.0, 10)).await.unwrap();
    rig.store.report(&lease, report(2.0, 20)).await.unwrap();
    let task = rig.task(id).await;
    assert_eq!((task.state.progress.done, task.state.version), (2.0, 4));
    assert_eq!(read(&rig, id, 0, 100).await.end, 10);
    let only = |usage: Usage| AttemptUsage { attempt: 1, usage };
    assert_eq!(task.state.usage, [only(usage(20))]);
    // What an attempt used up is no visible change.
    let silent = Report {
        usage: Some(usage(30)),
        ..Report::default()
    };
    rig.store.report(&lease, silent).await.unwrap();
    let task = rig.task(id).await;
    assert_eq!(
        (task.state.version, task.state.usage[0]),
        (4, only(usage(30)))
    );
    let stale = Lease {
        nonce: lease.nonce ^ 1,
        ..lease
    };
    assert!(rig.store.report(&stale, report(3.0, 40)).await.is_err());
    assert_eq!(*rig.task(id).await, *task);
    assert_eq!(read(&rig, id, 0, 100).await.end, 10);
    rig.finish(&lease).await;
    let task = rig.task(id).await;
    assert_eq!(
        (task.state.progress.done, task.state.progress.eta),
        (2.0, None)
    );
    rig
}

pub(super) async fn long_text_becomes_pieces(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let text: Vec<u8> = (0..3 * LOG_PIECE + 5).map(|n| n.to_le_bytes()[0]).collect();
    append(&rig, &lease, &text).await;
    let page = read(&rig, id, 0, usize::MAX).await;
    assert_eq!(page.chunks.len(), 4);
    let joined: Vec<u8> = page
        .chunks
        .into_iter()
        .flat_map(|chunk| chunk.text)
        .collect();
    assert!(joined == text);
    let page = read(&rig, id, 7, 1).await;
    assert_eq!(page.chunks.len(), 1);
    assert_eq!(page.next, LOG_PIECE as u64);
    // Each piece is read by itself, so none ends within a character.
    let (id, lease) = rig.run().await;
    let text = "x".to_owned() + &"ä€🌲".repeat(LOG_PIECE / 4);
    append(&rig, &lease, text.as_bytes()).await;
    let page = read(&rig, id, 0, usize::MAX).await;
    let pieces = page.chunks.into_iter();
    let pieces: Vec<String> = pieces
        .map(|chunk| String::from_utf8(chunk.text).expect("whole characters"))
        .collect();
    assert!(pieces.len() > 2 && pieces.concat() == text);
    rig
}

pub(super) async fn the_first_and_the_last_half_are_kept(rig: Rig) -> Rig {
    let (id, lease) = rig.run().await;
    let half = LOG_LIMIT / 2;
    let mebibyte = vec![b'.'; 1024 * 1024];
    let mut end = 0;
    while end <= LOG_LIMIT + half {
        end = append(&rig, &lease, &mebibyte).await;
    }
    end = append(&rig, &lease, b"the end").await;
    let mut kept = 0;
    let mut next = 0;
    let mut gaps = Vec::new();
    loop {
        let page = read(&rig, id, next, 8 * 1024 * 1024).await;
        assert_eq!(page.end, end);
        for chunk in &page.chunks {
            if chunk.offset != next {
                gaps.push((next, chunk.offset));
            }
            next = chunk.end();
            kept += chunk.text.len() as u64;
        }
        if page.next >= page.end {
            assert!(page.chunks.last().unwrap().text.ends_with(b"the end"));
            break;
        }
        next = page.next;
    }
    let [(from, to)] = gaps[..] else {
        panic!("one gap, not {gaps:?}");
    };
    assert!(from >= half, "the first half is whole");
    assert!(to <= end - half, "the last half is whole");
    let slack = 2 * LOG_PIECE as u64;
    assert!(kept <= LOG_LIMIT + slack, "{kept} bytes kept");
    // Who asks for what is gone is taken behind the gap.
    let page = read(&rig, id, (from + to) / 2, 1).await;
    assert_eq!(page.chunks[0].offset, to);
    rig
}

pub(super) async fn an_unknown_task_has_no_log(rig: Rig) -> Rig {
    let page = read(&rig, TaskId::random(), 0, 100).await;
    assert_eq!(page, LogPage::default());
    rig
}
