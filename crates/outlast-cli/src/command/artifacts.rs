//! Files that a command leaves behind and that are kept with its task: `artifacts = ["out/*.csv"]`.
//!
//! They are looked for once, when the command has ended, below its working folder. Only regular files
//! that were written while it ran count: what lay there before belongs to somebody else. What another run
//! writes there at the same time cannot be told apart, which is what `own_folder` is for. A link that
//! leads out of the folder is passed over. What cannot be kept is named in the result and in the log,
//! and does not fail the task: the command has done its work.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};
use outlast_engine::{Cx, ErrorKind, Result};

/// File systems stamp with a clock that may lag behind by some ticks.
const SLACK_MS: u64 = 50;

/// What was kept of a command's files.
#[derive(Debug, Default)]
pub struct Kept {
    /// The names of the artifacts.
    pub names: Vec<String>,
    /// Files that could not be kept, each with the reason.
    pub failed: Vec<String>,
}

/// Says whether a text can be a pattern for artifacts.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn check(pattern: &str) -> Result<(), String> {
    let leaves = pattern.starts_with('/') || pattern.split('/').any(|part| part == "..");
    if pattern.is_empty() || leaves {
        return Err(format!(
            "\"{pattern}\" does not stay below the working folder; write a relative pattern such as \
             \"out/*.csv\", without .."
        ));
    }
    Pattern::new(pattern)
        .map(drop)
        .map_err(|error| format!("\"{pattern}\" is no pattern: {error}"))
}

/// Keeps the files that match, were written since `began_ms` (milliseconds since 1970), and are below
/// `folder`.
///
/// # Errors
/// The store failed or the lease is lost: the next attempt does it again.
pub(super) async fn keep(
    cx: &Cx,
    patterns: &[String],
    folder: &Path,
    began_ms: u64,
) -> Result<Kept> {
    let mut kept = Kept::default();
    if patterns.is_empty() {
        return Ok(kept);
    }
    let (wanted, below) = (patterns.to_vec(), folder.to_owned());
    let found = tokio::task::spawn_blocking(move || find(&wanted, &below, began_ms)).await?;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            kept.failed.push(format!("{}: {error}", folder.display()));
            return Ok(kept);
        }
    };
    for (name, path) in found {
        match cx
            .artifact(name.as_str(), media_type(&path), path.as_path())
            .await
        {
            Ok(_) => kept.names.push(name),
            Err(error) => match error.kind() {
                ErrorKind::Tool(_) | ErrorKind::NotATask(_) => {
                    kept.failed.push(format!("{name}: {error}"));
                }
                _ => return Err(error),
            },
        }
    }
    if kept.names.is_empty() && kept.failed.is_empty() {
        cx.info(format!(
            "no file to keep: none that this run has written matches {}",
            patterns.join(", ")
        ));
    }
    for failed in &kept.failed {
        cx.warning(format!("not kept as an artifact: {failed}"));
    }
    Ok(kept)
}

/// The matching files by name, in the order of the names.
fn find(
    patterns: &[String],
    folder: &Path,
    began_ms: u64,
) -> io::Result<BTreeSet<(String, PathBuf)>> {
    let root = folder.canonicalize()?;
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let mut found = BTreeSet::new();
    for pattern in patterns {
        // At its end `**` stands for folders alone, and whoever writes it means what is in them.
        let rest = match pattern.as_str() {
            "**" => "/*",
            pattern if pattern.ends_with("/**") => "/*",
            _ => "",
        };
        let escaped = Pattern::escape(&root.to_string_lossy());
        let whole = format!("{escaped}/{pattern}{rest}");
        let paths = glob::glob_with(&whole, options).map_err(io::Error::other)?;
        // A folder that cannot be read has no files for us.
        for path in paths.flatten() {
            let (Ok(metadata), Ok(real)) = (path.metadata(), path.canonicalize()) else {
                continue;
            };
            let written = u64::try_from(metadata.ctime()).unwrap_or(0) * 1000
                + u64::try_from(metadata.ctime_nsec()).unwrap_or(0) / 1_000_000;
            let is_new = written + SLACK_MS >= began_ms;
            if metadata.is_file() && is_new && real.starts_with(&root) {
                let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy();
                found.insert((name.into_owned(), real));
            }
        }
    }
    Ok(found)
}

/// The media type that the end of a file's name stands for.
fn media_type(path: &Path) -> &'static str {
    let end = path.extension().and_then(|end| end.to_str());
    match end.unwrap_or_default().to_ascii_lowercase().as_str() {
        "csv" => "text/csv",
        "css" => "text/css",
        "gif" => "image/gif",
        "gz" | "tgz" => "application/gzip",
        "htm" | "html" => "text/html",
        "jpeg" | "jpg" => "image/jpeg",
        "json" => "application/json",
        "log" | "txt" => "text/plain",
        "md" => "text/markdown",
        "mp4" => "video/mp4",
        "parquet" => "application/vnd.apache.parquet",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "tar" => "application/x-tar",
        "toml" => "application/toml",
        "webp" => "image/webp",
        "xml" => "application/xml",
        "yaml" | "yml" => "application/yaml",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_below() {
        for pattern in ["a.csv", "out/*.csv", "**/*.png", "out/[a-c]?.txt"] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
        for pattern in ["", "/etc/*", "../x", "a/../../x", "a[", "a***"] {
            assert!(check(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn only_new_regular_files_below_the_folder_are_found() {
        let dir = tempfile::tempdir().unwrap();
        // A folder whose own name looks like a pattern.
        let folder = dir.path().join("a[b]*");
        std::fs::create_dir_all(folder.join("out/sub.csv")).unwrap();
        std::fs::write(dir.path().join("secret.csv"), "x").unwrap();
        for name in ["out/b.csv", "out/a.csv", "out/c.txt", "out/.hidden.csv"] {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("../../secret.csv", folder.join("out/link.csv")).unwrap();
        let names = |patterns: &[&str], since| {
            let patterns: Vec<_> = patterns.iter().map(|one| (*one).to_owned()).collect();
            let found = find(&patterns, &folder, since).unwrap();
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&["out/*.csv", "**/a.*"], 0),
            ["out/a.csv", "out/b.csv"]
        );
        assert!(names(&["out/*.csv"], u64::MAX / 2).is_empty());
        std::fs::write(folder.join("out/sub.csv/deep"), "x").unwrap();
        let all = ["out/a.csv", "out/b.csv", "out/c.txt", "out/sub.csv/deep"];
        for everything in ["out/**", "**", "**/*", "out/**/*"] {
            assert_eq!(names(&[everything], 0), all, "{everything}");
        }
    }
}
