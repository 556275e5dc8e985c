//! The commented file that `outlast init` writes.

use std::io::Write;
use std::path::Path;

/// The sample: a server with tools that work on any machine with a POSIX shell.
pub const SAMPLE: &str = include_str!("sample.toml");

/// Writes the sample to `path`, which must not exist.
///
/// # Errors
/// `AlreadyExists` when there is something at `path` (it is left alone), or whatever kept the file
/// from being written.
pub fn write_sample(path: &Path) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(SAMPLE.as_bytes())
}
