//! JSON that can be read by everybody, not only passed on.
//!
//! The grammar allows what no value stands for: half of a surrogate pair as an escape, a number beyond
//! all doubles. A message is checked to be grammatical and no further; whatever is kept of it, to be
//! read later by a handler or sent to another client, is held to more.

use serde_json::Value;
use serde_json::value::RawValue;

/// Numbers with fewer digits than this are within the range of a double unless they have an exponent.
const LONG: usize = 300;

/// Whether every string and number in it has a value.
pub(crate) fn is_sound(raw: &RawValue) -> bool {
    let text = raw.get();
    let suspicious = text.as_bytes().contains(&b'\\')
        // Without escapes every second quote ends a string, so what is left are the parts outside.
        || text.split('"').step_by(2).any(|outside| outside.len() > LONG || has_exponent(outside));
    !suspicious || serde_json::from_str::<Value>(text).is_ok()
}

fn has_exponent(outside: &str) -> bool {
    let pairs = outside.as_bytes().windows(2);
    pairs
        .into_iter()
        .any(|pair| pair[0].is_ascii_digit() && pair[1].eq_ignore_ascii_case(&b'e'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_value_is_found() {
        let verdict = |json: &str| is_sound(serde_json::from_str(json).unwrap());
        let digits = "9".repeat(400);
        for good in [
            r#"{"a":[1,-2.5,1e3,true,null],"b":"\ud83d\ude00 \n 1e999","c":"9e999"}"#,
            "1e308",
            &"9".repeat(300),
        ] {
            assert!(verdict(good), "{good}");
        }
        for bad in [
            r#""\ud800""#,
            r#"{"a\udfff":1}"#,
            "1e999",
            "[0,-9E999]",
            &digits,
        ] {
            assert!(!verdict(bad), "{bad}");
        }
    }
}
