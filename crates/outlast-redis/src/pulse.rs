//! The pulse: every process shows a sign of life every second, and learns the time of the store.
//!
//! * **One time for all, which never goes back.** After a failover, or when somebody sets the clock of
//!   the server, its time may step back; leases that were given before would then last for hours, and
//!   processes that remember the old time would take back what those that learn the new one have just
//!   claimed. So the store keeps what is to be added to the server's time, and whoever has seen a later
//!   time says so.
//! * **Outages are told from deaths.** While Redis was away, or took no writes, nobody could renew a
//!   lease. The first to come back finds the last sign of life of anybody in the past and notes the end
//!   of an outage; for one lease from then on expired leases are not taken back, and nobody is thought
//!   dead for his silence. One process that was cut off alone makes no outage: the others were heard.
//!
//! * **A store that came back empty is begun anew.** Redis without a file has lost everything when it is
//!   restarted, and so has one that somebody has flushed. The tasks are gone. But whose keys these are, the
//!   limits and the schedules are known to the processes that go on, who write them again
//!   ([`Notice::Emptied`](outlast_core::store::Notice::Emptied)).
//!
//! The script is one that Redis refuses while it has no memory or cannot write to its disk, as it
//! refuses claims and ends.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use outlast_core::{Clock, Timestamp};
use redis::Value;

use crate::clock::ServerClock;
use crate::failure::is_full;
use crate::row;

/// How often a process shows that it lives.
pub(crate) const EVERY: Duration = Duration::from_secs(1);
/// After how long a silence of everybody there was an outage.
const SILENCE: Duration = Duration::from_secs(3);
/// A clock that is this far behind was set back. Less is what the way to the server makes of it.
const STEP: Duration = Duration::from_secs(1);

/// What this process knows of it.
#[derive(Default)]
pub(crate) struct Pulse(Mutex<Known>);

#[derive(Default)]
struct Known {
    last: Option<Instant>,
    /// The end of the last outage.
    outage: Option<Timestamp>,
    /// Which beginning of the store was found last; nothing if there was none.
    begun: String,
    /// It was another one before: the store has lost everything in between.
    emptied: bool,
}

impl Pulse {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// Whether this process was silent for so long that it must not judge others before its next
    /// pulse.
    pub(crate) fn is_due(&self) -> bool {
        let last = self.known().last;
        last.is_none_or(|last| last.elapsed() > SILENCE)
    }

    /// Whether the last pulse found nothing of a store.
    pub(crate) fn found_nothing(&self) -> bool {
        self.known().begun.is_empty()
    }

    /// Whether the store has lost everything since this was asked last.
    pub(crate) fn was_emptied(&self) -> bool {
        std::mem::take(&mut self.known().emptied)
    }

    /// Whether an outage has ended less than `grace` ago.
    pub(crate) fn was_out(&self, now: Timestamp, grace: Duration) -> bool {
        let outage = self.known().outage;
        outage.is_some_and(|ended| now < ended + grace)
    }
}

/// What the script is called with.
pub(crate) fn arguments(clock: &ServerClock) -> [String; 3] {
    let millis = |time: Duration| time.as_millis().to_string();
    let latest = clock.latest().map_or("0".to_owned(), row::millis);
    [latest, millis(STEP), millis(SILENCE)]
}

/// Takes in what the script says, for which was asked `trip` ago.
pub(crate) fn note(pulse: &Pulse, clock: &ServerClock, answer: Value, trip: Duration) {
    let parts = row::array(answer);
    let [now, outage, begun] = parts.as_slice() else {
        return;
    };
    clock.set(Duration::from_millis(row::int(now)), trip);
    let outage = i64::try_from(row::int(outage)).unwrap_or(i64::MAX);
    let mut known = pulse.known();
    known.last = Some(Instant::now());
    let (begun, before) = (row::text(begun), &known.begun);
    if begun.is_empty() || *before != begun {
        known.emptied |= known.last.is_some() && !before.is_empty();
        known.begun = begun;
    }
    known.outage = (outage > 0).then(|| Timestamp::from_millis(outage));
}

impl crate::executor::Executor {
    /// Whether the store was away so shortly that expired leases say nothing about their workers.
    /// Always shows a sign of life before it answers, if the last one was long ago.
    ///
    /// Outages are measured by the server's time, so a store with another clock knows of none.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub(crate) async fn was_out(&self, grace: Duration) -> outlast_core::Result<bool> {
        if !self.is_server_time {
            return Ok(false);
        }
        if self.link.pulse.is_due() {
            match self.link.beat().await {
                // Nobody can renew a lease either.
                Err(error) if is_full(&error) => return Ok(true),
                shown => shown?,
            }
        }
        Ok(self.link.pulse.was_out(self.link.server_clock.now(), grace))
    }
}
