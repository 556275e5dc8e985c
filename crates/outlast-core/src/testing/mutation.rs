//! Changes to inputs that were right once, for tests that throw them at a parser.
//!
//! Bytes are flipped, cut, removed, repeated and spiced with what parsers are known to trip over;
//! JSON is also changed as a tree, so that what comes out still reads and its values go deep.

use serde_json::{Value, json};

use super::Random;

/// What is put between other bytes.
const SPICE: &[&[u8]] = &[
    b"null",
    b"[]",
    b"{}",
    b"\"\"",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"[[[[",
    b"}",
    b",",
    b"\"_meta\":7,",
    b"\n",
    b"\r\n",
    b"\0",
    b"=",
    b"'",
    b"{}{}",
];

/// Makes one to four changes to the bytes. The result is never empty.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.push(b' ');
    }
    for _ in 0..=random.below(3) {
        let at = random.index(bytes.len());
        let end = (at + random.index(12)).min(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => drop(bytes.remove(at)),
            3 => drop(bytes.splice(at..at, random.pick(SPICE).iter().copied())),
            4 => drop(bytes.splice(at..end, random.pick(SPICE).iter().copied())),
            _ => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
        if bytes.is_empty() {
            bytes.push(b' ');
        }
    }
}

/// Replaces, removes, adds or nests one value somewhere in the tree.
pub fn mutate_json(random: &mut Random, value: &mut Value) {
    let descend = !random.one_in(4);
    match value {
        Value::Object(members) if descend && !members.is_empty() => {
            let key = members
                .keys()
                .nth(random.index(members.len()))
                .expect("an index below the length")
                .clone();
            match random.below(12) {
                0 => drop(members.remove(&key)),
                1 => drop(members.insert(format!("{key}\u{e9}"), odd(random))),
                _ => mutate_json(random, members.get_mut(&key).expect("one of its keys")),
            }
        }
        Value::Array(items) if descend && !items.is_empty() => {
            let at = random.index(items.len());
            match random.below(6) {
                0 => drop(items.remove(at)),
                1 => items.push(odd(random)),
                _ => mutate_json(random, &mut items[at]),
            }
        }
        Value::String(text) if random.one_in(2) => {
            let mut bytes = std::mem::take(text).into_bytes();
            mutate(random, &mut bytes);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        other if random.one_in(4) => {
            let inner = other.take();
            *other = if random.one_in(2) {
                json!([inner])
            } else {
                json!({"x": inner})
            };
        }
        other => *other = odd(random),
    }
}

/// A value that somebody forgot to think of.
fn odd(random: &mut Random) -> Value {
    let odd = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("\0"),
        json!("\u{202e}\u{feff}"),
        json!("../../etc/passwd"),
        json!("9".repeat(400)),
        json!([]),
        json!({}),
        json!([[[[[[[[]]]]]]]]),
        json!({"": {"": ""}}),
        json!("00000000-0000-4000-8000-000000000000"),
    ];
    odd[random.index(odd.len())].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_leaves_something_and_the_same_seed_the_same() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        for _ in 0..5_000 {
            let (mut left, mut right) = (b"{\"a\":[1]}".to_vec(), b"{\"a\":[1]}".to_vec());
            mutate(&mut one, &mut left);
            mutate(&mut two, &mut right);
            assert_eq!(left, right);
            assert!(!left.is_empty());
        }
    }

    #[test]
    fn a_tree_is_changed_in_many_places() {
        let mut random = Random::new(1);
        let first = json!({"a": {"b": [1, "two"]}, "c": null});
        let changed: std::collections::BTreeSet<String> = (0..500)
            .map(|_| {
                let mut value = first.clone();
                mutate_json(&mut random, &mut value);
                value.to_string()
            })
            .collect();
        assert!(changed.len() > 50, "{} different", changed.len());
    }
}
