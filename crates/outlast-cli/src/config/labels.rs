//! `labels = { team = "x" }`, of a tool or of a schedule.

use std::collections::BTreeMap;

use outlast_core::label;

use super::section::Section;

/// Reads them. What no task may have is noted where it stands and left out, and so are all where they are too
/// many.
pub(super) fn read(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some((span, table)) = section.table("labels") else {
        return labels;
    };
    let inner = Section::free(section.key("labels"), span, table, section.problems());
    for (key, span, _) in inner.entries() {
        let Some(value) = inner.string(key) else {
            continue;
        };
        match label::check_one(key, &value) {
            Ok(()) => drop(labels.insert(key.to_owned(), value)),
            Err(wrong) => inner.wrong_at(span, key, wrong),
        }
    }
    if let Err(wrong) = label::check(&labels) {
        section.wrong("labels", wrong);
        labels.clear();
    }
    labels
}
