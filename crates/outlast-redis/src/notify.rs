//! Notices: to this process at once, to the others through a channel.
//!
//! The message of a unit is text: who sends it, then a line for each notice, a letter and what belongs
//! to it. A process leaves its own messages alone, for it has told itself already. Who was cut off
//! from the channel for a moment may have missed something and is told so ([`Notice::Missed`]).
//!
//! The channel is open at the server that operations go to, and follows them to another one. In a cluster it is a
//! plain one all the same, which the nodes pass on among themselves: notices are few and short, and it needs no
//! word of a slot that moves.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use outlast_core::store::{Notice, NoticeSink};
use outlast_core::{TaskId, Timestamp};
use tokio::sync::oneshot;

use crate::connection::{Link, PATIENCE};
use crate::topology;

/// How long a broken channel waits before it is opened again.
const BACKOFF: Duration = Duration::from_millis(200);

/// How often the channel is asked whether it is still there.
const ASK: Duration = Duration::from_secs(5);

/// Where notices go in this process.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<OnceLock<Arc<dyn NoticeSink>>>);

impl Sink {
    pub(crate) fn set(&self, sink: Arc<dyn NoticeSink>) {
        assert!(self.0.set(sink).is_ok(), "a store has one sink");
    }

    pub(crate) fn tell(&self, notices: impl IntoIterator<Item = Notice>) {
        if let Some(sink) = self.0.get() {
            for notice in notices {
                sink.notice(notice);
            }
        }
    }
}

/// The lines of some notices, each once.
pub(crate) fn encode(notices: &[Notice]) -> String {
    let lines: BTreeSet<String> = notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::Changed { task, version } => Some(format!("C{task}{version}")),
            Notice::Logged(task) => Some(format!("L{task}")),
            Notice::Stop(task) => Some(format!("S{task}")),
            Notice::Ready => Some("R".into()),
            Notice::Due(at) => Some(format!("D{}", at.as_millis())),
            _ => None,
        })
        .collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// The notice in a line; none in a line of another version.
fn decode(line: &str) -> Option<Notice> {
    let rest = line.get(1..)?;
    let task = || rest.get(..36)?.parse::<TaskId>().ok();
    Some(match line.as_bytes()[0] {
        b'C' => Notice::Changed {
            task: task()?,
            version: rest.get(36..)?.parse().ok()?,
        },
        b'L' => Notice::Logged(task()?),
        b'S' => Notice::Stop(task()?),
        b'R' => Notice::Ready,
        b'D' => Notice::Due(Timestamp::from_millis(rest.parse().ok()?)),
        _ => return None,
    })
}

/// The notices of a script, which has told the others.
pub(crate) fn decode_all(lines: redis::Value) -> Vec<Notice> {
    let lines = crate::row::array(lines);
    let lines = lines.iter().map(crate::row::text);
    lines.filter_map(|line| decode(&line)).collect()
}

/// Hears what other processes tell, until it is dropped. `heard` learns that the channel is open.
pub(crate) async fn listen(
    link: Arc<Link>,
    origin: String,
    sink: Sink,
    heard: oneshot::Sender<()>,
) {
    let mut heard = Some(heard);
    // Said once for each time that it was open, however often it is tried.
    let mut was_open = true;
    loop {
        if let Err(error) = hear(&link, &origin, &sink, &mut heard, &mut was_open).await {
            if std::mem::take(&mut was_open) {
                tracing::warn!(%error, "the channel of the task store is cut; opening it again");
            } else {
                tracing::debug!(%error, "the channel of the task store cannot be opened yet");
            }
        }
        tokio::time::sleep(BACKOFF).await;
    }
}

async fn hear(
    link: &Link,
    origin: &str,
    sink: &Sink,
    heard: &mut Option<oneshot::Sender<()>>,
    was_open: &mut bool,
) -> Result<(), redis::RedisError> {
    let opened = async {
        let (server, moves) = link.server().await?;
        let mut channel = server.get_async_pubsub().await?;
        channel.subscribe(link.key("notices")).await?;
        Ok::<_, redis::RedisError>((channel, server, moves))
    };
    let opened = tokio::time::timeout(PATIENCE, opened).await;
    let (channel, server, mut moves) = opened.map_err(|_| silent())??;
    let (mut asks, mut messages) = channel.split();
    *was_open = true;
    // Whoever opened the store may have given up waiting; then it has missed something, too.
    if heard.take().is_none_or(|first| first.send(()).is_err()) {
        sink.tell([Notice::Missed]);
    }
    let hears = async {
        while let Some(message) = messages.next().await {
            let text = String::from_utf8_lossy(message.get_payload_bytes());
            let mut lines = text.lines();
            if lines.next() != Some(origin) {
                sink.tell(lines.filter_map(decode));
            }
        }
        Ok(())
    };
    // Who only listens does not notice that nobody is there any more.
    let asks = async {
        loop {
            tokio::time::sleep(ASK).await;
            let asked = asks.ping::<redis::Value>();
            tokio::time::timeout(PATIENCE, asked)
                .await
                .map_err(|_| silent())??;
        }
    };
    // What is changed on another server is told there.
    let moved = moves.wait_for(|now| {
        now.as_ref()
            .is_some_and(|now| topology::name(now) != topology::name(&server))
    });
    tokio::select! {
        ended = hears => ended,
        broken = asks => broken,
        _ = moved => Ok(()),
    }
}

fn silent() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_comes_back() {
        let task = TaskId::random();
        let notices = [
            Notice::Changed { task, version: 7 },
            Notice::Due(Timestamp::from_millis(5)),
            Notice::Logged(task),
            Notice::Ready,
            Notice::Stop(task),
        ];
        let text = encode(&notices);
        let back: Vec<_> = text.lines().filter_map(decode).collect();
        assert_eq!(back, notices);
        assert_eq!(decode("?"), None);
        assert_eq!(decode("C12"), None);
    }
}
