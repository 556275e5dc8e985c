//! Rules and pauses: one document, and what scripts need of it.

use outlast_core::Error;
use outlast_core::limit::{Controls, Key, Queue, Rule};
use outlast_core::machine::COME_BACK;

use crate::row;

/// The arguments of the script that replaces the controls, behind the time and the origin.
pub(crate) fn arguments(before: &str, controls: &Controls) -> Result<Vec<String>, Error> {
    let mut arguments = vec![
        before.to_owned(),
        row::encode("controls", controls)?,
        controls.rules.len().to_string(),
    ];
    for (name, rule) in &controls.rules {
        let figures = match rule {
            Rule::Running(max) => format!("L{max}"),
            Rule::Rate(rate) => format!("R{}:{}", rate.interval().as_micros(), rate.burst()),
            Rule::Queued(max) => format!("Q{max}"),
        };
        arguments.extend([name.clone(), figures]);
    }
    arguments.extend(controls.paused.iter().map(|queue| match queue {
        Queue::All => "*".to_owned(),
        Queue::Tool(tool) => format!("t{tool}"),
    }));
    Ok(arguments)
}

/// The controls from their document; none were ever set if there is no document.
pub(crate) fn decode(document: &str) -> Result<Controls, Error> {
    if document.is_empty() {
        return Ok(Controls::default());
    }
    row::decode("controls", document.as_bytes())
}

/// The refusal of a creation that would have to wait in a full queue.
pub(crate) fn full(key: &str, max: u64) -> Error {
    let (length, rest) = key.split_once(':').unwrap_or(("0", key));
    let length = length.parse().unwrap_or(0).min(rest.len());
    let (rule, value) = rest.split_at_checked(length).unwrap_or((rest, ""));
    Error::QueueFull {
        key: Key::new(rule, value),
        max,
        retry_after: COME_BACK,
    }
}
