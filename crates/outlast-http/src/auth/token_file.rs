//! Bearer tokens in a file: the simplest way to tell the people of a team apart.
//!
//! `outlast token add NAME` makes a token, shows it once, and writes its SHA-256 digest into the file
//! (mode 0600). A token holds 256 random bits, so that a fast digest is as good as a slow one: there
//! is nothing to guess. Its public part finds the entry, the digests are then compared in constant
//! time.
//!
//! The file is looked at again at most once a second, so that a token that was revoked is refused a
//! second later without a restart. A file that has become unreadable lets nobody in, and the log says
//! why; writers replace it in one rename.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outlast_core::{Clock, Owner, Principal, Scope, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Authenticator, Credentials, Denied};

/// How a token of ours begins, so that people and scanners recognise one.
const PREFIX: &str = "olt_";

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// One token, as the file has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// The public part of the token, eight hexadecimal digits.
    pub id: String,
    /// Whose tasks its bearer has.
    pub owner: String,
    /// The groups its bearer is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What its bearer may do.
    pub scope: Scope,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The SHA-256 digest of the whole token, in hexadecimal digits.
    sha256: String,
}

impl TokenEntry {
    /// Whether it is refused at this time.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What a new token is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewToken {
    /// See [`TokenEntry::owner`].
    pub owner: String,
    /// See [`TokenEntry::groups`].
    pub groups: Vec<String>,
    /// See [`TokenEntry::scope`].
    pub scope: Scope,
    /// How long it is good; `None` for ever.
    pub lifetime: Option<Duration>,
}

/// A token file that cannot be used; the sentence says what to do.
#[derive(Debug, thiserror::Error)]
#[error("the token file {path}: {problem}", path = path.display())]
pub struct TokenFileError {
    path: PathBuf,
    problem: String,
}

/// The content of a token file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    tokens: Vec<TokenEntry>,
}

impl Tokens {
    /// Reads a file; one that is not there has no tokens.
    ///
    /// # Errors
    /// It cannot be read, was not written by us, or may be read by others.
    pub fn load(path: &Path) -> Result<Self, TokenFileError> {
        let fail = |problem: String| TokenFileError {
            path: path.to_owned(),
            problem,
        };
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(fail(format!("cannot be read: {error}"))),
        };
        if metadata.mode() & 0o022 != 0 {
            return Err(fail(
                "others may write it, and could let themselves in; run chmod 600 on it".into(),
            ));
        }
        let text = fs::read(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let tokens: Self = serde_json::from_slice(&text).map_err(|error| {
            fail(format!(
                "is not what outlast token writes ({error}); mend it, or move it away and make the \
                 tokens again"
            ))
        })?;
        Ok(tokens)
    }

    /// Changes a file: nobody else who does it this way comes between reading and writing it. It is written
    /// only if `change` says so.
    ///
    /// # Errors
    /// As [`Tokens::load`] and [`Tokens::save`].
    pub fn change<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<Option<T>, TokenFileError> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let locked = File::open(folder).and_then(|folder| folder.lock().map(|()| folder));
        let _locked = locked.map_err(|error| TokenFileError {
            path: path.to_owned(),
            problem: format!("its folder cannot be locked: {error}"),
        })?;
        let mut tokens = Self::load(path)?;
        let changed = change(&mut tokens);
        if changed.is_some() {
            tokens.save(path)?;
        }
        Ok(changed)
    }

    /// Replaces a file in one step. Whoever could read the old one can read the new one.
    ///
    /// # Errors
    /// It cannot be written, or not for those who could read the old one; that one is then still there.
    pub fn save(&self, path: &Path) -> Result<(), TokenFileError> {
        let fail = |error: io::Error| TokenFileError {
            path: path.to_owned(),
            problem: format!("cannot be written: {error}"),
        };
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            file.write_all(&text)?;
            match fs::metadata(path) {
                // A server of another user is to read it still.
                Ok(old) => {
                    let new = file.metadata()?;
                    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                        let kept = fchown(&file, Some(old.uid()), Some(old.gid()));
                        kept.map_err(|error| {
                            let problem = format!("it is user {}'s ({error})", old.uid());
                            io::Error::new(error.kind(), problem)
                        })?;
                    }
                    file.set_permissions(old.permissions())?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            file.sync_all()?;
            fs::rename(&draft, path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&draft);
            fail(error)
        })
    }

    /// The tokens, in the order in which they were made.
    pub fn entries(&self) -> &[TokenEntry] {
        &self.tokens
    }

    /// Adds a token, and returns it: the only time it is to be seen.
    pub fn add(&mut self, new: NewToken, now: Timestamp) -> String {
        let mut public = [0; 4];
        let mut random = [0; 32];
        for bytes in [&mut public[..], &mut random[..]] {
            getrandom::fill(bytes).expect("the operating system gives random bytes");
        }
        let id = hex(&public);
        let token = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(random));
        self.tokens.push(TokenEntry {
            id,
            owner: new.owner,
            groups: new.groups,
            scope: new.scope,
            created: now,
            expires: new.lifetime.map(|lifetime| now + lifetime),
            sha256: hex(&Sha256::digest(&token)),
        });
        token
    }

    /// Takes away the token with this public part, or all of this owner; returns what is gone.
    pub fn revoke(&mut self, id_or_owner: &str) -> Vec<TokenEntry> {
        let (gone, kept) = std::mem::take(&mut self.tokens)
            .into_iter()
            .partition(|entry| entry.id == id_or_owner || entry.owner == id_or_owner);
        self.tokens = kept;
        gone
    }
}

