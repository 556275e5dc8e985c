//! Signals: messages into a run that nobody asked for.
//!
//! A signal is stored with its task, in the order in which the store took it, and is numbered from 1
//! under its name. It waits there until the handler reads it, however long that takes, and is never
//! consumed: a later run of the handler reads the same ones in the same order. A sender that did not
//! hear the reply repeats the signal with the same id, and it arrives once.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::Error;
use crate::json::RawJson;

/// How many signals a task takes in its life, under all names together.
pub const MAX_SIGNALS: u64 = 10_000;

/// Under how many names.
pub const MAX_SIGNAL_NAMES: usize = 100;

/// The longest payload, in bytes of JSON text.
pub const MAX_SIGNAL_BYTES: usize = 64 * 1024;

/// The longest name and the longest id, in bytes.
pub const MAX_SIGNAL_NAME: usize = 128;

/// A signal to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSignal {
    /// What the handler reads it by.
    pub name: String,
    /// Tells a repeated signal from a new one: a second signal with the same id, under whatever name,
    /// changes nothing.
    pub id: Option<String>,
    /// The message.
    pub payload: RawJson,
}

impl NewSignal {
    /// A signal without an id.
    pub fn new(name: impl Into<String>, payload: RawJson) -> Self {
        Self {
            name: name.into(),
            id: None,
            payload,
        }
    }

    /// Checks name, id and payload against their limits.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what is too long, or missing.
    pub fn check(&self) -> Result<(), Error> {
        let word = |what: &str, word: &str| {
            if word.is_empty() || word.len() > MAX_SIGNAL_NAME {
                let length = word.len();
                return Err(Error::Invalid(format!(
                    "the {what} of a signal has 1 to {MAX_SIGNAL_NAME} bytes, and this one has {length}"
                )));
            }
            Ok(())
        };
        word("name", &self.name)?;
        self.id.as_deref().map_or(Ok(()), |id| word("id", id))?;
        let bytes = self.payload.as_str().len();
        if bytes > MAX_SIGNAL_BYTES {
            return Err(Error::Invalid(format!(
                "the payload of signal {:?} has {bytes} bytes, and at most {MAX_SIGNAL_BYTES} are \
                 taken: send a reference to large data",
                self.name
            )));
        }
        Ok(())
    }
}

/// A signal as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signal {
    /// What the handler reads it by.
    pub name: String,
    /// Its place among those of the same name: 1, 2, 3 …
    pub number: u64,
    /// The sender's id, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The message.
    pub payload: RawJson,
    /// When the store took it.
    pub at: Timestamp,
}
