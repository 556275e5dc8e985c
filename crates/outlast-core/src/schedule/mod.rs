//! Schedules: calls that make themselves, at times that a rule gives.
//!
//! A [`Schedule`] is a record of the store: what was asked ([`NewSchedule`]) and what has become of it
//! ([`ScheduleState`]). It is fired by writing its next state and creating its task in one unit, which
//! happens only if nobody has changed the record in between
//! ([`crate::store::Store::schedule_put`]); so of any number of processes one fires each time, over any
//! crash. What a firing means is decided by the pure verbs in [`crate::machine`], from the record and
//! the time alone.
//!
//! Words: a *fire time* is a moment that the rule names; the schedule *fires* when the task for it is
//! created; a fire time for which no task is created is *skipped*, and the record says why.

mod timing;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use timing::Anchor;
pub use timing::{SHORTEST_INTERVAL, Timing};

use crate::clock::Timestamp;
use crate::id::{Owner, TaskId};
use crate::json::RawJson;
use crate::label;

/// How many schedules a store takes.
pub const MAX_SCHEDULES: usize = 1000;

/// The longest name of a schedule, in bytes.
pub const LONGEST_NAME: usize = 64;

/// The most bytes of arguments that a schedule keeps.
pub const LARGEST_ARGUMENTS: usize = 64 * 1024;

/// How many fire times [`CatchUp::All`] makes up for; older ones are skipped.
pub const MAX_CATCH_UP: usize = 100;

/// How many tasks of a schedule may be unfinished under [`Overlap::Queue`]; beyond that, fire times are
/// skipped.
pub const MAX_OPEN: usize = 100;

/// A schedule that fires at most so long after its time is on time: starting a server again, or a busy
/// minute, is no reason to skip anything.
pub const ON_TIME: Duration = Duration::from_secs(60);

/// The label that tells which schedule created a task.
pub const LABEL: &str = "schedule";

/// The label that tells for which fire time a task was created, in RFC 3339.
pub const LABEL_FOR: &str = "scheduled-for";

/// What becomes of fire times that passed while no process was there to fire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are skipped. One that is at most [`ON_TIME`] late is not missed.
    #[default]
    Skip,
    /// The latest of them fires.
    One,
    /// Each of them fires, the latest [`MAX_CATCH_UP`] at the most, oldest first.
    All,
}

/// What becomes of a fire time while a task of the schedule is unfinished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is skipped.
    #[default]
    Skip,
    /// Its task comes after all that are unfinished, however they end; [`MAX_OPEN`] at the most.
    Queue,
    /// Its task runs beside them.
    Allow,
}

/// What a schedule is to do: a [`Schedule`] is this and what has become of it.
///
/// ```
/// use std::collections::BTreeMap;
/// use outlast_core::schedule::{CatchUp, NewSchedule};
///
/// let report = NewSchedule::cron("0 7 * * MON-FRI")
///     .time_zone("Europe/Berlin")
///     .catch_up(CatchUp::One)
///     .call("report", &BTreeMap::from([("days", 1)]));
/// assert_eq!(report.name, "report");
/// assert_eq!(report.check(), Ok(()));
///
/// let never = NewSchedule::cron("0 0 30 2 *").call("report", &());
/// assert!(never.check().unwrap_err().contains("never"));
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[must_use = "it means nothing until a server or a handle has it"]
pub struct NewSchedule {
    /// Its name, unique in a store.
    pub name: String,
    /// The tool to call.
    pub tool: String,
    /// The arguments of each call, a JSON object.
    pub arguments: RawJson,
    /// Whom its tasks belong to.
    pub owner: Owner,
    /// When it fires.
    pub timing: Timing,
    /// Not before this moment. An interval counts from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Not after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// What becomes of missed fire times.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// What becomes of a fire time while an earlier task is unfinished.
    #[serde(default)]
    pub overlap: Overlap,
    /// The priority of its tasks; `None` is the tool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// Labels of its tasks beside [`LABEL`] and [`LABEL_FOR`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether the server itself declares it, in its code or its configuration. Such a schedule goes
    /// when the server no longer declares it, and cannot be removed before.
    #[serde(default)]
    pub declared: bool,
}

impl NewSchedule {
    fn of(timing: Timing) -> Self {
        Self {
            name: String::new(),
            tool: String::new(),
            arguments: RawJson::empty_object(),
            owner: Owner::local(),
            timing,
            start: None,
            end: None,
            catch_up: CatchUp::default(),
            overlap: Overlap::default(),
            priority: None,
            labels: BTreeMap::new(),
            declared: false,
        }
    }

    /// Fires at the times of a cron pattern, in UTC unless [`NewSchedule::time_zone`] says another zone;
    /// see [`Timing::Cron`] for what a pattern may hold.
    pub fn cron(pattern: impl Into<String>) -> Self {
        Self::of(Timing::Cron {
            pattern: pattern.into(),
            time_zone: "UTC".into(),
        })
    }

    /// Fires again and again after this time, which does not drift: see [`Timing::Every`].
    pub fn every(interval: Duration) -> Self {
        Self::of(Timing::Every { interval })
    }

