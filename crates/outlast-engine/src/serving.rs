//! How a call is served whose caller waits for the result.
//!
//! These are the tool's own words; what it leaves open the server decides. They change nothing about
//! the task itself, only what its caller sees of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use outlast_core::duration;
use serde::{Deserialize, Deserializer, de};

/// When a call that still runs is answered with the id of its task instead of the result.
///
/// Clients give up after about a minute and throw away what comes later; an answer in time lets the
/// model fetch the result in a later turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DetachAfter {
    /// The caller gets the result, however long it takes.
    Never,
    /// After this long. Zero: at once, without waiting at all.
    After(Duration),
}

impl Default for DetachAfter {
    /// 45 s: before the shortest time-out that is common, 60 s.
    fn default() -> Self {
        Self::After(Duration::from_secs(45))
    }
}

impl FromStr for DetachAfter {
    type Err = String;

    /// Reads a duration, or `never`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            _ => duration::parse(text)
                .map(Self::After)
                .map_err(|_| format!("\"{text}\" is neither \"never\" nor {}", duration::ALLOWED)),
        }
    }
}

impl fmt::Display for DetachAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::After(after) => f.write_str(&duration::format(*after)),
        }
    }
}

impl<'de> Deserialize<'de> for DetachAfter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The shortest and the longest heartbeat.
pub const HEARTBEATS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(3600));

/// Checks how often a call is to say that it runs.
///
/// # Errors
/// It is outside of [`HEARTBEATS`].
pub fn heartbeat(every: Duration) -> Result<Duration, String> {
    let (shortest, longest) = HEARTBEATS;
    if (shortest..=longest).contains(&every) {
        Ok(every)
    } else {
        Err(format!(
            "\"{}\" is no heartbeat; allowed: {} to {}",
            duration::format(every),
            duration::format(shortest),
            duration::format(longest)
        ))
    }
}

/// The shortest and the longest lease. Anything shorter is lost over a pause of the machine.
pub const LEASES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3600));

/// Checks how long a worker may be silent before its tasks are taken from it.
///
/// # Errors
/// It is outside of [`LEASES`].
pub fn lease(length: Duration) -> Result<Duration, String> {
    let (shortest, longest) = LEASES;
    if (shortest..=longest).contains(&length) {
        Ok(length)
    } else {
        Err(format!(
            "\"{}\" is no lease; allowed: {} to {}",
            duration::format(length),
            duration::format(shortest),
            duration::format(longest)
        ))
    }
}

/// What becomes of a call whose caller goes away before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnDisconnect {
    /// What the caller's era says: it goes on in 2025-11-25 (transports, "Sending Messages") and is
    /// cancelled in 2026-07-28 (Streamable HTTP, "Receiving Messages").
    #[default]
    AsProtocol,
    /// It goes on as a task in either era.
    Detach,
}

/// How calls of a tool are served that are not native tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Serving {
    /// See [`DetachAfter`]; `None` takes the server's word.
    pub detach_after: Option<DetachAfter>,
    /// A tool with an output schema may be answered with the id of a task too, and is then offered
    /// without the schema, which such an answer would not fit.
    pub detach: bool,
    /// How often a call that still runs says so; `None` takes the server's word.
    pub heartbeat: Option<Duration>,
    /// What becomes of a call whose caller goes away.
    pub on_disconnect: OnDisconnect,
}
