//! Lists in pages.

use std::collections::BTreeMap;

use outlast_core::RawJson;
use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::params::{self, Params};
use super::peer::Client;
use super::session::Ask;

/// One page as it came.
pub(super) struct Page {
    pub(super) entries: Vec<RawJson>,
    pub(super) next: Option<String>,
}

impl Client {
    /// A page of a list whose entries stand in `member`.
    ///
    /// # Errors
    /// As for every request; it is no list, or goes round in circles.
    pub(super) async fn page(
        &self,
        method: &str,
        member: &str,
        cursor: Option<String>,
    ) -> Result<Page, ClientError> {
        let mut params = Params::default();
        if let Some(cursor) = &cursor {
            params = params.with("cursor", cursor);
        }
        let raw = self.ask(&self.in_time(Ask::quick(method, params))).await?;
        let read = || -> Result<Page, String> {
            let mut members: BTreeMap<String, RawJson> = params::object(&raw, "a list")?;
            Ok(Page {
                entries: take(&mut members, member)?.unwrap_or_default(),
                next: take(&mut members, "nextCursor")?,
            })
        };
        let page = read().map_err(|reason| self.not_protocol(method, &reason))?;
        if page.next.is_some() && page.next == cursor {
            return Err(self.not_protocol(method, "the next page is the same one again"));
        }
        Ok(page)
    }

    /// All pages of a list, each entry read by `read`.
    ///
    /// # Errors
    /// As [`Client::page`], and if an entry is none.
    pub(super) async fn all<T>(
        &self,
        method: &str,
        member: &str,
        read: impl Fn(RawJson) -> Result<T, String>,
    ) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.page(method, member, cursor).await?;
            for entry in page.entries {
                all.push(read(entry).map_err(|reason| self.not_protocol(method, &reason))?);
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }
}

fn take<T: DeserializeOwned>(
    members: &mut BTreeMap<String, RawJson>,
    key: &str,
) -> Result<Option<T>, String> {
    let Some(raw) = members.remove(key) else {
        return Ok(None);
    };
    raw.to().map_err(|error| format!("{key:?}: {error}"))
}
