//! The key that secret arguments and the webhooks of calls are sealed with: in the environment as `OUTLAST_KEY`, or in the file
//! `<db>.key` (mode 0600), which is made when a server first has a tool with secrets.
//!
//! It is not in the store, so that a copy of the store tells nothing. The store knows its digest, so that
//! a server with another key does not start, instead of failing every task that has secrets.
//!
//! A copied store needs the key of the one that it was copied from. A key in a file is taken along; one from
//! the environment is not written down, for whoever put it there did not want it on a disk.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use outlast_core::Side;
use sha2::{Digest, Sha256};

use super::beside;
use crate::error::StartError;

const VARIABLE: &str = "OUTLAST_KEY";
const SPACE: &str = "secret-key";
const NAME: &str = "digest";

type Key = [u8; 32];

/// The key of the store at `database`; `None` if there is none and none is `needed`.
///
/// # Errors
/// It is no key, others may read it, or the store's secrets were sealed with another one.
pub(super) async fn load(
    database: &Path,
    side: &dyn Side,
    needed: bool,
) -> Result<Option<Key>, StartError> {
    let path = beside(database, ".key");
    let key = found(&path, needed)?;
    let other = || {
        StartError::new(format!(
            "secrets in this store were sealed with another key: start the server with the {VARIABLE} \
             that it had, or put the file {} back",
            path.display()
        ))
    };
    match key {
        Some(key) => {
            let digest = digest(&key);
            let known = side.record_init(SPACE, NAME, digest.clone()).await?;
            if known != digest {
                return Err(other());
            }
            Ok(Some(key))
        }
        None if side.record_get(SPACE, NAME).await?.is_some() => Err(other()),
        None => Ok(None),
    }
}

/// Where the key is that the secrets of a copied store are sealed with.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyOfCopy {
    /// Nothing was ever sealed in it.
    None,
    /// In this file, of mode 0600, which a server on this machine finds.
    File(PathBuf),
    /// It is what the servers of the store that was copied have in the environment, as `OUTLAST_KEY`.
    Environment,
}

/// A store and its place, for [`take_along`].
#[derive(Clone, Copy)]
pub(super) struct Sealed<'a> {
    pub(super) database: &'a Path,
    pub(super) side: &'a dyn Side,
}

/// Gives the store `to` the key of the store `from`, before anything sealed is copied into it.
///
/// # Errors
/// `to` has secrets under another key, or another key in its place, or a key file cannot be read or written.
pub(super) async fn take_along(from: Sealed<'_>, to: Sealed<'_>) -> Result<KeyOfCopy, StartError> {
    let Some(known) = from.side.record_get(SPACE, NAME).await? else {
        return Ok(KeyOfCopy::None);
    };
    let there = to.side.record_get(SPACE, NAME).await?;
    if there.is_some_and(|there| there != known) {
        return Err(StartError::new(
            "the secrets in the two stores are sealed with different keys: copy into a store that has none",
        ));
    }
    let key = in_file(&beside(from.database, ".key"), false)?;
    let Some(key) = key.filter(|key| digest(key) == known) else {
        return Ok(KeyOfCopy::Environment);
    };
    let path = beside(to.database, ".key");
    match in_file(&path, false)? {
        Some(other) if other != key => Err(StartError::new(format!(
            "{} holds another key than the one that the secrets to be copied are sealed with: move it away if \
             no store needs it, or copy into another store",
            path.display()
        ))),
        Some(_) => Ok(KeyOfCopy::File(path)),
        None => {
            make(&path, key).map_err(|error| {
                StartError::new(format!("the key file {}: {error}", path.display()))
            })?;
            Ok(KeyOfCopy::File(path))
        }
    }
}

fn digest(key: &Key) -> Vec<u8> {
    let mut digest = Sha256::new();
    digest.update(b"outlast: which key");
    digest.update(key);
    digest.finalize().to_vec()
}

/// Tells what [`load`] would refuse of the key itself, and makes none.
///
/// # Errors
/// It is no key, or others may read it.
pub(super) fn examine(database: &Path) -> Result<(), StartError> {
    found(&beside(database, ".key"), false).map(drop)
}

