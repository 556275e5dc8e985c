//! The entries of a list, written once for each version, and its pages.
//!
//! The order is that of the keys (names, URIs), the same for every caller and every time. A cursor
//! names the first entry of the next page, so that a list that changes between two pages goes on at
//! the right place: nothing is told twice, and nothing that stayed is left out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::jsonrpc::RpcError;
use crate::protocol::Version;

/// A list in the words of every version.
#[derive(Default, PartialEq)]
pub(crate) struct Pages {
    /// What the entries are, so that a cursor of one list is none of another.
    kind: &'static str,
    size: usize,
    keys: Vec<String>,
    /// For each version, in the order of [`Version::ALL`], the entries in the order of the keys.
    entries: Vec<Vec<Box<str>>>,
}

impl Pages {
    /// The list of `items`, which are in the order of their keys.
    pub(crate) fn new<'i, T: 'i>(
        kind: &'static str,
        size: usize,
        items: impl Iterator<Item = &'i T>,
        key: impl Fn(&T) -> &str,
        write: impl Fn(&mut Vec<u8>, &T, Version),
    ) -> Self {
        let items: Vec<&T> = items.collect();
        let entry = |item: &T, version| {
            let mut out = Vec::with_capacity(256);
            write(&mut out, item, version);
            String::from_utf8(out)
                .expect("JSON is UTF-8")
                .into_boxed_str()
        };
        let entries = Version::ALL
            .into_iter()
            .map(|version| items.iter().map(|item| entry(item, version)).collect());
        Self {
            kind,
            size: size.max(1),
            entries: entries.collect(),
            keys: items.iter().map(|item| key(item).to_owned()).collect(),
        }
    }

    /// The entries of the page from `cursor` on, and the cursor of the next page.
    ///
    /// # Errors
    /// The cursor is none of this list (2025-11-25 and 2026-07-28 pagination, "Error Handling").
    pub(crate) fn page(
        &self,
        version: Version,
        cursor: Option<&str>,
    ) -> Result<(&[Box<str>], Option<String>), RpcError> {
        let from = match cursor {
            None => 0,
            Some(cursor) => {
                let key = self.key_of(cursor).ok_or_else(unknown_cursor)?;
                self.keys.partition_point(|known| *known < key)
            }
        };
        let until = self.keys.len().min(from + self.size);
        let next = self.keys.get(until).map(|key| self.cursor_to(key));
        let written = Version::ALL.iter().position(|known| *known == version);
        let entries = written.and_then(|index| self.entries.get(index));
        Ok((entries.map_or(&[], |entries| &entries[from..until]), next))
    }

    fn cursor_to(&self, key: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{key}", self.kind))
    }

    fn key_of(&self, cursor: &str) -> Option<String> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let key = text.strip_prefix(self.kind)?.strip_prefix(':')?;
        Some(key.to_owned())
    }
}

/// The cursor was not given out by this list.
pub(crate) fn unknown_cursor() -> RpcError {
    RpcError::invalid_params("unknown cursor; begin again without one")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(names: &[&'static str]) -> Pages {
        Pages::new(
            "x",
            2,
            names.iter(),
            |name| name,
            |out, name, _| {
                out.extend_from_slice(name.as_bytes());
            },
        )
    }

    fn read(pages: &Pages, cursor: Option<&str>) -> (String, Option<String>) {
        let (entries, next) = pages.page(Version::V2025_11_25, cursor).unwrap();
        (entries.join(" "), next)
    }

    #[test]
    fn a_list_that_changed_goes_on_at_the_right_place() {
        let (first, next) = read(&pages(&["a", "b", "c", "d", "e"]), None);
        assert_eq!(first, "a b");
        let next = next.unwrap();
        // The entry that the cursor names has gone, and another one has come before it.
        let changed = pages(&["a", "aa", "b", "d", "e"]);
        let (second, end) = read(&changed, Some(&next));
        assert_eq!((second.as_str(), end), ("d e", None));
        assert_eq!(read(&pages(&["a"]), Some(&next)), (String::new(), None));
    }

    #[test]
    fn what_is_no_cursor_of_the_list_is_refused() {
        let list = pages(&["a", "b", "c"]);
        let other = URL_SAFE_NO_PAD.encode("tool:a");
        for cursor in ["", "bogus", "!!", &other] {
            assert!(
                list.page(Version::V2026_07_28, Some(cursor)).is_err(),
                "{cursor}"
            );
        }
    }
}
