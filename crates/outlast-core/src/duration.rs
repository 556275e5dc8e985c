//! Durations as people write them: `90s`, `2h`, `1h30m`, `500ms`, `7d`. One grammar for files, flags,
//! attributes and queries.
//!
//! A duration is one or more `number unit` pairs, largest unit first, each unit at most once; between
//! pairs a space is allowed. A bare number is refused: "60" could be seconds or milliseconds, and the two differ
//! by a thousand.

use std::time::Duration;

/// What is allowed, for error messages.
pub const ALLOWED: &str = "a duration such as \"500ms\", \"90s\", \"1h30m\" or \"7d\"";

/// Unit and its length in milliseconds, in the order in which they may follow each other.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Parses a duration such as `1h30m`.
///
/// # Errors
/// A sentence without a subject (it follows a key) when `text` is empty, has no unit, has an
/// unknown unit, repeats or reorders units, or exceeds what milliseconds in 64 bits can hold.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not {ALLOWED}");
    let mut rest = text;
    let mut total: u64 = 0;
    let mut next_unit = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let amount: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[..letters];
        rest = &rest[letters..];
        let position = UNITS
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        if position < next_unit {
            return Err(wrong());
        }
        next_unit = position + 1;
        rest = rest
            .strip_prefix(' ')
            .filter(|more| !more.is_empty())
            .unwrap_or(rest);
        total = amount
            .checked_mul(UNITS[position].1)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("\"{text}\" is too long a time"))?;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration in the form that [`parse`] reads, to the millisecond.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    // Weeks are read but not written: "7d" is what people expect to see.
    for (name, length) in &UNITS[1..] {
        let amount = left / length;
        left %= length;
        if amount > 0 {
            text.push_str(&format!("{amount}{name}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            ("1m500ms", 60_500),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_ambiguous() {
        for text in [
            "", "60", "s", "1 h", "1h  30m", "1h ", " 1h", "30m1h", "1h1h", "1.5h", "-1s", "1y",
            "1H",
        ] {
            assert!(parse(text).unwrap_err().contains("1h30m"), "{text}");
        }
        assert!(
            parse("99999999999999999w")
                .unwrap_err()
                .contains("too long")
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for ms in [0, 1, 999, 60_000, 5_400_000, 604_800_001, 9_999_999_999] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
