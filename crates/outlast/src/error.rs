//! Why a server did not start.

use std::fmt;

/// A server did not start; the sentence says what to do. Nothing was begun.
#[derive(Debug)]
pub struct StartError {
    sentence: String,
    may_pass: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StartError {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            may_pass: false,
            source: None,
        }
    }

    /// Another server has the store, and may be about to end.
    pub(crate) fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

impl From<String> for StartError {
    fn from(sentence: String) -> Self {
        Self::new(sentence)
    }
}

impl From<outlast_core::Error> for StartError {
    fn from(error: outlast_core::Error) -> Self {
        Self {
            sentence: error.to_string(),
            may_pass: error.is_retryable(),
            source: Some(Box::new(error)),
        }
    }
}