fn found(path: &Path, needed: bool) -> Result<Option<Key>, StartError> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return in_file(path, needed);
    };
    let key = parse(&text).ok_or_else(|| {
        StartError::new(format!(
            "{VARIABLE} is no key; write 64 hexadecimal digits, for example what \
             `openssl rand -hex 32` prints"
        ))
    })?;
    Ok(Some(key))
}

fn in_file(path: &Path, needed: bool) -> Result<Option<Key>, StartError> {
    let fail =
        |problem: String| StartError::new(format!("the key file {}: {problem}", path.display()));
    match fs::metadata(path) {
        Ok(file) if file.mode() & 0o077 != 0 => {
            Err(fail("others may read it; run chmod 600 on it".into()))
        }
        Ok(_) => {
            let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
            let key = parse(&text);
            let what = "holds no key; put the right file back, for without it the secrets in the \
                        store are lost";
            key.map(Some).ok_or_else(|| fail(what.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && needed => {
            let made = random().and_then(|key| make(path, key));
            made.map_err(|error| fail(error.to_string()))?;
            in_file(path, false)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error.to_string())),
    }
}

/// Makes the file, whole or not at all: it gets its name when its bytes are on the disk, for what is sealed
/// with it must not outlast it. Of several servers that make one at the same time, one does.
fn make(path: &Path, key: Key) -> io::Result<()> {
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{:016x}", u64::from_ne_bytes(random()?)));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    let written = file
        .write_all(format!("{text}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    fs::remove_file(&unfinished)?;
    written?;
    fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

fn parse(text: &str) -> Option<Key> {
    let text = text.trim();
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut key = Key::default();
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use outlast_core::testing::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_key_is_made_once_and_missed_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let path = beside(&database, ".key");
        let store = MemoryStore::default();
        assert_eq!(load(&database, &store, false).await.unwrap(), None);
        assert!(!path.exists());
        let key = load(&database, &store, true).await.unwrap();
        assert!(key.is_some());
        assert_eq!(load(&database, &store, false).await.unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(&database, &store, true).await.unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");

        fs::remove_file(&path).unwrap();
        for needed in [false, true] {
            let error = load(&database, &store, needed).await.unwrap_err();
            assert!(error.to_string().contains("another key"), "{error}");
        }
        assert_eq!(parse("abc"), None);
    }

    #[tokio::test]
    async fn a_copy_gets_the_key_of_what_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old.db", "new.db"].map(|name| folder.path().join(name));
        let (from, to) = (MemoryStore::default(), MemoryStore::default());
        let sealed = |database, side| Sealed { database, side };
        let take = || take_along(sealed(&old, &from), sealed(&new, &to));
        assert_eq!(take().await.unwrap(), KeyOfCopy::None);
        assert!(!beside(&new, ".key").exists(), "nothing is sealed yet");

        let key = load(&old, &from, true).await.unwrap();
        let path = beside(&new, ".key");
        for time in ["first", "again"] {
            let taken = take().await.unwrap();
            assert_eq!(taken, KeyOfCopy::File(path.clone()), "{time}");
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(load(&new, &to, true).await.unwrap(), key);

        // Without the file, it is in the environment of the servers.
        fs::remove_file(beside(&old, ".key")).unwrap();
        assert_eq!(take().await.unwrap(), KeyOfCopy::Environment);
    }

    #[tokio::test]
    async fn a_copy_never_gets_secrets_under_two_keys() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old.db", "new.db"].map(|name| folder.path().join(name));
        let (from, to) = (MemoryStore::default(), MemoryStore::default());
        let sealed = |database, side| Sealed { database, side };
        let take = || take_along(sealed(&old, &from), sealed(&new, &to));
        load(&old, &from, true).await.unwrap();
        let path = beside(&new, ".key");
        make(&path, [7; 32]).unwrap();
        let error = take().await.unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        load(&new, &to, true).await.unwrap();
        let error = take().await.unwrap_err().to_string();
        assert!(error.contains("different keys"), "{error}");
        assert_eq!(in_file(&path, false).unwrap(), Some([7; 32]), "left alone");
    }

    #[test]
    fn servers_that_start_together_have_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| in_file(&path, true).unwrap());
            let threads: Vec<_> = std::iter::repeat_with(start).take(8).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(keys.iter().all(|key| key.is_some() && *key == keys[0]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
