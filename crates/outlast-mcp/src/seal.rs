//! Small secrets that travel through clients: sealed, so that what comes back is what was sent.
//!
//! Session ids, the ids of questions and the state of a call that waits for answers are given to
//! clients and trusted when they return. Each is encrypted and authenticated (ChaCha20-Poly1305
//! with a random nonce) under a key that all instances share through the store, and bound to its
//! purpose, so that one kind cannot be passed off as another. Sealing holds no state: whatever must
//! expire carries its own time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use outlast_core::{Result, Side};

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 12;
/// Marks the form of a sealed text; another form gets another first byte.
const FORM: u8 = 1;

/// The keys a server seals with: it writes with the first and reads with any.
///
/// A key is changed by putting a new one before the old; both stay valid until whatever the old one
/// sealed has run out.
pub(crate) struct Sealer {
    keys: Vec<ChaCha20Poly1305>,
}

/// What a sealed text is for. A text sealed for one purpose does not open for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The id of a session of the older era.
    Session,
    /// The id of a question that was sent to a client.
    Question,
    /// The state of a call that waits for answers before its task exists.
    CallState,
    /// The name of a stream that any instance can go on with.
    Stream,
    /// A position in a list.
    Cursor,
    /// The token that a browser was signed in with.
    Browser,
}

impl Purpose {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::Question => b"question",
            Self::CallState => b"call state",
            Self::Stream => b"stream",
            Self::Cursor => b"cursor",
            Self::Browser => b"browser",
        }
    }
}

impl Sealer {
    /// The store of the keys.
    const SPACE: &str = "mcp-keys";
    const NEWEST: &str = "1";
    const OLDEST: &str = "0";

    /// Loads the keys from the store, or makes them there if this is its first server.
    ///
    /// # Errors
    /// The store cannot be read or written, or holds keys of another form.
    pub(crate) async fn load(side: &dyn Side) -> Result<Self> {
        let mut keys = Vec::new();
        for name in [Self::NEWEST, Self::OLDEST] {
            let fresh = random::<KEY_LEN>().to_vec();
            let kept = side.record_init(Self::SPACE, name, fresh).await?;
            let kept: [u8; KEY_LEN] = kept.try_into().map_err(|_| {
                outlast_core::Error::broken(
                    "the sealing keys in the store have another form; this store belongs to another version",
                )
            })?;
            keys.push(kept);
        }
        Ok(Self::new(keys))
    }

    /// A sealer with these keys, the first of which seals.
    pub(crate) fn new(keys: impl IntoIterator<Item = [u8; KEY_LEN]>) -> Self {
        let keys = keys
            .into_iter()
            .map(|key| ChaCha20Poly1305::new(&Key::from(key)))
            .collect();
        Self { keys }
    }

    /// Seals `plain` for `purpose`: visible ASCII without punctuation other than `-` and `_`.
    pub(crate) fn seal(&self, purpose: Purpose, plain: &[u8]) -> String {
        let nonce = random::<NONCE_LEN>();
        let payload = Payload {
            msg: plain,
            aad: purpose.as_bytes(),
        };
        let sealed = self.keys[0]
            .encrypt(&Nonce::from(nonce), payload)
            .expect("a message far below 256 GiB can be sealed");
        let mut bytes = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        bytes.push(FORM);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens what [`Self::seal`] made for the same purpose. `None` for everything else.
    pub(crate) fn open(&self, purpose: Purpose, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (&form, rest) = bytes.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if form != FORM {
            return None;
        }
        self.keys.iter().find_map(|key| {
            let payload = Payload {
                msg: sealed,
                aad: purpose.as_bytes(),
            };
            key.decrypt(&Nonce::from(*nonce), payload).ok()
        })
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let sealer = Sealer::new([[7; 32]]);
        let text = sealer.seal(Purpose::Session, b"who");
        assert_eq!(sealer.open(Purpose::Session, &text).unwrap(), b"who");
        assert_eq!(sealer.open(Purpose::Question, &text), None);
        assert_eq!(Sealer::new([[8; 32]]).open(Purpose::Session, &text), None);
        for index in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[index] = if forged[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(sealer.open(Purpose::Session, &forged), None, "{forged}");
        }
    }

    #[test]
    fn an_older_key_still_opens() {
        let text = Sealer::new([[1; 32]]).seal(Purpose::Cursor, b"9");
        assert_eq!(
            Sealer::new([[2; 32], [1; 32]])
                .open(Purpose::Cursor, &text)
                .unwrap(),
            b"9"
        );
    }

    #[tokio::test]
    async fn every_server_of_a_store_has_the_same_keys() {
        let store = outlast_core::testing::MemoryStore::default();
        let first = Sealer::load(&store).await.unwrap();
        let second = Sealer::load(&store).await.unwrap();
        let text = first.seal(Purpose::Session, b"x");
        assert!(second.open(Purpose::Session, &text).is_some());
    }
}
