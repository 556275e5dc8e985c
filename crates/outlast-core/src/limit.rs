//! Limits: which tasks may run beside which, how often, and how many may wait.
//!
//! A task carries **keys**, and the store carries a **rule** for each name that keys can have. A key is
//! a rule's name and a value that was computed from the call (a customer, a session, the owner), so one
//! rule governs any number of keys. The rules live in the store and not in the tasks, so a changed
//! figure holds for tasks that wait already.
//!
//! Nothing about a limit is written when a task has to wait: it stays `queued`, and whether it may be
//! claimed is a function of the records and the rules alone (`machine::Ledger`). So a task cannot be
//! stranded behind a limit (I5), and a flood of waiting tasks costs no writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::duration;

/// What a rule applies to: its name, and the value that keeps one key of it apart from the others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    /// The rule's name.
    pub rule: String,
    /// Empty where the rule has one key only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

impl Key {
    /// The key of `rule` with this value.
    pub fn new(rule: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            value: value.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            f.write_str(&self.rule)
        } else {
            write!(f, "{} {:?}", self.rule, self.value)
        }
    }
}

/// A key of a [`Rule::Running`] that a task holds while it runs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LimitKey {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// Whether it is held while the task is suspended, until its attempt ends. Where it is not, a task
    /// that wakes waits for room like any other.
    #[serde(default, skip_serializing_if = "is_false")]
    pub while_suspended: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde wants"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The keys of one task. Part of its specification.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Keys {
    /// Keys of which only so many tasks run at a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitKey>,
    /// Keys of which only so many attempts start in a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<Key>,
    /// Keys of which only so many tasks wait to be started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<Key>,
}

impl Keys {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.rates.is_empty() && self.quotas.is_empty()
    }
}

/// What holds for all keys of one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// At most so many tasks of one key run at a time. The rest wait in order. At least 1.
    Running(u32),
    /// Attempts of one key start no faster than this. The rest wait in order.
    Rate(Rate),
    /// At most so many tasks of one key wait to be started. The creation of more is refused.
    Queued(u64),
}

/// How often something may happen: `count` times in `per`.
///
/// A token bucket: it holds `burst` starts (by default `count`), and one comes back every
/// `per / count`. So in any span of time `t` at most `burst + count × t / per` attempts start; for a
/// strict spacing say `burst 1`.
///
/// ```
/// use outlast_core::limit::Rate;
///
/// let rate: Rate = "10/min".parse()?;
/// assert_eq!((rate.count(), rate.burst()), (10, 10));
/// let spaced: Rate = "10/min burst 1".parse()?;
/// assert_eq!(spaced.interval().as_secs(), 6);
/// assert!("0/min".parse::<Rate>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Rate {
    count: u32,
    per_ms: u64,
    burst: u32,
}

impl Rate {
    /// `count` starts in `per`, all of them at once if they were saved up.
    ///
    /// # Errors
    /// `count` is 0, or `per` is shorter than a millisecond or longer than a year; the sentence says
    /// which.
    pub fn new(count: u32, per: Duration) -> Result<Self, String> {
        const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
        if count == 0 {
            return Err("a rate of 0 would never let anything start: say at least 1".into());
        }
        if per < Duration::from_millis(1) || per > YEAR {
            return Err(format!(
                "a rate counts over a time between 1 ms and 366 days, and {per:?} is none"
            ));
        }
        let per_ms = u64::try_from(per.as_millis()).expect("at most a year");
        Ok(Self {
            count,
            per_ms,
            burst: count,
        })
    }

    /// The same rate that saves up at most `burst` starts.
    ///
    /// # Errors
    /// `burst` is 0.
    pub fn with_burst(self, burst: u32) -> Result<Self, String> {
        if burst == 0 {
            return Err("a burst of 0 would never let anything start: say at least 1".into());
        }
        Ok(Self { burst, ..self })
    }

    /// How many starts come back in the time of the rate.
    pub fn count(self) -> u32 {
        self.count
    }

    /// How many starts can be saved up.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// The time in which one start comes back.
    pub fn interval(self) -> Duration {
        Duration::from_micros(self.interval_us().cast_unsigned())
    }

    fn interval_us(self) -> i64 {
        let micros = self.per_ms * 1000 / u64::from(self.count);
        i64::try_from(micros).expect("at most a year")
    }
}

/// Where a rate key stands: the generic cell rate algorithm's theoretical arrival time, in
/// microseconds. A key that is not known stands at the beginning of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Arrival(i64);

