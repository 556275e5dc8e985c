//! The record of how keys are laid out and whose they are.
//!
//! `meta` holds `version`, the layout; `compatible_from`, the oldest version whose programs can still
//! work with it; and the name of the server that it belongs to. Of a store in shards each has a `meta` of its
//! own with its number, and the name of the store has one that says how many there are: so whoever comes with
//! another number is told.

use outlast_core::{Error, Result, TaskId};

use crate::connection::Link;
use crate::examination::{Examination, examine, owned};
use crate::row;
use crate::script::Script;

/// The layout this program writes.
pub(crate) const VERSION: u64 = 1;
/// The oldest program that can work with it.
const COMPATIBLE_FROM: u64 = 1;

/// What the keys under a name are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// A store.
    Whole,
    /// Nothing but the word that a store has so many shards.
    Root(usize),
    /// One of its shards.
    Shard {
        /// Which.
        number: usize,
        /// Of how many.
        of: usize,
    },
}

impl Part {
    /// Of how many shards the store is.
    pub(crate) fn shards(self) -> usize {
        match self {
            Self::Whole => 1,
            Self::Root(of) | Self::Shard { of, .. } => of,
        }
    }

    /// What `meta` says of it.
    fn words(self) -> [String; 2] {
        match self {
            Self::Whole => [String::new(), String::new()],
            Self::Root(of) => [of.to_string(), String::new()],
            Self::Shard { number, of } => [of.to_string(), number.to_string()],
        }
    }
}

/// Looks whether the server behind `link` can be the store of the server `server`, and makes it so.
/// Nothing is written unless it is.
///
/// # Errors
/// One sentence that says what is wrong and what to do.
pub(crate) async fn check(
    link: &Link,
    server: &str,
    volatile: bool,
    part: Part,
) -> Result<Examination> {
    let found = examine(link, server, volatile, part).await?;
    found.judge(&link.location)?;
    for warning in &found.warnings {
        tracing::warn!("{}", warning.of(&link.location));
    }
    let whose = Whose {
        server: server.to_owned(),
        part,
    };
    if found.is_new {
        begin(link, &whose).await?;
    }
    let _ = link.whose.set(whose);
    Ok(found)
}

/// Whose store it is.
#[derive(Debug)]
pub(crate) struct Whose {
    server: String,
    part: Part,
}

/// Says whose store it is, if nobody has.
///
/// # Errors
/// Somebody has, and it is another's; or Redis cannot be reached.
async fn begin(link: &Link, whose: &Whose) -> Result<()> {
    let [shards, shard] = whose.part.words();
    let known = [
        VERSION.to_string(),
        COMPATIBLE_FROM.to_string(),
        whose.server.clone(),
        shards,
        shard,
        TaskId::random().to_string(),
    ];
    // Of several that begin it at once all go by what the first has written.
    let meta = row::array(link.script(Script::Begin, known).await?);
    let owned = owned(&meta, &whose.server, whose.part);
    owned.map_err(|problem| Error::broken(problem.of(&link.location)))
}

/// Begins a store anew whose keys are gone under the processes that are at work on it.
///
/// # Errors
/// It is another's by now; or Redis cannot be reached.
pub(crate) async fn begin_anew(link: &Link) -> Result<()> {
    let Some(whose) = link.whose.get() else {
        return Ok(());
    };
    begin(link, whose).await
}
