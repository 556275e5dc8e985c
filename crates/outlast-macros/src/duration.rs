//! Durations as they are written in an attribute: `"90s"`, `"7d"`, `"1h 30m"`.

/// Milliseconds in each unit.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// What may be written, for error messages.
pub(crate) const ALLOWED: &str =
    "write a number and a unit (ms, s, m, h, d), for example \"7d\" or \"1h 30m\"";

/// The milliseconds of a written duration; `None` if it is none.
pub(crate) fn parse_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*ms)?;
        total = total.checked_add(part)?;
        rest = after.trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::parse_ms;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse_ms("7d"), Some(604_800_000));
        assert_eq!(parse_ms("1h 30m"), Some(5_400_000));
        assert_eq!(parse_ms("250ms"), Some(250));
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "7",
            "d",
            "7 days",
            "-1s",
            "1.5h",
            "99999999999999999999d",
        ] {
            assert_eq!(parse_ms(text), None, "{text:?}");
        }
    }
}