impl Arrival {
    /// The stored form.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// From its stored form.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From when on another start is allowed.
    pub fn opens_at(self, rate: Rate) -> Timestamp {
        let saved = rate.interval_us().saturating_mul(i64::from(rate.burst) - 1);
        let opens = self.0.saturating_sub(saved);
        // Rounded up: never a moment too early.
        Timestamp::from_millis(opens.div_euclid(1000) + i64::from(opens.rem_euclid(1000) != 0))
    }

    /// Where the key stands after a start at `now`.
    pub fn after_start(self, rate: Rate, now: Timestamp) -> Self {
        let now = now.as_millis().saturating_mul(1000);
        Self(self.0.max(now).saturating_add(rate.interval_us()))
    }

    /// Whether the key stands as if it had never been used.
    pub fn is_past(self, now: Timestamp) -> bool {
        self.0 <= now.as_millis().saturating_mul(1000)
    }
}

impl FromStr for Rate {
    type Err = String;

    /// Reads `COUNT/TIME` with an optional `burst N`; the time is `s`, `min`, `h`, `day` or a duration
    /// like `30s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no rate: write a count, a slash and a time, like \"10/min\", \"100/h\", \
                 \"5/30s\" or \"10/min burst 2\""
            )
        };
        let (rate, burst) = match text.split_once("burst") {
            Some((rate, burst)) => (
                rate,
                Some(burst.trim().parse::<u32>().map_err(|_| wrong())?),
            ),
            None => (text, None),
        };
        let (count, per) = rate.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let per = per.trim();
        let per = match per {
            "s" | "second" => Duration::from_secs(1),
            "m" | "min" | "minute" => Duration::from_secs(60),
            "h" | "hour" => Duration::from_secs(60 * 60),
            "d" | "day" => Duration::from_secs(24 * 60 * 60),
            other => duration::parse(other).map_err(|_| wrong())?,
        };
        let rate = Self::new(count, per)?;
        burst.map_or(Ok(rate), |burst| rate.with_burst(burst))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            per_ms,
            burst,
        } = *self;
        match per_ms {
            1000 => write!(f, "{count}/s")?,
            60_000 => write!(f, "{count}/min")?,
            3_600_000 => write!(f, "{count}/h")?,
            86_400_000 => write!(f, "{count}/day")?,
            other => write!(
                f,
                "{count}/{}",
                duration::format(Duration::from_millis(other))
            )?,
        }
        if burst != count {
            write!(f, " burst {burst}")?;
        }
        Ok(())
    }
}

/// What a pause stops.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Queue {
    /// Every task of the store.
    All,
    /// The tasks of one tool.
    Tool(String),
}

/// The rules and pauses of a store: one small document, kept by it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Controls {
    /// The rules by name. A key without a rule is not limited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Rule>,
    /// What is paused: its tasks are created, wait, go on if they run, and are not claimed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paused: BTreeSet<Queue>,
}

/// A change of the [`Controls`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Control {
    /// Sets the rule of this name, or removes it.
    Rule(String, Option<Rule>),
    /// Stops claims.
    Pause(Queue),
    /// Allows claims again.
    Resume(Queue),
}

impl Controls {
    /// Makes a change; says whether there was anything to change.
    pub fn apply(&mut self, change: Control) -> bool {
        match change {
            Control::Rule(name, Some(rule)) => self.rules.insert(name, rule) != Some(rule),
            Control::Rule(name, None) => self.rules.remove(&name).is_some(),
            Control::Pause(queue) => self.paused.insert(queue),
            Control::Resume(queue) => self.paused.remove(&queue),
        }
    }

    /// Whether tasks of `tool` are not to be claimed.
    pub fn is_paused(&self, tool: &str) -> bool {
        !self.paused.is_empty()
            && self.paused.iter().any(|queue| match queue {
                Queue::All => true,
                Queue::Tool(name) => name == tool,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        for text in ["10/s", "10/min", "1/h", "7/day", "5/30s", "10/min burst 2"] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!(rate.to_string(), text);
        }
        assert_eq!("3 / 2m".parse::<Rate>(), "3/120s".parse());
        for wrong in [
            "",
            "10",
            "ten/min",
            "10/fortnight",
            "1/0s",
            "0/s",
            "1/s burst 0",
            "1/s burst",
        ] {
            let error = wrong.parse::<Rate>().expect_err(wrong);
            assert!(error.len() > 20, "{error}");
        }
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let rate: Rate = "2/s".parse().expect("a rate");
        let at = Timestamp::from_millis;
        let mut key = Arrival::default();
        for now in [1000, 1000, 1500, 2000] {
            assert!(key.opens_at(rate) <= at(now));
            key = key.after_start(rate, at(now));
        }
        assert_eq!(key.opens_at(rate), at(2500));
        assert!(!key.is_past(at(2999)) && key.is_past(at(3000)));
    }
}