/// Knows the tokens of a file.
pub struct TokenFile {
    path: PathBuf,
    clock: SystemClock,
    loaded: RwLock<Loaded>,
}

struct Loaded {
    /// By public part. `None` while the file cannot be used.
    entries: Option<Arc<HashMap<String, Known>>>,
    seen: Option<Seen>,
    at: Instant,
}

struct Known {
    digest: [u8; 32],
    expires: Option<Timestamp>,
    principal: Principal,
}

/// What tells a file that was replaced.
type Seen = (u64, u64, i64, i64);

impl TokenFile {
    /// The tokens of this file.
    ///
    /// # Errors
    /// The file is there and cannot be used.
    pub fn open(path: &Path) -> Result<Self, TokenFileError> {
        let seen = seen(path);
        let entries = known(&Tokens::load(path)?);
        Ok(Self {
            path: path.to_owned(),
            clock: SystemClock::new(),
            loaded: RwLock::new(Loaded {
                entries: Some(Arc::new(entries)),
                seen,
                at: Instant::now(),
            }),
        })
    }

    fn entries(&self) -> Option<Arc<HashMap<String, Known>>> {
        {
            let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
            if loaded.at.elapsed() < LOOK {
                return loaded.entries.clone();
            }
        }
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if loaded.at.elapsed() < LOOK {
            return loaded.entries.clone();
        }
        loaded.at = Instant::now();
        let seen = seen(&self.path);
        if seen != loaded.seen || loaded.entries.is_none() {
            loaded.seen = seen;
            loaded.entries = match Tokens::load(&self.path) {
                Ok(tokens) => Some(Arc::new(known(&tokens))),
                Err(error) => {
                    tracing::error!("{error}; nobody gets in until it is mended");
                    None
                }
            };
        }
        loaded.entries.clone()
    }

    fn whose(&self, credentials: Credentials<'_>) -> Result<Principal, Denied> {
        let token = credentials.token()?;
        let Some(rest) = token.expose().strip_prefix(PREFIX) else {
            return Err(Denied::Foreign);
        };
        let unknown = || Denied::Invalid("the token is unknown, has expired or was revoked".into());
        let entries = self
            .entries()
            .ok_or_else(|| Denied::unavailable("the server cannot read its token file"))?;
        let id = rest.split('_').next().unwrap_or_default();
        let known = entries.get(id);
        // A token without an entry is compared too, so that both take as long.
        let digest = known.map_or([0; 32], |known| known.digest);
        let fits = bool::from(digest.ct_eq(&token.digest()));
        match known {
            Some(known) if fits => {
                let now = self.clock.now();
                if known.expires.is_some_and(|expires| expires <= now) {
                    return Err(unknown());
                }
                Ok(known.principal.clone())
            }
            _ => Err(unknown()),
        }
    }
}

#[async_trait]
impl Authenticator for TokenFile {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, Denied> {
        self.whose(credentials)
    }

    fn known(&self, credentials: Credentials<'_>) -> Option<Result<Principal, Denied>> {
        Some(self.whose(credentials))
    }
}

