//! Spans of time as tools and the server declare them, and what bounds each.

use std::time::Duration;

use outlast_core::duration;
use outlast_core::task::MIN_RETENTION;
use outlast_engine::DetachAfter;

use super::section::Section;

/// The longest time anything is kept or may run.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A time limit: not nothing, and no longer than anything may run.
pub(super) fn limit(section: &Section<'_>, key: &str) -> Option<Duration> {
    let limit = up_to(section, key, LONGEST)?;
    if limit.is_zero() {
        section.wrong(key, "no time at all; leave the key out for no limit");
    }
    Some(limit)
}

/// A duration of at most `most`.
pub(super) fn up_to(section: &Section<'_>, key: &str, most: Duration) -> Option<Duration> {
    let given = section.duration(key)?;
    if given > most {
        section.wrong(
            key,
            format!(
                "{} is too long; at most {}",
                duration::format(given),
                duration::format(most)
            ),
        );
    }
    Some(given)
}

/// How long what has ended is kept.
pub(super) fn retention(section: &Section<'_>) -> Option<Duration> {
    let given = up_to(section, "retention", LONGEST)?;
    if given < MIN_RETENTION {
        section.wrong(
            "retention",
            format!(
                "{} is too short: nobody could fetch a result; at least {}",
                duration::format(given),
                duration::format(MIN_RETENTION)
            ),
        );
    }
    Some(given)
}

/// When a call that still runs is answered with the id of its task.
pub(super) fn detach_after(section: &Section<'_>) -> Option<DetachAfter> {
    let text = section.text("detach_after")?;
    text.parse()
        .map_err(|problem: String| section.wrong("detach_after", problem))
        .ok()
}

/// How often a call that still runs says so.
pub(super) fn heartbeat(section: &Section<'_>) -> Option<Duration> {
    outlast_engine::heartbeat(section.duration("heartbeat")?)
        .map_err(|problem| section.wrong("heartbeat", problem))
        .ok()
}

/// How long a worker may be silent.
pub(super) fn lease(section: &Section<'_>) -> Option<Duration> {
    outlast_engine::lease(section.duration("lease")?)
        .map_err(|problem| section.wrong("lease", problem))
        .ok()
}
