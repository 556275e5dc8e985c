//! Names that are handed out: tasks, workers, owners.
//!
//! Ids are version 4 UUIDs (122 random bits from the operating system), because an id is all that
//! guards a task where there are no users: it must not be guessable and carries no counter and no
//! time (2025-11-25 tasks, "Security"; SEP-2663, "Security considerations").

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, unguessable and unique.
            ///
            /// # Panics
            /// The operating system gives no random bytes.
            pub fn random() -> Self {
                Self(uuid::Builder::from_random_bytes(random()).into_uuid())
            }

            /// The id with these sixteen bytes, as [`Self::as_bytes`] gave them.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The sixteen bytes of the id, for compact storage.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Only the hyphenated form is ours: one task, one spelling.
                match Uuid::try_parse(text) {
                    Ok(id) if text.len() == 36 => Ok(Self(id)),
                    _ => Err(InvalidId),
                }
            }
        }
    };
}

/// How many random bytes a thread fetches at a time: asking the operating system costs as much as
/// everything else that a quick call does.
const FETCHED: usize = 512;

/// Random bytes from the operating system, each given out once and then overwritten.
struct Random {
    bytes: [u8; FETCHED],
    left: usize,
}

thread_local! {
    static RANDOM: RefCell<Random> = const {
        RefCell::new(Random { bytes: [0; FETCHED], left: 0 })
    };
}

fn random() -> [u8; 16] {
    RANDOM.with_borrow_mut(|random| {
        if random.left < 16 {
            getrandom::fill(&mut random.bytes).expect("the operating system gives random bytes");
            random.left = FETCHED;
        }
        random.left -= 16;
        let place = &mut random.bytes[random.left..random.left + 16];
        let taken = (&*place).try_into().expect("cut to that length");
        place.fill(0);
        taken
    })
}

uuid_id! {
    /// The name of a task, the same on every surface: MCP, REST, command line and log.
    TaskId
}

uuid_id! {
    /// The name of one life of one worker process. A restarted process is another worker.
    WorkerId
}

/// The text is not an id of ours. For a caller this is the same as an unknown id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected 36 characters like 7b0f2d6e-3c1a-4f52-9d0e-5a6b7c8d9e0f")]
pub struct InvalidId;

/// The principal a task belongs to. Without users there is one, [`Owner::local`].
///
/// Another owner's task cannot be told from one that does not exist, on every surface.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Owner(Arc<str>);

/// The one owner of a server without users, kept once: every look at a task compares owners, and two
/// that are the same allocation are equal without being read.
static LOCAL: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("local"));

impl From<String> for Owner {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl Owner {
    /// The owner of everything on a server without users: stdio, socket and loopback HTTP.
    pub fn local() -> Self {
        Self(Arc::clone(&LOCAL))
    }

    /// The owner with this name, for example `issuer|subject` of a token.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        if *name == **LOCAL {
            return Self::local();
        }
        Self(name)
    }

    /// The name as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_bytes() {
        let id = TaskId::random();
        assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
        assert_eq!(TaskId::from_bytes(*id.as_bytes()), id);
    }

    #[test]
    fn no_id_comes_twice() {
        let threads: Vec<_> = (0..4)
            .map(|_| std::thread::spawn(|| (0..1000).map(|_| TaskId::random()).collect::<Vec<_>>()))
            .collect();
        let ids = threads.into_iter().flat_map(|ids| ids.join().unwrap());
        let ids: std::collections::HashSet<_> = ids.collect();
        assert_eq!(ids.len(), 4000);
        assert!(ids.iter().all(|id| id.0.get_version_num() == 4));
    }

    #[test]
    fn only_one_spelling_is_an_id() {
        let id = TaskId::random().to_string();
        for other in [
            id.replace('-', ""),
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
        ] {
            assert!(other.parse::<TaskId>().is_err(), "{other}");
        }
    }
}