fn known(tokens: &Tokens) -> HashMap<String, Known> {
    let entry = |entry: &TokenEntry| {
        let digest = unhex(&entry.sha256)?;
        let principal = Principal::new(Owner::new(entry.owner.as_str()))
            .with_groups(entry.groups.clone())
            .with_scope(entry.scope);
        let known = Known {
            digest,
            expires: entry.expires,
            principal,
        };
        Some((entry.id.clone(), known))
    };
    tokens.tokens.iter().filter_map(entry).collect()
}

fn seen(path: &Path) -> Option<Seen> {
    let file = fs::metadata(path).ok()?;
    Some((file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::Failures;
    use super::*;

    async fn who(file: &TokenFile, token: &str) -> Result<Principal, Denied> {
        let request = http::Request::builder().header("authorization", format!("Bearer {token}"));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let failures = Failures::default();
        file.authenticate(Credentials::new(&parts, None, &failures))
            .await
    }

    fn new(owner: &str) -> NewToken {
        NewToken {
            owner: owner.into(),
            groups: vec!["ops".into()],
            scope: Scope::Run,
            lifetime: None,
        }
    }

    #[tokio::test]
    async fn a_token_is_its_owner_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let now = SystemClock::new().now();
        let mut tokens = Tokens::load(&path).unwrap();
        let alice = tokens.add(new("alice"), now);
        let short = NewToken {
            lifetime: Some(Duration::ZERO),
            ..new("short")
        };
        let short = tokens.add(short, now);
        tokens.save(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&alice), "hashed at rest");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        let file = TokenFile::open(&path).unwrap();
        let principal = who(&file, &alice).await.unwrap();
        assert_eq!(principal.owner().as_str(), "alice");
        assert_eq!(principal.groups(), ["ops"]);
        assert!(principal.may(Scope::Run) && principal.is_authenticated());
        let mut forged = alice.clone();
        forged.pop();
        for bad in [forged.as_str(), "olt_", "olt_00000000_x", short.as_str()] {
            assert!(
                matches!(who(&file, bad).await, Err(Denied::Invalid(_))),
                "{bad}"
            );
        }
        assert_eq!(who(&file, "eyJhb.x.y").await, Err(Denied::Foreign));

        let gone = tokens.revoke("alice");
        assert_eq!(gone.len(), 1);
        tokens.save(&path).unwrap();
        file.loaded.write().unwrap().at -= LOOK;
        assert!(matches!(who(&file, &alice).await, Err(Denied::Invalid(_))));
    }

    #[tokio::test]
    async fn a_broken_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let mut tokens = Tokens::default();
        let alice = tokens.add(new("alice"), SystemClock::new().now());
        tokens.save(&path).unwrap();
        let file = TokenFile::open(&path).unwrap();
        fs::write(&path, "{").unwrap();
        file.loaded.write().unwrap().at -= LOOK;
        assert!(matches!(
            who(&file, &alice).await,
            Err(Denied::Unavailable { .. })
        ));
        assert!(TokenFile::open(&path).is_err());
        tokens.save(&path).unwrap();
        file.loaded.write().unwrap().at -= LOOK;
        assert!(who(&file, &alice).await.is_ok());
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        Tokens::default().save(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let error = Tokens::load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    /// Only root can give files away; whoever runs the test as somebody else tries the refusal of that.
    #[test]
    fn a_file_of_another_user_stays_theirs() {
        use std::os::unix::fs::chown;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        Tokens::default().save(&path).unwrap();
        let (nobody, now) = (65_534, SystemClock::new().now());
        if let Err(error) = chown(&path, Some(nobody), Some(nobody)) {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            return;
        }
        Tokens::change(&path, |tokens| Some(tokens.add(new("alice"), now))).unwrap();
        let changed = fs::metadata(&path).unwrap();
        assert_eq!((changed.uid(), changed.gid()), (nobody, nobody));
        assert_eq!(Tokens::load(&path).unwrap().entries().len(), 1);
    }

    #[test]
    fn those_who_change_it_at_once_do_not_undo_one_another() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        Tokens::default().save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let now = SystemClock::new().now();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let owner = format!("owner {number}");
                    Tokens::change(path, |tokens| Some(tokens.add(new(&owner), now))).unwrap();
                });
            }
        });
        assert_eq!(Tokens::load(&path).unwrap().entries().len(), 8);
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o640, "a server in its group reads it still");
        let unchanged = Tokens::change(&path, |_| None::<()>).unwrap();
        assert!(unchanged.is_none());
    }
}
