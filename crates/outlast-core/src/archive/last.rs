//! What a store got with the last copy, as far as it cannot be told from what is there: kept in that store,
//! as a small record that is not copied on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Archive, SmallRecord};
use crate::error::{Error, Result};
use crate::limit::Queue;

/// The space of the record.
pub(super) const SPACE: &str = "store copy";

/// Its key.
const KEY: &str = "last";

/// What came with the last copy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Last {
    /// The versions of schedules by their names.
    pub(super) schedules: BTreeMap<String, u64>,
    /// What was paused.
    pub(super) paused: BTreeSet<Queue>,
    /// Digests of the values of small records by [`name_of`] each.
    pub(super) records: BTreeMap<String, String>,
}

impl Last {
    /// What `store` got last; nothing if it never was copied into.
    pub(super) async fn of(store: &dyn Archive) -> Result<Self> {
        let Some(record) = store.record_get(SPACE, KEY).await? else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&record).map_err(|error| {
            Error::broken(format!(
                "what the store got with the last copy cannot be read ({error}): copy into a new store"
            ))
        })
    }

    /// Notes it there.
    pub(super) async fn note(&self, store: &dyn Archive) -> Result<()> {
        let record = serde_json::to_vec(self).map_err(|error| {
            Error::Invalid(format!("what was copied has no JSON form: {error}"))
        })?;
        store.record_put(SPACE, KEY, record, None).await
    }
}

/// One text for space and key.
pub(super) fn name_of(record: &SmallRecord) -> String {
    let space = &record.space;
    format!("{}:{space}{}", space.len(), record.key)
}

/// What tells whether a value has been changed since (FNV-1a, 64 bits, and the length); it hides nothing.
pub(super) fn digest(value: &[u8]) -> String {
    let hash = value.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3_u64)
    });
    format!("{hash:016x}.{}", value.len())
}
