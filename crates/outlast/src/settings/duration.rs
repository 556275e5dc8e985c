//! Times as people write them: `500ms`, `30s`, `1h 30m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Milliseconds in each unit.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a time.
///
/// # Errors
/// The text is none; the sentence says what is allowed.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    milliseconds(text).map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a time; write a number and a unit (ms, s, m, h, d), for example 30s")
    })
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total: Option<u64> = None;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, each) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*each)?;
        total = Some(total.unwrap_or(0).checked_add(part)?);
        rest = after.trim_start();
    }
    total
}

/// Reads a time from a file.
pub(super) fn in_file<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    text.map(|text| parse(&text).map_err(de::Error::custom))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for wrong in ["", "5", "s", "5 s", "1.5h", "-1s", "5y"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
