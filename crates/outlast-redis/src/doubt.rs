//! Whether Redis may still carry out what nobody waits for any more.
//!
//! A call that brings no answer may have been carried out, or be carried out yet: a Redis that was paused
//! goes on with what had reached it. So the doubt is not counted from the call but from when Redis answers
//! again, and while it lasts two things are looked for, for which there was no reply: claims of this
//! process ([`crate::lease`]), and changes of this process, whose notices it does not hear from others
//! ([`crate::notify`]).

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long it lasts once Redis answers again: as long as any lease runs by default, and then a claim that
/// was carried out has run out by itself.
const LASTS: Duration = Duration::from_secs(30);

/// Calls whose answers did not come.
#[derive(Default)]
pub(crate) struct Doubt(Mutex<State>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    None,
    /// Redis has not answered since.
    Silent,
    /// It has.
    Until(Instant),
}

impl Doubt {
    /// A call has brought no answer.
    pub(crate) fn arises(&self) {
        *self.state() = State::Silent;
    }

    /// Redis has answered at `now`. Tells whether something may still turn up, or may have since this was
    /// asked the last time.
    pub(crate) fn remains(&self, now: Instant) -> bool {
        let mut state = self.state();
        let remains = *state != State::None;
        *state = match *state {
            State::Silent => State::Until(now + LASTS),
            State::Until(end) if now < end => State::Until(end),
            State::None | State::Until(_) => State::None,
        };
        remains
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_from_the_first_answer_on() {
        let doubt = Doubt::default();
        let now = Instant::now();
        assert!(!doubt.remains(now));
        doubt.arises();
        // However long there was no answer.
        let answered = now + 100 * LASTS;
        assert!(doubt.remains(answered) && doubt.remains(answered + LASTS / 2));
        assert!(doubt.remains(answered + LASTS), "a last look");
        assert!(!doubt.remains(answered + LASTS));
    }
}
