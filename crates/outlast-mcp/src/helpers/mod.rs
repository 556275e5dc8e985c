//! Helper tools: tasks for models whose client knows nothing of tasks.
//!
//! Such a client can do one thing, call tools. So what a task's holder can do is offered as tools:
//! wait for a task, look at it, fetch its result, cancel it, list tasks, and answer those of its
//! questions that the handler leaves to models. A model that was told a task's id in one turn gets
//! the result in a later one, also from another conversation or another client of the same owner.
//!
//! Everything that a model can mend is a tool error, which it reads, and not a protocol error
//! (SEP-1303).

mod arguments;
mod definition;
mod guidance;
mod links;
mod serve;
mod wait;
mod words;

use std::str::FromStr;

use outlast_engine::{TaskSupport, Tools};
use serde::{Deserialize, Deserializer, de};

use crate::offer::Audience;

pub(crate) use definition::{Helper, write};
pub(crate) use guidance::sentence;
pub(crate) use serve::call;
pub use words::WAITS_FOR_A_PERSON;
pub(crate) use words::{unfinished, unseen, waits_for_a_person};

/// To which clients the helper tools are offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Helpers {
    /// To those that may need them: all of 2025-11-25 and before, where no capability says that a
    /// client calls tasks, and those of 2026-07-28 whose request does not declare the extension.
    #[default]
    Auto,
    /// To all.
    Always,
    /// To none; their names are free for tools of your own.
    Never,
}

impl FromStr for Helpers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(format!(
                "{text:?} is not a word for the helper tools; write auto, always or never"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Helpers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Helpers {
    /// Whether this audience is shown them, on a server with these tools.
    pub(crate) fn are_offered(self, tools: &Tools, audience: Audience) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Auto => {
                !audience.has_tasks && tools.iter().any(|tool| tool.task != TaskSupport::Forbidden)
            }
        }
    }

    /// Refuses tools that have the name of a helper.
    ///
    /// # Errors
    /// One has; the sentence says what to do.
    pub fn check(self, tools: &Tools) -> Result<(), String> {
        if self == Self::Never {
            return Ok(());
        }
        match Helper::ALL
            .iter()
            .find(|helper| tools.get(helper.name()).is_some())
        {
            None => Ok(()),
            Some(helper) => Err(format!(
                "a tool is named {:?}, as is a helper tool of the server itself; rename the tool, or \
                 do without the helper tools (helpers = \"never\")",
                helper.name()
            )),
        }
    }
}
