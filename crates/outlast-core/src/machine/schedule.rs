//! Schedules as a pure machine: when one fires, and what it is afterwards.
//!
//! Decision: one firing is one fire time. A schedule that has several to make up for is due again at
//! once, until it has; so the unit in which a store fires stays small, and a crash between two of them
//! loses nothing. The next fire time is part of the record and always later than the one that was fired;
//! so a clock that goes back fires nothing twice, and one that leaps ahead finds missed fire times, for
//! which [`CatchUp`] says what is to happen.

use crate::clock::Timestamp;
use crate::error::Error;
use crate::id::TaskId;
use crate::schedule::{
    Anchor, CatchUp, MAX_CATCH_UP, MAX_OPEN, MAX_SCHEDULES, NewSchedule, ON_TIME, Overlap,
    Schedule, ScheduleState,
};

impl Schedule {
    /// A new schedule. Its first fire time lies after `now`.
    pub fn create(spec: NewSchedule, now: Timestamp) -> Self {
        let mut schedule = Self {
            spec,
            state: ScheduleState {
                // Larger than that of any schedule of this name before it, which had fewer changes than
                // milliseconds have passed since its creation.
                version: u64::try_from(now.as_millis()).unwrap_or(0),
                created_at: now,
                updated_at: now,
                paused: false,
                next_at: None,
                retry_at: None,
                fired: 0,
                last_fire_at: None,
                last_task: None,
                open: Vec::new(),
                note: None,
            },
        };
        schedule.state.next_at = schedule.next_after(now);
        schedule
    }

