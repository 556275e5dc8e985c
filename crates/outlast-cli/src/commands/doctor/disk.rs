//! A store that is a file: where it is, who may read it, how much room there is, and how fast the disk is.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Finding;

/// Less room than this is worth a word.
const LITTLE: u64 = 1024 * 1024 * 1024;

/// With less than this a store will soon be full.
const NONE: u64 = 64 * 1024 * 1024;

/// How long the disk is tried.
const TRY: Duration = Duration::from_millis(400);

/// Fewer writes a second than this hold tasks up.
const SLOW: f64 = 100.0;

pub(super) fn examine(database: &Path) -> Vec<Finding> {
    const WHAT: &str = "store";
    let mut findings = Vec::new();
    let shown = database.display();
    // A folder that is not there is made at the start, in the first that is.
    let folders = database.ancestors().skip(1);
    let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) else {
        let said = format!("{shown} is in no folder");
        return vec![Finding::fail(WHAT, said, "name another place")];
    };
    findings.push(match fs::metadata(database) {
        Err(_) => Finding::ok(WHAT, format!("{shown} will be made")),
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => Finding::warn(
            WHAT,
            format!("{shown} belongs to another user"),
            "run the server as its owner",
        ),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => Finding::warn(
            WHAT,
            format!(
                "{shown} can be read by others (mode {:o})",
                found.permissions().mode() & 0o777
            ),
            format!("chmod 600 {shown}"),
        ),
        Ok(found) => Finding::ok(WHAT, format!("{shown}, {}", size(found.len()))),
    });
    if let Some(name) = outlast_sqlite::network_file_system(folder) {
        findings.push(Finding::fail(
            WHAT,
            format!("{} is on a network file system ({name})", folder.display()),
            "put the store on a local disk",
        ));
    }
    findings.extend(room(folder));
    findings.push(speed(folder));
    findings
}

fn room(folder: &Path) -> Option<Finding> {
    const WHAT: &str = "room";
    let found = rustix::fs::statvfs(folder).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let said = format!("{} free at {}", size(free), folder.display());
    Some(if free < NONE {
        Finding::fail(WHAT, said, "make room: a full disk stops all tasks")
    } else if free < LITTLE {
        Finding::warn(WHAT, said, "make room, or prune tasks that have ended")
    } else {
        Finding::ok(WHAT, said)
    })
}

/// How many small writes a second reach the disk, one after the other, as the commits of tasks do.
fn speed(folder: &Path) -> Finding {
    const WHAT: &str = "disk";
    let path = folder.join(format!(".outlast-doctor-{}", std::process::id()));
    let measured = (|| {
        // A link that somebody else has laid there is not followed.
        let mut file = File::create_new(&path)?;
        let (begun, mut writes) = (Instant::now(), 0_u32);
        while begun.elapsed() < TRY {
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            writes += 1;
        }
        Ok::<_, std::io::Error>(f64::from(writes) / begun.elapsed().as_secs_f64())
    })();
    let _ = fs::remove_file(&path);
    match measured {
        Ok(rate) => {
            let said = format!("{rate:.0} synced writes a second; each commit of tasks is one");
            if rate < SLOW {
                Finding::warn(
                    WHAT,
                    said,
                    "a faster disk, or [server] synchronous = \"normal\", which a loss of power can cost the last tasks",
                )
            } else {
                Finding::ok(WHAT, said)
            }
        }
        Err(error) => Finding::fail(
            WHAT,
            format!("{} cannot be written to: {error}", folder.display()),
            "give the server's user the right to, or name another store",
        ),
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    // Shown with one digit; what a double cannot hold of it is not seen.
    let mut figure = bytes as f64 / 1024.0;
    let mut unit = 0;
    while figure >= 1024.0 && unit + 1 < UNITS.len() {
        figure /= 1024.0;
        unit += 1;
    }
    format!("{figure:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        let sizes = [7, 1536, 5 * 1024 * 1024].map(size);
        assert_eq!(sizes, ["7 bytes", "1.5 KiB", "5.0 MiB"]);
    }

    #[test]
    fn a_store_that_others_can_read_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let levels = |database: &Path| -> Vec<_> {
            let found = examine(database).into_iter();
            found
                .filter(|one| one.what == "store")
                .map(|one| one.level)
                .collect()
        };
        assert_eq!(levels(&database), [Level::Ok]);
        fs::write(&database, "").unwrap();
        fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(levels(&database), [Level::Warn]);
        fs::set_permissions(&database, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(levels(&database), [Level::Ok]);
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "what was tried is gone");
    }
}
