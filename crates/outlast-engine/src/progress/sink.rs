//! Sinks: where an application hears every change of progress as it is made.
//!
//! A sink has a thread of its own and a queue of a stated size in front of it. Whoever reports only
//! puts the change there, so a sink that is slow, waits or panics costs the task nothing. If the
//! queue is full, the oldest change goes, for the newest says more; how many went is told with the
//! next one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use outlast_core::{Progress, TaskSpec};

use crate::unwind::panic_text;

/// Changes that may wait for a sink.
const WAITING: usize = 4096;

/// A change of progress.
#[derive(Clone, Debug)]
pub struct ProgressUpdate {
    /// What was called: id, tool, owner, labels. A synchronous call has one too, whether or not it
    /// will ever be stored.
    pub spec: Arc<TaskSpec>,
    /// The progress after the change.
    pub progress: Progress,
    /// Changes before this one that the sink was too slow for.
    pub missed: u64,
}

/// Hears every change of progress of every run of an engine, in the order in which each run makes
/// them. May block and may panic: it has a thread of its own.
pub trait ProgressSink: Send + Sync + 'static {
    /// Progress changed. Not throttled; what is stored and sent to clients is.
    fn progress(&self, update: &ProgressUpdate);
}

/// The sinks that an engine is built with.
pub(crate) type SinkSet = Vec<Arc<dyn ProgressSink>>;

/// The running sinks of an engine. Their threads end with it, after what still waits.
#[derive(Default)]
pub(crate) struct Sinks(Vec<Arc<Queue>>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    updates: VecDeque<ProgressUpdate>,
    missed: u64,
    closed: bool,
}

impl Sinks {
    /// Starts a thread for each sink.
    pub(crate) fn start(sinks: SinkSet) -> std::io::Result<Self> {
        let mut queues = Vec::with_capacity(sinks.len());
        for sink in sinks {
            let queue = Arc::new(Queue::default());
            let served = Arc::clone(&queue);
            std::thread::Builder::new()
                .name("outlast-sink".into())
                .spawn(move || served.serve(&*sink))?;
            queues.push(queue);
        }
        Ok(Self(queues))
    }

    pub(crate) fn tell(&self, spec: &Arc<TaskSpec>, progress: Progress) {
        for queue in &self.0 {
            queue.put(ProgressUpdate {
                spec: Arc::clone(spec),
                progress: progress.clone(),
                missed: 0,
            });
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        for queue in &self.0 {
            queue.lock().closed = true;
            queue.filled.notify_one();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics under this lock")
    }

    fn put(&self, update: ProgressUpdate) {
        let mut waiting = self.lock();
        if waiting.updates.len() == WAITING {
            waiting.updates.pop_front();
            waiting.missed += 1;
        }
        waiting.updates.push_back(update);
        drop(waiting);
        self.filled.notify_one();
    }

    fn next(&self) -> Option<ProgressUpdate> {
        let mut waiting = self
            .filled
            .wait_while(self.lock(), |waiting| {
                waiting.updates.is_empty() && !waiting.closed
            })
            .expect("nothing panics under this lock");
        let mut update = waiting.updates.pop_front()?;
        update.missed = std::mem::take(&mut waiting.missed);
        Some(update)
    }

    fn serve(&self, sink: &dyn ProgressSink) {
        let mut complained = false;
        while let Some(update) = self.next() {
            let heard = catch_unwind(AssertUnwindSafe(|| sink.progress(&update)));
            if let Err(panic) = heard
                && !std::mem::replace(&mut complained, true)
            {
                let panic = panic_text(&*panic);
                tracing::error!(%panic, "a progress sink panicked; further panics are not told");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use outlast_core::RawJson;

    use super::*;

    struct Slow {
        go: Mutex<mpsc::Receiver<()>>,
        heard: mpsc::Sender<(f64, u64)>,
    }

    impl ProgressSink for Slow {
        fn progress(&self, update: &ProgressUpdate) {
            let _ = self.go.lock().unwrap().recv();
            let _ = self.heard.send((update.progress.done, update.missed));
            assert!(update.progress.done > 0.5, "the first one fails");
        }
    }

    #[test]
    fn a_slow_and_failing_sink_hears_the_latest_and_how_many_it_missed() {
        let (go, wait) = mpsc::channel();
        let (heard, hears) = mpsc::channel();
        let slow = Slow {
            go: Mutex::new(wait),
            heard,
        };
        let sinks = Sinks::start(vec![Arc::new(slow)]).unwrap();
        let spec = Arc::new(TaskSpec::new("tool", RawJson::empty_object()));
        let tell = |done: f64| {
            let progress = Progress {
                done,
                ..Progress::default()
            };
            sinks.tell(&spec, progress);
        };
        tell(0.0);
        go.send(()).unwrap();
        assert_eq!(hears.recv().unwrap(), (0.0, 0));
        let last = WAITING + 10;
        for done in 1..=last {
            tell(done as f64);
        }
        drop(go);
        drop(sinks);
        let rest: Vec<(f64, u64)> = hears.iter().collect();
        let missed: u64 = rest.iter().map(|(_, missed)| missed).sum();
        assert_eq!(rest.len() as u64 + missed, last as u64);
        assert_eq!(rest.last().unwrap().0, last as f64);
    }
}
