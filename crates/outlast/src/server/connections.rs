//! How many clients are connected, and since when there has been none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts clients. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Mutex<Count>>);

struct Count {
    open: usize,
    /// When the last one left, or the counting began.
    quiet_since: Instant,
}

/// One client, for as long as it lives.
pub(crate) struct Connected(Connections);

impl Connections {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Count {
            open: 0,
            quiet_since: Instant::now(),
        })))
    }

    pub(crate) fn enter(&self) -> Connected {
        self.lock().open += 1;
        Connected(self.clone())
    }

    /// For how long nobody has been connected; `None` while somebody is.
    pub(crate) fn quiet_for(&self) -> Option<Duration> {
        let count = self.lock();
        (count.open == 0).then(|| count.quiet_since.elapsed())
    }

    /// Starts the silence anew.
    pub(crate) fn touch(&self) {
        self.lock().quiet_since = Instant::now();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.open -= 1;
        count.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_when_the_last_one_leaves() {
        let connections = Connections::new();
        assert!(connections.quiet_for().is_some());
        let first = connections.enter();
        let second = connections.enter();
        drop(first);
        assert_eq!(connections.quiet_for(), None);
        drop(second);
        assert!(connections.quiet_for().is_some());
    }
}
