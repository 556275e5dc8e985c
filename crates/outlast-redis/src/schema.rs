//! The record of how keys are laid out and whose they are.
//!
//! `meta` holds `version`, the layout; `compatible_from`, the oldest version whose programs can still
//! work with it; and the name of the server that it belongs to.

use outlast_core::{Error, Result};

use crate::connection::Link;
use crate::examination::{Examination, examine, owned};
use crate::row;
use crate::script::Script;

/// The layout this program writes.
pub(crate) const VERSION: u64 = 1;
/// The oldest program that can work with it.
const COMPATIBLE_FROM: u64 = 1;

/// Looks whether the server behind `link` can be the store of the server `server`, and makes it so.
/// Nothing is written unless it is.
///
/// # Errors
/// One sentence that says what is wrong and what to do.
pub(crate) async fn check(link: &Link, server: &str, volatile: bool) -> Result<Examination> {
    let found = examine(link, server, volatile).await?;
    found.judge(&link.location)?;
    for warning in &found.warnings {
        tracing::warn!("{}", warning.of(&link.location));
    }
    if found.is_new {
        let known = [
            VERSION.to_string(),
            COMPATIBLE_FROM.to_string(),
            server.to_owned(),
        ];
        // Of several that begin it at once all go by what the first has written.
        let meta = row::array(link.script(Script::Begin, known).await?);
        owned(&meta, server).map_err(|problem| Error::broken(problem.of(&link.location)))?;
    }
    Ok(found)
}
