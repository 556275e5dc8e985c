//! The id of a session: a sealed token of identity.

use outlast_core::{Owner, Timestamp};
use sha2::{Digest, Sha256};

use crate::protocol::{Capabilities, Version};
use crate::seal::{Purpose, Sealer, random};

const LEN: usize = 2 + 8 + 8 + 8;

/// What a session id says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) version: Version,
    pub(crate) capabilities: Capabilities,
    pub(crate) created: Timestamp,
    /// Tells sessions apart. Not secret: it stands in task records where the id itself must not.
    pub(crate) key: [u8; 8],
    principal: [u8; 8],
}

impl Identity {
    pub(crate) fn new(
        version: Version,
        capabilities: Capabilities,
        owner: &Owner,
        created: Timestamp,
    ) -> Self {
        Self {
            version,
            capabilities,
            created,
            key: random(),
            principal: principal(owner),
        }
    }

    /// Whether the session was opened by this principal.
    pub(crate) fn belongs_to(&self, owner: &Owner) -> bool {
        self.principal == principal(owner)
    }

    /// The key as text.
    pub(crate) fn key_text(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.key))
    }

    pub(crate) fn seal(&self, sealer: &Sealer) -> String {
        let mut plain = Vec::with_capacity(LEN);
        plain.push(self.version as u8);
        plain.push(self.capabilities.to_bits());
        plain.extend_from_slice(&self.created.as_millis().to_be_bytes());
        plain.extend_from_slice(&self.key);
        plain.extend_from_slice(&self.principal);
        sealer.seal(Purpose::Session, &plain)
    }

    pub(crate) fn open(sealer: &Sealer, id: &str) -> Option<Self> {
        let plain = sealer.open(Purpose::Session, id)?;
        let plain: &[u8; LEN] = plain.as_slice().try_into().ok()?;
        let (&[version, capabilities], rest) = plain.split_first_chunk::<2>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (key, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            version: Version::from_byte(version)?,
            capabilities: Capabilities::from_bits(capabilities),
            created: Timestamp::from_millis(i64::from_be_bytes(*created)),
            key: *key,
            principal: *rest.first_chunk()?,
        })
    }
}

/// Enough of the principal's name to notice another one; the seal guards it.
fn principal(owner: &Owner) -> [u8; 8] {
    let digest = Sha256::digest(owner.as_str().as_bytes());
    *digest.first_chunk().expect("a digest has thirty-two bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_gives_back_what_it_was_made_of() {
        let sealer = Sealer::new([[3; 32]]);
        let alice = Owner::new("alice");
        let capabilities = Capabilities {
            elicitation_form: true,
            ..Capabilities::default()
        };
        let identity = Identity::new(
            Version::V2025_11_25,
            capabilities,
            &alice,
            Timestamp::from_millis(42),
        );
        let id = identity.seal(&sealer);
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()));
        let opened = Identity::open(&sealer, &id).unwrap();
        assert_eq!(opened, identity);
        assert!(opened.belongs_to(&alice) && !opened.belongs_to(&Owner::local()));
        assert_eq!(Identity::open(&sealer, "made up"), None);
    }
}
