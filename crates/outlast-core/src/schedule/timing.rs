//! When a schedule fires: the moments that a rule names.
//!
//! Cron patterns are read and evaluated by the crate `croner`, on the civil time of a zone whose rules
//! come from the system's database or, where there is none, from the program itself. What happens where
//! clocks are moved is the tradition's (Vixie cron): a pattern with one time of day fires once on every
//! day that it names, at the end of the gap if its time is left out, and the first time if it comes
//! twice; one with a range or a step fires at each real time that fits, so it goes on through both.

use std::time::Duration;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::duration;

/// The shortest interval.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// A rule that names moments.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timing {
    /// The moments that fit a cron pattern.
    Cron {
        /// Five fields (minute, hour, day of the month, month, day of the week) or six with seconds
        /// before them; lists, ranges, steps, names of months and days, `L`, `W`, `#`; or a nickname
        /// such as `@daily`. If both days are restricted, either has to fit.
        pattern: String,
        /// An IANA name, `Europe/Berlin`, or `UTC`.
        time_zone: String,
    },
    /// Whole numbers of intervals after an anchor: the schedule's start, which is itself the first of
    /// them, or the moment of its creation, which is not.
    Every {
        /// The interval, at least [`SHORTEST_INTERVAL`].
        interval: Duration,
    },
}

/// From where a rule counts, if it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Anchor {
    pub(crate) at: Timestamp,
    /// Whether the anchor itself is one of the moments.
    pub(crate) counts: bool,
}

impl Timing {
    /// Whether there are such moments.
    ///
    /// # Errors
    /// The pattern or the zone cannot be read, no moment fits, or the interval is too short; the sentence
    /// names the value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Every { interval } if *interval < SHORTEST_INTERVAL => Err(format!(
                "the interval {} is too short; allowed: from {}",
                duration::format(*interval),
                duration::format(SHORTEST_INTERVAL)
            )),
            Self::Every { .. } => Ok(()),
            Self::Cron { pattern, time_zone } => {
                let cron = parse(pattern)?;
                let zone = zone(time_zone)?;
                let from = jiff::Timestamp::UNIX_EPOCH.to_zoned(zone);
                cron.find_next_occurrence(&from, false)
                    .map(drop)
                    .map_err(|_| format!("the cron pattern {pattern:?} never comes true"))
            }
        }
    }

    /// The first moment after `after`, if there is one. `None` also for a rule that does not pass
    /// [`Timing::check`].
    pub(crate) fn next(&self, anchor: Anchor, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { .. } => self.cron(after, Cron::find_next_occurrence, false),
            Self::Every { interval } => {
                let (interval, at) = (whole_millis(*interval), anchor.at.as_millis());
                if after < anchor.at && anchor.counts {
                    return Some(anchor.at);
                }
                let passed = after.as_millis().saturating_sub(at).max(0);
                let steps = (passed / interval).saturating_add(1);
                let moment = steps.checked_mul(interval)?.checked_add(at)?;
                Some(Timestamp::from_millis(moment))
            }
        }
    }

    /// The last moment at or before `until`, if there is one.
    pub(crate) fn latest(&self, anchor: Anchor, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron { .. } => self.cron(until, Cron::find_previous_occurrence, true),
            Self::Every { interval } => {
                let (interval, at) = (whole_millis(*interval), anchor.at.as_millis());
                let passed = until.as_millis().checked_sub(at).filter(|ms| *ms >= 0)?;
                let steps = passed / interval;
                (steps > 0 || anchor.counts)
                    .then(|| Timestamp::from_millis(at.saturating_add(steps * interval)))
            }
        }
    }

    fn cron(
        &self,
        from: Timestamp,
        find: fn(&Cron, &Zoned, bool) -> Result<Zoned, CronError>,
        inclusive: bool,
    ) -> Option<Timestamp> {
        let Self::Cron { pattern, time_zone } = self else {
            return None;
        };
        let (cron, zone) = (parse(pattern).ok()?, zone(time_zone).ok()?);
        let from = jiff::Timestamp::from_millisecond(from.as_millis()).ok()?;
        let found = find(&cron, &from.to_zoned(zone), inclusive).ok()?;
        Some(Timestamp::from_millis(found.timestamp().as_millisecond()))
    }
}

fn whole_millis(interval: Duration) -> i64 {
    i64::try_from(interval.as_millis())
        .unwrap_or(i64::MAX)
        .max(1)
}

fn parse(pattern: &str) -> Result<Cron, String> {
    let parser = CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .build();
    parser.parse(pattern).map_err(|error| {
        format!(
            "the cron pattern {pattern:?} cannot be read: {}; wanted is \"minute hour day month \
             weekday\", as in \"0 7 * * MON-FRI\"",
            error.to_string().trim_end_matches('.')
        )
    })
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!("there is no time zone {name:?}; wanted is an IANA name, as in \"Europe/Berlin\"")
    })
}
