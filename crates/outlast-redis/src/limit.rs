//! Rules and pauses: one document, and what scripts need of it.

use std::time::Duration;

use outlast_core::limit::{Control, Controls, Key, Queue, Rule};
use outlast_core::machine::{Room, come_back};
use outlast_core::store::Notice;
use outlast_core::{Error, Result};

use crate::executor::Executor;
use crate::row;
use crate::script::Script;

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
        Queue::Tool(tool) => format!("t{}", row::line(tool)),
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

/// The refusal of a creation that would have to wait in a full queue, in which there may be room after
/// `room` milliseconds, as the script says it.
pub(crate) fn full(key: &str, max: u64, room: i64) -> Error {
    let (length, rest) = key.split_once(':').unwrap_or(("0", key));
    let length = length.parse().unwrap_or(0).min(rest.len());
    let (rule, value) = rest.split_at_checked(length).unwrap_or((rest, ""));
    Error::QueueFull {
        key: Key::new(rule, value),
        max,
        retry_after: come_back(match room {
            ..0 => Room::Paused,
            0 => Room::Unknown,
            1.. => Room::After(Duration::from_millis(room.unsigned_abs())),
        }),
    }
}

impl Executor {
    /// Changes rules and pauses, and returns what holds then.
    pub(crate) async fn control(&self, changes: &[Control]) -> Result<Controls> {
        loop {
            let before = self.controls_text().await?;
            let mut controls = decode(&before)?;
            for change in changes {
                controls.apply(change.clone());
            }
            let mut words = vec![row::millis(self.clock.now()), self.origin.clone()];
            words.extend(arguments(&before, &controls)?);
            if row::int(&self.link.script(Script::Control, words).await?) == 1 {
                self.sink
                    .tell([Notice::Ready, Notice::Due(self.clock.now())]);
                return Ok(controls);
            }
        }
    }

    pub(crate) async fn controls_text(&self) -> Result<String> {
        let get = redis::cmd("GET").arg(self.link.key("controls")).take();
        Ok(row::text(&self.link.command(&get).await?))
    }
}
