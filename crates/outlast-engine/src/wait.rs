//! Waiting: slots of the journal that are filled from outside.
//!
//! A handler that waits registers what it waits for. For a short while it waits hot, holding its
//! worker; then the driver suspends the task and drops the handler, which is run again from its top
//! when there is something to go on with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use outlast_core::task::Awaiting;
use outlast_core::{InputRequest, TaskId, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Default)]
pub(crate) struct Waits {
    pending: Mutex<Pending>,
    /// Tells the waiting slots to look again.
    pub(crate) filled: Notify,
    /// Tells all of them, and those that watch something by themselves, that the store did not suspend
    /// the task because something had happened.
    pub(crate) resolved: Notify,
    /// Tells the driver that a wait is over.
    pub(crate) over: Notify,
    /// The handler cannot be dropped, so the task cannot be suspended.
    hot: AtomicBool,
}

#[derive(Default)]
struct Pending {
    next: u64,
    slots: Vec<(u64, For, Instant)>,
    /// Questions that slots wait for the answers of and that the store does not know yet, by slot.
    unasked: Vec<(u64, InputRequest)>,
}

/// What a slot waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum For {
    Answer(String),
    Moment(Timestamp),
    /// The end of a child.
    Child(TaskId),
    /// The signal behind those that were read.
    Signal {
        name: String,
        read: u64,
    },
}

/// A slot that waits, until it is dropped.
pub(crate) struct Waiting<'a> {
    waits: &'a Waits,
    number: u64,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nothing panics under this lock")
    }

    pub(crate) fn register(&self, what: For) -> Waiting<'_> {
        let mut pending = self.lock();
        let number = pending.next;
        pending.next += 1;
        pending.slots.push((number, what, Instant::now()));
        Waiting {
            waits: self,
            number,
        }
    }

    /// Waits for the answer to a question that the driver is to ask, when it suspends the task or finds
    /// that it cannot.
    pub(crate) fn register_unasked(&self, question: InputRequest) -> Waiting<'_> {
        let waiting = self.register(For::Answer(question.key.clone()));
        self.lock().unasked.push((waiting.number, question));
        waiting
    }

    /// The questions that nobody has asked yet.
    pub(crate) fn unasked(&self) -> Vec<InputRequest> {
        let pending = self.lock();
        let unasked = pending.unasked.iter();
        unasked.map(|(_, question)| question.clone()).collect()
    }

    /// These questions stand in the record.
    pub(crate) fn asked(&self, questions: &[InputRequest]) {
        let stand = |unasked: &InputRequest| questions.iter().any(|one| one.key == unasked.key);
        self.lock().unasked.retain(|(_, unasked)| !stand(unasked));
    }

    /// From now on every wait holds its worker.
    pub(crate) fn keep_hot(&self) {
        self.hot.store(true, Ordering::Release);
    }

    pub(crate) fn must_stay_hot(&self) -> bool {
        self.hot.load(Ordering::Acquire)
    }

    /// Since when everything that waits has been waiting; `None` if nothing does.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.lock().slots.iter().map(|(_, _, since)| *since).max()
    }

    /// Whether it waits for a child, which may need the worker's slot.
    pub(crate) fn needs_room(&self) -> bool {
        let pending = self.lock();
        let mut slots = pending.slots.iter();
        slots.any(|(_, what, _)| matches!(what, For::Child(_)))
    }

    /// Everything waited for, as the store wants to hear it.
    pub(crate) fn awaiting(&self) -> Awaiting {
        let mut awaiting = Awaiting::default();
        for (_, what, _) in &self.lock().slots {
            match what {
                For::Answer(key) => awaiting.inputs.push(key.clone()),
                For::Child(id) => awaiting.children.push(*id),
                For::Signal { name, read } => {
                    let known = awaiting.signals.entry(name.clone()).or_insert(*read);
                    *known = (*known).min(*read);
                }
                For::Moment(moment) => {
                    let earliest = awaiting.until.map_or(*moment, |until| until.min(*moment));
                    awaiting.until = Some(earliest);
                }
            }
        }
        awaiting
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut pending = self.waits.lock();
        pending.slots.retain(|(number, ..)| *number != self.number);
        pending.unasked.retain(|(number, _)| *number != self.number);
        drop(pending);
        self.waits.over.notify_one();
    }
}
