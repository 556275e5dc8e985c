//! Sealing under the key that is not in the store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use outlast_core::{JournalEntry, JournalKind, RawJson, Recorded, TaskId, TaskSpec, UndoCall};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;

use super::{DOTS, Fields, Mask};

const NONCE: usize = 12;

/// Seals and opens secrets.
pub(crate) struct Vault {
    cipher: ChaCha20Poly1305,
    /// Tells equal secrets, without telling which.
    mac: Hmac<Sha256>,
}

/// A sealed value in the journal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    #[serde(rename = "outlast/sealed")]
    sealed: String,
}

/// What a run needs of its secrets.
#[derive(Default)]
pub(crate) struct Opened {
    /// The arguments as they were given; `None` if they had no secrets.
    pub(crate) arguments: Option<RawJson>,
    pub(crate) mask: Mask,
}

impl Vault {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).expect("any length will do");
        // Another use of the key, which must not be confused with the first.
        mac.update(b"outlast: equal secrets");
        Self {
            cipher: ChaCha20Poly1305::new(&Key::from(key)),
            mac,
        }
    }

    /// A vault whose key is known to nobody.
    pub(crate) fn ephemeral() -> Self {
        Self::new(random())
    }

    fn seal(&self, task: TaskId, plain: &[u8]) -> String {
        let nonce: [u8; NONCE] = random();
        let payload = Payload {
            msg: plain,
            aad: task.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .expect("a message far below 256 GiB can be sealed");
        STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    fn open(&self, task: TaskId, text: &str) -> Result<Vec<u8>, String> {
        let cannot = || {
            "secrets of this task were sealed with another key; start the server with the key that \
             it had"
                .to_owned()
        };
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| cannot())?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>().ok_or_else(cannot)?;
        let payload = Payload {
            msg: sealed,
            aad: task.as_bytes(),
        };
        self.cipher
            .decrypt(&Nonce::from(*nonce), payload)
            .map_err(|_| cannot())
    }

    /// A text that belongs to a task, sealed.
    pub(crate) fn seal_text(&self, task: TaskId, plain: &str) -> String {
        self.seal(task, plain.as_bytes())
    }

    /// What [`Vault::seal_text`] has sealed.
    ///
    /// # Errors
    /// The key is another one; the sentence says so.
    pub(crate) fn open_text(&self, task: TaskId, sealed: &str) -> Result<String, String> {
        String::from_utf8(self.open(task, sealed)?).map_err(|error| error.to_string())
    }

    /// The arguments with a keyed digest in the place of each secret, for finding equal calls.
    pub(crate) fn keyed(&self, arguments: &RawJson, fields: &Fields) -> RawJson {
        let mut value = arguments.to_value();
        for (at, secret) in fields.take(&mut value, DOTS) {
            let mut mac = self.mac.clone();
            mac.update(secret.to_string().as_bytes());
            let digest = STANDARD_NO_PAD.encode(mac.finalize().into_bytes());
            if let Some(place) = value.pointer_mut(&at) {
                *place = digest.into();
            }
        }
        value.into()
    }

    /// Seals the secret fields of a task that is to be created.
    pub(crate) fn seal_arguments(&self, spec: &mut TaskSpec, fields: &Fields) {
        if let Some((shown, sealed)) = self.seal_fields(spec.id, &spec.arguments, fields) {
            spec.arguments = shown;
            spec.sealed = Some(sealed);
        }
    }

    /// Arguments with dots in the place of secrets, and those sealed; `None` if they have none.
    pub(crate) fn seal_fields(
        &self,
        task: TaskId,
        arguments: &RawJson,
        fields: &Fields,
    ) -> Option<(RawJson, String)> {
        let mut shown = arguments.to_value();
        let taken = fields.take(&mut shown, DOTS);
        if taken.is_empty() {
            return None;
        }
        let plain = serde_json::to_vec(&taken).expect("a JSON tree has a JSON text");
        Some((shown.into(), self.seal(task, &plain)))
    }

    /// What was sealed with a task, or with the call that it has taken over. Only dots are replaced.
    ///
    /// # Errors
    /// The key is another one; the sentence says so.
    pub(crate) fn open_arguments(&self, spec: &TaskSpec) -> Result<Opened, String> {
        let Some(sealed) = &spec.sealed else {
            return Ok(Opened::default());
        };
        let plain = self.open(spec.sealed_for.unwrap_or(spec.id), sealed)?;
        let taken: Vec<(String, Value)> =
            serde_json::from_slice(&plain).map_err(|error| error.to_string())?;
        let mask = Mask::of(taken.iter().map(|(_, secret)| secret));
        let mut arguments = spec.arguments.to_value();
        for (at, secret) in taken {
            if let Some(place) = arguments.pointer_mut(&at)
                && *place == DOTS
            {
                *place = secret;
            }
        }
        Ok(Opened {
            arguments: Some(arguments.into()),
            mask,
        })
    }

    /// What is to be recorded, sealed if it holds a secret.
    pub(crate) fn seal_recorded(&self, task: TaskId, mask: &Mask, recorded: Recorded) -> Recorded {
        let seal = |json: RawJson| {
            if mask.is_empty() || mask.json(json.clone()) == json {
                return json;
            }
            let sealed = self.seal(task, json.as_str().as_bytes());
            RawJson::of(&Sealed { sealed }).expect("a text has a JSON form")
        };
        match recorded {
            Recorded::Value(json) => Recorded::Value(seal(json)),
            Recorded::Error(json) => Recorded::Error(seal(json)),
        }
    }

    /// An entry as it may be shown: opened, with dots in the place of the task's secrets. Where the key
    /// is another one, all that was sealed is dots.
    pub(crate) fn shown(&self, spec: &TaskSpec, entry: JournalEntry) -> JournalEntry {
        let entry = match &spec.sealed {
            None => entry,
            Some(_) => self.masked(spec, entry),
        };
        match entry.kind {
            JournalKind::Undo => without_seal(entry),
            _ => entry,
        }
    }

    fn masked(&self, spec: &TaskSpec, entry: JournalEntry) -> JournalEntry {
        let mask = self.open_arguments(spec).map(|opened| opened.mask);
        let entry = self.open_recorded(spec.id, entry);
        let show = |json: RawJson| match &mask {
            _ if json.to::<Sealed>().is_ok() => RawJson::of(DOTS).expect("a text has a JSON form"),
            Ok(mask) => mask.json(json),
            Err(_) => json,
        };
        let recorded = match entry.recorded {
            Recorded::Value(json) => Recorded::Value(show(json)),
            Recorded::Error(json) => Recorded::Error(show(json)),
        };
        JournalEntry { recorded, ..entry }
    }

    /// An entry as it was before it was sealed. What cannot be opened is left as it is, and does not
    /// fit whoever reads it.
    pub(crate) fn open_recorded(&self, task: TaskId, mut entry: JournalEntry) -> JournalEntry {
        let open = |json: RawJson| {
            let sealed: Option<Sealed> = json.to().ok();
            let plain = sealed.and_then(|sealed| self.open(task, &sealed.sealed).ok());
            let plain = plain.and_then(|plain| String::from_utf8(plain).ok());
            plain
                .and_then(|plain| RawJson::parse(plain).ok())
                .unwrap_or(json)
        };
        entry.recorded = match entry.recorded {
            Recorded::Value(json) => Recorded::Value(open(json)),
            Recorded::Error(json) => Recorded::Error(open(json)),
        };
        entry
    }
}

/// An undo without its sealed secrets, of which its arguments say that they are there.
fn without_seal(entry: JournalEntry) -> JournalEntry {
    let call = entry.recorded.json().to::<UndoCall>();
    match call.ok().filter(|call| call.sealed.is_some()) {
        None => entry,
        Some(call) => {
            let call = UndoCall {
                sealed: None,
                ..call
            };
            let recorded = RawJson::of(&call).expect("it came from JSON");
            let recorded = Recorded::Value(recorded);
            JournalEntry { recorded, ..entry }
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