    /// The IANA time zone of a cron pattern, `Europe/Berlin`. Without a meaning for intervals.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        if let Timing::Cron { time_zone, .. } = &mut self.timing {
            *time_zone = name.into();
        }
        self
    }

    /// What each firing calls: the tool's name and its arguments, whose JSON form must be an object.
    /// Without another name the schedule has the tool's.
    pub fn call<A: Serialize + ?Sized>(self, tool: impl Into<String>, arguments: &A) -> Self {
        self.arguments(arguments).of_tool(tool)
    }

    /// The arguments of each call, whose JSON form must be an object. Default: none. For a schedule that
    /// is given to its tool, which it need not name.
    pub fn arguments<A: Serialize + ?Sized>(mut self, arguments: &A) -> Self {
        // What has no JSON form is no object either, and told by the check.
        self.arguments = RawJson::of(arguments).unwrap_or_else(|_| RawJson::empty_array());
        self
    }

    /// The tool that each firing calls. Without another name the schedule has the tool's.
    pub fn of_tool(mut self, tool: impl Into<String>) -> Self {
        self.tool = tool.into();
        if self.name.is_empty() {
            self.name.clone_from(&self.tool);
        }
        self
    }

    /// Gives it a name, unique in a store.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Whom its tasks belong to. Default: [`Owner::local`].
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// What becomes of missed fire times. Default: [`CatchUp::Skip`].
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// What becomes of a fire time while an earlier task is unfinished. Default: [`Overlap::Skip`].
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Fires not before this moment. An interval counts from it.
    pub fn start(mut self, start: Timestamp) -> Self {
        self.start = Some(start);
        self
    }

    /// Fires not after this moment.
    pub fn end(mut self, end: Timestamp) -> Self {
        self.end = Some(end);
        self
    }

    /// The priority of its tasks. Default: the tool's.
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Adds a label to its tasks.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Whether it can hold as it is, as far as that can be told without knowing the tool.
    ///
    /// # Errors
    /// A sentence that names the value and the rule.
    pub fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        if self.tool.is_empty() {
            return Err("it calls no tool".into());
        }
        self.timing.check()?;
        if let (Some(start), Some(end)) = (self.start, self.end)
            && end < start
        {
            return Err(format!("its end {end} lies before its start {start}"));
        }
        if !self.arguments.as_str().trim_start().starts_with('{') {
            return Err("its arguments are no JSON object".into());
        }
        let bytes = self.arguments.as_str().len();
        if bytes > LARGEST_ARGUMENTS {
            return Err(format!(
                "its arguments have {bytes} bytes, and a schedule keeps at most {LARGEST_ARGUMENTS}: \
                 keep large data in a file and name the file"
            ));
        }
        if self.catch_up == CatchUp::All && self.overlap == Overlap::Skip {
            return Err(
                "catch_up = all with overlap = skip would skip what it catches up: say overlap = queue \
                 or allow, or catch_up = one"
                    .into(),
            );
        }
        let set_itself = [LABEL, LABEL_FOR].into_iter();
        if let Some(key) = { set_itself }.find(|key| self.labels.contains_key(*key)) {
            return Err(format!("the label {key:?} is set by the schedule itself"));
        }
        self.check_labels(&BTreeMap::new())
    }

    /// Whether its tasks may have the labels that they are given: those of their tool, which are `tools`, its
    /// own, [`LABEL`] and [`LABEL_FOR`].
    ///
    /// # Errors
    /// As [`label::check`].
    pub fn check_labels(&self, tools: &BTreeMap<String, String>) -> Result<(), String> {
        let mut labels = tools.clone();
        labels.extend(self.labels.clone());
        labels.extend([LABEL, LABEL_FOR].map(|key| (key.to_owned(), self.name.clone())));
        label::check(&labels)
    }
}

/// Names are typed into shells and stand in URLs.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "the name {name:?} is none for a schedule; allowed: 1 to {LONGEST_NAME} letters, digits, _, - \
         and ."
    ))
}

/// The whole record of a schedule.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Schedule {
    /// What was asked for.
    pub spec: NewSchedule,
    /// Everything that changes.
    pub state: ScheduleState,
}

/// The changing part of a schedule's record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ScheduleState {
    /// Grows with every change of the record; a later schedule of the same name does not repeat it.
    pub version: u64,
    /// When it was created. An interval without a start counts from it.
    pub created_at: Timestamp,
    /// The last change of the record.
    pub updated_at: Timestamp,
    /// Whether somebody has stopped it.
    #[serde(default)]
    pub paused: bool,
    /// The next fire time; `None` if there is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// The fire time that has come could not be fired and is to be tried again at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// How many tasks it has created.
    #[serde(default)]
    pub fired: u64,
    /// The last fire time that was fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_fire_at: Option<Timestamp>,
    /// The last task it created. It may have been deleted since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_task: Option<TaskId>,
    /// Those of its tasks that were unfinished at the last firing, that one's included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<TaskId>,
    /// Why the last fire time was skipped or waits; `None` if it was fired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
