//! What inputs are thrown at.

mod config;
mod envelope;
mod headers;
mod lines;
mod methods;
mod sealed;

use crate::bench::Bench;

/// The targets by name, each with a folder in `fuzz/corpus/`.
pub(crate) const NAMES: [&str; 6] = [
    "config", "envelope", "headers", "lines", "methods", "sealed",
];

/// One of them.
pub(crate) enum Target {
    Config,
    Envelope,
    Headers(Box<Bench>),
    Lines(Box<Bench>),
    Methods(Box<Bench>),
    Sealed(Box<Bench>),
}

impl Target {
    /// The target of this name, fresh.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) async fn new(name: &str) -> Self {
        match name {
            "config" => Self::Config,
            "envelope" => Self::Envelope,
            "headers" => Self::Headers(Box::new(Bench::new().await)),
            "lines" => Self::Lines(Box::new(Bench::new().await)),
            "methods" => Self::Methods(Box::new(Bench::new().await)),
            "sealed" => Self::Sealed(Box::new(Bench::new().await)),
            _ => unreachable!("names are checked first"),
        }
    }

    /// Throws one input; the kind of the answer, or the rule that it breaks.
    pub(crate) async fn try_one(&mut self, input: &[u8]) -> Result<String, String> {
        match self {
            Self::Config => config::try_one(input),
            Self::Envelope => envelope::try_one(input),
            Self::Headers(bench) => headers::try_one(bench, input).await,
            Self::Lines(bench) => lines::try_one(bench, input).await,
            Self::Methods(bench) => methods::try_one(bench, input).await,
            Self::Sealed(bench) => sealed::try_one(bench, input).await,
        }
    }
}
