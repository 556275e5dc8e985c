//! Fingerprints: short texts that differ when the binary or the settings differ.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

/// The path of this process's binary, as it was when it was asked for first: a later question would
/// find a rebuilt one "deleted".
pub(super) fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| std::env::current_exe().ok())
        .as_deref()
}

/// The binary of this process, as it was when it was asked for first: path, size, time and inode. A
/// rebuilt binary differs in at least one of them.
pub(crate) fn binary() -> &'static str {
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| {
        let mut hash = Sha256::new();
        if let Some(path) = program() {
            field(&mut hash, path.as_os_str().as_bytes());
            if let Ok(file) = std::fs::metadata(path) {
                for number in [file.size(), file.ino(), file.dev()] {
                    field(&mut hash, &number.to_le_bytes());
                }
                field(&mut hash, &file.mtime().to_le_bytes());
                field(&mut hash, &file.mtime_nsec().to_le_bytes());
            }
        }
        hex(hash)
    })
}

/// Everything else that makes a server what it is, piece by piece.
pub(crate) fn configuration<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for piece in pieces {
        field(&mut hash, piece);
    }
    hex(hash)
}

/// The command line of this process, for a program that may read more from it than settings.
pub(crate) fn arguments() -> Vec<OsString> {
    telling_arguments(std::env::args_os().skip(1))
}

/// The arguments without those that say how to connect and not what to serve.
fn telling_arguments(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut telling = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--listen") => {
                arguments.next();
            }
            Some(text) if text.starts_with("--listen=") || text.starts_with("--stdio") => {}
            _ => telling.push(argument),
        }
    }
    telling
}

/// With its length before it, so that no two lists of pieces look alike.
fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn hex(hash: Sha256) -> String {
    let bytes = hash.finalize();
    bytes
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_connect_says_nothing_about_the_server() {
        let list = |text: &str| -> Vec<OsString> {
            telling_arguments(text.split(' ').map(OsString::from))
        };
        assert_eq!(
            list("serve --stdio --db x"),
            list("serve --listen a:1 --db x")
        );
        assert_eq!(list("--stdio=bridge --db x"), list("--listen=a:1 --db x"));
        assert_ne!(list("--db x"), list("--db y"));
    }

    #[test]
    fn pieces_do_not_run_together() {
        assert_ne!(
            configuration([&b"ab"[..], b"c"]),
            configuration([&b"a"[..], b"bc"])
        );
    }

    #[test]
    fn a_process_has_one_binary() {
        assert_eq!(binary(), binary());
        assert_eq!(binary().len(), 32);
    }
}
