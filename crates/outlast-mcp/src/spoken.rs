//! Times as a model or a person reads them.

use std::time::Duration;

/// The duration in its two largest units, whole: `850 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => pair(seconds / 60, "min", seconds % 60, "s"),
        _ => pair(seconds / 3_600, "h", seconds / 60 % 60, "min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let said = |ms: u64| time(Duration::from_millis(ms));
        assert_eq!(said(850), "850 ms");
        assert_eq!(said(12_900), "12 s");
        assert_eq!(said(185_000), "3 min 5 s");
        assert_eq!(said(7_200_000), "2 h");
        assert_eq!(said(7_800_000), "2 h 10 min");
    }
}
