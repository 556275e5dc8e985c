//! The lock that keeps a store to one server, and the ground it stands on.
//!
//! The lock is advisory, exclusive and held on an open file beside the database, so the kernel frees
//! it when the process dies, however it dies. Its text (process id, then address) is only for the
//! message that a second server prints. The file is never removed: removing it would let two servers
//! lock two files of the same name.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use outlast_core::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The exclusive right to one store.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Mutex<File>,
}

impl Lock {
    /// Takes the lock of the database at `path`.
    ///
    /// # Errors
    /// Somebody has it (the message names the process), or the file cannot be made.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let lock_path = suffixed(path, ".lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| cannot_open(&lock_path, &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The text only makes the message better.
                let _ = file.read_to_string(&mut text);
                // That server may end, so the same call may succeed later.
                return Err(Error::Store {
                    message: in_use(path, &text),
                    retryable: true,
                    source: None,
                });
            }
            Err(error) => {
                return Err(Error::broken(format!(
                    "cannot lock {}: {error}; the store must be on a file system with locks",
                    lock_path.display()
                )));
            }
        }
        let lock = Self {
            file: Mutex::new(file),
        };
        lock.describe("")?;
        Ok(lock)
    }

    /// Records where this server can be reached, for the message of a second one.
    pub(crate) fn describe(&self, address: &str) -> Result<()> {
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = format!("{}\n{address}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(text.as_bytes()))
            .map_err(|error| Error::unavailable("cannot write the store's lock file", error))
    }
}

fn in_use(path: &Path, text: &str) -> String {
    let mut lines = text.lines();
    let holder = match lines.next().map(str::trim) {
        Some(pid) if !pid.is_empty() => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    let address = match lines.next().map(str::trim) {
        Some(address) if !address.is_empty() => format!(" ({address})"),
        _ => String::new(),
    };
    format!(
        "the task store {} is in use by {holder}{address}: stop that server, or give this one \
         another store",
        path.display()
    )
}

/// Makes the folder (0700) and the file (0600) where they are missing, and returns the file's real
/// path, so that two ways to one file lead to one lock.
pub(crate) fn prepare_file(path: &Path) -> Result<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let made: Vec<_> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_path_buf)
        .collect();
    if !folder.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| cannot_make(folder, &error))?;
    }
    refuse_folder(path)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| cannot_open(path, &error))?;
    let path = path
        .canonicalize()
        .map_err(|error| cannot_open(path, &error))?;
    refuse_network(&path)?;
    // A file that is safe in a folder whose own entry was lost with the power is lost as well.
    for folder in made
        .iter()
        .filter_map(|folder| folder.parent())
        .chain([folder])
    {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| cannot_open(folder, &error))?;
    }
    Ok(path)
}

/// Tells what [`prepare_file`] would refuse, and makes nothing. The file's real path, if it is there.
pub(crate) fn examine_file(path: &Path) -> Result<Option<PathBuf>> {
    use rustix::fs::{Access, access};

    let path = std::path::absolute(path).map_err(|error| cannot_open(path, &error))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    refuse_folder(&path)?;
    if path.exists() {
        let allowed = access(&path, Access::READ_OK | Access::WRITE_OK);
        allowed.map_err(|errno| cannot_open(&path, &errno.into()))?;
        let path = path
            .canonicalize()
            .map_err(|error| cannot_open(&path, &error))?;
        refuse_network(&path)?;
        return Ok(Some(path));
    }
    let mut there = folder.ancestors().filter(|folder| folder.exists());
    let there = there.next().unwrap_or(Path::new("/"));
    refuse_network(there)?;
    let allowed = match (there.is_dir(), there == folder) {
        (true, _) => access(there, Access::WRITE_OK | Access::EXEC_OK),
        (false, true) => Err(Errno::EXIST),
        (false, false) => Err(Errno::NOTDIR),
    };
    match allowed {
        Ok(()) => Ok(None),
        Err(errno) if there == folder && there.is_dir() => Err(cannot_open(&path, &errno.into())),
        Err(errno) => Err(cannot_make(folder, &errno.into())),
    }
}

fn refuse_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::broken(format!(
            "{} is a folder: name a file as the task store",
            path.display()
        )));
    }
    Ok(())
}

fn cannot_make(folder: &Path, error: &std::io::Error) -> Error {
    Error::broken(format!(
        "cannot make the folder {} for the task store: {error}",
        folder.display()
    ))
}

fn cannot_open(path: &Path, error: &std::io::Error) -> Error {
    Error::broken(format!(
        "cannot open {}: {error}; the server's user must be able to read and write it",
        path.display()
    ))
}

/// File systems over a network: their locks and shared memory do not hold what SQLite needs of them.
#[cfg(target_os = "linux")]
const NETWORK: [(rustix::fs::FsWord, &str); 8] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
];

/// The name of the network file system that `path` is on; `None` if it is on none, or nobody can tell. A
/// store is refused there: its locks and shared memory do not hold what SQLite needs of them.
pub fn network_file_system(path: &Path) -> Option<&'static str> {
    #[cfg(target_os = "linux")]
    {
        let magic = rustix::fs::statfs(path).ok()?.f_type;
        network_of(magic)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

#[cfg(target_os = "linux")]
fn network_of(magic: rustix::fs::FsWord) -> Option<&'static str> {
    let known = NETWORK.iter().find(|(known, _)| *known == magic);
    known.map(|(_, name)| *name)
}

fn refuse_network(path: &Path) -> Result<()> {
    network_file_system(path).map_or(Ok(()), |name| Err(on_network(path, name)))
}

fn on_network(path: &Path, name: &str) -> Error {
    Error::broken(format!(
        "the task store {} is on a network file system ({name}), where a SQLite file can be \
         damaged: put it on a local disk",
        path.display()
    ))
}

/// `path` with `suffix` after its name.
pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Names the machine's present boot. `None` where the system does not say; then a death of the
/// machine cannot be told from a death of the process.
pub(crate) fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_process_and_address() {
        let path = Path::new("/tmp/a.db");
        let full = in_use(path, "41\nhttp://127.0.0.1:9876\n");
        assert!(
            full.contains("process 41 (http://127.0.0.1:9876)"),
            "{full}"
        );
        let bare = in_use(path, "41\n\n");
        assert!(bare.contains("process 41:"), "{bare}");
        assert!(in_use(path, "").contains("another process:"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_refused() {
        let name = network_of(0x6969).unwrap();
        let error = on_network(Path::new("/mnt/a.db"), name).to_string();
        assert!(
            error.contains("NFS") && error.contains("local disk"),
            "{error}"
        );
        // ext4, btrfs, xfs, tmpfs, overlay.
        for local in [0xef53, 0x9123_683e, 0x5846_5342, 0x0102_1994, 0x794c_7630] {
            assert_eq!(network_of(local), None);
        }
    }
}