    /// Whether another schedule may join `there` others.
    ///
    /// # Errors
    /// [`Error::Invalid`]: there are [`MAX_SCHEDULES`].
    pub fn check_number(there: usize) -> Result<(), Error> {
        if there < MAX_SCHEDULES {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "there are {there} schedules already, and a store takes at most {MAX_SCHEDULES}: remove \
             one, or let one tool do the work of several"
        )))
    }

    /// What a store says of a schedule whose record cannot be read. It keeps that record, and hands out the
    /// others without it.
    pub fn unreadable(name: &str, error: &dyn std::error::Error) -> Error {
        Error::broken(format!(
            "the schedule {name:?} cannot be read ({error}), so it does not fire: let the release that wrote \
             it run again, or remove it"
        ))
    }

    /// When it must be looked at; `None` while it is paused or has no fire time any more.
    pub fn due_at(&self) -> Option<Timestamp> {
        let next_at = self.state.next_at.filter(|_| !self.state.paused)?;
        Some(self.state.retry_at.map_or(next_at, |at| at.max(next_at)))
    }

    /// The next fire times, at most `count`, as long as nothing changes.
    pub fn upcoming(&self, count: usize) -> Vec<Timestamp> {
        let times = std::iter::successors(self.state.next_at, |at| self.next_after(*at));
        times.take(count).collect()
    }

    /// Does what is due at `now`: moves the schedule on, and returns the fire time for which a task is
    /// to be created, if there is one. `open` are those of [`ScheduleState::open`] that have not ended.
    ///
    /// The task's id is to be told by [`Schedule::started`] before the record is written.
    pub fn fire(&mut self, open: Vec<TaskId>, now: Timestamp) -> Option<Timestamp> {
        self.due_at().filter(|due_at| *due_at <= now)?;
        let first = self.state.next_at?;
        let (wanted, mut note) = self.wanted(first, now);
        let fired = wanted.filter(|at| match self.spec.overlap {
            Overlap::Skip if !open.is_empty() => {
                note = Some(format!(
                    "skipped {at}: task {} of the schedule was unfinished",
                    open[0]
                ));
                false
            }
            Overlap::Queue if open.len() >= MAX_OPEN => {
                note = Some(format!(
                    "skipped {at}: {MAX_OPEN} tasks of the schedule were unfinished"
                ));
                false
            }
            _ => true,
        });
        self.state.open = match self.spec.overlap {
            Overlap::Allow => Vec::new(),
            Overlap::Skip | Overlap::Queue => open,
        };
        let past = match (self.spec.catch_up, wanted) {
            // What comes after it has its turn as well.
            (CatchUp::All | CatchUp::Skip, Some(at)) => at,
            _ => now.max(first),
        };
        self.state.next_at = self.next_after(past);
        self.state.note = note;
        self.touch(now);
        fired
    }

    /// Notes the task of the fire time that [`Schedule::fire`] returned.
    pub fn started(&mut self, fire_at: Timestamp, task: TaskId) {
        self.state.last_fire_at = Some(fire_at);
        self.note_task(task);
    }

    /// Notes a task that somebody created by hand in the name of the schedule. It moves no fire time.
    pub fn ran(&mut self, task: TaskId, open: Vec<TaskId>, now: Timestamp) {
        self.state.open = open;
        self.note_task(task);
        self.touch(now);
    }

    fn note_task(&mut self, task: TaskId) {
        self.state.fired += 1;
        self.state.last_task = Some(task);
        if self.spec.overlap != Overlap::Allow {
            self.state.open.push(task);
        }
    }

    /// The task that was to be created turned out to be another one, which the call means as well
    /// ([`crate::same`]).
    pub fn joined(&mut self, wanted: TaskId, task: TaskId) {
        for id in self.state.open.iter_mut().chain(&mut self.state.last_task) {
            if *id == wanted {
                *id = task;
            }
        }
    }

    /// The fire time that has come could not be fired, and is to be tried again at `at`: it counts as on
    /// time then.
    pub fn hold(&mut self, at: Timestamp, why: String, now: Timestamp) {
        self.state.retry_at = Some(at);
        self.state.note = Some(why);
        self.state.version += 1;
        self.state.updated_at = now;
    }

    /// The fire time that has come can never be fired: moves on without a task.
    pub fn give_up(&mut self, why: String, now: Timestamp) {
        let past = self.state.next_at.map_or(now, |at| at.max(now));
        self.state.next_at = self.next_after(past);
        self.state.note = Some(why);
        self.touch(now);
    }

    /// Takes over what is asked now. The history stays; the next fire time is found anew if the times
    /// have changed. `false` if nothing has changed.
    pub fn update(&mut self, spec: NewSchedule, now: Timestamp) -> bool {
        if self.spec == spec {
            return false;
        }
        let same_times = (&self.spec.timing, self.spec.start, self.spec.end)
            == (&spec.timing, spec.start, spec.end);
        self.spec = spec;
        if !same_times {
            self.state.next_at = self.next_after(now);
        }
        self.touch(now);
        true
    }

    /// Stops it, or lets it go on: then from `now`, without making up for what was missed. `false` if it
    /// was so already.
    pub fn pause(&mut self, paused: bool, now: Timestamp) -> bool {
        if self.state.paused == paused {
            return false;
        }
        self.state.paused = paused;
        if !paused {
            self.state.next_at = self.next_after(now);
            self.state.note = None;
        }
        self.touch(now);
        true
    }

    fn touch(&mut self, now: Timestamp) {
        self.state.retry_at = None;
        self.state.version += 1;
        self.state.updated_at = now;
    }

    /// Which of the fire times from `first` to `now` is to be fired, and what is to be said about the
    /// others.
    fn wanted(&self, first: Timestamp, now: Timestamp) -> (Option<Timestamp>, Option<String>) {
        let latest = self
            .latest_until(now)
            .filter(|at| *at > first)
            .unwrap_or(first);
        let missed = |last: Timestamp| match first == last {
            true => format!("missed {first}: it was more than a minute late"),
            false => {
                format!(
                    "missed fire times from {first} to {last}: they were more than a minute late"
                )
            }
        };
        match self.spec.catch_up {
            // All that are on time fire, the oldest first: the next tick comes at once.
            CatchUp::Skip => match self.oldest_on_time(first, now) {
                Some(kept) => (Some(kept), self.last_before(kept, first).map(missed)),
                None if self.state.retry_at.is_some() => {
                    (Some(latest), self.last_before(latest, first).map(missed))
                }
                None => (None, Some(missed(latest))),
            },
            CatchUp::One => {
                let note = self.last_before(latest, first).map(|last| {
                    format!(
                        "missed fire times from {first} to {last}: the latest alone is made up for"
                    )
                });
                (Some(latest), note)
            }
            CatchUp::All => {
                let oldest = self.oldest_to_make_up(first, latest, now);
                let note = (oldest > first).then(|| {
                    format!(
                        "missed fire times before {oldest}: at most {MAX_CATCH_UP} are made up for"
                    )
                });
                (Some(oldest), note)
            }
        }
    }

    /// The first fire time from `first` to `now` that is not missed.
    fn oldest_on_time(&self, first: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if now.since(first) <= ON_TIME {
            return Some(first);
        }
        let late = now - ON_TIME;
        let next = self.next_after(Timestamp::from_millis(late.as_millis() - 1));
        next.filter(|at| *at <= now)
    }

    /// The last fire time before `at`, if it is `first` or later.
    fn last_before(&self, at: Timestamp, first: Timestamp) -> Option<Timestamp> {
        self.latest_until(Timestamp::from_millis(at.as_millis() - 1))
            .filter(|last| *last >= first)
    }

    fn oldest_to_make_up(&self, first: Timestamp, latest: Timestamp, now: Timestamp) -> Timestamp {
        let all = std::iter::successors(Some(first), |at| self.next_after(*at));
        let count = all
            .take_while(|at| *at <= now)
            .take(MAX_CATCH_UP + 1)
            .count();
        if count <= MAX_CATCH_UP {
            return first;
        }
        let back = std::iter::successors(Some(latest), |at| self.last_before(*at, first));
        back.take(MAX_CATCH_UP).last().unwrap_or(latest)
    }

    fn anchor(&self) -> Anchor {
        Anchor {
            at: self.spec.start.unwrap_or(self.state.created_at),
            counts: self.spec.start.is_some(),
        }
    }

    /// The first fire time after `after`.
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // The start itself may be one.
        let after = match self.spec.start {
            Some(start) if after < start => Timestamp::from_millis(start.as_millis() - 1),
            _ => after,
        };
        let next = self.spec.timing.next(self.anchor(), after)?;
        Some(next).filter(|next| self.spec.end.is_none_or(|end| *next <= end))
    }

    /// The last fire time at or before `until`.
    fn latest_until(&self, until: Timestamp) -> Option<Timestamp> {
        let until = self.spec.end.map_or(until, |end| end.min(until));
        let latest = self.spec.timing.latest(self.anchor(), until)?;
        Some(latest).filter(|at| self.spec.start.is_none_or(|start| *at >= start))
    }
}
